//! What came of a step, and why a call failed.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::observed::{Application, Slot};

/// Why a call to the issuer's management API did not do what it should.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Class {
    /// Too many requests.
    Throttled,
    /// Another write to the application is in progress (`Directory_ConcurrencyViolation`).
    Conflict,
    /// A policy of the tenant refuses it.
    Policy,
    /// The caller lacks a permission, or does not own the application.
    Permission,
    /// The proof of possession was refused.
    Proof,
    /// The caller's token was refused.
    Token,
    /// There is no token to call with: what `managementRef` names has none. Nothing was sent.
    Caller,
    /// There is no such application.
    NoApplication,
    /// The request is wrong.
    Invalid,
    /// Worth trying again: no answer, or a server's error.
    Transient,
}

impl Class {
    /// Does it pass by itself, so that the call is sent again soon?
    pub(super) const fn passes(self) -> bool {
        matches!(
            self,
            Self::Throttled | Self::Conflict | Self::Caller | Self::Transient
        )
    }

    /// Why the call was not sent, where nothing else is known.
    pub(super) const fn words_of_unsent(self) -> &'static str {
        match self {
            Self::Throttled => "the issuer received too many requests",
            Self::Token => "the issuer gave no token for it",
            Self::Caller => "there was no valid token for it",
            Self::Proof => "the Secret has no valid certificate that proves it",
            Self::NoApplication => "the issuer does not know the application",
            Self::Invalid => "the client does not have all that it needs",
            Self::Transient => "something that it needs did not answer",
            Self::Conflict | Self::Policy | Self::Permission => "what comes before it was refused",
        }
    }

    /// Why no token came, where there was no answer.
    pub(super) const fn words_of_silence(self) -> &'static str {
        match self {
            Self::Throttled => "the issuer received too many requests",
            _ => "the issuer did not answer",
        }
    }

    /// What it means, where nothing else is known of the answer.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Throttled => "it received too many requests",
            Self::Conflict => "another change was in progress",
            Self::Policy => "a policy of the tenant does not allow it",
            Self::Permission => "the caller lacks a permission, or does not own the application",
            Self::Proof => "it did not accept the proof of possession",
            Self::Token => "it did not accept the token of the caller",
            Self::Caller => "there was no valid token to call it with",
            Self::NoApplication => "it does not know the application",
            Self::Invalid => "it did not accept the request",
            Self::Transient => "it did not answer",
        }
    }
}

/// A call that failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// What it means.
    pub class: Class,
    /// Was the call sent? Otherwise something failed that comes before it, and the issuer did not see it.
    pub sent: bool,
    /// May it have taken effect all the same? True without an answer, and for a server's error.
    pub may_have_happened: bool,
    /// How long the issuer asks to be left alone.
    pub retry_after: Option<SignedDuration>,
    /// One sentence for the user, with the next step. No secret, bounded, printable.
    pub message: String,
}

/// What the issuer answered to a trial that got no token. Codes and ids from fixed alphabets, no words.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// OAuth `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The issuer's own code, such as `AADSTS7000215`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Entra's id of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

impl Answer {
    /// The part of it that another trial with the same result repeats.
    pub(super) fn repeated(self) -> Self {
        Self {
            correlation_id: None,
            ..self
        }
    }

    /// What it was. None: there was no answer.
    pub(super) fn words(&self) -> Option<String> {
        let status = self.status.map(|status| format!("HTTP {status}"));
        let parts = [status, self.error.clone(), self.code.clone()];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let id = self.correlation_id.as_ref();
        let id = id.map_or(String::new(), |id| format!(" (correlation id {id})"));
        (!parts.is_empty()).then(|| format!("the issuer answered {}{id}", parts.join(", ")))
    }
}

/// A value that this process holds and that is not in the Secret yet. The value itself stays with the shell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InHand {
    /// The number that it was made for.
    pub n: u32,
    /// The value.
    pub slot: Slot,
    /// The issuer's id of it, if it knows the value already.
    pub id: Option<String>,
    /// Valid from.
    pub from: Timestamp,
    /// Valid until. None: it does not end by itself.
    pub until: Option<Timestamp>,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The Secret was written, or the credential was removed or was not there any more.
    Done,
    /// The Secret was not written: it has another resourceVersion, or the API server refused or did not answer.
    NotWritten,
    /// The application was read.
    Application(Application),
    /// A key pair was made, or a secret was added. The shell holds the value.
    Held(InHand),
    /// The certificate was added. The issuer may name its id.
    KeyAdded(Option<String>),
    /// A token came.
    Token,
    /// The issuer refused the credential.
    Refused(Answer),
    /// No token, and nothing said about the credential: no connection, a server's error, throttled; or the issuer refuses the client or
    /// the request, whatever the credential. The answer, as far as there was one.
    NoAnswer(Fault, Answer),
    /// A call of the management API failed.
    Failed(Fault),
}
