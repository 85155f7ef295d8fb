//! What a user sets, and time limits of each step of a rotation.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// Replicas of an issuer lag for seconds to minutes. If the answer to an announcement was lost, the credential is searched for, or announced
/// again, after this time.
pub const SETTLES: SignedDuration = SignedDuration::from_mins(5);
/// A credential is added at most this long after it was announced: other processes count the time until it must be listed from the
/// announcement.
pub const SENT_WITHIN: SignedDuration = SignedDuration::from_secs(10);
/// Per application, only one write at a time, with this interval (`Directory_ConcurrencyViolation`).
pub const BETWEEN_WRITES: SignedDuration = SignedDuration::from_secs(10);
/// Maximum age of a reading of the application for a decision.
pub const FRESH: SignedDuration = SignedDuration::from_secs(60);
/// The application is read at this interval, to find orphans.
pub const SWEEP: SignedDuration = SignedDuration::from_hours(24);
/// An orphan that is younger than this is not removed, because another process may still store it.
pub const ORPHAN_AGE: SignedDuration = SignedDuration::from_hours(1);
/// A token that a credential got proves the credential for this time.
pub const PROOF_LASTS: SignedDuration = SignedDuration::from_hours(24);
/// Safety margin: a rotation begins this long before the last time at which `overlap` still fits before the expiry of the current credential.
pub const BEFORE_END: SignedDuration = SignedDuration::from_hours(7 * 24);
/// After a rotation that failed, the next one begins after this time, doubled for each failure, at most [`MOST_PAUSE`].
pub const PAUSE: SignedDuration = SignedDuration::from_mins(15);
/// After a call of the management API that failed, the next one is sent after this time, doubled for each failure.
pub const CALL_PAUSE: SignedDuration = SignedDuration::from_secs(15);
/// The same after `Directory_ConcurrencyViolation`, which is short. It is not doubled.
pub const CONFLICT_PAUSE: SignedDuration = SignedDuration::from_secs(30);
/// The longest pause after a reading of the application that failed: a fault that a user corrected is noticed within this time.
pub const MOST_READ_PAUSE: SignedDuration = SignedDuration::from_mins(15);
/// If an issuer is too busy to add a credential, it is announced again this many times.
pub const MOST_BUSY: u32 = 5;
/// After this many failed removals in a row, a rotation that is due does not wait for the removal of the previous credential.
pub const MOST_UNREMOVED: u32 = 3;
/// A state in which a user must act is checked again after this time.
pub const AGAIN: SignedDuration = SignedDuration::from_mins(15);
/// See [`PAUSE`].
pub const MOST_PAUSE: SignedDuration = SignedDuration::from_hours(24);
/// A difference of clocks up to this time is not an error.
pub const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// What is rotated.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Kind {
    /// A client secret. The issuer chooses its value.
    Secret,
    /// A certificate. The key pair is created here and stored before it is announced.
    Certificate,
    /// A private key without a certificate, whose public key is registered. It is also created here.
    Key,
}

impl Kind {
    /// Its name in messages, in the plural.
    pub(super) const fn plural(self) -> &'static str {
        match self {
            Self::Secret => "client secrets",
            Self::Certificate => "certificates",
            Self::Key => "keys",
        }
    }

    /// Whether the value is created here, and stored before the issuer knows it.
    pub const fn is_made_here(self) -> bool {
        matches!(self, Self::Certificate | Self::Key)
    }
}

/// How a new credential is tried before it takes over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Trials {
    /// Time between two trials. Fifteen equal token requests in five minutes are refused (AADSTS50196).
    pub gap: SignedDuration,
    /// This many in a row must succeed.
    pub in_row: u32,
    /// The first and the last of them must be at least this far apart.
    pub over: SignedDuration,
    /// A credential that is not proven after this time is given up.
    pub at_most: SignedDuration,
}

impl Default for Trials {
    fn default() -> Self {
        Self {
            gap: SignedDuration::from_secs(30),
            in_row: 5,
            over: SignedDuration::from_mins(2),
            at_most: SignedDuration::from_hours(1),
        }
    }
}

/// Intervals and pauses between steps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pace {
    /// See [`SETTLES`].
    pub settles: SignedDuration,
    /// See [`BETWEEN_WRITES`].
    pub between_writes: SignedDuration,
    /// See [`ORPHAN_AGE`].
    pub orphan_age: SignedDuration,
    /// See [`PAUSE`].
    pub pause: SignedDuration,
    /// See [`AGAIN`].
    pub again: SignedDuration,
    /// See [`CALL_PAUSE`].
    pub call_pause: SignedDuration,
    /// See [`CONFLICT_PAUSE`].
    pub conflict_pause: SignedDuration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            settles: SETTLES,
            between_writes: BETWEEN_WRITES,
            orphan_age: ORPHAN_AGE,
            pause: PAUSE,
            again: AGAIN,
            call_pause: CALL_PAUSE,
            conflict_pause: CONFLICT_PAUSE,
        }
    }
}

/// `spec.rotation` of a client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RotationSettings {
    /// What is rotated.
    pub kind: Kind,
    /// A new credential is created at this interval.
    pub every: SignedDuration,
    /// How long a new credential is valid.
    pub validity: SignedDuration,
    /// How long the previous credential stays valid after the switch.
    pub overlap: SignedDuration,
    /// How a new credential is tried.
    pub trials: Trials,
    /// Intervals and pauses between steps.
    pub pace: Pace,
    /// Key ID of a credential that apicred did not create and may remove after it was replaced.
    pub adopt: Option<String>,
}

impl RotationSettings {
    /// Defaults of a kind: a new credential every 90 days, valid for 180 days, with 24 hours of overlap.
    pub fn of(kind: Kind) -> Self {
        const DAY: i64 = 24;
        Self {
            kind,
            every: SignedDuration::from_hours(90 * DAY),
            validity: SignedDuration::from_hours(180 * DAY),
            overlap: SignedDuration::from_hours(DAY),
            trials: Trials::default(),
            pace: Pace::default(),
            adopt: None,
        }
    }

    /// # Errors
    /// The field, and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let least = self.trials.at_most.saturating_mul(2);
        if self.every < least {
            return Err(("every", format!("must be at least {least:#}")));
        }
        if self.overlap.is_negative() {
            return Err(("overlap", "must not be negative".to_owned()));
        }
        let needed = self.every.saturating_add(self.overlap);
        if self.validity < needed {
            return Err((
                "validity",
                format!("must be at least every + overlap, which is {needed:#}"),
            ));
        }
        Ok(())
    }
}
