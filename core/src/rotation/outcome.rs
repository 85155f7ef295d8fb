//! The result of a step, and why a call failed.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::observed::{Application, Slot};
use crate::oauth::AnswerIds;

/// Why a call to the issuer's management API failed.
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
    /// There is no token for the call: the object in `managementRef` has none. Nothing was sent.
    Caller,
    /// There is no such application.
    NoApplication,
    /// The application has as many credentials as the issuer allows.
    Full,
    /// The request is wrong.
    Invalid,
    /// A retry may succeed: no answer, or a server's error.
    Transient,
}

impl Class {
    /// Whether it is transient, so the call is sent again soon.
    pub(super) const fn passes(self) -> bool {
        matches!(
            self,
            Self::Throttled | Self::Conflict | Self::Caller | Self::Transient
        )
    }

    /// Why the call was not sent, if nothing else is known.
    pub(super) const fn reason_if_unsent(self) -> &'static str {
        match self {
            Self::Throttled => "the issuer received too many requests",
            Self::Token => "the issuer gave no token for it",
            Self::Caller => "there was no valid token for it",
            Self::Proof => "the Secret has no valid certificate that proves it",
            Self::NoApplication => "the issuer does not know the application",
            Self::Invalid => "the client does not have all that it needs",
            Self::Transient => "something that it needs did not answer",
            Self::Conflict | Self::Policy | Self::Permission | Self::Full => {
                "an earlier call was refused"
            }
        }
    }

    /// Why no token was returned, if there was no answer.
    pub(super) const fn reason_without_answer(self) -> &'static str {
        match self {
            Self::Throttled => "the issuer received too many requests",
            _ => "the issuer did not answer",
        }
    }

    /// What the answer means, if nothing else is known about it.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Throttled => "it received too many requests",
            Self::Conflict => "another change was in progress",
            Self::Policy => "a policy of the tenant does not allow it",
            Self::Permission => "the caller lacks a permission, or does not own the application",
            Self::Proof => "it did not accept the proof of possession",
            Self::Token => "it did not accept the token of the caller",
            Self::Caller => "there was no valid token to call it with",
            Self::NoApplication => "it does not know the application",
            Self::Full => "the application has as many credentials as it allows",
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
    /// Whether the call was sent. Otherwise something failed before it, and the issuer did not receive it.
    pub sent: bool,
    /// Whether it may have taken effect nevertheless. True without an answer, and for a server's error.
    pub may_have_happened: bool,
    /// The pause that the issuer requested.
    pub retry_after: Option<SignedDuration>,
    /// One sentence for the user, with the next step. Contains no secret; bounded and printable.
    pub message: String,
}

/// A value that this process holds and that is not in the Secret yet. The shell holds the value itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnstoredValue {
    /// The number for which it was created.
    pub n: u32,
    /// The value.
    pub slot: Slot,
    /// The issuer's id of it, if the issuer already has the value.
    pub id: Option<String>,
    /// Valid from.
    pub from: Timestamp,
    /// Valid until. None: it does not expire.
    pub until: Option<Timestamp>,
}

/// The result of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The Secret was written, or the credential was removed or did not exist any more.
    Done,
    /// The Secret was not written: it has another resourceVersion, or the API server refused or did not answer.
    NotWritten,
    /// The application was read.
    Application(Application),
    /// A key pair was created, or a secret was added. The shell holds the value.
    Held(UnstoredValue),
    /// The certificate was added, with its id if the issuer returned it.
    KeyAdded(Option<String>),
    /// The issuer returned a token.
    Token,
    /// The issuer refused the credential.
    Refused(AnswerIds),
    /// No token, and no statement about the credential: no connection, a server's error, or throttling; or the issuer refuses the client or the
    /// request, whatever the credential. Contains the answer, if there was one.
    NoAnswer(Fault, AnswerIds),
    /// A call of the management API failed.
    Failed(Fault),
}
