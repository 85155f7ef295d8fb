//! Gets a token: reads what the request needs, makes it, sends it, reads the answer. Pure but for the reads and the
//! one exchange.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;

use super::{
    hint::{self, Hint},
    identity,
    material::{self, Read},
    refresh::{self, Published, Refresh, Unsaved},
};
use crate::controller::{api::ids, context::Context, limiter::issuers::Permit};
use crate::{
    credential::{Credential, Key, Lent, Proof, binding},
    http::Manner,
    oauth::{
        self, Class, Grant, Granted, LifetimeSource, Local, Material, Moment, RawAnswer, Refusal,
        SentSecrets, Stage, Token, TokenEndpoint, TokenRequest, Validity, discovery,
        grant::JwtBearer,
    },
    plan::{self, Choice, Observed, Source, fingerprint, journal::Ids},
    publish::{RefusedSource, SourceMark, SourceUse},
};

/// How long a static key is published for before it is looked at again.
const STATIC_LIFE: SignedDuration = SignedDuration::from_hours(24 * 366);

/// A token and how it was come by.
pub(in crate::controller) struct Acquired {
    pub(in crate::controller) token: Arc<Token>,
    pub(in crate::controller) sources: SourceUse,
    pub(in crate::controller) fingerprint: String,
    /// The time of the certificate that proved the client.
    pub(in crate::controller) proof: Option<Validity>,
    /// The issuer, as it is noted with the token; empty for a static key.
    pub(in crate::controller) issuer: String,
    /// Digests of spent refresh tokens, to be noted on the target Secret.
    pub(in crate::controller) spent: Option<String>,
}

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
    if let Grant::Static(fixed) = &credential.grant {
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
            // The condition that tells of it knows no ids.
            let ids = Some(Box::new(Ids::from(refusal)));
            context.with_state(key, &credential.uid, |s| s.refused = ids);
        }
        let now = context.clock.now();
        RefusedSource {
            mark,
            asked: fingerprint::request(credential),
            since: now,
            at: now,
            reason: refusal.reason.to_owned(),
            by_issuer: refusal.http_status.is_some(),
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
                    // With several secrets a person must know which one is meant.
                    refusal.next_step.push_str(&format!(
                        "; it was key {} of Secret {}",
                        mark.key, mark.name
                    ));
                    refused.push(not_working(mark.clone(), &refusal, Some(content)));
                }
                let odd = if refusal.about_client {
                    odd
                } else {
                    supplied.filter(|_| blames_grant(&refusal))
                };
                if let Some(hint) = odd {
                    let told = hint::report(context, &credential.namespace, &hint);
                    Box::pin(told).await;
                    refusal.next_step.push_str(&format!(
                        "; what is stored has an odd form, which the events of Secret {} and the operator's log describe",
                        hint.mark.name
                    ));
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
            "ClientSecretMissing",
            "no client secret exists; create a Secret that spec.client.secretRefs names",
        ));
    };
    if refusal.until_change {
        refused.extend(with.into_iter().map(|m| not_working(m, &refusal, None)));
    }
    Err(Box::pin(unless_moved(context, credential, &endpoint, refusal)).await)
}

/// Does the issuer refuse what the grant sends, as far as can be told?
fn blames_grant(refusal: &Refusal) -> bool {
    let refused = matches!(refusal.class, Class::Denied | Class::NeedsUser)
        || refusal.error.as_deref() == Some("invalid_request");
    refused && refusal.stage == Stage::Answered && refusal.http_status.is_some()
}

/// A document whose endpoint proves wrong is read again. If it names another one by now, the next try is soon.
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
            next_step: "the discovery document of the issuer names another token endpoint by now; apicred asks there next".to_owned(),
            ..refusal
        },
        _ => refusal,
    }
}

fn acquired(
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
        proof: None,
        issuer: String::new(),
        spent: None,
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
    if let Some(validity) = ends.filter(|v| v.until <= now || v.from > later(now, 300)) {
        return Err(Refusal {
            about_client: true,
            ..Refusal::local(
                Class::Denied,
                "CertificateExpired",
                format!(
                    "the certificate is valid from {} to {} only; renew it",
                    validity.from, validity.until
                ),
            )
        });
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

fn later(now: Timestamp, seconds: i64) -> Timestamp {
    crate::plan::schedule::later(now, SignedDuration::from_secs(seconds))
}

/// A static key as a token: it has no end that anybody knows, so it is looked at again after a year.
fn static_token(scheme: &str, read: &Read, now: Timestamp) -> Result<Token, Refusal> {
    let secret = read.supplies.first().cloned().ok_or_else(|| {
        Refusal::local(
            Class::Invalid,
            "SourceMissing",
            "the static key was not read; check the Secret that spec.grant.static names",
        )
    })?;
    let issued_at = Timestamp::from_second(now.as_second()).unwrap_or(now);
    Ok(Token {
        secret,
        refresh_token: None,
        instance_url: None,
        claims: None,
        token_type: scheme.to_owned(),
        issued_at,
        expires_at: crate::plan::schedule::later(issued_at, STATIC_LIFE),
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

/// Builds the request. Signing takes a millisecond or two of a processor and has no place among the async tasks.
pub(in crate::controller) async fn build(
    credential: &Credential,
    endpoint: &TokenEndpoint,
    (material, supplies): (Material, Vec<SecretString>),
    context: &Context,
) -> Result<(TokenRequest, String, Material), Refusal> {
    let signs = matches!(material, Material::Signer(_))
        || matches!(credential.grant, Grant::JwtBearer(JwtBearer::Signed(_)));
    let (credential, endpoint, now) = (credential.clone(), endpoint.clone(), context.clock.now());
    let make = move || {
        let (id, assertion) = (ids::uuid(), ids::uuid());
        let moment = Moment {
            now,
            request_id: &id,
            assertion_id: &assertion,
        };
        let request = oauth::request(&credential, &endpoint, &material, &supplies, moment)?;
        Ok((request, id, material))
    };
    if !signs {
        return make();
    }
    tokio::task::spawn_blocking(make).await.unwrap_or_else(|_| {
        Err(Refusal::local(
            Class::Transient,
            "InternalError",
            "signing was abandoned; apicred tries again",
        ))
    })
}

/// One exchange, shared with whoever asks for the very same at this moment.
async fn exchange(
    context: &Arc<Context>,
    credential: &Credential,
    endpoint: &TokenEndpoint,
    parts: (Material, Vec<SecretString>),
    fingerprint: &str,
    permit: &Arc<Permit>,
) -> Result<Arc<Token>, Refusal> {
    let (request, id, material) = build(credential, endpoint, parts, context).await?;
    let (world, asker, place, permit) = (
        Arc::clone(context),
        credential.clone(),
        endpoint.clone(),
        Arc::clone(permit),
    );
    let flight = async move {
        let _permit = permit;
        let arc = matches!(
            (&asker.proof, &asker.issuer.lends),
            (Proof::ManagedIdentity(_), Some(Lent::AzureArc(_)))
        );
        if arc {
            return challenged(&world, &asker, &place, material, request, id).await;
        }
        send(&world, &asker, request, id).await
    };
    if !credential.is_shareable() {
        return flight.await.map(Arc::new);
    }
    let key = (
        credential.namespace.clone(),
        fingerprint.to_owned(),
        credential.issuer.version.clone(),
    );
    context.single_flight.run(key, flight).await
}

/// The Azure Arc agent answers the first request with a challenge, the second with a token.
async fn challenged(
    context: &Arc<Context>,
    credential: &Credential,
    endpoint: &TokenEndpoint,
    material: Material,
    request: TokenRequest,
    id: String,
) -> Result<Token, Refusal> {
    let Material::Local(Local::AzureArc(origin, None)) = material else {
        return send(context, credential, request, id).await;
    };
    if !context.may_act() {
        return Err(not_leading());
    }
    let echo = SentSecrets::of(&request);
    let answer = context.http.send(&credential.issuer, request).await?;
    if answer.status != 401 {
        let now = context.clock.now();
        return read_answer(context, credential, (&answer, &echo), now, id);
    }
    let proof = identity::answer_to_challenge(context, &origin, &answer).await?;
    let (request, id, _) = build(credential, endpoint, (proof, Vec::new()), context).await?;
    send(context, credential, request, id).await
}

/// This process has lost its lease: what is left of it asks nobody for anything.
pub(in crate::controller) fn not_leading() -> Refusal {
    let step = "this process does not lead any more; the operator that leads tries again";
    Refusal {
        not_sent: true,
        ..Refusal::local(Class::Transient, "NotLeading", step)
    }
}

/// What came of a request.
pub(in crate::controller) struct Came {
    /// What the answer grants of refresh tokens, whatever else is in it.
    pub(in crate::controller) granted: Granted,
    pub(in crate::controller) result: Result<Token, Refusal>,
}

async fn send(
    context: &Context,
    credential: &Credential,
    request: TokenRequest,
    id: String,
) -> Result<Token, Refusal> {
    let manner = Manner::default();
    ask(context, credential, request, id, manner).await.result
}

/// Sends, measures, and reads the answer.
pub(in crate::controller) async fn ask(
    context: &Context,
    credential: &Credential,
    request: TokenRequest,
    id: String,
    manner: Manner,
) -> Came {
    if !context.may_act() {
        return Came {
            granted: Granted::Nothing,
            result: Err(not_leading()),
        };
    }
    let (now, clock) = (context.clock.now(), Instant::now());
    // Rounded down: a life counted from a little earlier never promises too much.
    let sent = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let echo = SentSecrets::of(&request);
    let exchanged = context.http.exchange(&credential.issuer, request, manner);
    let (granted, result) = match exchanged.await {
        Ok(raw) => (
            oauth::granted(&raw),
            read_answer(context, credential, (&raw, &echo), sent, id),
        ),
        Err(broken) => (
            (broken.arrived.as_ref()).map_or(Granted::Nothing, |raw| oauth::granted_in_part(raw)),
            Err(match &broken.arrived {
                Some(part) => oauth::broken_off(part, broken.refusal),
                None => broken.refusal,
            }),
        ),
    };
    context.metrics.asked(
        result.as_ref().map_or_else(|r| r.class.as_str(), |_| "ok"),
        clock.elapsed(),
    );
    if let Err(refusal) = &result
        && let Some(pause) = pause(refusal)
    {
        context.limiter.pause(credential, pause);
    }
    if let Err(refusal) = &result
        && discovery::disproves(refusal)
    {
        context.discovery.doubt(&credential.issuer.id);
    }
    let well = |r: &Refusal| !matches!(r.class, Class::Throttled | Class::Transient);
    match &result {
        Err(refusal) if is_silence(refusal) => context.limiter.unanswered(credential),
        Err(refusal) if refusal.stage == Stage::Own => {}
        Err(refusal) => context.limiter.answered(credential, well(refusal)),
        Ok(_) => context.limiter.answered(credential, true),
    }
    Came { granted, result }
}

/// Did no answer come at all?
const fn is_silence(refusal: &Refusal) -> bool {
    match refusal.stage {
        Stage::Proxy
        | Stage::Tunnel
        | Stage::Name
        | Stage::Connect
        | Stage::Tls
        | Stage::Timeout
        | Stage::BrokenOff => refusal.http_status.is_none(),
        // A failure of apicred's own says nothing of the issuer, and an alert about the client's certificate is an answer.
        Stage::Own | Stage::ClientCertificate | Stage::Foreign | Stage::Answered => false,
    }
}

fn read_answer(
    context: &Context,
    credential: &Credential,
    (raw, echo): (&RawAnswer, &SentSecrets),
    sent: Timestamp,
    id: String,
) -> Result<Token, Refusal> {
    let now = context.clock.now();
    let mut token = oauth::answer_to(credential, raw, sent, now)
        .map_err(|refusal| oauth::explained(refusal, credential, raw, echo, now))?;
    token.correlation_id.get_or_insert(id);
    Ok(token)
}

/// How long the client asks for nothing after this answer.
fn pause(refusal: &Refusal) -> Option<Duration> {
    if refusal.aadsts == Some(oauth::LOOP) {
        return None;
    }
    match (refusal.class, refusal.retry_after) {
        (Class::Throttled, None) => Some(Duration::from_secs(30)),
        (Class::Throttled | Class::Transient, asked) => asked,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttled_client_pauses_and_a_looping_one_does_not_as_a_client() {
        let refusal = |aadsts, retry_after| Refusal {
            aadsts,
            retry_after,
            ..Refusal::local(Class::Throttled, "Throttled", "wait")
        };
        let asked = Some(Duration::from_secs(7));
        assert_eq!(pause(&refusal(None, None)), Some(Duration::from_secs(30)));
        assert_eq!(pause(&refusal(Some(90_055), asked)), asked);
        for asked in [None, asked] {
            assert_eq!(pause(&refusal(Some(oauth::LOOP), asked)), None);
        }
    }
}
