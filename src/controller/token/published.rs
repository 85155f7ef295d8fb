//! The token that apicred published, from the target Secret of its credential.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use secrecy::SecretString;

use super::digest_key::secret_digest;
use crate::controller::{
    api::calls::{ApiErrorKind, call},
    context::Context,
};
use crate::{
    credential::{Credential, binding::IssuedBy},
    publish::{ownership::examine, recover},
};

/// A published token.
pub(in crate::controller) struct PublishedToken {
    pub(in crate::controller) token: SecretString,
    pub(in crate::controller) expires_at: Timestamp,
    /// What issued the token. The spec may have changed since then.
    pub(in crate::controller) issued: IssuedBy,
}

/// Why the token is not available.
#[derive(Clone, Copy)]
pub(in crate::controller) enum NoToken {
    /// The Secret does not exist.
    NoSecret,
    /// The Secret cannot be read at the moment.
    Unreadable,
    /// The operator's digest key cannot be read at the moment.
    NoDigestKey,
    /// The Secret belongs to another credential or to none.
    NotOwned,
    /// The Secret does not record what issued the token.
    NoRecord,
    /// The token is a static key, which was not issued by an issuer.
    Static,
    /// No format in the Secret contains the token in plain text.
    NotPlain,
    /// Another writer replaced the token, or the operator lost the key for digests with which it was recorded.
    Replaced,
}

/// Reads the token of `credential`. Returns only the token that apicred published: the keys and the digest are those that were
/// recorded with it, independent of the current spec.
pub(in crate::controller) async fn published(
    context: &Context,
    credential: &Credential,
) -> Result<PublishedToken, NoToken> {
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &credential.namespace);
    let target = credential.target.name.as_str();
    let secret = call(&context.metrics, "get_secret", || api.get(target)).await;
    let secret = secret.map_err(|error_kind| match error_kind {
        ApiErrorKind::NotFound => NoToken::NoSecret,
        _ => NoToken::Unreadable,
    })?;
    let published = examine(&secret.metadata).published;
    let published = published.filter(|p| p.credential_uid == credential.uid);
    let published = published.ok_or(NoToken::NotOwned)?;
    let record = published.record.ok_or(NoToken::NoRecord)?;
    if record.is_static() {
        return Err(NoToken::Static);
    }
    let data = secret.data.unwrap_or_default();
    let token = recover(&data, &published.managed_keys.data);
    let token = token.ok_or(NoToken::NotPlain)?.secret;
    let digests = context.digest_key.get(&context.metrics).await;
    let digests = digests.map_err(|_| NoToken::NoDigestKey)?;
    if secret_digest(digests, &token) != record.token_digest {
        return Err(NoToken::Replaced);
    }
    Ok(PublishedToken {
        token,
        expires_at: record.token_end(),
        issued: IssuedBy {
            request: record.request,
            issuer: record.issuer,
        },
    })
}
