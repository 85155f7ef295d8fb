//! Gets a token: reads a client secret, makes the request, sends it, reads the answer. Pure but for the read and
//! the one exchange.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use secrecy::ExposeSecret;

use super::{
    calls::{Trouble, call},
    context::Context,
    gate::Permit,
    ids,
};
use crate::{
    credential::{Credential, binding},
    oauth::{self, AnswerContext, Class, Material, Refusal, Token, TokenEndpoint},
    plan::{Observed, Source, fingerprint},
    publish::{SourceMark, SourceUse},
};

/// A token and how it was come by.
pub(super) struct Acquired {
    pub(super) token: Arc<Token>,
    pub(super) sources: SourceUse,
    pub(super) fingerprint: String,
}

/// No token, and which secrets the issuer refused on the way.
pub(super) struct Failed {
    pub(super) refusal: Refusal,
    pub(super) refused: Vec<SourceMark>,
}

/// A client secret as it was read.
pub(super) struct Read {
    pub(super) mark: SourceMark,
    pub(super) material: Material,
    pub(super) fingerprint: String,
    /// The Secret's annotations, which say where it may go.
    annotations: Option<BTreeMap<String, String>>,
}

/// Asks the issuer, with one client secret after the other while it refuses them. `first` was read already.
pub(super) async fn acquire(
    context: &Arc<Context>,
    credential: &Credential,
    observed: &Observed,
    first: Option<Read>,
    permit: Permit,
) -> Result<Acquired, Failed> {
    let permit = Arc::new(permit);
    let mut refused: Vec<SourceMark> = Vec::new();
    let mut last = None;
    let endpoint = match endpoint(context, credential).await {
        Ok(endpoint) => endpoint,
        Err(refusal) => return Err(Failed { refusal, refused }),
    };
    let mut first = first;
    for source in candidates(observed) {
        let read = match first.take_if(|r| r.mark.is(&source.reference)) {
            Some(read) => Ok(read),
            None => read_source(context, credential, source).await,
        };
        let posted_to = endpoint.url.origin().ascii_serialization();
        let read = read.and_then(|read| {
            let (issuer, annotations) = (&credential.issuer, read.annotations.as_ref());
            match binding::may_post(issuer, &posted_to, &read.mark.name, annotations) {
                Ok(()) => Ok(read),
                Err(denial) => Err(Refusal::local(
                    Class::Invalid,
                    denial.reason(),
                    denial.message(),
                )),
            }
        });
        let Read {
            mark,
            material,
            fingerprint,
            ..
        } = match read {
            Ok(read) => read,
            Err(refusal) => {
                last = Some(refusal);
                continue;
            }
        };
        match exchange(
            context,
            credential,
            &endpoint,
            material,
            &fingerprint,
            &permit,
        )
        .await
        {
            Ok(token) => {
                // What was refused before, at versions that still stand, is noted on the Secret with it.
                let still = observed.memory.refused.iter().filter(|m| {
                    observed
                        .sources
                        .iter()
                        .any(|s| s.mark().as_ref() == Some(m))
                });
                let mut known: Vec<SourceMark> = still.filter(|m| **m != mark).cloned().collect();
                known.extend(refused.into_iter().filter(|m| *m != mark));
                known.dedup();
                return Ok(Acquired {
                    token,
                    sources: SourceUse {
                        used: mark,
                        refused: known,
                    },
                    fingerprint,
                });
            }
            Err(mut refusal) => {
                let next = refusal.about_client;
                if next {
                    // With several secrets a person must know which one is meant.
                    refusal.next_step.push_str(&format!(
                        "; it was key {} of Secret {}",
                        mark.key, mark.name
                    ));
                    refused.push(mark);
                }
                last = Some(refusal);
                if !next {
                    break;
                }
            }
        }
    }
    let refusal = last.unwrap_or_else(|| {
        Refusal::local(
            Class::Invalid,
            "ClientSecretMissing",
            "no client secret is there",
        )
    });
    Err(Failed { refusal, refused })
}

/// The secrets to try, in order. One that was refused stays out until it changes, unless all were.
fn candidates(observed: &Observed) -> Vec<&Source> {
    let present = || observed.sources.iter().filter(|s| s.present.is_some());
    let fresh: Vec<&Source> = present()
        .filter(|s| s.mark().is_some_and(|m| !observed.memory.has_refused(&m)))
        .collect();
    if fresh.is_empty() {
        present().collect()
    } else {
        fresh
    }
}

/// Reads a client secret and checks that it may go to this issuer.
pub(super) async fn read_source(
    context: &Context,
    credential: &Credential,
    source: &Source,
) -> Result<Read, Refusal> {
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &credential.namespace);
    let reference = &source.reference;
    let mut secret = call(&context.metrics, "get_secret", api.get(&reference.name)).await.map_err(|trouble| match trouble {
        Trouble::NotFound => Refusal::local(
            Class::Invalid,
            "ClientSecretMissing",
            format!("Secret {} does not exist; create it", reference.name),
        ),
        Trouble::Forbidden => Refusal::local(
            Class::Transient,
            "ClientSecretForbidden",
            format!("apicred may not read Secret {}; its role lacks get on secrets in this namespace", reference.name),
        ),
        _ => Refusal::local(Class::Transient, "KubernetesUnavailable", "the Kubernetes API did not answer; apicred tries again"),
    })?;
    binding::may_send(
        &credential.issuer,
        &reference.name,
        secret.metadata.annotations.as_ref(),
    )
    .map_err(|denial| Refusal::local(Class::Invalid, denial.reason(), denial.message()))?;
    let mut data: BTreeMap<_, _> = secret.data.take().unwrap_or_default();
    let bytes = data.remove(&reference.key).ok_or_else(|| {
        Refusal::local(
            Class::Invalid,
            "ClientSecretKeyMissing",
            // Which keys it has is not told: who may name a Secret may not be who may read it.
            format!(
                "Secret {} has no key {}; correct the key or add it",
                reference.name, reference.key
            ),
        )
    })?;
    let material = Material::from_secret_bytes(&bytes.0).map_err(|problem| {
        Refusal::local(
            Class::Invalid,
            "ClientSecretInvalid",
            format!(
                "key {} of Secret {} {problem}",
                reference.key, reference.name
            ),
        )
    })?;
    let key = context
        .digest_key
        .get(&context.metrics)
        .await
        .map_err(|_| {
            Refusal::local(
                Class::Transient,
                "KubernetesUnavailable",
                "the operator's digest key cannot be read; apicred tries again",
            )
        })?;
    let Material::Secret(text) = &material;
    let fingerprint = key.fingerprint(&fingerprint::request(credential), text.expose_secret());
    let mark = SourceMark {
        name: reference.name.clone(),
        key: reference.key.clone(),
        uid: secret.metadata.uid.unwrap_or_default(),
        version: secret.metadata.resource_version.unwrap_or_default(),
    };
    Ok(Read {
        mark,
        material,
        fingerprint,
        annotations: secret.metadata.annotations,
    })
}

async fn endpoint(context: &Context, credential: &Credential) -> Result<TokenEndpoint, Refusal> {
    match oauth::known_endpoint(credential) {
        Some(endpoint) => Ok(endpoint),
        None => {
            context
                .endpoints
                .discovered(&context.http, &credential.issuer, context.clock.as_ref())
                .await
        }
    }
}

/// One exchange, shared with whoever asks for the very same at this moment.
async fn exchange(
    context: &Arc<Context>,
    credential: &Credential,
    endpoint: &TokenEndpoint,
    material: Material,
    fingerprint: &str,
    permit: &Arc<Permit>,
) -> Result<Arc<Token>, Refusal> {
    let id = ids::uuid();
    let request = oauth::request(credential, endpoint, &material, &id);
    drop(material);
    let (world, issuer, permit) = (
        Arc::clone(context),
        credential.issuer.clone(),
        Arc::clone(permit),
    );
    let flight = async move {
        let _permit = permit;
        let (now, clock) = (world.clock.now(), Instant::now());
        // Rounded down: a life counted from a little earlier never promises too much.
        let sent = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now);
        let result = world.http.post(&issuer, request).await.and_then(|raw| {
            let answer = AnswerContext {
                sent,
                now: world.clock.now(),
                assumed_lifetime: issuer.assumed_lifetime,
            };
            oauth::answer(&raw, answer)
        });
        world.metrics.asked(
            result.as_ref().map_or_else(|r| r.class.as_str(), |_| "ok"),
            clock.elapsed(),
        );
        match result {
            Ok(mut token) => {
                token.correlation_id.get_or_insert(id);
                Ok(token)
            }
            Err(refusal) => {
                if let Some(pause) = pause(&refusal) {
                    let until = crate::plan::schedule::later(world.clock.now(), pause);
                    world.gate.pause(&issuer.id, until);
                }
                Err(refusal)
            }
        }
    };
    let key = (
        credential.namespace.clone(),
        fingerprint.to_owned(),
        credential.issuer.version.clone(),
    );
    context.flights.join(key, flight).await
}

/// How long everybody leaves an issuer alone after this answer.
fn pause(refusal: &Refusal) -> Option<jiff::SignedDuration> {
    let asked = refusal
        .retry_after
        .and_then(|d| jiff::SignedDuration::try_from(d).ok());
    match (refusal.class, asked) {
        (Class::Throttled, None) => Some(jiff::SignedDuration::from_secs(30)),
        (Class::Throttled | Class::Transient, asked) => asked,
        _ => None,
    }
}
