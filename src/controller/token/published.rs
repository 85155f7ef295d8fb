//! The token that apicred published, out of the target Secret of its credential.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use secrecy::SecretString;

use super::digest_key::secret_digest;
use crate::controller::{
    api::calls::{Trouble, call},
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
    /// What issued it. The spec may have changed since.
    pub(in crate::controller) issued: IssuedBy,
}

/// Why it cannot be had.
#[derive(Clone, Copy)]
pub(in crate::controller) enum NoToken {
    /// There is no Secret.
    NoSecret,
    /// The Secret cannot be read now.
    Unreadable,
    /// The operator's digest key cannot be read now.
    NoDigestKey,
    /// The Secret belongs to another credential, or to none.
    NotOwned,
    /// The Secret does not say what issued the token.
    NoRecord,
    /// A static key, which no issuer issued.
    Static,
    /// No format of the Secret shows the plain token.
    NotPlain,
    /// Somebody has replaced the token.
    Replaced,
}

/// Reads the token of `credential`. Only the one that apicred published: the keys and the digest are those that were noted with
/// it, whatever the spec says now.
pub(in crate::controller) async fn published(
    context: &Context,
    credential: &Credential,
) -> Result<PublishedToken, NoToken> {
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &credential.namespace);
    let target = credential.target.name.as_str();
    let secret = call(&context.metrics, "get_secret", || api.get(target)).await;
    let secret = secret.map_err(|trouble| match trouble {
        Trouble::NotFound => NoToken::NoSecret,
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
        expires_at: record.expires_at,
        issued: IssuedBy {
            request: record.request,
            issuer: record.issuer,
        },
    })
}
