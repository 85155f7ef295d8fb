//! Rules for tokens of ServiceAccounts, part of [`super::binding`]: for which audience one may be requested, and to which issuer it may be
//! sent.

use std::collections::BTreeMap;

use base64::Engine;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{
    Credential, Endpoint, Issuer,
    binding::{Denial, may_reach},
    limits,
};
use crate::{
    api::names,
    oauth::{self, TokenEndpoint, account_audience},
};

/// Checks whether a token of this ServiceAccount may be sent to this issuer at all. [`may_use_account`] also checks the audience and the token
/// endpoint.
///
/// # Errors
/// If the ServiceAccount does not name the issuer.
pub fn may_go_to(
    issuer: &Issuer,
    account: &str,
    annotations: Option<&BTreeMap<String, String>>,
) -> Result<(), Denial> {
    may_reach(
        issuer,
        &issuer.origin,
        ("ServiceAccount", account),
        annotations,
    )
}

/// Checks whether a token of this ServiceAccount may be requested for `audience` and sent to the credential's issuer, at `endpoint`. The
/// audience must be the issuer's own, or the ServiceAccount lists it in `allowed-audiences`, or the administrator of a `ClusterTokenIssuer`
/// lists it in `allowedParameters` as `aud`.
///
/// # Errors
/// If the ServiceAccount does not allow it.
pub fn may_use_account(
    credential: &Credential,
    endpoint: Option<&TokenEndpoint>,
    account: &str,
    annotations: Option<&BTreeMap<String, String>>,
    audience: &str,
) -> Result<(), Denial> {
    let issuer = &credential.issuer;
    let certificate = matches!(
        credential.authentication,
        super::AuthenticationMethod::Mtls(_)
    );
    let posted = endpoint.map(|e| e.posted(certificate).origin().ascii_serialization());
    for origin in std::iter::once(&issuer.origin).chain(&posted) {
        may_reach(issuer, origin, ("ServiceAccount", account), annotations)?;
    }
    let by_issuer = issuer
        .allowed_parameters
        .as_ref()
        .is_some_and(|allowed| limits::lists(allowed, "aud", audience));
    let by_account = annotations
        .and_then(|a| a.get(names::ALLOWED_AUDIENCES))
        .is_some_and(|list| list.split(',').any(|a| a.trim() == audience));
    if by_issuer || by_account || is_own_audience(credential, endpoint, audience) {
        return Ok(());
    }
    Err(Denial::Audience(format!(
        "ServiceAccount {account} does not allow tokens for the audience {audience:?}, which is not the issuer's own; its owner must set the annotation {}: {audience} on it",
        names::ALLOWED_AUDIENCES
    )))
}

/// Whether the issuer uses this audience for itself. A `TokenIssuer` of the namespace can use any name for itself, so for it only names below
/// its own origin count.
fn is_own_audience(
    credential: &Credential,
    endpoint: Option<&TokenEndpoint>,
    audience: &str,
) -> bool {
    let issuer = &credential.issuer;
    let place = match &issuer.endpoint {
        Endpoint::Fixed(url) | Endpoint::Discover(url) => Some(url.to_string()),
        Endpoint::Entra { .. } | Endpoint::Nowhere => None,
    };
    let written = issuer.places.issuer.clone();
    let mut own = vec![
        account_audience(credential, endpoint),
        issuer.origin.clone(),
    ];
    own.extend(place);
    own.extend(written);
    own.extend(endpoint.and_then(|e| e.issuer.clone()));
    own.extend(endpoint.map(|e| e.url.to_string()));
    let plain = |text: &str| text.strip_suffix('/').unwrap_or(text).to_owned();
    let below = |text: &str| {
        Url::parse(text).is_ok_and(|u| u.origin().ascii_serialization() == issuer.origin)
    };
    own.iter()
        .any(|o| plain(o) == plain(audience) && (issuer.vouched || below(o)))
}

/// Checks whether a token of a ServiceAccount may be requested for this audience. `api_audiences` are the known audiences that the cluster's
/// own API server accepts; common ones are always refused. This check is done before the request to the API server, and [`may_leave`] after it.
///
/// # Errors
/// If the API server itself accepts such a token, because its holder can sign in to the cluster.
pub fn may_request_audience(
    account: &str,
    audience: &str,
    api_audiences: &[String],
) -> Result<(), Denial> {
    if !is_api_server(audience) && !api_audiences.iter().any(|a| a == audience) {
        return Ok(());
    }
    Err(Denial::ServiceAccountToken(format!(
        "the audience {audience:?} is this cluster's own API: the holder of such a token can sign in to the cluster as ServiceAccount {account}; set serviceAccount.audience to the issuer's audience"
    )))
}

/// Checks whether this token of a ServiceAccount may be sent to an issuer. The API server decides the content of the token, so the `aud` claim
/// of the token is checked, not the audience that was requested. Every sender (operator and plugin) calls this for every token.
///
/// # Errors
/// If the API server itself accepts the token, or the token has no readable audience.
pub fn may_leave(account: &str, token: &str, api_audiences: &[String]) -> Result<(), Denial> {
    let audiences = oauth::audiences(token);
    if audiences.is_empty() {
        return Err(Denial::ServiceAccountToken(format!(
            "the token of ServiceAccount {account} has no readable audience and is not sent"
        )));
    }
    audiences
        .iter()
        .try_for_each(|audience| may_request_audience(account, audience, api_audiences))
}

/// Checks whether this text of a Secret may be sent to the credential's issuer. A token that an API server accepts may not, wherever it is
/// stored: a namespace has `kubernetes.io/service-account-token` Secrets next to client secrets, and a user who creates credentials could name
/// one as a subject token. With `allowed-issuers` the owner of the Secret has listed where it may be sent.
///
/// # Errors
/// If the text is such a token, and the owner of the Secret has not listed any issuer.
pub fn may_send_text(
    credential: &Credential,
    secret: &str,
    annotations: Option<&BTreeMap<String, String>>,
    text: &str,
    api_audiences: &[String],
) -> Result<(), Denial> {
    let limited = annotations.is_some_and(|a| a.contains_key(names::ALLOWED_ISSUERS));
    if limited || matches!(credential.issuer.endpoint, Endpoint::Nowhere) {
        return Ok(());
    }
    if !contains_api_token(text, api_audiences) {
        return Ok(());
    }
    Err(Denial::ServiceAccountToken(format!(
        "Secret {secret} contains a token of a ServiceAccount that an API server of Kubernetes accepts: its holder can sign in to the cluster; use a serviceAccount with the issuer's audience instead, or its owner sets the annotation {}: {} on the Secret",
        names::ALLOWED_ISSUERS,
        credential.issuer.origin
    )))
}

/// Whether such a token is anywhere in this text, or in base64 in it: users store tokens with their header, in JSON, with a note beside them, or
/// encoded.
fn contains_api_token(text: &str, api_audiences: &[String]) -> bool {
    let contains = |text: &str| contains_token(text, api_audiences);
    // Long lines are wrapped.
    let bare: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let bare = SecretString::from(bare);
    let is_encoded = |c: char| c.is_ascii_alphanumeric() || "+/-_".contains(c);
    let runs = [text, bare.expose_secret()].map(|text| text.split(|c| !is_encoded(c)));
    let mut runs = runs
        .into_iter()
        .flatten()
        .filter(|run| run.len() >= SHORTEST);
    contains(bare.expose_secret())
        || runs.any(|run| decoded(run).is_some_and(|text| contains(text.expose_secret())))
}

/// Length of a text that may contain a token in base64: the payload of a token that an API server accepts is longer.
const SHORTEST: usize = 16;

/// A text in base64, of either alphabet, with or without padding.
fn decoded(run: &str) -> Option<SecretString> {
    let run = SecretString::from(run.replace('-', "+").replace('_', "/"));
    let bytes = oauth::LENIENT_BASE64.decode(run.expose_secret()).ok()?;
    // What surrounds the token may be in another charset.
    Some(SecretString::from(
        String::from_utf8_lossy(&bytes).into_owned(),
    ))
}

/// Whether a token that the API server accepts is in a text without white space. A token has three parts with dots between them. Only the
/// payload is examined, so any text may be before the first part and after the last one.
fn contains_token(text: &str, api_audiences: &[String]) -> bool {
    let accepted = |audience: &String| is_api_server(audience) || api_audiences.contains(audience);
    let mut parts = text.split('.').peekable();
    // The first part is a header at most, and the last one a signature.
    parts.next();
    while let Some(payload) = parts.next() {
        if parts.peek().is_none() {
            return false;
        }
        let token = SecretString::from(format!(".{payload}."));
        let token = token.expose_secret();
        if oauth::is_legacy_account_token(token) || oauth::audiences(token).iter().any(accepted) {
            return true;
        }
    }
    false
}

/// Whether API servers usually accept this audience as their own. [`may_request_audience`] also compares the audiences of this cluster's own
/// server, which the operator reads from its own token.
pub(super) fn is_api_server(audience: &str) -> bool {
    let name = audience
        .trim_start_matches("https://")
        .trim_end_matches('/')
        .split(':')
        .next()
        .unwrap_or_default();
    name == "kubernetes"
        || name == "kubernetes.default"
        || name.starts_with("kubernetes.default.svc")
        || ["k3s", "rke2"].contains(&name)
        // Tokens of GKE and AKS contain the address of their server.
        || name.starts_with("container.googleapis.com/v1/projects/")
        || name.ends_with(".azmk8s.io")
}
