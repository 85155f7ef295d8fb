//! The steps that a plan can be.

use jiff::Timestamp;

use crate::Reason;

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
    /// The Secret of an earlier credential of this name gets this one as its owner. Its token stays until there is another.
    TakeOver,
    /// Write the published token in other formats, without a token request.
    Reformat,
    /// Remove the token from the Secret: the credential has ended.
    Empty,
    /// Read a source that changed, or that is listed before the one in use and was not tried; mint if its content is
    /// new.
    Verify,
    /// Get a token.
    Mint(Why),
    /// Write the token that is held.
    Publish(Why),
    /// Wait, although something is due.
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
    /// The credential goes; forget it.
    Release,
}

impl Plan {
    /// Does this step end with a write of the target?
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
pub enum Why {
    /// There is no Secret.
    Absent,
    /// The Secret requested adoption.
    Adopted,
    /// The one in the Secret has expired.
    Expired,
    /// Its renew point has come.
    Due,
    /// A user requested it by annotation.
    Requested,
    /// The spec requests another token.
    SpecChanged,
    /// The client secret is another one.
    SourceChanged,
    /// Somebody changed the token in the Secret.
    Edited,
}

impl Why {
    /// The metric label and the word in logs.
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
    /// The last try failed and its wait is not over.
    Backoff,
    /// The old Secret is still being deleted.
    TargetDeleting,
    /// The issuer repeats the token that is published.
    Repeating,
    /// It was corrected moments ago; another writer undoes it repeatedly.
    Repaired,
    /// The token that is due was requested seconds ago: the issuer gives a very short lifetime.
    TooShort,
    /// Edits, annotations or deletions request tokens faster than they are served.
    Paced,
    /// The Secret belongs to an earlier credential of this name, and waits for the garbage collector.
    OwnerGone,
    /// The last writes were refused because the target was not as expected.
    OutOfSync,
    /// Another operator renews the token.
    AnotherOperator,
}
