//! One request to an issuer: builds, sends and measures it, and reads the response. Identical requests are sent once.

use crate::Reason;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use secrecy::SecretString;

use super::{attempt::TokenAttempt, begun::Begun, identity, refresh_token::RefreshResult};
use crate::controller::{api::ids, context::Context};
use crate::{
    credential::{AuthenticationMethod, Credential, OperatorIdentity},
    http::{Broken, SendOptions},
    oauth::{
        self, AnswerContext, Class, Grant, Granted, Material, RawAnswer, RequestContext, Stage,
        Token, TokenEndpoint, TokenError, TokenRequest, Validity, discovery, grant::JwtBearer,
    },
    plan::fingerprint,
    publish::{SourceMark, SourceUse},
    telemetry::traces,
};

/// A token and how it was obtained.
pub(in crate::controller) struct Acquired {
    pub(in crate::controller) token: Arc<Token>,
    pub(in crate::controller) sources: SourceUse,
    pub(in crate::controller) fingerprint: String,
    /// The validity of the certificate that authenticated the client.
    pub(in crate::controller) certificate_validity: Option<Validity>,
    /// The issuer, as it is recorded with the token; empty for a static key.
    pub(in crate::controller) issuer: String,
    /// Digests of used refresh tokens, to be recorded on the target Secret.
    pub(in crate::controller) spent: Option<String>,
}

pub(super) fn acquired(
    token: Arc<Token>,
    used: Option<SourceMark>,
    with: Vec<SourceMark>,
    fingerprint: String,
) -> Acquired {
    Acquired {
        token,
        sources: SourceUse {
            used,
            with,
            refused: Vec::new(),
        },
        fingerprint,
        certificate_validity: None,
        issuer: String::new(),
        spent: None,
    }
}

/// Builds the request. Signing takes one or two milliseconds of CPU time, and must not block the async tasks.
pub(in crate::controller) async fn build(
    credential: &Credential,
    endpoint: &TokenEndpoint,
    (material, grant_inputs): (Material, Vec<SecretString>),
    context: &Context,
) -> Result<(TokenRequest, String, Material), TokenError> {
    let signs = matches!(material, Material::Signer(..) | Material::Key(_))
        || matches!(credential.grant, Grant::JwtBearer(JwtBearer::Signed(_)));
    let (credential, endpoint, now) = (credential.clone(), endpoint.clone(), context.clock.now());
    let make = move || {
        let (id, assertion) = (ids::uuid(), ids::uuid());
        let moment = RequestContext {
            now,
            request_id: &id,
            assertion_id: &assertion,
        };
        let request = oauth::request(&credential, &endpoint, &material, &grant_inputs, moment)?;
        Ok((request, id, material))
    };
    if !signs {
        return make();
    }
    tokio::task::spawn_blocking(make).await.unwrap_or_else(|_| {
        Err(TokenError::local(
            Class::Transient,
            Reason::InternalError,
            "signing was abandoned; apicred tries again",
        ))
    })
}

/// One request, shared with all identical requests in flight.
pub(super) async fn exchange(
    attempt: &TokenAttempt<'_>,
    parts: (Material, Vec<SecretString>),
    fingerprint: &str,
) -> Result<Arc<Token>, TokenError> {
    let (context, credential) = (attempt.context, attempt.credential);
    let endpoint = &attempt.endpoint;
    let key = (credential.is_shareable())
        .then(|| fingerprint::in_flight(fingerprint, credential, endpoint, &parts.0));
    let (request, id, material) = build(credential, endpoint, parts, context).await?;
    let (world, asker, place, permit) = (
        Arc::clone(context),
        credential.clone(),
        endpoint.clone(),
        Arc::clone(&attempt.permit),
    );
    let answer = Box::pin(async move {
        let _permit = permit;
        let arc = matches!(
            (&asker.authentication, &asker.issuer.operator_identity),
            (
                AuthenticationMethod::ManagedIdentity(_),
                Some(OperatorIdentity::AzureArc(_))
            )
        );
        if arc {
            return challenged(&world, &asker, &place, material, (request, id)).await;
        }
        send(&world, &asker, request, id).await
    });
    match key {
        Some(key) => context.single_flight.run(key, answer).await,
        None => answer.await.map(Arc::new),
    }
}

/// The Azure Arc agent answers the first request with a challenge, and the second request with a token.
async fn challenged(
    context: &Arc<Context>,
    credential: &Credential,
    endpoint: &TokenEndpoint,
    material: Material,
    (request, id): (TokenRequest, String),
) -> Result<Token, TokenError> {
    let Material::Local(local) = material else {
        return send(context, credential, request, id).await;
    };
    if !context.may_act() {
        return Err(not_leading());
    }
    let begun = Begun::now(context, credential, &request);
    let exchanged = context
        .http
        .exchange(&credential.issuer, request, SendOptions::default());
    let exchanged = begun.answer_of(exchanged).await;
    if let Ok(answer) = &exchanged
        && let Some(answered_challenge) = identity::after_challenge(context, &local, answer).await?
    {
        let parts = (Material::Local(answered_challenge), Vec::new());
        let (request, id, _) = build(credential, endpoint, parts, context).await?;
        return send(context, credential, request, id).await;
    }
    let came = concluded(
        context,
        credential,
        &begun,
        exchanged,
        token_reader(credential, id),
    );
    complete(context, credential, came.result?).await
}

/// The error if this process has lost its Lease: it must not send any further request.
pub(in crate::controller) fn not_leading() -> TokenError {
    let step = "this process is no longer the leader; the new leader tries again";
    TokenError {
        not_sent: true,
        ..TokenError::local(Class::Transient, Reason::NotLeading, step)
    }
}

async fn send(
    context: &Context,
    credential: &Credential,
    request: TokenRequest,
    id: String,
) -> Result<Token, TokenError> {
    let options = SendOptions::default();
    let token = request_token(context, credential, request, id, options)
        .await
        .result?;
    complete(context, credential, token).await
}

/// Sends the second request that completes a token, if the issuer has one. The token of the grant is not stored: if this
/// request fails, the next attempt starts with the grant.
async fn complete(
    context: &Context,
    credential: &Credential,
    token: Token,
) -> Result<Token, TokenError> {
    let Some(request) = oauth::second_request(credential, &token) else {
        return Ok(token);
    };
    let read = |raw: &RawAnswer, (sent, now)| {
        let moment = AnswerContext {
            sent,
            now,
            assumed_lifetime: credential.issuer.assumed_lifetime,
        };
        oauth::second_answer(credential, raw, moment)
    };
    let came = send_once(context, credential, request, SendOptions::default(), read).await;
    came.result.map(|completed| Token {
        correlation_id: token.correlation_id,
        ..completed
    })
}

/// Sends a token request and reads the response.
pub(in crate::controller) async fn request_token(
    context: &Context,
    credential: &Credential,
    request: TokenRequest,
    id: String,
    options: SendOptions,
) -> RefreshResult {
    let came = send_once(
        context,
        credential,
        request,
        options,
        token_reader(credential, id),
    )
    .await;
    if let Err(token_error) = &came.result
        && discovery::disproves(token_error)
    {
        context.discovery.doubt(&credential.issuer.id);
    }
    came
}

/// Reads the response to a token request with this ID.
fn token_reader(
    credential: &Credential,
    id: String,
) -> impl FnOnce(&RawAnswer, (Timestamp, Timestamp)) -> Result<Token, TokenError> {
    move |raw, (sent, now)| {
        let mut token = oauth::answer_to(credential, raw, sent, now)?;
        token.correlation_id.get_or_insert(id);
        Ok(token)
    }
}

/// Sends one request and reads the response. `read` receives the time at which the request was sent, and the current time.
async fn send_once(
    context: &Context,
    credential: &Credential,
    request: TokenRequest,
    options: SendOptions,
    read: impl FnOnce(&RawAnswer, (Timestamp, Timestamp)) -> Result<Token, TokenError>,
) -> RefreshResult {
    if !context.may_act() {
        return RefreshResult {
            granted: Granted::Nothing,
            result: Err(not_leading()),
        };
    }
    let begun = Begun::now(context, credential, &request);
    let exchanged = context.http.exchange(&credential.issuer, request, options);
    let exchanged = begun.answer_of(exchanged).await;
    concluded(context, credential, &begun, exchanged, read)
}

/// Reads the response. Counts the request, and reports the result to the rate limiter.
fn concluded(
    context: &Context,
    credential: &Credential,
    begun: &Begun,
    exchanged: Result<RawAnswer, Broken>,
    read: impl FnOnce(&RawAnswer, (Timestamp, Timestamp)) -> Result<Token, TokenError>,
) -> RefreshResult {
    let (granted, result) = match exchanged {
        Ok(raw) => {
            let now = context.clock.now();
            let result = read(&raw, (begun.sent, now));
            let explain =
                |token_error| oauth::explained(token_error, credential, &raw, &begun.echo, now);
            (oauth::granted(&raw), result.map_err(explain))
        }
        Err(broken) => (
            (broken.arrived.as_ref()).map_or(Granted::Nothing, |raw| oauth::granted_in_part(raw)),
            Err(match &broken.arrived {
                Some(part) => oauth::broken_off(part, broken.token_error),
                None => broken.token_error,
            }),
        ),
    };
    traces::conclude(&begun.span, class_of(&result), result.is_err());
    measure(context, credential, &result, begun.clock);
    inform(context, credential, result.as_ref().err());
    RefreshResult { granted, result }
}

/// Reports the result of a request to the rate limiter: an error, or a success.
pub(super) fn inform(context: &Context, credential: &Credential, error: Option<&TokenError>) {
    let limiter = &context.limiter;
    let Some(token_error) = error else {
        return limiter.answered(credential, true);
    };
    if let Some(pause) = pause(token_error) {
        limiter.pause(credential, pause);
    }
    if is_silence(token_error) {
        limiter.unanswered(credential);
    } else if token_error.stage != Stage::Own {
        let well = !matches!(token_error.class, Class::Throttled | Class::Transient);
        limiter.answered(credential, well);
    }
}

/// The result of a token request, as it is named in metrics and traces.
fn class_of(result: &Result<Token, TokenError>) -> &'static str {
    result.as_ref().map_or_else(|r| r.class.as_str(), |_| "ok")
}

/// Counts a token request, and measures the duration until its response.
pub(super) fn measure(
    context: &Context,
    credential: &Credential,
    result: &Result<Token, TokenError>,
    begun: Instant,
) {
    let result = class_of(result);
    let (grant, issuer) = (credential.grant.key(), &credential.issuer.id);
    context
        .metrics
        .record_token_request(grant, issuer, result, begun.elapsed());
}

/// Whether there was no response at all.
pub(super) const fn is_silence(token_error: &TokenError) -> bool {
    match token_error.stage {
        Stage::Proxy
        | Stage::Tunnel
        | Stage::Name
        | Stage::Connect
        | Stage::Tls
        | Stage::Timeout
        | Stage::BrokenOff => token_error.http_status.is_none(),
        // A failure of apicred itself is no information about the issuer, and an alert about the client's certificate is a response.
        Stage::Own | Stage::ClientCertificate | Stage::Foreign | Stage::Answered => false,
    }
}

/// How long the client sends no request after this response.
fn pause(token_error: &TokenError) -> Option<Duration> {
    if token_error.aadsts == Some(oauth::LOOP) {
        return None;
    }
    match (token_error.class, token_error.retry_after) {
        (Class::Throttled, None) => Some(Duration::from_secs(30)),
        (Class::Throttled | Class::Transient, requested) => requested,
        _ => None,
    }
}

#[cfg(test)]
mod tests;
