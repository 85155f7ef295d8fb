//! Revokes the token of a credential that was deleted and asked for it. Tried once, bounded, after the deletion:
//! no finalizer, so deletion never waits, and an operator that is down at that moment revokes nothing.

use crate::Reason;
use std::{future::Future, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{
    acquire,
    denied::denied,
    digest_key::secret_digest,
    material::{self},
};
use crate::controller::{
    api::{
        calls::call,
        existence::{is_gone, uid_of_name},
        ids,
    },
    context::Context,
    limiter::namespaces::NamespaceLimiter,
    lookup::{permission, sources},
    requeue::key_of,
    state::{Gone, Revocable},
};
use crate::{
    api::IssuerRef,
    credential::{
        Credential, Endpoint, FieldError, Key, Proof,
        binding::{self, IssuedBy},
        parse,
    },
    oauth::{Class, Grant, Moment, Refusal, Revoked, TokenEndpoint, revocation},
    plan::fingerprint,
    publish::{ownership::examine, recover},
};

/// Revocations under way at once: a deleted namespace may bring thousands.
const AT_ONCE: usize = 16;
/// Of these, of one namespace: its issuer may never answer.
const IN_A_NAMESPACE: usize = 4;
/// A revocation that has waited for so long for its turn is given up: behind an endpoint that never answers, thousands would
/// wait for hours, with their tokens, and be lost at the next restart anyway.
const BACKLOG: Duration = Duration::from_mins(10);
/// So many wait at once; what exceeds it is given up.
const WAITING: usize = 2_000;
/// Of these, of one namespace: it holds up nobody but itself.
const WAITING_IN_A_NAMESPACE: usize = 500;
/// One revocation with all its reads.
const DEADLINE: Duration = Duration::from_secs(30);

/// Revokes for those who are gone, for ever.
pub(in crate::controller) async fn run(context: Arc<Context>, gone: mpsc::UnboundedReceiver<Gone>) {
    let gone = UnboundedReceiverStream::new(gone).map(|gone| (key_of(&gone.object), gone));
    let revoke = |gone: Gone| {
        let context = Arc::clone(&context);
        async move { revoke(&context, &gone).await }
    };
    in_turn(gone, revoke, |key, end| tell(&context, key, end)).await;
}

/// How the work for one of them ended.
#[derive(Clone, Debug, Eq, PartialEq)]
enum End {
    Done,
    Failed(String),
    TookTooLong,
    /// Its turn did not come.
    GivenUp,
}

fn tell(context: &Context, key: &Key, end: &End) {
    let (namespace, credential) = (&key.namespace, &key.name);
    let (result, why) = match end {
        End::Done => {
            tracing::info!(namespace, credential, "token revoked");
            return context.metrics.revoked("ok");
        }
        End::Failed(why) => ("failed", why.as_str()),
        End::TookTooLong => ("timeout", "it took too long"),
        End::GivenUp => (
            "given_up",
            "too many wait for their turn; it ends by itself",
        ),
    };
    tracing::warn!(namespace, credential, "token not revoked: {why}");
    context.metrics.revoked(result);
}

/// Does the work for each when its turn comes. No more wait, and none waits longer, than is of use.
async fn in_turn<G, F>(
    gone: impl Stream<Item = (Key, G)>,
    work: impl Fn(G) -> F,
    tell: impl Fn(&Key, &End),
) where
    F: Future<Output = Result<(), String>>,
{
    let limiter = NamespaceLimiter::new(AT_ONCE, IN_A_NAMESPACE);
    let waiting = NamespaceLimiter::new(WAITING, WAITING_IN_A_NAMESPACE);
    gone.for_each_concurrent(None, |(key, gone)| {
        let (limiter, work, tell) = (limiter.clone(), &work, &tell);
        let place = waiting.try_acquire(&key.namespace);
        async move {
            let permit = async {
                let place = place?;
                let permit = tokio::time::timeout(BACKLOG, limiter.acquire(&key.namespace)).await;
                Some((permit.ok()?, place))
            };
            let Some(_permit) = permit.await else {
                drop(gone);
                return tell(&key, &End::GivenUp);
            };
            // Boxed: those who wait need not have the room for it.
            let work = Box::pin(work(gone));
            let end = match tokio::time::timeout(DEADLINE, work).await {
                Ok(Ok(())) => End::Done,
                Ok(Err(why)) => End::Failed(why),
                Err(_) => End::TookTooLong,
            };
            tell(&key, &end);
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
    let fault = |text: &str| Refusal::local(Class::Invalid, Reason::RevocationFailed, text);
    if matches!(credential.issuer.endpoint, Endpoint::Nowhere) {
        return Err(fault("a static key is revoked where it was made"));
    }
    // An issuer that does not serve this namespace gets no secret of it, not even to end a token.
    permission(context, credential)
        .0
        .map_err(|denial| Refusal::local(Class::Invalid, denial.reason(), denial.message()))?;
    let endpoint = acquire::endpoint(context, credential).await?;
    let certificate = matches!(credential.proof, Proof::Mtls(_));
    let Some(url) = endpoint.revoked_at(certificate).cloned() else {
        return Err(fault(
            "the issuer names no revocation endpoint; set oauth2.revocationUrl (or oidc.revocationUrl) on it if it has one",
        ));
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
    let proofs = sources(context, credential);
    let present = proofs.iter().find(|s| s.present.is_some());
    let mut read = material::read(context, credential, present).await?;
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
    if kind == Revoked::RefreshToken {
        is_unused(context, credential).await?;
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

/// Is the refresh token without a user? A credential that was replaced (`kubectl replace --force`, a GitOps tool) has a
/// successor of its name, which goes on with the same sign-in.
async fn is_unused(context: &Context, credential: &Credential) -> Result<(), Refusal> {
    let why = match uid_of_name(context, &credential.key()).await {
        Ok(None) => return Ok(()),
        Ok(Some(_)) => "a credential of this name exists again, and uses the refresh token",
        Err(_) => "the API server did not confirm that no credential uses the refresh token",
    };
    Err(Refusal::local(
        Class::Invalid,
        Reason::RevocationFailed,
        why,
    ))
}

/// The token out of its Secret, and what issued it, if garbage collection was not faster. Only the token that apicred
/// published: the keys and the digest are those that were noted with it, whatever the spec says now.
async fn from_secret(
    context: &Context,
    credential: &Credential,
) -> Result<(SecretString, Option<IssuedBy>), Refusal> {
    let fault = |text: &str| Refusal::local(Class::Invalid, Reason::RevocationFailed, text);
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
    if record.is_static() {
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

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use futures::stream;
    use tokio::time::Instant;

    use super::*;

    /// A deleted object, counted while it is held.
    struct Counted(Arc<AtomicUsize>);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Deletions in the order of their namespaces, behind endpoints of which only that of `well` answers. Gives how they
    /// ended by namespace, after how long, and how many objects were held once all had been seen.
    async fn deletions(
        of: &[(&str, usize)],
        well: &'static str,
    ) -> (BTreeMap<(String, String), usize>, Duration, usize) {
        let began = Instant::now();
        let held = Arc::<AtomicUsize>::default();
        let all = of.iter().flat_map(|(namespace, count)| {
            (0..*count).map(|n| Key {
                namespace: (*namespace).to_owned(),
                name: n.to_string(),
            })
        });
        let gone: Vec<_> = all
            .map(|key| {
                held.fetch_add(1, Ordering::SeqCst);
                let answers = key.namespace == well;
                (key, (answers, Counted(Arc::clone(&held))))
            })
            .collect();
        let ends = std::sync::Mutex::new(BTreeMap::new());
        let work = async |(answers, _object): (bool, Counted)| {
            if answers {
                return Ok(());
            }
            std::future::pending().await
        };
        let tell = |key: &Key, end: &End| {
            let end = (key.namespace.clone(), format!("{end:?}"));
            *ends.lock().unwrap().entry(end).or_insert(0) += 1;
        };
        let waits = in_turn(stream::iter(gone), work, tell);
        let mut waits = std::pin::pin!(waits);
        assert!(
            tokio::time::timeout(Duration::from_secs(1), &mut waits)
                .await
                .is_err()
        );
        let most = held.load(Ordering::SeqCst);
        waits.await;
        assert_eq!(held.load(Ordering::SeqCst), 0, "nothing is kept");
        let ends = std::mem::take(&mut *ends.lock().unwrap());
        (ends, began.elapsed(), most)
    }

    fn count(ends: &BTreeMap<(String, String), usize>, namespace: &str, end: &End) -> usize {
        let end = (namespace.to_owned(), format!("{end:?}"));
        ends.get(&end).copied().unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_deletions_behind_a_silent_endpoint_end_within_minutes() {
        let (ends, took, most) = deletions(&[("a", 10_000)], "").await;
        assert!(
            most <= WAITING_IN_A_NAMESPACE,
            "{most} deleted objects are held"
        );
        assert!(took <= BACKLOG + DEADLINE, "{took:?}");
        let tried = count(&ends, "a", &End::TookTooLong);
        // In each half minute as many as a namespace may have.
        assert!((80..=84).contains(&tried), "{ends:?}");
        assert_eq!(count(&ends, "a", &End::GivenUp), 10_000 - tried);
    }

    #[tokio::test(start_paused = true)]
    async fn a_backlog_of_one_namespace_takes_nobody_elses_turn() {
        let (ends, _, _) = deletions(&[("a", 3_000), ("b", 3_000), ("c", 40)], "c").await;
        assert_eq!(count(&ends, "c", &End::Done), 40, "{ends:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn many_namespaces_at_once_hold_no_more_than_there_is_room_for() {
        let names: Vec<String> = (0..20).map(|n| format!("n{n}")).collect();
        let of: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 400)).collect();
        let (ends, took, most) = deletions(&of, "").await;
        assert!(most <= WAITING, "{most} deleted objects are held");
        assert!(took <= BACKLOG + DEADLINE, "{took:?}");
        assert_eq!(ends.values().sum::<usize>(), 8_000);
    }
}
