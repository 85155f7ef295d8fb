//! Obtains a token: reads the inputs, builds the request, sends it, reads the response. Pure, except the reads and the one request.

use crate::Reason;
use std::sync::Arc;

use jiff::Timestamp;

use super::{
    attempt::{Content, Failed, Noted, TokenAttempt},
    exchange::{Acquired, acquired, exchange, is_silence},
    hint::Hint,
    hint_event::report,
    inputs::{self, Read},
    refresh::{Published, Refresh},
    refresh_answer::{self, Unsaved},
};
use crate::controller::{
    context::Context, limiter::issuers::Permit, reconciliation::Reconciliation,
};
use crate::{
    credential::{Credential, binding},
    oauth::{
        self, AnswerIds, Class, LifetimeSource, Note, Stage, Token, TokenEndpoint, TokenError,
        discovery,
    },
    plan::{self, SentContent, Source, fingerprint},
    publish::{ENDLESS, RefusedSource, SourceMark},
};

/// The result of the attempt to get a token.
pub(in crate::controller) struct Acquisition {
    pub(in crate::controller) result: Result<Acquired, TokenError>,
    pub(in crate::controller) noted: Noted,
}

/// Requests a token from the issuer. If the issuer rejects a client secret, the next one is used. `first` was already read.
pub(in crate::controller) async fn acquire(
    reconciliation: &Reconciliation<'_>,
    first: Option<Read>,
    permit: Permit,
) -> Acquisition {
    let mut noted = Noted::default();
    let result = acquire_noting(reconciliation, first, permit, &mut noted).await;
    Acquisition { result, noted }
}

async fn acquire_noting(
    reconciliation: &Reconciliation<'_>,
    mut first: Option<Read>,
    permit: Permit,
    noted: &mut Noted,
) -> Result<Acquired, TokenError> {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    // An answer that exists only in memory is stored before anything else, independent of the current spec.
    match refresh_answer::store_unsaved(context, credential).await {
        Unsaved::Nothing => {}
        Unsaved::Settled => first = None,
        Unsaved::RefreshResult(result) => return *result,
    }
    if let Some(fixed) = &credential.static_key {
        let read = match first {
            Some(read) => read,
            None => inputs::read(context, credential, None).await?,
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
    let endpoint = endpoint.inspect_err(|token_error| {
        if is_silence(token_error) {
            context.limiter.unanswered(credential);
        }
    })?;
    let certificate = credential.authentication.shows_certificate();
    // A corrected document is found by the next attempts.
    let posted = endpoint.posted_by(certificate).map(drop);
    posted.inspect_err(|_| context.discovery.doubt(&credential.issuer.id))?;
    let attempt = TokenAttempt {
        context,
        credential,
        observed: &reconciliation.observed,
        endpoint,
        permit: Arc::new(permit),
    };
    attempt.try_entries(first, noted).await
}

impl TokenAttempt<'_> {
    /// Tries the entries of the client's list in order until one works.
    async fn try_entries(
        &self,
        mut first: Option<Read>,
        noted: &mut Noted,
    ) -> Result<Acquired, TokenError> {
        let (context, credential) = (self.context, self.credential);
        let mut last = None;
        // Entries that failed like an outage. They are refused only if another entry works.
        let mut outages = Vec::new();
        for choice in plan::candidates(credential, self.observed, context.clock.now()) {
            let ended = match self.read(choice.source, &mut first).await {
                Ok(read) => Box::pin(self.with(choice.trial, read)).await,
                Err(token_error) => Err(self.not_read(choice.source, token_error)),
            };
            let failed = match ended {
                Ok(acquired) => {
                    noted.refused.append(&mut outages);
                    return Ok(acquired);
                }
                Err(failed) => failed,
            };
            match failed.token_error.class {
                Class::Transient => outages.extend(failed.mark),
                _ => noted.refused.extend(failed.mark),
            }
            noted.note_sent(failed.sent);
            // If the last good certificate fails as well, this is not the error that a user must correct.
            let way = &credential.authentication;
            let original = choice.source.and_then(|s| way.original(&s.reference));
            if original.is_none() || last.is_none() {
                last = Some((failed.token_error, failed.with));
            }
            if !failed.next {
                break;
            }
        }
        let Some((mut token_error, with)) = last else {
            return Err(TokenError::local(
                Class::Invalid,
                Reason::ClientSecretMissing,
                "no Secret that the client names exists; create one",
            ));
        };
        plan::stop_unclear(
            credential,
            self.observed,
            &mut token_error,
            context.clock.now(),
        );
        if token_error.until_change {
            let marks = with.into_iter();
            (noted.refused).extend(marks.map(|mark| self.not_working(mark, &token_error, None)));
        }
        Err(Box::pin(unless_moved(
            context,
            credential,
            &self.endpoint,
            token_error,
        ))
        .await)
    }

    /// Reads an entry, unless it is the one that was read first, and checks that it may be sent to the endpoint.
    async fn read(
        &self,
        source: Option<&Source>,
        first: &mut Option<Read>,
    ) -> Result<Read, TokenError> {
        let matches = |read: &mut Read| match (&read.used, source) {
            (Some(mark), Some(source)) => mark.is(&source.reference),
            (None, None) => true,
            _ => false,
        };
        let read = match first.take_if(matches) {
            Some(read) => read,
            None => inputs::read(self.context, self.credential, source).await?,
        };
        read.may_post(self.credential, &self.endpoint)?;
        Ok(read)
    }

    /// The failure of an entry that cannot be read or may not be sent.
    fn not_read(&self, source: Option<&Source>, token_error: TokenError) -> Failed {
        let choice = self.observed.sources.len() > 1 && token_error.class == Class::Invalid;
        let mark = source.and_then(Source::mark).filter(|_| choice);
        Failed {
            mark: mark.map(|mark| self.not_working(mark, &token_error, None)),
            token_error,
            with: Vec::new(),
            sent: Content::Unread,
            next: true,
        }
    }

    /// One attempt with the data that was read. `trial`: another entry is in use.
    async fn with(&self, trial: bool, read: Read) -> Result<Acquired, Failed> {
        let (used, with) = (read.used.clone(), read.with.clone());
        let odd = OddValues::of(self.credential, &read);
        let content = read.fingerprint.clone();
        let tried = Box::pin(one(self, read)).await;
        let mut token_error = match tried {
            Ok(acquired) => return Ok(acquired),
            Err(token_error) => token_error,
        };
        let next =
            token_error.about_client || trial && plan::is_guess(self.credential, &token_error);
        let sent = SentContent::of(used.clone(), content.clone(), &token_error);
        let sent = sent.map_or(Content::Incomparable, Content::Failed);
        let mut not_working = None;
        if let (true, Some(mark)) = (next, used) {
            // With several secrets, the message must name the one that was used.
            let entry = self.credential.authentication.entry(&mark.name, &mark.key);
            token_error.next_step.note(Note::Used(entry));
            not_working = Some(self.not_working(mark, &token_error, Some(content)));
        }
        if next && self.observed.sources.len() > 1 {
            // This entry waits for its retry time; the other entries do not wait.
            token_error.retry_at = None;
        }
        if let Some(hint) = odd.blamed(&token_error) {
            let reported = report(self.context, &self.credential.namespace, &hint);
            Box::pin(reported).await;
            let secret = hint.mark.name;
            token_error.next_step.note(Note::UnexpectedForm(secret));
        }
        Err(Failed {
            token_error,
            with,
            mark: not_working,
            sent,
            next,
        })
    }

    fn not_working(
        &self,
        mark: SourceMark,
        token_error: &TokenError,
        fingerprint: Option<String>,
    ) -> RefusedSource {
        let (context, credential) = (self.context, self.credential);
        if self.observed.sources.len() > 1 {
            // The condition that reports the rejection contains no IDs.
            let ids = Some(Box::new(AnswerIds::from(token_error)));
            context.with_state_of(credential, |s| s.refused = ids);
        }
        let now = context.clock.now();
        RefusedSource {
            mark,
            request: fingerprint::request(credential),
            since: now,
            at: now,
            reason: token_error.reason.into(),
            by_issuer: token_error.http_status.is_some(),
            not_before: token_error.retry_at.filter(|_| token_error.about_client),
            fingerprint,
        }
    }
}

/// Stored values with an unexpected form, which may be the reason why the issuer rejects them.
struct OddValues {
    client: Option<Hint>,
    grant: Option<Hint>,
}

impl OddValues {
    fn of(credential: &Credential, read: &Read) -> Self {
        let client = read.material.odd(&credential.client_id);
        let client = client.zip(read.used.clone());
        let grant = oauth::odd_grant_input(&credential.grant, &read.grant_inputs);
        Self {
            client: client.map(|(form, mark)| Hint::of_client(mark, form)),
            grant: grant
                .and_then(|odd| Some(Hint::of_grant(read.with.get(odd.place)?.clone(), odd))),
        }
    }

    /// The value that the issuer probably rejects.
    fn blamed(self, token_error: &TokenError) -> Option<Hint> {
        if token_error.about_client {
            self.client
        } else {
            self.grant.filter(|_| blames_grant(token_error))
        }
    }
}

/// True if the issuer probably rejects the input of the grant.
fn blames_grant(token_error: &TokenError) -> bool {
    let refused = matches!(token_error.class, Class::Denied | Class::NeedsUser)
        || token_error.error.as_deref() == Some("invalid_request");
    refused && token_error.stage == Stage::Answered && token_error.http_status.is_some()
}

/// Reads a discovery document again if its endpoint is wrong. If the document now names another endpoint, the next attempt is soon.
async fn unless_moved(
    context: &Context,
    credential: &Credential,
    used_endpoint: &TokenEndpoint,
    token_error: TokenError,
) -> TokenError {
    let lasting = token_error.until_change || token_error.retry_at.is_some();
    let doubted = context.discovery.is_doubted(&credential.issuer.id);
    if lasting || !doubted || !discovery::disproves(&token_error) {
        return token_error;
    }
    match endpoint(context, credential).await {
        Ok(now) if (&now.url, &now.mtls_url) != (&used_endpoint.url, &used_endpoint.mtls_url) => TokenError {
            class: Class::Transient,
            next_step: "the discovery document of the issuer now names another token endpoint; apicred uses it for the next request".into(),
            ..token_error
        },
        _ => token_error,
    }
}

/// Sends the request with the data that was read.
async fn one(attempt: &TokenAttempt<'_>, mut read: Read) -> Result<Acquired, TokenError> {
    let TokenAttempt {
        context,
        credential,
        observed,
        endpoint,
        permit,
    } = attempt;
    let ends = read.material.validity();
    let now = context.clock.now();
    let late = || oauth::expired_assertion(credential, &read.material, now);
    if let Some(token_error) = ends.and_then(|v| oauth::outside(v, now)).or_else(late) {
        return Err(token_error);
    }
    read.complete(context, credential, Some(endpoint)).await?;
    let result = if let Some(state) = read.state.take() {
        let refresh = Refresh {
            context: Arc::clone(context),
            credential: Credential::clone(credential),
            endpoint: endpoint.clone(),
            state,
            published: Published::of(observed),
        };
        refresh.spawn(read, Arc::clone(permit)).await
    } else {
        let (used, with, fingerprint) = (read.used, read.with, read.fingerprint);
        let parts = (read.material, read.grant_inputs);
        Box::pin(exchange(attempt, parts, &fingerprint))
            .await
            .map(|token| acquired(token, used, with, fingerprint))
    };
    result.map(|mut acquired| {
        acquired.certificate_validity = ends;
        acquired.issuer = binding::issuer_mark(credential, endpoint);
        acquired
    })
}

/// Returns a static key as a token.
fn static_token(scheme: &str, read: &Read, now: Timestamp) -> Result<Token, TokenError> {
    let secret = read.grant_inputs.first().cloned().ok_or_else(|| {
        TokenError::local(
            Class::Invalid,
            Reason::SourceMissing,
            "the static key was not read; check the Secret that spec.static names",
        )
    })?;
    Ok(Token {
        secret,
        refresh_token: None,
        instance_url: None,
        answer: std::collections::BTreeMap::new(),
        omitted: std::collections::BTreeMap::new(),
        ends: std::collections::BTreeMap::new(),
        claims: None,
        token_type: scheme.to_owned(),
        issued_at: crate::whole_second(now),
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
) -> Result<TokenEndpoint, TokenError> {
    match oauth::known_endpoint(credential) {
        Some(endpoint) => Ok(endpoint),
        None => {
            context
                .discovery
                .discovered(&context.http, &credential.issuer, context.clock.as_ref())
                .await
                // The issuer reports the fault of a fallback.
                .map(|found| found.endpoint)
        }
    }
}
