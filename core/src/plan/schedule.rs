//! Times of renewals, retries and warnings. All times are wall clock times, and no input makes a function fail.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::fingerprint::fraction;
use crate::oauth::Class;

/// The time from the write of a Secret to the update of the last pod's file: the kubelet syncs a volume every 60 to 90 s (measured up to 88 s),
/// so 120 s include a margin.
pub const MOUNT_DELAY: SignedDuration = SignedDuration::from_secs(120);
/// The same if the pods are notified (`spec.target.notifyPods`): measured up to 2 s, and some seconds for many pods.
pub const NOTIFIED_DELAY: SignedDuration = SignedDuration::from_secs(5);
/// If a lifetime is too short for the minimum, the token is renewed when this much is left: the kubelet needs up to 90 s, and the request and
/// the write some seconds. A shorter lifetime is not possible without a notification.
pub const MOUNT_LEFT: SignedDuration = SignedDuration::from_secs(100);
/// Two tokens of one credential that are requested because of time are at least this far apart, however short their lifetimes: an issuer must
/// not get a request every second.
pub const SHORTEST: SignedDuration = SignedDuration::from_secs(10);
/// Default minimum remaining lifetime of tokens with a long lifetime.
const MIN_LIFETIME: SignedDuration = SignedDuration::from_mins(15);
/// For shorter lifetimes, the minimum remaining lifetime is a third of the lifetime.
const MIN_LIFETIME_FROM: SignedDuration = SignedDuration::from_mins(45);
/// Shortest and longest wait between two reconciles of a healthy credential. The longest one limits the effect of a changed clock or a lost
/// timer.
const WAIT: (Duration, Duration) = (Duration::from_secs(10), Duration::from_hours(1));
/// How long after a change of its source Secret a token error may only mean that the issuer does not know the new secret yet (facts, section 4:
/// seconds to some minutes).
pub const PROPAGATION: SignedDuration = SignedDuration::from_mins(5);

/// The longest wait after a failure: an hour, or what an issuer requests up to that, and the jitter.
pub const LONGEST: SignedDuration = SignedDuration::from_mins(72);

/// Longest time between two rounds of renewals, in seconds. For a short lifetime a round is a sixtieth of it.
const ROUND: i64 = 10;

/// Inputs that spread renewals, and that group them. They are always the same for one token, so that a restart changes nothing.
#[derive(Clone, Copy, Debug)]
pub struct Spread<'a> {
    /// The credential's own value: its position in the jitter.
    pub seed: &'a str,
    /// The cluster's own number. It sets the second of a round at which renewals begin, so that those of many clusters do not reach an issuer
    /// together.
    pub phase: u32,
}

/// When a token will be renewed, and why then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Renewal {
    /// The time.
    pub at: Timestamp,
    /// The rule that chose it: `RefreshIn`, `HalfLife`, `MinLifetime`, `MountDelay` or `TooShort`.
    pub reason: &'static str,
}

/// What readers of the mounted file can rely on, and how a new token reaches the file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Promise {
    /// `spec.minLifetime`, if set.
    pub minimum: Option<SignedDuration>,
    /// The pods are notified of each write (`spec.target.notifyPods`), and this works.
    pub notified: bool,
}

impl Promise {
    /// The minimum remaining lifetime for readers: `spec.minLifetime`, or if not set, a value that depends on the lifetime.
    pub fn min_lifetime(self, lifetime: SignedDuration) -> SignedDuration {
        self.minimum.unwrap_or(if lifetime >= MIN_LIFETIME_FROM {
            MIN_LIFETIME
        } else {
            lifetime / 3
        })
    }

    /// The time from the write of a Secret to the update of the last pod's file.
    pub const fn delay(self) -> SignedDuration {
        if self.notified {
            NOTIFIED_DELAY
        } else {
            MOUNT_DELAY
        }
    }

    /// How long before its expiry a token must be renewed.
    pub fn before(self, lifetime: SignedDuration) -> SignedDuration {
        self.min_lifetime(lifetime) + self.delay()
    }

    /// True if this lifetime allows the minimum. The latest renewal must be at least a quarter of the lifetime, and [`SHORTEST`], after the
    /// start. Otherwise tokens that cannot have the minimum would be requested all the time.
    pub fn allows_minimum(self, lifetime: SignedDuration) -> bool {
        lifetime - self.before(lifetime) >= SHORTEST.max(lifetime / 4)
    }

    /// True if no mounted file expires, although the lifetime is too short for the minimum: the token is renewed when [`MOUNT_LEFT`] is left.
    /// This applies only to the default minimum. A minimum that a user sets is either possible or reported.
    pub fn is_served(self, lifetime: SignedDuration) -> bool {
        self.allows_minimum(lifetime)
            || self.minimum.is_none() && !self.notified && lifetime >= MOUNT_LEFT
    }
}

/// The renewal time: the earliest of `refresh_in` (at least a tenth of the lifetime) and half of the lifetime, minus a jitter of up to a tenth
/// of it. It is never later than the minimum remaining lifetime and the mount delay allow. A lifetime too short for its minimum is renewed at
/// half, or when [`MOUNT_LEFT`] is left, if that is sooner and sufficient for files that the kubelet updates. The result is rounded down to the
/// renewal round.
pub fn renewal(
    issued: Timestamp,
    expires: Timestamp,
    refresh_in: Option<SignedDuration>,
    promise: Promise,
    spread: Spread<'_>,
) -> Renewal {
    let lifetime = expires.duration_since(issued).max(SignedDuration::ZERO);
    let half = lifetime / 2;
    let (wait, reason) = match refresh_in {
        // An issuer that returns one second would get requests all the time.
        Some(wanted) if wanted < half => (wanted.max(lifetime / 10), "RefreshIn"),
        _ => (half, "HalfLife"),
    };
    let latest = lifetime - promise.before(lifetime);
    let mounts = lifetime - MOUNT_LEFT;
    let (wait, reason) = match (promise.allows_minimum(lifetime), latest < wait) {
        (true, true) => (latest, "MinLifetime"),
        (true, false) => (wait, reason),
        (false, _) if !promise.notified && lifetime >= MOUNT_LEFT && mounts < wait => {
            (mounts.max(SHORTEST), "MountDelay")
        }
        (false, _) => (wait, "TooShort"),
    };
    let most = (lifetime.as_secs_f64() * 0.1).min(wait.as_secs_f64() * 0.2);
    let jitter =
        SignedDuration::try_from_secs_f64(most * fraction(&[spread.seed, &issued.to_string()]))
            .unwrap_or_default();
    let at = round_of(later(issued, wait - jitter), lifetime, spread.phase).max(issued);
    // Neither jitter nor the round may bring two tokens closer together than [`SHORTEST`].
    let at = if wait >= SHORTEST {
        at.max(whole_second_after(later(issued, SHORTEST)))
    } else {
        at
    };
    Renewal { at, reason }
}

/// The first whole second that is not before `at`.
fn whole_second_after(at: Timestamp) -> Timestamp {
    let whole = crate::whole_second(at);
    if whole < at {
        later(whole, SignedDuration::from_secs(1))
    } else {
        whole
    }
}

/// The last round that is not after `at`. Grouped renewals cost apicred and the API server a third less than single ones (docs/performance.md).
/// It is in whole seconds like all stored times, so that status and logs agree.
fn round_of(at: Timestamp, lifetime: SignedDuration, phase: u32) -> Timestamp {
    let round = (lifetime.as_secs() / 60).clamp(1, ROUND);
    let begins = i64::from(phase) % round;
    let since = (at.as_second() - begins).rem_euclid(round);
    Timestamp::from_second(at.as_second() - since).unwrap_or(at)
}

/// When a failing renewal becomes a risk for the minimum remaining lifetime. This is early enough for a user to act: a tenth of the lifetime
/// and at least a minute before.
pub fn risk_at(issued: Timestamp, expires: Timestamp, promise: Promise) -> Timestamp {
    let lifetime = expires.duration_since(issued).max(SignedDuration::ZERO);
    let notice = (lifetime / 10).max(SignedDuration::from_mins(1));
    later(expires, -(promise.before(lifetime) + notice))
}

/// The inputs of a retry.
#[derive(Clone, Copy, Debug)]
pub struct Retry<'a> {
    /// How it failed.
    pub class: Class,
    /// Number of failures in a row, including this one.
    pub failures: u32,
    /// The wait that the issuer requested.
    pub retry_after: Option<Duration>,
    /// A source Secret has just changed.
    pub propagating: bool,
    /// The latest time at which a new token ensures the minimum remaining lifetime, if there is a token.
    pub deadline: Option<Timestamp>,
    /// Spreads the retries of many credentials.
    pub seed: &'a str,
}

/// When to try again.
pub fn next_attempt(retry: &Retry<'_>, now: Timestamp) -> Timestamp {
    let (first, most) = match (retry.class, retry.propagating) {
        (Class::Denied, true) => (5, 30),
        (Class::Denied, false) => (60, 3600),
        (Class::Invalid, _) => (300, 3600),
        // A fix by a user must first be noticed within minutes: a consent takes effect in half a minute.
        (Class::NeedsUser, _) => (120, 3600),
        // The issuer knows best when to retry. If it requests "at once" each time, the wait still grows.
        (Class::Throttled, _) if retry.retry_after.is_some() => (1, 600),
        (Class::Throttled, _) => (30, 600),
        (Class::Transient, _) => (1, 60),
    };
    let doubled =
        f64::from(first) * 2_f64.powi(i32::try_from(retry.failures.clamp(1, 16)).unwrap_or(16) - 1);
    let base = doubled.min(f64::from(most));
    let requested = retry.retry_after.map_or(0.0, |d| d.as_secs_f64());
    // The jitter only delays: if an issuer requested a minute, it gets at least a minute.
    let spread = 1.0 + 0.2 * fraction(&[retry.seed, &retry.failures.to_string()]);
    let wait = SignedDuration::try_from_secs_f64(base.max(requested) * spread)
        .unwrap_or(MIN_LIFETIME_FROM);
    let at = later(now, wait);
    match retry.deadline {
        // Do not sleep beyond the latest time at which an attempt could ensure the minimum remaining lifetime.
        Some(deadline)
            if retry.retry_after.is_none()
                && matches!(
                    retry.class,
                    Class::Transient | Class::Denied | Class::Invalid
                ) =>
        {
            if deadline > now {
                at.min(deadline.max(later(now, SignedDuration::from_secs(10))))
            } else {
                at
            }
        }
        _ => at,
    }
}

/// How long to sleep until `at`, within the bounds of a healthy wait.
pub fn wait(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now))
        .unwrap_or_default()
        .clamp(WAIT.0, WAIT.1)
}

/// `at + by`, limited to the valid range.
pub fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// A later time was recorded before the clock was set back.
pub fn later_than(now: Timestamp) -> Timestamp {
    later(now, SignedDuration::from_mins(1))
}
