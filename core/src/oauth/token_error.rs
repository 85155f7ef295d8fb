//! A token error: why there is no token, how long to wait, and what a user can do.

use crate::Reason;
use std::time::Duration;

use jiff::Timestamp;

use super::{NextStep, Reader, aadsts};
use crate::credential::addresses::AddressNotAllowed;

/// The beginning of a message that repeats a statement of the issuer.
pub(super) const SAYS: &str = "the issuer says";

/// Failure classes; each has its own retry policy (DESIGN, section 3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Class {
    /// The request is wrong until a user changes it.
    Invalid,
    /// The client was refused.
    Denied,
    /// A user has to sign in or consent.
    NeedsUser,
    /// Too many requests.
    Throttled,
    /// Another attempt soon may succeed.
    Transient,
}

impl Class {
    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::NeedsUser => "needs_user",
            Self::Throttled => "throttled",
            Self::Transient => "transient",
        }
    }
}

/// How far an exchange got. Decisions use it and [`Class`], never the text of a reason. The author of a new failure sets its
/// stage, and each `match` of a stage is complete.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Stage {
    /// Nothing was sent: a rule, a setting or an input of apicred forbids it.
    #[default]
    Own,
    /// The proxy for issuers was not reached, requires credentials or failed.
    Proxy,
    /// The proxy for issuers opens no connection to this host.
    Tunnel,
    /// DNS has no address for the host, or does not answer.
    Name,
    /// No connection to the host, or one that broke before the TLS handshake was complete.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The server requires a client certificate, or another one than it received.
    ClientCertificate,
    /// No connection, or no complete answer, in time.
    Timeout,
    /// The connection ended before the whole answer arrived.
    BrokenOff,
    /// An answer that is not from a token endpoint: a page, a document without any field of OAuth.
    Foreign,
    /// An answer of the issuer.
    Answered,
}

/// Why there is no token. Of the answer's body it contains only codes and ids from fixed alphabets, and the part of the
/// issuer's text that [`super::redaction`] allows.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenError {
    /// How to wait.
    pub class: Class,
    /// Stable reason for conditions and events.
    pub reason: Reason,
    /// How far the exchange got.
    pub stage: Stage,
    /// One sentence with the next step.
    pub next_step: NextStep,
    /// HTTP status, if there was an answer.
    pub http_status: Option<u16>,
    /// Other details of an answer.
    pub detail: Option<Box<Detail>>,
    /// OAuth `error`.
    pub error: Option<String>,
    /// AADSTS number.
    pub aadsts: Option<u32>,
    /// Entra's id of the request.
    pub correlation_id: Option<String>,
    /// Entra's id of the answer.
    pub trace_id: Option<String>,
    /// The wait that the issuer requests.
    pub retry_after: Option<Duration>,
    /// True if the client authentication was refused, so that the next secret of the list may work.
    pub about_client: bool,
    /// True if it is certain that no byte of the request reached the issuer. False if that is not known.
    pub not_sent: bool,
    /// True if only a change of the inputs may cause another attempt, and no timer.
    pub until_change: bool,
    /// The next attempt makes sense only at this time or later.
    pub retry_at: Option<Timestamp>,
}

/// Details of an answer in addition to its codes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detail {
    /// Media type of the answer, if it is not the one of an OAuth answer.
    pub content_type: Option<String>,
    /// The product's own error code, in addition to the OAuth error.
    pub code: Option<String>,
    /// The claims that the issuer requests, in their plain form.
    pub claims: Option<String>,
    /// Who answered: the origin of the issuer.
    pub issuer: Option<String>,
    /// The text of the issuer without secrets. Only from issuers that an administrator or Microsoft vouches for.
    pub issuer_message: Option<String>,
}

impl From<AddressNotAllowed> for TokenError {
    fn from(refused: AddressNotAllowed) -> Self {
        Self::local(
            Class::Invalid,
            Reason::AddressNotAllowed,
            refused.to_string(),
        )
    }
}

/// The prefix of Entra ID's error codes.
const AADSTS: &str = "AADSTS";

impl TokenError {
    /// The server's own code of the error, as users search for it.
    pub fn code(&self) -> Option<String> {
        let number = self.aadsts.map(|number| format!("{AADSTS}{number}"));
        number.or_else(|| self.detail.as_ref()?.code.clone())
    }

    /// The number in such a code.
    pub fn number(code: &str) -> Option<u32> {
        code.strip_prefix(AADSTS)?.parse().ok()
    }

    /// A failure that apicred itself reports, without an answer of the issuer.
    pub fn local(class: Class, reason: Reason, next_step: impl Into<NextStep>) -> Self {
        Self {
            class,
            reason,
            stage: Stage::Own,
            next_step: next_step.into(),
            http_status: None,
            detail: None,
            error: None,
            aadsts: None,
            correlation_id: None,
            trace_id: None,
            retry_after: None,
            about_client: false,
            not_sent: false,
            until_change: false,
            retry_at: None,
        }
    }

    /// The same, with the stage at which it failed.
    #[must_use]
    pub fn at(self, stage: Stage) -> Self {
        Self { stage, ..self }
    }

    /// The message for conditions and events: who answered what, the next step, the text of the issuer, and where to find more.
    pub fn message(&self) -> String {
        self.message_for(Reader::Cluster)
    }

    /// The same for another reader.
    pub fn message_for(&self, reader: Reader) -> String {
        let next_step = self.next_step.for_reader(reader);
        let none = Detail::default();
        let detail = self.detail.as_deref().unwrap_or(&none);
        let mut parts = Vec::new();
        parts.extend(self.http_status.map(|s| match &detail.content_type {
            Some(kind) => format!("HTTP {s} ({kind})"),
            None => format!("HTTP {s}"),
        }));
        parts.extend(self.error.clone());
        parts.extend(self.code());
        let mut text = if parts.is_empty() {
            next_step
        } else {
            let issuer = detail.issuer.as_deref().unwrap_or("the issuer");
            let seen = parts.join(", ");
            format!("{issuer} answered {seen}: {next_step}")
        };
        if let Some(issuer_message) = &detail.issuer_message {
            text.push_str(&format!("; {SAYS}: \"{issuer_message}\""));
        }
        let more = [
            self.aadsts.map(aadsts::link),
            self.correlation_id
                .as_ref()
                .map(|id| format!("correlation id {id}")),
        ];
        let more: Vec<String> = more.into_iter().flatten().collect();
        if !more.is_empty() {
            text.push_str(&format!(" ({})", more.join(", ")));
        }
        text
    }
}

/// Most digits of an error code. Keys and tokens in lower case have more.
pub(super) const MOST_DIGITS: usize = 4;

/// An OAuth error code that may be shown: RFC 6749 codes and similar ones. Any other text could be something that an attacker
/// wants to have read back (reliability research, T2), and is dropped.
pub fn error_code(text: &str) -> Option<String> {
    let fits = (1..=64).contains(&text.len())
        && text.bytes().filter(u8::is_ascii_digit).count() <= MOST_DIGITS
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    fits.then(|| text.to_owned())
}
