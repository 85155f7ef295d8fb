//! Protects refresh tokens against a second use.
//!
//! Many issuers rotate refresh tokens: the first use invalidates the old one, and a second use counts as theft and revokes
//! the whole family (facts, section 7). So a mark is written to the state Secret before a request. If a mark exists before a
//! request, the outcome of an earlier request is unknown.
//!
//! [`before`] decides whether a refresh token may be sent, [`token_state`] what happened to it, and [`after`] what is stored.

mod outcome;

pub use outcome::{Changes, Sent, TokenState, after, spent_after, token_state};

use crate::Reason;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{
    Class, TokenError,
    grant::sign_in,
    spent::{self, Spent},
};
use crate::api::{Reuse, names};

/// How long a refresh request may take, from the connection to the last byte. Longer than other requests, because a lost
/// answer requires a new sign-in. Short enough to store the answer while a process shuts down (app.rs).
const PATIENCE: SignedDuration = SignedDuration::from_secs(20);
/// The same if the issuer accepts a second use.
const PATIENCE_WITH_REUSE: SignedDuration = SignedDuration::from_secs(15);

/// For this time after a mark, its request may still be in flight, or its answer may not be stored yet. Includes a minute for
/// clocks that differ. Nothing sends the refresh token again before that, even if the published token has expired: neither
/// another process that now has the lease, nor the next reconcile after one that was given up. controller/refresh.rs checks the sum.
pub const SETTLES: SignedDuration = SignedDuration::from_secs(150);

/// How an issuer treats a refresh token that is sent a second time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReuseRule {
    /// The setting of the issuer object; for Entra ID, `Always`.
    pub reuse: Option<Reuse>,
    /// For how long after the first use it may be sent again.
    pub window: SignedDuration,
}

impl ReuseRule {
    /// True if a refresh token may always be sent again.
    pub fn is_always(&self) -> bool {
        self.reuse == Some(Reuse::Always)
    }

    /// How long one request may take, and how many may follow each other immediately while the outcome is unknown. Two
    /// requests fit into the window.
    pub fn patience(&self) -> (SignedDuration, usize) {
        if self.is_always() {
            (PATIENCE_WITH_REUSE, 1)
        } else if self.window.is_positive() {
            (PATIENCE_WITH_REUSE.min(self.window / 2), 2)
        } else {
            (PATIENCE, 1)
        }
    }
}

/// A mark on the state Secret: `TIME by PROCESS`, followed by ` (last try)` if it is one.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// The whole text. No two marks have the same.
    pub text: String,
    /// When it was set. A time that cannot be read counts as long ago.
    pub since: Timestamp,
    /// True for the mark of the single request that is made when no valid token can be lost any more.
    pub last_try: bool,
}

/// The end of the mark of a last try.
const LAST_TRY: &str = " (last try)";

impl Mark {
    /// A mark of this process.
    pub fn new(since: Timestamp, process: &str, last_try: bool) -> Self {
        let end = if last_try { LAST_TRY } else { "" };
        Self {
            text: format!("{since} by {process}{end}"),
            since,
            last_try,
        }
    }

    fn read(text: &str) -> Self {
        let time = text.split_once(' ').map_or(text, |(time, _)| time);
        Self {
            text: text.to_owned(),
            since: time.parse().unwrap_or(Timestamp::UNIX_EPOCH),
            last_try: text.ends_with(LAST_TRY),
        }
    }
}

/// The issuer has reported that a refresh token is not valid any more.
#[derive(Clone, Debug, PartialEq)]
pub struct Dead {
    /// Digest of the request with this answer. `None` for any request.
    pub request: Option<String>,
}

/// The notes on the state Secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notes {
    /// The refresh token was sent, and the answer is not known yet.
    pub mark: Option<Mark>,
    /// Whether the issuer rotated the refresh token at the last refresh.
    pub rotates: Option<bool>,
    /// The refresh token is not valid any more, for this request.
    pub dead: Option<Dead>,
    /// Digest of the refresh token that apicred stored last.
    pub stored: Option<String>,
    /// Refresh tokens that apicred has spent.
    pub spent: Vec<Spent>,
    /// When the last access token expires.
    pub token_expires_at: Option<Timestamp>,
}

impl Notes {
    /// Reads the annotations of a state Secret. A mark that cannot be read counts as an old one.
    pub fn read(annotations: Option<&BTreeMap<String, String>>) -> Self {
        let text = |name| annotations.and_then(|a| a.get(name)).map(String::as_str);
        Self {
            mark: text(names::IN_FLIGHT_SINCE).map(Mark::read),
            rotates: text(names::ROTATES).map(|t| t != "false"),
            dead: text(names::SIGN_IN_REQUIRED).map(|t| Dead {
                request: request_in(t),
            }),
            stored: text(names::STORED_REFRESH_TOKEN).map(str::to_owned),
            spent: spent::read(text(names::SPENT_REFRESH_TOKENS).unwrap_or_default()),
            token_expires_at: text(names::TOKEN_EXPIRES_AT).and_then(|t| t.parse().ok()),
        }
    }
}

/// `ERROR (request DIGEST)`: one text, so that it can only be removed as a whole.
fn refused_mark(error: Option<&str>, request: &str) -> String {
    format!("{} (request {request})", error.unwrap_or("refused"))
}

fn request_in(mark: &str) -> Option<String> {
    let (_, request) = mark.split_once(" (request ")?;
    Some(request.strip_suffix(')')?.to_owned())
}

/// Most void marks that are remembered. A write without an answer is done within minutes or never.
const MOST_VOID: usize = 32;

/// What a process remembers of its requests in addition to the notes on the state Secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remembered {
    /// Marks of this process for which no request is in flight, each with the mark that it replaced. One of them may be on
    /// the Secret although its write got no answer: the server may do it late.
    pub void: Vec<Send>,
    /// Digest of a refresh token that was sent with unknown outcome, and its mark. Another writer may replace the Secret and
    /// remove its annotations.
    pub doubt: Option<(String, Mark)>,
}

impl Remembered {
    /// True if nothing is remembered.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The mark that is valid for this refresh token.
    fn mark(&self, notes: &Notes, token: &str) -> Option<Mark> {
        let doubt = || self.doubt.as_ref().filter(|(of, _)| of == token);
        let Some(mark) = &notes.mark else {
            return doubt().map(|(_, mark)| mark.clone());
        };
        let void = self.void.iter().find(|v| v.mark.as_ref() == Some(mark));
        void.map_or_else(|| Some(mark.clone()), |v| v.doubt.clone())
    }

    /// Takes over the doubt of another credential that sent the same refresh token, as a doubt after which no last try follows: the other
    /// credential makes it. A copied state Secret may have the mark of the same request.
    pub fn take_over(&mut self, notes: &mut Notes, token: &str, mark: &Mark) {
        if notes.mark.as_ref().is_some_and(|own| own.text == mark.text) {
            notes.mark = None;
        }
        let mark = Mark {
            last_try: true,
            ..mark.clone()
        };
        self.doubt = Some((token.to_owned(), mark));
    }

    /// Must be called before a mark is written.
    pub fn marking(&mut self, how: &Send) {
        if self.void.len() >= MOST_VOID {
            self.void.remove(0);
        }
        self.void.push(how.clone());
    }

    /// This mark is certainly not on the Secret.
    pub fn not_marked(&mut self, how: &Send) {
        self.void.retain(|v| v != how);
    }
}

/// A refresh token that is about to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Namespace and name of the credential.
    pub credential: &'a str,
    /// The ID of this process; unique for each one.
    pub process: &'a str,
    /// Keyed digest of the refresh token.
    pub token: &'a str,
    /// Keyed digest of the request: endpoint, client, its authentication, the refresh token.
    pub request: &'a str,
    /// What the process remembers of earlier requests.
    pub remembered: &'a Remembered,
    /// When the published token expires, if the target shows it: a user may have edited or deleted it.
    pub published_until: Option<Timestamp>,
}

/// What to do with the stored refresh token.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Send it.
    Send(Send),
    /// It was used at that time, and another writer restored it.
    Spent(Timestamp),
    /// Do not send it.
    Stop(TokenError),
}

/// How a refresh token is sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Send {
    /// The mark to set first.
    pub mark: Option<Mark>,
    /// The mark of an earlier request whose outcome is unknown. Only an answer with a token removes this doubt.
    pub doubt: Option<Mark>,
}

/// Decides before a request.
pub fn before(notes: &Notes, rule: ReuseRule, attempt: &Attempt<'_>, now: Timestamp) -> Step {
    if rule.is_always() {
        return Step::Send(Send::default());
    }
    if let Some(spent) = notes.spent.iter().find(|s| s.digest == attempt.token) {
        return Step::Spent(spent.at);
    }
    let same_request = |dead: &&Dead| dead.request.as_deref().is_none_or(|r| r == attempt.request);
    if notes.dead.as_ref().is_some_and(|d| same_request(&d)) {
        return Step::Stop(needs_user(
            Reason::SignInRequired,
            "the issuer does not accept the refresh token any more",
            attempt.credential,
        ));
    }
    let Some(doubt) = attempt.remembered.mark(notes, attempt.token) else {
        return Step::Send(Send {
            mark: Some(Mark::new(now, attempt.process, false)),
            doubt: None,
        });
    };
    let send = |mark| {
        Step::Send(Send {
            mark,
            doubt: Some(doubt.clone()),
        })
    };
    // The window counts from the first use, so the mark of that use stays.
    let in_window = rule.window.is_positive()
        && !doubt.last_try
        && now.duration_since(doubt.since).abs() <= rule.window;
    if in_window || (rule.reuse.is_none() && notes.rotates == Some(false)) {
        return send(None);
    }
    let unknown = needs_user(
        Reason::RefreshOutcomeUnknown,
        "the answer to a refresh request was lost, and this issuer may treat a second use of the refresh token as theft",
        attempt.credential,
    );
    // Never, if the user has set `reuse: Never`.
    let last_try = rule.reuse.is_none() && !doubt.last_try;
    // Without a token there is nothing to lose, as after its end.
    let token_end = attempt.published_until.max(notes.token_expires_at);
    let until = last_try.then(|| token_end.unwrap_or(Timestamp::MIN));
    match until.map(|until| until.max(settled(&doubt, attempt.remembered, now))) {
        // Without this attempt a sign-in is required in any case, and it can revoke no valid published token.
        Some(until) if until <= now => send(Some(Mark::new(now, attempt.process, true))),
        Some(until) => Step::Stop(TokenError {
            until_change: false,
            retry_at: Some(until),
            ..unknown
        }),
        None => Step::Stop(unknown),
    }
}

/// When the request of a mark has ended, and its answer is stored if there was one. Another process may still be running:
/// stopped, slow, or not the leader any more.
fn settled(doubt: &Mark, remembered: &Remembered, now: Timestamp) -> Timestamp {
    // This process knows when its own requests ended.
    let is_over = remembered.doubt.as_ref().is_some_and(|(_, m)| m == doubt);
    // A mark further in the future is not caused by another clock: another writer wrote it.
    let is_old = now.duration_since(doubt.since).abs() > SETTLES;
    if is_over || is_old {
        return now;
    }
    doubt.since.saturating_add(SETTLES).unwrap_or(now)
}

/// The error for a refresh token that was already used, and what to do.
pub fn put_back(credential: &str, secret: &str, at: Timestamp, writer: Option<&str>) -> TokenError {
    let by = writer.map_or_else(
        || "something".to_owned(),
        |name| format!("field manager {name}"),
    );
    needs_user(
        Reason::RefreshTokenSpent,
        &format!(
            "{by} wrote a refresh token into Secret {secret} that apicred already used at {at}, over a newer one; exclude this Secret from GitOps, secret synchronization and restores, and then restore the newer refresh token, or sign in"
        ),
        credential,
    )
}

fn needs_user(reason: Reason, what: &str, credential: &str) -> TokenError {
    TokenError {
        until_change: true,
        ..TokenError::local(
            Class::NeedsUser,
            reason,
            format!("{what}; {}", sign_in(credential)),
        )
    }
}
