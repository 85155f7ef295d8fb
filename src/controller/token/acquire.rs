//! Obtains a token: reads the inputs, builds the request, sends it, reads the answer. Pure, except the reads and the one request.

use crate::Reason;
use std::sync::Arc;

use jiff::Timestamp;

use super::{
    exchange::{Acquired, acquired, exchange, is_silence},
    hint::Hint,
    hint_event::report,
    material::{self, Read},
    refresh::{self, Published, Refresh, Unsaved},
};
use crate::controller::{context::Context, limiter::issuers::Permit};
use crate::{
    credential::{Credential, Key, binding},
    oauth::{
        self, Class, Grant, LifetimeSource, Note, Refusal, Stage, Token, TokenEndpoint, discovery,
    },
    plan::{self, Choice, Observed, Source, fingerprint, journal::Ids},
    publish::{ENDLESS, RefusedSource, SourceMark},
};

/// Asks the issuer, with one client secret after the other while it refuses them. `first` was read already. `refused`
/// receives what did not work on the way, whatever comes of it.
pub(in crate::controller) async fn acquire(
    context: &Arc<Context>,
    credential: &Credential,
    key: &Key,
    observed: &Observed,
    first: Option<Read>,
    permit: Permit,
    refused: &mut Vec<RefusedSource>,
) -> Result<Acquired, Refusal> {
    let permit = Arc::new(permit);
    // What exists only in memory is stored before anything else is tried, whatever the spec says by now.
    let mut first = first;
    match refresh::store_unsaved(context, credential, key).await {
        Unsaved::Nothing => {}
        Unsaved::Settled => first = None,
        Unsaved::Came(result) => return *result,
    }
    if let Some(fixed) = &credential.static_key {
        let read = match first {
            Some(read) => read,
            None => material::read(context, credential, None).await?,
        };
        let token = static_token(&fixed.scheme, &read, context.clock.now())?;
        return Ok(acquired(
            Arc::new(token),
            read.used,
            read.with,
            read.fingerprint,
        ));
    }
    let endpoint = endpoint(context, credential).await;
    let endpoint = endpoint.inspect_err(|refusal| {
        if is_silence(refusal) {
            context.limiter.unanswered(credential);
        }
    })?;
    let not_working = |mark: SourceMark, refusal: &Refusal, fingerprint: Option<String>| {
        if observed.sources.len() > 1 {
            // The condition that reports it has no ids.
            let ids = Some(Box::new(Ids::from(refusal)));
            context.with_state(key, &credential.uid, |s| s.refused = ids);
        }
        let now = context.clock.now();
        RefusedSource {
            mark,
            asked: fingerprint::request(credential),
            since: now,
            at: now,
            reason: refusal.reason.into(),
            by_issuer: refusal.http_status.is_some(),
            not_before: refusal.retry_at.filter(|_| refusal.about_client),
            fingerprint,
        }
    };
    let mut last = None;
    for Choice { source, trial } in plan::candidates(credential, observed, context.clock.now()) {
        let matches = |read: &mut Read| match (&read.used, source) {
            (Some(mark), Some(source)) => mark.is(&source.reference),
            (None, None) => true,
            _ => false,
        };
        let read = match first.take_if(matches) {
            Some(read) => Ok(read),
            None => material::read(context, credential, source).await,
        };
        let checked = read.and_then(|read| read.may_post(credential, &endpoint).map(|()| read));
        let read = match checked {
            Ok(read) => read,
            Err(refusal) => {
                let choice = observed.sources.len() > 1 && refusal.class == Class::Invalid;
                if let (Some(mark), true) = (source.and_then(Source::mark), choice) {
                    refused.push(not_working(mark, &refusal, None));
                }
                last = Some((refusal, Vec::new()));
                continue;
            }
        };
        let (used, with) = (read.used.clone(), read.with.clone());
        let odd = read.material.odd(&credential.client_id);
        let odd = odd.zip(used.clone());
        let odd = odd.map(|(form, mark)| Hint::of_client(mark, form));
        let supplied = oauth::odd_supply(&credential.grant, &read.supplies);
        let supplied =
            supplied.and_then(|odd| Some(Hint::of_grant(with.get(odd.place)?.clone(), odd)));
        let content = read.fingerprint.clone();
        let published = Published::of(observed.record());
        match one(
            context,
            (credential, key),
            &endpoint,
            read,
            &permit,
            published,
        )
        .await
        {
            Ok(acquired) => return Ok(acquired),
            Err(mut refusal) => {
                // Servers answer a wrong secret in many ways. Neither a password nor a refresh token is sent once more
                // because of a guess.
                let guess = trial
                    && refusal.http_status.is_some()
                    && matches!(refusal.class, Class::Denied | Class::Invalid)
                    && !refusal.until_change
                    && !matches!(credential.grant, Grant::RefreshToken(_));
                let next = refusal.about_client || guess;
                if let (true, Some(mark)) = (next, &used) {
                    // With several secrets, the user must know which one is meant.
                    let entry = credential.proof.entry(&mark.name, &mark.key);
                    refusal.next_step.note(Note::Used(entry));
                    refused.push(not_working(mark.clone(), &refusal, Some(content)));
                }
                if next && observed.sources.len() > 1 {
                    // This entry waits for its time; the other ones do not.
                    refusal.retry_at = None;
                }
                let odd = if refusal.about_client {
                    odd
                } else {
                    supplied.filter(|_| blames_grant(&refusal))
                };
                if let Some(hint) = odd {
                    let told = report(context, &credential.namespace, &hint);
                    Box::pin(told).await;
                    let secret = hint.mark.name;
                    refusal.next_step.note(Note::UnexpectedForm(secret));
                }
                last = Some((refusal, with));
                if !next {
                    break;
                }
            }
        }
    }
    let Some((refusal, with)) = last else {
        return Err(Refusal::local(
            Class::Invalid,
            Reason::ClientSecretMissing,
            "no Secret that spec.client names exists; create one",
        ));
    };
    if refusal.until_change {
        refused.extend(with.into_iter().map(|m| not_working(m, &refusal, None)));
    }
    Err(Box::pin(unless_moved(context, credential, &endpoint, refusal)).await)
}

/// True if the issuer probably refuses the input of the grant.
fn blames_grant(refusal: &Refusal) -> bool {
    let refused = matches!(refusal.class, Class::Denied | Class::NeedsUser)
        || refusal.error.as_deref() == Some("invalid_request");
    refused && refusal.stage == Stage::Answered && refusal.http_status.is_some()
}

/// A document whose endpoint proves wrong is read again. If it now names another one, the next attempt is soon.
async fn unless_moved(
    context: &Context,
    credential: &Credential,
    asked: &TokenEndpoint,
    refusal: Refusal,
) -> Refusal {
    let lasting = refusal.until_change || refusal.retry_at.is_some();
    let doubted = context.discovery.is_doubted(&credential.issuer.id);
    if lasting || !doubted || !discovery::disproves(&refusal) {
        return refusal;
    }
    match endpoint(context, credential).await {
        Ok(now) if (&now.url, &now.mtls_url) != (&asked.url, &asked.mtls_url) => Refusal {
            class: Class::Transient,
            next_step: "the discovery document of the issuer now names another token endpoint; apicred uses it for the next request".into(),
            ..refusal
        },
        _ => refusal,
    }
}

/// One try with what was read.
async fn one(
    context: &Arc<Context>,
    (credential, key): (&Credential, &Key),
    endpoint: &TokenEndpoint,
    mut read: Read,
    permit: &Arc<Permit>,
    published: Published,
) -> Result<Acquired, Refusal> {
    let ends = read.material.ends();
    let now = context.clock.now();
    let late = || oauth::expired_assertion(credential, &read.material, now);
    if let Some(refusal) = ends.and_then(|v| oauth::outside(v, now)).or_else(late) {
        return Err(refusal);
    }
    read.complete(context, credential, Some(endpoint)).await?;
    let result = if let Some(state) = read.state.take() {
        let refresh = Refresh {
            context: Arc::clone(context),
            credential: credential.clone(),
            key: key.clone(),
            endpoint: endpoint.clone(),
            state,
            published,
        };
        refresh.spawn(read, Arc::clone(permit)).await
    } else {
        let (used, with, fingerprint) = (read.used, read.with, read.fingerprint);
        let parts = (read.material, read.supplies);
        exchange(context, credential, endpoint, parts, &fingerprint, permit)
            .await
            .map(|token| acquired(token, used, with, fingerprint))
    };
    result.map(|mut acquired| {
        acquired.proof = ends;
        acquired.issuer = binding::issuer_mark(credential, endpoint);
        acquired
    })
}

/// A static key as a token.
fn static_token(scheme: &str, read: &Read, now: Timestamp) -> Result<Token, Refusal> {
    let secret = read.supplies.first().cloned().ok_or_else(|| {
        Refusal::local(
            Class::Invalid,
            Reason::SourceMissing,
            "the static key was not read; check the Secret that spec.static names",
        )
    })?;
    let issued_at = crate::whole_second(now);
    Ok(Token {
        secret,
        refresh_token: None,
        instance_url: None,
        answer: std::collections::BTreeMap::new(),
        claims: None,
        token_type: scheme.to_owned(),
        issued_at,
        expires_at: ENDLESS,
        lifetime_source: LifetimeSource::Static,
        refresh_in: None,
        scope: None,
        id: None,
        correlation_id: None,
    })
}

pub(in crate::controller) async fn endpoint(
    context: &Context,
    credential: &Credential,
) -> Result<TokenEndpoint, Refusal> {
    match oauth::known_endpoint(credential) {
        Some(endpoint) => Ok(endpoint),
        None => {
            context
                .discovery
                .discovered(&context.http, &credential.issuer, context.clock.as_ref())
                .await
        }
    }
}
