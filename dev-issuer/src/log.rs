//! A record of each token request and of each call of the protected API, and counters.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use crate::answer::Notes;

/// Older records are removed, so that a program that runs for a long time does not grow; counters continue.
const MOST_RECORDS: usize = 100_000;

/// How a client authenticated, or tried to authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuthMethod {
    /// Not at all.
    None,
    /// `client_secret` in the body.
    ClientSecretPost,
    /// `Authorization: Basic`.
    ClientSecretBasic,
    /// A client certificate with the right subject.
    TlsClientAuth,
    /// Exactly the registered certificate.
    SelfSignedTlsClientAuth,
    /// A signed assertion (RFC 7523 section 2.2).
    PrivateKeyJwt,
    /// Another issuer's token instead.
    FederatedJwt,
    /// By its network location: the `Metadata` header only shows that the caller intends the request.
    Metadata,
    /// `X-IDENTITY-HEADER`.
    IdentityHeader,
    /// The content of a key file that the Arc agent wrote.
    ArcKey,
}

/// A request for a token. It is recorded when the request has been read; `status` is set with the answer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TokenRequestRecord {
    /// Counts from 1.
    pub seq: u64,
    /// When it was read.
    pub time: Timestamp,
    /// Path without query.
    pub path: String,
    /// The HTTP version.
    pub http_version: String,
    /// Tenant as written in the path.
    pub tenant: Option<String>,
    /// Client ID as sent, or that of the requested managed identity.
    pub client_id: Option<String>,
    /// `grant_type` as sent.
    pub grant_type: Option<String>,
    /// `scope` as sent.
    pub scope: Option<String>,
    /// `resource` as sent.
    pub resource: Option<String>,
    /// `audience` as sent.
    pub audience: Option<String>,
    /// How the client authenticated.
    pub auth_method: AuthMethod,
    /// Which of the client's secrets it was, counted from 0.
    pub secret_index: Option<usize>,
    /// Status of the answer; none while in flight, and permanently none if the answer was dropped or the client disconnected.
    pub status: Option<u16>,
    /// OAuth error.
    pub error: Option<String>,
    /// AADSTS number.
    pub aadsts: Option<u32>,
    /// Correlation id.
    pub correlation_id: Option<String>,
    /// Id of the token that was minted (`uti` or `jti`), whether or not it reached the client.
    pub uti: Option<String>,
    /// The expiry of that token.
    pub expires: Option<Timestamp>,
    /// The scripted fault that affected the request.
    pub fault: Option<String>,
    /// Milliseconds from reading the request to the end of work on it.
    pub took_ms: Option<u64>,
}

impl TokenRequestRecord {
    /// A record with the present time, the path and the HTTP version.
    pub(crate) fn new(path: String, version: http::Version) -> Self {
        Self {
            seq: 0,
            time: Timestamp::now(),
            path,
            http_version: format!("{version:?}"),
            tenant: None,
            client_id: None,
            grant_type: None,
            scope: None,
            resource: None,
            audience: None,
            auth_method: AuthMethod::None,
            secret_index: None,
            status: None,
            error: None,
            aadsts: None,
            correlation_id: None,
            uti: None,
            expires: None,
            fault: None,
            took_ms: None,
        }
    }
}

/// A call of the protected API.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ApiCallRecord {
    /// Counts from 1.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// Path without query.
    pub path: String,
    /// Status of the answer.
    pub status: u16,
    /// `error` of the challenge.
    pub error: Option<String>,
    /// Client of an accepted token.
    pub client_id: Option<String>,
    /// Id of an accepted token.
    pub uti: Option<String>,
    /// Which of the API's static keys was accepted, counted from 0.
    pub static_key: Option<usize>,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Stats {
    /// Token requests read.
    pub token_requests: u64,
    /// Answers with a token, also with one that had been returned before.
    pub tokens_issued: u64,
    /// Token requests answered with an OAuth error.
    pub tokens_refused: u64,
    /// Token requests that a scripted fault affected.
    pub faults: u64,
    /// Token requests that ended without an answer.
    pub unanswered: u64,
    /// Calls of the protected API.
    pub api_calls: u64,
    /// The accepted ones.
    pub api_calls_accepted: u64,
}

#[derive(Default)]
struct Inner {
    tokens: VecDeque<TokenRequestRecord>,
    calls: VecDeque<ApiCallRecord>,
    stats: Stats,
}

/// The log.
#[derive(Default)]
pub(crate) struct Log(Mutex<Inner>);

impl Log {
    /// Adds a record and gives it its number.
    pub(crate) fn open(&self, mut record: TokenRequestRecord) -> u64 {
        let mut inner = self.lock();
        inner.stats.token_requests += 1;
        record.seq = inner.stats.token_requests;
        let seq = record.seq;
        push(&mut inner.tokens, record);
        seq
    }

    pub(crate) fn fault(&self, seq: u64, name: &str) {
        let mut inner = self.lock();
        inner.stats.faults += 1;
        if let Some(record) = inner.token(seq) {
            record.fault = Some(name.to_owned());
        }
    }

    /// Stores the decision, before anything is sent.
    pub(crate) fn note(&self, seq: u64, notes: &Notes) {
        let mut inner = self.lock();
        inner.stats.tokens_issued += u64::from(notes.issued.is_some());
        inner.stats.tokens_refused += u64::from(notes.error.is_some());
        if let Some(record) = inner.token(seq) {
            record.error.clone_from(&notes.error);
            record.aadsts = notes.aadsts;
            record.correlation_id.clone_from(&notes.correlation_id);
            record.secret_index = notes.secret_index;
            record.uti = notes.issued.as_ref().map(|issued| issued.id.clone());
            record.expires = notes.issued.as_ref().map(|issued| issued.expires);
        }
    }

    /// Ends a record and writes it to the trace, one line.
    pub(crate) fn close(&self, seq: u64, status: Option<u16>, took_ms: u64) {
        let mut inner = self.lock();
        inner.stats.unanswered += u64::from(status.is_none());
        let Some(record) = inner.token(seq) else {
            return;
        };
        record.status = status;
        record.took_ms = Some(took_ms);
        let record = record.clone();
        drop(inner);
        tracing::info!(
            seq,
            path = record.path,
            client_id = record.client_id,
            grant_type = record.grant_type,
            scope = record.scope,
            resource = record.resource,
            audience = record.audience,
            auth = ?record.auth_method,
            secret_index = record.secret_index,
            status = record.status,
            error = record.error,
            aadsts = record.aadsts,
            correlation_id = record.correlation_id,
            uti = record.uti,
            expires = record.expires.map(tracing::field::display),
            fault = record.fault,
            took_ms,
            "token request"
        );
    }

    pub(crate) fn call(&self, mut record: ApiCallRecord) {
        tracing::info!(
            path = record.path,
            status = record.status,
            error = record.error,
            client_id = record.client_id,
            uti = record.uti,
            static_key = record.static_key,
            "api call"
        );
        let mut inner = self.lock();
        inner.stats.api_calls += 1;
        inner.stats.api_calls_accepted += u64::from(record.status == 200);
        record.seq = inner.stats.api_calls;
        push(&mut inner.calls, record);
    }

    pub(crate) fn tokens(&self) -> Vec<TokenRequestRecord> {
        self.lock().tokens.iter().cloned().collect()
    }

    pub(crate) fn calls(&self) -> Vec<ApiCallRecord> {
        self.lock().calls.iter().cloned().collect()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.lock().stats
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn token(&mut self, seq: u64) -> Option<&mut TokenRequestRecord> {
        let first = self.tokens.front()?.seq;
        let index = usize::try_from(seq.checked_sub(first)?).ok()?;
        self.tokens.get_mut(index)
    }
}

fn push<T>(records: &mut VecDeque<T>, record: T) {
    if records.len() == MOST_RECORDS {
        records.pop_front();
    }
    records.push_back(record);
}
