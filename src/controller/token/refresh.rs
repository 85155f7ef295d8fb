//! A refresh: build the request, set the mark, send, store. The order matters: a request that cannot be built must not leave a
//! mark, and after a mark only the request may follow. The rules are in [`crate::oauth::renewal`], the writes in [`super::state_secret`].

use crate::Reason;
use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use tracing::Instrument;

use super::{
    exchange::{Acquired, build, not_leading, request_token},
    inputs::{Read, digest_key},
    refresh_answer::{abandoned, store},
    refresh_token::{Answered, RefreshResult, StateSecret},
    refreshes::Reserved,
    state_secret::{self, PATIENCE as STORING},
};
use crate::controller::{
    api::calls::{ApiErrorKind, DEADLINE},
    context::Context,
    limiter::issuers::Permit,
    locks::lock,
};
use crate::{
    api::names,
    credential::{Credential, binding},
    http::{SendOptions, TOTAL},
    oauth::{
        Class, Granted, Material, Stage, TokenEndpoint, TokenError, TokenRequest,
        renewal::{self, Notes, Remembered, Send, Sent, Step, TokenState},
        sign_in::for_refresh,
        spent,
    },
    plan::{
        Observed,
        fingerprint::{self, DigestKey},
    },
    publish::{Record, SourceMark},
};

/// The maximum duration: the write of the mark, two requests, and the attempts to store the answer, of which the last one takes
/// a write and a read. A reconcile is abandoned earlier (reconcile/mod.rs); the refresh continues in its task, protected by its mark.
const TAKES: u64 = 3 * DEADLINE.as_secs() + 2 * TOTAL.as_secs() + STORING.as_secs();
const _: () = assert!(TAKES + 60 <= renewal::SETTLES.as_secs().unsigned_abs());

/// When it is checked again whether another credential knows what happened to the same refresh token.
const OF_ANOTHER: SignedDuration = SignedDuration::from_mins(10);

/// One refresh of a credential.
pub(in crate::controller) struct Refresh {
    pub(in crate::controller) context: Arc<Context>,
    pub(in crate::controller) credential: Credential,
    pub(in crate::controller) endpoint: TokenEndpoint,
    pub(in crate::controller) state: StateSecret,
    /// What the target Secret records about the published token, if there is one.
    pub(in crate::controller) published: Published,
}

/// What a refresh must know about the published token.
#[derive(Clone, Default)]
pub(in crate::controller) struct Published {
    /// When the token itself expires. A second use of a refresh token may revoke it.
    pub(in crate::controller) until: Option<Timestamp>,
    /// The version of the state Secret after the previous refresh.
    pub(in crate::controller) state: Option<SourceMark>,
}

impl Published {
    pub(in crate::controller) fn of(observed: &Observed) -> Self {
        // Another writer may have edited the target: its token may still be in use.
        let written = observed.target.published().and_then(|p| p.record.as_ref());
        let unchanged = observed.record();
        Self {
            until: written.map(Record::token_end),
            state: unchanged.and_then(|r| r.sources.with.first().cloned()),
        }
    }
}

impl Refresh {
    /// Runs in its own task, so that a new refresh token is stored even if the reconcile is abandoned.
    pub(in crate::controller) async fn spawn(
        self,
        read: Read,
        permit: Arc<Permit>,
    ) -> Result<Acquired, TokenError> {
        let work = async move {
            let _permit = permit;
            Box::pin(self.run(read)).await
        };
        let task = tokio::spawn(work.in_current_span());
        task.await.unwrap_or_else(|_| Err(abandoned()))
    }

    async fn run(mut self, read: Read) -> Result<Acquired, TokenError> {
        let Read {
            used,
            material,
            grant_inputs,
            fingerprint,
            ..
        } = read;
        let token = grant_inputs
            .first()
            .cloned()
            .unwrap_or_else(|| SecretString::from(""));
        self.state.issuer = binding::issuer_mark(&self.credential, &self.endpoint);
        let context = Arc::clone(&self.context);
        let digests = digest_key(&context).await?;
        let digest = digests.refresh_token(token.expose_secret());
        let _reserved = self.reserve(&digest).await?;
        // 1. Build.
        let (deadline, tries) = self.credential.issuer.reuse.patience();
        let (requests, material) = self.requests(tries, material, &grant_inputs).await?;
        // 2. Mark. From here on the process must not exit before the answer is stored.
        let leads = self.context.may_refresh().await;
        leads.map_err(|_| not_leading())?;
        let _in_flight = self.context.refreshes.begin();
        let (sent, in_doubt) = self.begin(digests, digest, &fingerprint).await?;
        // 3. Send, unless it is unknown whether the mark is set. In this case remove it: no other process can know that no
        // request was sent for it, and this process may lose its lease.
        let mut came = match in_doubt {
            None => self.send(requests, deadline, &sent).await,
            Some(token_error) => RefreshResult {
                granted: Granted::Nothing,
                result: Err(TokenError {
                    not_sent: true,
                    ..token_error
                }),
            },
        };
        if matches!(&came.granted, Granted::New(new) if new.expose_secret() == token.expose_secret())
        {
            came.granted = Granted::Same;
        }
        // 4. Store. Nothing may fail before this.
        let (there, new) = match &came.granted {
            Granted::New(new) => (new, Some(digests.refresh_token(new.expose_secret()))),
            Granted::Same | Granted::Nothing => (&token, None),
        };
        let request = fingerprint::request(&self.credential);
        let secrets = [material.fingerprint_input(), there.expose_secret()];
        let answered = Answered {
            fingerprint: digests.fingerprint(&request, &secrets),
            request,
            state: self.state,
            token,
            sent,
            came,
            new,
            used,
            credential: self.credential.clone(),
        };
        store(&self.context, &self.credential, answered).await
    }

    /// Waits while another request with the refresh token of this digest is in flight. After that, the data that was read is outdated.
    async fn reserve(&self, digest: &str) -> Result<Option<Reserved>, TokenError> {
        if self.credential.issuer.reuse.is_always() {
            return Ok(None);
        }
        let (reserved, waited) = self.context.refreshes.reserve(digest).await;
        if !waited {
            return Ok(Some(reserved));
        }
        let step = format!(
            "another request with the same refresh token has just ended; apicred reads Secret {} again",
            self.state.reference.name
        );
        Err(TokenError {
            not_sent: true,
            ..TokenError::local(Class::Transient, Reason::StateChanged, step)
        })
    }

    /// Builds this number of requests. Each one is signed separately, because an assertion is accepted once.
    async fn requests(
        &self,
        tries: usize,
        mut material: Material,
        grant_inputs: &[SecretString],
    ) -> Result<(Vec<(TokenRequest, String)>, Material), TokenError> {
        let notes = self.state.annotations.as_ref();
        let scopes = notes.and_then(|n| n.get(names::SIGN_IN_SCOPES));
        let requested = for_refresh(&self.credential, scopes.map(String::as_str));
        let mut requests = Vec::new();
        for _ in 0..tries {
            let parts = (material, grant_inputs.to_vec());
            let built = build(&requested, &self.endpoint, parts, &self.context).await?;
            requests.push((built.0, built.1));
            material = built.2;
        }
        Ok((requests, material))
    }

    /// Decides whether the refresh token with this digest may be sent, and sets the mark if one is needed. Also returns a token
    /// error if it is unknown whether the mark was set.
    async fn begin(
        &mut self,
        digests: &DigestKey,
        token: String,
        read: &str,
    ) -> Result<(Sent, Option<TokenError>), TokenError> {
        let (context, credential) = (Arc::clone(&self.context), &self.credential);
        let rule = credential.issuer.reuse;
        let posted = self.endpoint.posted(true);
        let place = format!(
            "{read} {} {posted} {:?}",
            self.endpoint.url, self.endpoint.style
        );
        let request = digests.fingerprint(&place, &[]);
        let mut notes = Notes::read(self.state.annotations.as_ref());
        // If the Secret differs from the version that apicred left, it may contain a refresh token that apicred has used. The
        // other writer may have removed the notes, and a restored backup contains the notes of an earlier time.
        let left = self.published.state.as_ref() == Some(&self.state.mark())
            && notes.stored.as_ref() == Some(&token);
        if !rule.is_always() && !left {
            let noted = state_secret::spent_on_target(&context, credential, &self.state).await?;
            notes.spent = spent::merge(&notes.spent, &noted);
        }
        let name = format!("{}/{}", credential.namespace, credential.name);
        let (remembered, of_another) = self.remembered(&mut notes, &token);
        let now = context.clock.now();
        let attempt = renewal::Attempt {
            credential: &name,
            process: &context.process,
            token: &token,
            request: &request,
            remembered: &remembered,
            published_until: self.published.until,
        };
        let how = match renewal::before(&notes, rule, &attempt, now) {
            Step::Send(how) => how,
            // The other credential may learn the outcome.
            Step::Stop(token_error) if of_another && rule.reuse.is_none() => {
                return Err(checked_later(token_error, now));
            }
            Step::Stop(token_error) => return Err(token_error),
            Step::Spent(at) => {
                let writer = state_secret::writer(&context, credential, &self.state).await;
                let secret = &self.state.reference.name;
                return Err(renewal::put_back(&name, secret, at, writer.as_deref()));
            }
        };
        let in_doubt = match how.mark {
            Some(_) => self.mark(&how).await?,
            None => None,
        };
        let sent = Sent {
            token,
            request,
            at: now,
            how,
            spent: notes.spent,
        };
        Ok((sent, in_doubt))
    }

    /// What this process knows about earlier requests with this refresh token, and whether another credential is in doubt about it.
    fn remembered(&self, notes: &mut Notes, token: &str) -> (Remembered, bool) {
        let (context, credential) = (&self.context, &self.credential);
        if let Some(known) = lock(&context.spent).find(token) {
            notes.spent = spent::merge(&notes.spent, std::slice::from_ref(known));
        }
        let mut remembered = context.marks(credential);
        let is_own = remembered.doubt.as_ref().is_some_and(|(of, _)| of == token);
        let another = (!is_own).then(|| context.doubt_of_another(credential, token));
        let another = another.flatten();
        if let Some(mark) = &another {
            remembered.take_over(notes, token, mark);
        }
        (remembered, another.is_some())
    }

    /// Sets a mark. Before the write starts, the mark is recorded in memory as one without a request, since the write may
    /// succeed while its response is lost. In that case the token error is in `Ok`.
    async fn mark(&mut self, how: &Send) -> Result<Option<TokenError>, TokenError> {
        let (context, credential) = (&self.context, &self.credential);
        context.begin_mark(credential, how);
        let changes = [(
            names::IN_FLIGHT_SINCE,
            how.mark.as_ref().map(|m| m.text.clone()),
        )]
        .into();
        let written = state_secret::write(context, credential, &mut self.state, &changes, None);
        let error_kind = match written.await {
            Ok(()) => return Ok(None),
            Err(error_kind) => error_kind,
        };
        let token_error = state_secret::error_kind(&self.state, error_kind);
        if error_kind == ApiErrorKind::Unavailable {
            return Ok(Some(token_error));
        }
        context.drop_mark(credential, how);
        Err(token_error)
    }

    /// Sends one request. If the outcome is unknown and the window is open, sends the next request immediately.
    async fn send(
        &self,
        requests: Vec<(TokenRequest, String)>,
        deadline: SignedDuration,
        sent: &Sent,
    ) -> RefreshResult {
        let (context, credential) = (&self.context, &self.credential);
        let options = SendOptions {
            fresh: !credential.issuer.reuse.is_always(),
            deadline: Duration::try_from(deadline).unwrap_or_default(),
        };
        let window = Duration::try_from(credential.issuer.reuse.window).unwrap_or_default();
        let began = Instant::now();
        let mut last: Option<RefreshResult> = None;
        for (request, id) in requests {
            let again = last.is_some();
            if again && began.elapsed() >= window {
                break;
            }
            context.clear_void_marks(credential);
            let mut came = request_token(context, credential, request, id, options).await;
            // Retry immediately: the mark decides what is done next, or the window for a second use is short.
            if let Err(token_error) = &mut came.result
                && matches!(token_error.stage, Stage::BrokenOff | Stage::Timeout)
                && (sent.how.mark.is_some() || !window.is_zero())
            {
                token_error.class = Class::Transient;
            }
            let token_state = renewal::token_state(&came.granted, came.result.as_ref().err());
            match (token_state, last) {
                // The second request was not sent: the outcome of the first one is still unknown.
                (TokenState::Intact, Some(first)) => last = Some(first),
                (TokenState::Unknown, _) if sent.how.mark.is_some() => last = Some(came),
                _ => return came,
            }
        }
        last.unwrap_or_else(|| RefreshResult {
            granted: Granted::Nothing,
            result: Err(TokenError::local(
                Class::Transient,
                Reason::InternalError,
                "no request was built; apicred tries again",
            )),
        })
    }
}

/// The same error, for a refresh token about which another credential may learn more.
fn checked_later(token_error: TokenError, now: Timestamp) -> TokenError {
    TokenError {
        until_change: false,
        retry_at: now.checked_add(OF_ANOTHER).ok(),
        ..token_error
    }
}
