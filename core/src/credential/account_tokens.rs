//! Rules for tokens of ServiceAccounts, part of [`super::binding`]: for which audience one may be requested, and to whom it may be sent.

use std::collections::BTreeMap;

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

/// May a token of this ServiceAccount be sent to this issuer at all? [`may_use_account`] asks more: the audience, and where the token
/// endpoint is.
///
/// # Errors
/// When the ServiceAccount does not name the issuer.
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

/// May a token of this ServiceAccount be made for `audience` and sent to the credential's issuer? `endpoint` is where it
/// is sent. The audience is the issuer's own, or the ServiceAccount lists it in `allowed-audiences`, or the
/// administrator of a `ClusterTokenIssuer` lists it in `allowedParameters` as `aud`.
///
/// # Errors
/// When the ServiceAccount does not allow it.
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

/// Is it what the issuer calls itself? A `TokenIssuer` of the namespace can call itself anything, so there only names
/// below its own origin count.
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

/// May a token of a ServiceAccount be requested for this audience? `api_audiences` are the audiences that the cluster's
/// own API server accepts, as far as they are known; common ones are always refused. The check comes before the request
/// to the API server. [`may_leave`] comes after it.
///
/// # Errors
/// When the API server itself accepts such a token: its holder can sign in to the cluster.
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

/// May this token of a ServiceAccount be sent to an issuer? The API server decides what it puts into the token, so the
/// `aud` claim of the token is checked, not the audience that was requested. Every sender (operator and plugin) calls
/// this for every token.
///
/// # Errors
/// When the API server itself accepts the token, or when the token names no audience that can be read.
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

/// May this text of a Secret be sent to the credential's issuer? A token that an API server accepts may not, wherever it is
/// stored: `kubernetes.io/service-account-token` Secrets stand in a namespace beside client secrets, and whoever creates
/// credentials could name one as a subject token. With `allowed-issuers` its owner has said where it may go.
///
/// # Errors
/// When the text is such a token, and its owner has not named any issuer.
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
    // Some store the header with the token.
    let token = text.rsplit(' ').next().unwrap_or(text);
    let accepted = |audience: &String| is_api_server(audience) || api_audiences.contains(audience);
    if !oauth::is_legacy_account_token(token) && !oauth::audiences(token).iter().any(accepted) {
        return Ok(());
    }
    Err(Denial::ServiceAccountToken(format!(
        "Secret {secret} contains a token of a ServiceAccount that an API server of Kubernetes accepts: its holder can sign in to the cluster; use a serviceAccount with the issuer's audience instead, or its owner sets the annotation {}: {} on the Secret",
        names::ALLOWED_ISSUERS,
        credential.issuer.origin
    )))
}

/// Is this an audience that API servers usually accept as their own? [`may_request_audience`] also compares the
/// audiences of this cluster's own server, which the operator reads in its own token.
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
        // Tokens of GKE and AKS name their server by its address.
        || name.starts_with("container.googleapis.com/v1/projects/")
        || name.ends_with(".azmk8s.io")
}
