//! Times of renewals, retries and warnings. All times are wall clock times, and no input makes a function fail.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::fingerprint::fraction;
use crate::oauth::Class;

/// From the write of a Secret to the last pod's file: the kubelet syncs a volume every 60 to 90 s (measured up to
/// 88 s), so 120 s is a fair allowance.
pub const MOUNT_DELAY: SignedDuration = SignedDuration::from_secs(120);
/// The same if the pods are notified (`spec.target.notifyPods`): measured up to 2 s, and some seconds for many pods.
pub const NOTIFIED_DELAY: SignedDuration = SignedDuration::from_secs(5);
/// A lifetime that leaves no minimum is renewed when so much is left: the kubelet needs up to 90 s, and the request and the
/// write some more. A shorter lifetime cannot be served without a notification.
pub const MOUNT_LEFT: SignedDuration = SignedDuration::from_secs(100);
/// Two tokens of one credential that are requested because of time are at least this far apart, however short their
/// lifetimes: an issuer must not get a request every second.
pub const SHORTEST: SignedDuration = SignedDuration::from_secs(10);
/// Default minimum remaining lifetime of tokens with a long lifetime.
const MIN_LIFETIME: SignedDuration = SignedDuration::from_mins(15);
/// For shorter lifetimes, the minimum remaining lifetime is a third of the lifetime.
const MIN_LIFETIME_FROM: SignedDuration = SignedDuration::from_mins(45);
/// Shortest and longest wait between two reconciles of a healthy credential. The longest one bounds what a changed clock
/// or a lost timer can cost.
const WAIT: (Duration, Duration) = (Duration::from_secs(10), Duration::from_hours(1));
/// How long after a change of its source Secret a token error may only mean that the issuer does not know the new
/// secret yet (facts, section 4: seconds to some minutes).
pub const PROPAGATION: SignedDuration = SignedDuration::from_mins(5);

/// The longest wait after a failure: an hour, or what an issuer requests up to that, and its spread.
pub const LONGEST: SignedDuration = SignedDuration::from_mins(72);

/// Longest time between two rounds of renewals, in seconds; a short lifetime has rounds of a sixtieth of it.
const ROUND: i64 = 10;

/// What spreads renewals, and what brings them together. The same for one token at all times, so that a restart draws
/// nothing again.
#[derive(Clone, Copy, Debug)]
pub struct Spread<'a> {
    /// The credential's own value: its position in the jitter.
    pub seed: &'a str,
    /// The cluster's own number: at which second of a round its renewals come, so that those of many clusters do not
    /// reach an issuer together.
    pub phase: u32,
}

/// When a token will be renewed, and why then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Renewal {
    /// The moment.
    pub at: Timestamp,
    /// The rule that chose it: `RefreshIn`, `HalfLife`, `MinLifetime`, `MountDelay` or `TooShort`.
    pub reason: &'static str,
}

/// What readers of the mounted file are promised, and how a new token reaches the file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Promise {
    /// `spec.minLifetime`, if set.
    pub minimum: Option<SignedDuration>,
    /// The pods are notified of each write (`spec.target.notifyPods`), and this works.
    pub notified: bool,
}

impl Promise {
    /// The minimum remaining lifetime for readers: `spec.minLifetime`, or if not set, by the lifetime.
    pub fn min_lifetime(self, lifetime: SignedDuration) -> SignedDuration {
        self.minimum.unwrap_or(if lifetime >= MIN_LIFETIME_FROM {
            MIN_LIFETIME
        } else {
            lifetime / 3
        })
    }

    /// From the write of a Secret to the last pod's file.
    pub const fn delay(self) -> SignedDuration {
        if self.notified {
            NOTIFIED_DELAY
        } else {
            MOUNT_DELAY
        }
    }

    /// How long before its end a token must be renewed.
    pub fn before(self, lifetime: SignedDuration) -> SignedDuration {
        self.min_lifetime(lifetime) + self.delay()
    }

    /// True if this lifetime allows the minimum. The latest renewal must be at least a quarter of the lifetime after the
    /// start, and [`SHORTEST`]; otherwise tokens that cannot keep the minimum would be requested all the time.
    pub fn is_kept(self, lifetime: SignedDuration) -> bool {
        lifetime - self.before(lifetime) >= SHORTEST.max(lifetime / 4)
    }

    /// True if no mounted file expires, although the lifetime allows no minimum: it is renewed when [`MOUNT_LEFT`] is left.
    /// Only the default minimum gives way; one that a user sets is kept or reported.
    pub fn is_served(self, lifetime: SignedDuration) -> bool {
        self.is_kept(lifetime) || self.minimum.is_none() && !self.notified && lifetime >= MOUNT_LEFT
    }
}

/// The renewal time: the earliest of `refresh_in` (at least a tenth of the lifetime) and half of the lifetime, minus up to a tenth of it (earlier
/// only), never later than what leaves the minimum remaining lifetime and the mount delay. A lifetime too short for its minimum is renewed
/// at half, or when [`MOUNT_LEFT`] is left, if that is sooner and serves files that the kubelet updates. The result is rounded down to the
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
        Some(wish) if wish < half => (wish.max(lifetime / 10), "RefreshIn"),
        _ => (half, "HalfLife"),
    };
    let latest = lifetime - promise.before(lifetime);
    let mounts = lifetime - MOUNT_LEFT;
    let (wait, reason) = match (promise.is_kept(lifetime), latest < wait) {
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
    // Neither jitter nor the round brings two tokens closer together than they may be.
    let at = if wait >= SHORTEST {
        at.max(whole_second_after(later(issued, SHORTEST)))
    } else {
        at
    };
    Renewal { at, reason }
}

/// The first whole second from `at` on.
fn whole_second_after(at: Timestamp) -> Timestamp {
    let whole = crate::whole_second(at);
    if whole < at {
        later(whole, SignedDuration::from_secs(1))
    } else {
        whole
    }
}

/// The last round until `at`. Renewals that come together cost apicred and the API server a third less than those that
/// come one by one (docs/performance.md). Whole seconds, as everything that is noted: status and logs then say the same.
fn round_of(at: Timestamp, lifetime: SignedDuration, phase: u32) -> Timestamp {
    let round = (lifetime.as_secs() / 60).clamp(1, ROUND);
    let begins = i64::from(phase) % round;
    let since = (at.as_second() - begins).rem_euclid(round);
    Timestamp::from_second(at.as_second() - since).unwrap_or(at)
}

/// From when on a failing renewal is a risk for the minimum remaining lifetime: early enough that a user
/// can act, a tenth of the lifetime and at least a minute.
pub fn risk_at(issued: Timestamp, expires: Timestamp, promise: Promise) -> Timestamp {
    let lifetime = expires.duration_since(issued).max(SignedDuration::ZERO);
    let notice = (lifetime / 10).max(SignedDuration::from_mins(1));
    later(expires, -(promise.before(lifetime) + notice))
}

/// What a retry must know.
#[derive(Clone, Copy, Debug)]
pub struct Retry<'a> {
    /// How it failed.
    pub class: Class,
    /// Failures in a row, this one among them.
    pub failures: u32,
    /// The wait that the issuer requested.
    pub retry_after: Option<Duration>,
    /// A source Secret changed moments ago.
    pub propagating: bool,
    /// The latest time at which a new token keeps the minimum remaining lifetime, if there is a token.
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
        // A fix by a user is noticed within minutes at first: a consent takes effect in half a minute.
        (Class::NeedsUser, _) => (120, 3600),
        // Who says when to come back knows better than we do; one that says "at once" each time is not believed.
        (Class::Throttled, _) if retry.retry_after.is_some() => (1, 600),
        (Class::Throttled, _) => (30, 600),
        (Class::Transient, _) => (1, 60),
    };
    let doubled =
        f64::from(first) * 2_f64.powi(i32::try_from(retry.failures.clamp(1, 16)).unwrap_or(16) - 1);
    let base = doubled.min(f64::from(most));
    let asked = retry.retry_after.map_or(0.0, |d| d.as_secs_f64());
    // Only later: an issuer that requested a minute gets at least a minute.
    let spread = 1.0 + 0.2 * fraction(&[retry.seed, &retry.failures.to_string()]);
    let wait =
        SignedDuration::try_from_secs_f64(base.max(asked) * spread).unwrap_or(MIN_LIFETIME_FROM);
    let at = later(now, wait);
    match retry.deadline {
        // Do not sleep past the latest time at which an attempt could keep the minimum remaining lifetime.
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

/// `at + by`, held inside the range of time.
pub fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// What lies beyond this was noted by a clock that has been set back since.
pub fn later_than(now: Timestamp) -> Timestamp {
    later(now, SignedDuration::from_mins(1))
}
