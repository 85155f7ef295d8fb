//! The client assertion of an application that trusts the operator's identity: a token of this identity for Entra ID.

use std::time::Instant;

use secrecy::SecretString;

use super::{
    exchange::{measure, not_leading},
    identity,
};
use crate::{
    Reason,
    controller::context::Context,
    credential::{Credential, Selector},
    oauth::{self, Class, Local, Material, SentSecrets, Token, TokenError},
    whole_second,
};

/// A token of the operator's identity that is the client assertion of an application. It is in memory only until its request is sent.
pub(in crate::controller) async fn assertion(
    context: &Context,
    credential: &Credential,
    selector: &Selector,
) -> Result<SecretString, TokenError> {
    let (Material::Local(local), Some(own)) = (
        identity::material(context, credential).await?,
        credential.of_identity(),
    ) else {
        return Err(TokenError::local(
            Class::Transient,
            Reason::InternalError,
            "the identity of this issuer provides no token that can be a client assertion; please report it",
        ));
    };
    if !context.may_act() {
        return Err(not_leading());
    }
    let begun = Instant::now();
    let result = token(context, &own, selector, &local).await;
    measure(context, &own, &result, begun);
    Ok(result?.secret)
}

/// Requests the token. The Azure Arc agent answers the first request with a challenge: both requests count as one.
async fn token(
    context: &Context,
    own: &Credential,
    selector: &Selector,
    local: &Local,
) -> Result<Token, TokenError> {
    let resource = own.request.resources.first().map_or("", String::as_str);
    let request = oauth::identity_request(local, selector, resource);
    let mut echo = SentSecrets::of(&request);
    let sent = whole_second(context.clock.now());
    let mut raw = context.http.send(&own.issuer, request).await?;
    if let Some(answered_challenge) = identity::after_challenge(context, local, &raw).await? {
        let request = oauth::identity_request(&answered_challenge, selector, resource);
        echo = SentSecrets::of(&request);
        raw = context.http.send(&own.issuer, request).await?;
    }
    let now = context.clock.now();
    oauth::answer_to(own, &raw, sent, now)
        .map_err(|token_error| oauth::explained(token_error, own, &raw, &echo, now))
}
