//! Revokes the token of a credential that was deleted and asked for it. Tried once, bounded, after the deletion:
//! no finalizer, so deletion never waits, and an operator that is down at that moment revokes nothing.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use secrecy::SecretString;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{
    acquire,
    calls::call,
    context::{Context, Revocable, key_of},
    execute::is_gone,
    ids,
    lanes::Lanes,
    materials::{self, denied},
    write::secret_digest,
};
use crate::{
    api::{ApiCredential, IssuerRef},
    credential::{
        Credential, Endpoint, FieldError,
        binding::{self, IssuedBy},
        parse,
    },
    oauth::{Class, Grant, LifetimeSource, Moment, Refusal, Revoked, TokenEndpoint, revocation},
    plan::fingerprint,
    publish::{ownership::examine, recover},
};

/// Revocations under way at once: a deleted namespace may bring thousands.
const AT_ONCE: usize = 16;
/// Of these, of one namespace: its issuer may never answer.
const IN_A_LANE: usize = 4;
/// A revocation that has waited for so long for its turn is given up: behind an endpoint that never answers, thousands would
/// wait for hours, with their tokens, and be lost at the next restart anyway.
const BACKLOG: Duration = Duration::from_mins(10);
/// So many wait at once; what exceeds it is given up.
const WAITING: usize = 2_000;
/// One revocation with all its reads.
const DEADLINE: Duration = Duration::from_secs(30);

/// A credential that is gone, and its token if this process still has it.
pub(super) struct Gone {
    pub(super) object: ApiCredential,
    /// Has the watch shown the deletion? If not, a list did not name the object.
    pub(super) seen: bool,
    pub(super) token: Option<Revocable>,
}

/// Revokes for those who are gone, for ever.
pub(super) async fn run(context: Arc<Context>, gone: mpsc::UnboundedReceiver<Gone>) {
    let lanes = Lanes::new(AT_ONCE, IN_A_LANE);
    let room = Arc::new(Semaphore::new(WAITING));
    UnboundedReceiverStream::new(gone)
        .for_each_concurrent(None, |gone| {
            let (context, lanes) = (Arc::clone(&context), lanes.clone());
            let room = Arc::clone(&room).try_acquire_owned();
            async move {
                let key = key_of(&gone.object);
                let turn = async {
                    let room = room.ok()?;
                    let turn = tokio::time::timeout(BACKLOG, lanes.turn(&key.namespace)).await;
                    Some((turn.ok()?, room))
                };
                let Some(_turn) = turn.await else {
                    tracing::warn!(
                        namespace = key.namespace,
                        credential = key.name,
                        "token not revoked: too many wait for their turn; it ends by itself"
                    );
                    context.metrics.revoked("given_up");
                    return;
                };
                // Boxed: those who wait need not have the room for it.
                let work = Box::pin(revoke(&context, &gone));
                let done = tokio::time::timeout(DEADLINE, work).await;
                let result = match &done {
                    Ok(Ok(())) => {
                        tracing::info!(
                            namespace = key.namespace,
                            credential = key.name,
                            "token revoked"
                        );
                        "ok"
                    }
                    Ok(Err(why)) => {
                        tracing::warn!(
                            namespace = key.namespace,
                            credential = key.name,
                            "token not revoked: {why}"
                        );
                        "failed"
                    }
                    Err(_) => {
                        tracing::warn!(
                            namespace = key.namespace,
                            credential = key.name,
                            "token not revoked: it took too long"
                        );
                        "timeout"
                    }
                };
                context.metrics.revoked(result);
            }
        })
        .await;
}

async fn revoke(context: &Arc<Context>, gone: &Gone) -> Result<(), String> {
    let key = key_of(&gone.object);
    if !gone.seen {
        // A token that is revoked cannot be had back, and a list may be wrong.
        let uid = gone.object.metadata.uid.as_deref().unwrap_or_default();
        match is_gone(context, uid, &key).await {
            Ok(true) => {}
            Ok(false) => return Err("the credential exists".to_owned()),
            Err(_) => return Err("the API server did not confirm the deletion".to_owned()),
        }
    }
    let namespace = key.namespace;
    let lookup = |r: &IssuerRef| context.issuer(&namespace, r);
    let credential = parse(&gone.object, lookup).map_err(|faults| FieldError::join(&faults))?;
    attempt(context, &credential, gone.token.as_ref())
        .await
        .map_err(|refusal| refusal.message())
}

async fn attempt(
    context: &Arc<Context>,
    credential: &Credential,
    known: Option<&Revocable>,
) -> Result<(), Refusal> {
    let fault = |text: &str| Refusal::local(Class::Invalid, "RevocationFailed", text);
    if matches!(credential.issuer.endpoint, Endpoint::Nowhere) {
        return Err(fault("a static key is revoked where it was made"));
    }
    // An issuer that does not serve this namespace gets no secret of it, not even to end a token.
    super::observe::permission(context, credential)
        .0
        .map_err(|denial| Refusal::local(Class::Invalid, denial.reason(), denial.message()))?;
    let endpoint = acquire::endpoint(context, credential).await?;
    let Some(url) = endpoint.revocation.clone() else {
        return Err(fault("the issuer names no revocation endpoint"));
    };
    let now = IssuedBy {
        request: fingerprint::request(credential),
        issuer: binding::issuer_mark(credential, &endpoint),
    };
    let place = TokenEndpoint {
        url,
        mtls_url: None,
        ..endpoint.clone()
    };
    let proofs = super::observe::sources(context, credential);
    let present = proofs.iter().find(|s| s.present.is_some());
    let mut read = materials::read(context, credential, present).await?;
    read.may_post(credential, &endpoint)?;
    read.may_post(credential, &place)?;
    let (token, kind) = if let (Grant::RefreshToken(_), Some(refresh_token)) =
        (&credential.grant, read.supplies.first())
    {
        let issued = read.issued(&now.request);
        binding::may_return(issued.as_ref(), &now, &place.url).map_err(|d| denied(&d))?;
        (refresh_token.clone(), Revoked::RefreshToken)
    } else {
        let (token, issued) = match known {
            Some(known) => (known.token.secret.clone(), Some(known.issued.clone())),
            None => from_secret(context, credential).await?,
        };
        binding::may_return(issued.as_ref(), &now, &place.url).map_err(|d| denied(&d))?;
        (token, Revoked::AccessToken)
    };
    read.complete(context, credential, Some(&place)).await?;
    let (id, assertion) = (ids::uuid(), ids::uuid());
    let moment = Moment {
        now: context.clock.now(),
        request_id: &id,
        assertion_id: &assertion,
    };
    let request = revocation(credential, &place, &read.material, (&token, kind), moment)?;
    if !context.may_act() {
        return Err(fault("this process does not lead any more"));
    }
    let answer = context.http.send(&credential.issuer, request).await?;
    if (200..=299).contains(&answer.status) {
        Ok(())
    } else {
        Err(Refusal {
            http_status: Some(answer.status),
            ..fault("the issuer does not revoke it; it ends by itself")
        })
    }
}

/// The token out of its Secret, and what issued it, if garbage collection was not faster. Only the token that apicred
/// published: the keys and the digest are those that were noted with it, whatever the spec says now.
async fn from_secret(
    context: &Context,
    credential: &Credential,
) -> Result<(SecretString, Option<IssuedBy>), Refusal> {
    let fault = |text: &str| Refusal::local(Class::Invalid, "RevocationFailed", text);
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &credential.namespace);
    let secret = call(&context.metrics, "get_secret", || {
        api.get(&credential.target.name)
    })
    .await
    .map_err(|_| fault("its Secret was gone before it could be read"))?;
    let published = examine(&secret.metadata)
        .published
        .filter(|p| p.credential_uid == credential.uid)
        .ok_or_else(|| fault("its Secret belongs to somebody else by now"))?;
    let record = published
        .record
        .ok_or_else(|| fault("its Secret does not say what issued the token"))?;
    if record.lifetime == LifetimeSource::Static.as_str() {
        return Err(fault(
            "its Secret holds a static key, which no issuer issued",
        ));
    }
    let token = recover(&secret.data.unwrap_or_default(), &published.dress_keys.data)
        .ok_or_else(|| fault("its Secret shows no plain token"))?
        .secret;
    let digests = context
        .digest_key
        .get(&context.metrics)
        .await
        .map_err(|_| fault("the operator's digest key cannot be read"))?;
    if secret_digest(digests, &token) != record.token_digest {
        return Err(fault(
            "its Secret holds another token than the one that was published",
        ));
    }
    let issued = IssuedBy {
        request: record.request,
        issuer: record.issuer,
    };
    Ok((token, Some(issued)))
}
