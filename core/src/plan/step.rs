//! The steps that a plan can contain.

use jiff::Timestamp;

use super::Observed;
use crate::{Reason, credential::Credential};

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Nothing to do until then.
    Keep {
        /// The time of the next reconcile.
        until: Timestamp,
    },
    /// Change the Secret's labels, annotations or owner; the token stays.
    Render,
    /// Make this credential the owner of the Secret of an earlier credential of this name. Its token stays until there is another.
    TakeOver,
    /// Write the published token in other formats, without a token request.
    Reformat,
    /// Remove the token from the Secret: the credential has expired.
    Empty,
    /// Read a source that changed, or that is listed before the one in use and was not tried. Request a token if its content is new.
    Verify,
    /// Read the sources that changed since the last attempt. If their content is the one that failed, the failure stays.
    Compare,
    /// Request a token.
    Mint(RenewalCause),
    /// Write the token that is held.
    Publish(RenewalCause),
    /// Wait, although a step is due.
    Hold {
        /// Until when.
        until: Timestamp,
        /// Why.
        why: Hold,
    },
    /// Nothing can be done until something changes.
    Refuse {
        /// Stable reason.
        reason: Reason,
        /// What to do.
        message: String,
    },
    /// The credential is being deleted; forget it.
    Release,
}

/// What is known of the existence of a credential, apart from the cache.
#[derive(Clone, Copy, Debug)]
pub struct Existence {
    /// Whether it ever had a token.
    pub published: bool,
    /// Whether the watch of credentials has failed, so that the cache may be old.
    pub watch_failed: bool,
}

impl Plan {
    /// Whether the API server must confirm that the credential exists before this step. The cache may not have its deletion yet: the garbage
    /// collector may be faster than the watch, and a watch waits after it failed. A token for a deleted credential is one request too many, and
    /// nothing deletes a Secret that is created for it with `deletionPolicy: Retain`. The take-over checks this itself.
    pub fn needs_existence(&self, known: Existence) -> bool {
        match self {
            Self::TakeOver | Self::Empty => false,
            // An earlier write of this token failed.
            Self::Publish(RenewalCause::Absent) => true,
            Self::Mint(RenewalCause::Absent) => known.published || known.watch_failed,
            _ => known.watch_failed && self.writes(),
        }
    }

    /// Whether this step is taken although the API server does not show whether the credential exists: the token in an existing Secret has
    /// expired, or will soon, and other requests of the API server may work.
    pub fn is_urgent(&self, credential: &Credential, observed: &Observed, now: Timestamp) -> bool {
        let due = matches!(
            self,
            Self::Mint(RenewalCause::Due | RenewalCause::Expired)
                | Self::Publish(RenewalCause::Due | RenewalCause::Expired)
        );
        due && observed
            .deadline(credential, now)
            .is_none_or(|at| at <= now)
    }

    /// Whether this step ends with a write of the target.
    pub(super) fn writes(&self) -> bool {
        matches!(
            self,
            Self::Render
                | Self::TakeOver
                | Self::Reformat
                | Self::Empty
                | Self::Verify
                | Self::Mint(_)
                | Self::Publish(_)
        )
    }
}

/// Why a token is needed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RenewalCause {
    /// There is no Secret.
    Absent,
    /// The Secret requested adoption.
    Adopted,
    /// The one in the Secret has expired.
    Expired,
    /// Its renewal time has passed.
    Due,
    /// A user requested it by annotation.
    Requested,
    /// The spec requests another token.
    SpecChanged,
    /// The client secret has changed.
    SourceChanged,
    /// Another writer changed the token in the Secret.
    Edited,
}

impl RenewalCause {
    /// The metric label and the text in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Adopted => "adopted",
            Self::Expired => "expired",
            Self::Due => "due",
            Self::Requested => "requested",
            Self::SpecChanged => "spec_changed",
            Self::SourceChanged => "source_changed",
            Self::Edited => "edited",
        }
    }
}

/// Why a due step waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hold {
    /// `spec.suspend`.
    Suspended,
    /// The last attempt failed and the wait after it has not passed.
    Backoff,
    /// The old Secret is still being deleted.
    TargetDeleting,
    /// The issuer repeats the token that is published.
    Repeating,
    /// It was corrected moments ago, and another writer undoes it repeatedly.
    Repaired,
    /// The token that is due was requested seconds ago: the issuer's token lifetime is very short.
    TooShort,
    /// Edits, annotations or deletions cause token requests more often than the rate limit allows.
    Paced,
    /// The Secret belongs to an earlier credential of this name, and waits for the garbage collector.
    OwnerGone,
    /// The last writes were refused because the target was not as expected.
    OutOfSync,
    /// Another operator renews the token.
    AnotherOperator,
    /// The CAs of the issuer are being read.
    CasUnread,
}
