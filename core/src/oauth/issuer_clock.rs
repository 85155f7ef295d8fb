//! The issuer's clock, by which it states when a token expires: the `Date` of its answer, else ours.

use jiff::{SignedDuration, Timestamp};

use super::{AnswerContext, RawAnswer, lifetime::LONGEST};

/// `Date` has whole seconds, and an answer takes some time: a difference up to this does not count.
const NOISE: SignedDuration = SignedDuration::from_secs(30);
/// A `Date` that differs more from our clock counts only if the token confirms it: it may come from a server in between.
const FARTHEST: SignedDuration = SignedDuration::from_hours(1);
/// Issuers backdate tokens (Entra ID by five minutes), and clocks differ by as much. A token whose beginning differs by more is not new.
pub(super) const LEEWAY: SignedDuration = SignedDuration::from_mins(15);

/// What time it is at the issuer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct IssuerClock {
    /// The issuer's time when it wrote the answer, but not earlier than when the request was sent.
    pub(super) now: Timestamp,
    /// When the request was sent, by our clock.
    pub(super) sent: Timestamp,
    /// True if the answer contains the time. If not, `now` is our time, and either clock may be wrong.
    pub(super) sure: bool,
    /// How long the answer was in a cache (`Age`, RFC 9111 section 5.1). The durations in it began that long ago.
    pub(super) age: SignedDuration,
}

impl IssuerClock {
    /// Reads the headers of an answer. `begins`: when its token begins, according to the token.
    pub(super) fn of(raw: &RawAnswer, context: AnswerContext, begins: Option<Timestamp>) -> Self {
        let AnswerContext { sent, now, .. } = context;
        let age = raw.age.as_deref().and_then(|age| age.trim().parse().ok());
        let age = SignedDuration::from_secs(age.unwrap_or(0_u32).into()).min(LONGEST);
        let ours = Self {
            now: sent,
            sent,
            sure: false,
            age,
        };
        let date = raw.date.as_deref().map(str::trim);
        let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        let Some(date) = date.map(|date| date.timestamp()) else {
            return ours;
        };
        let theirs = date.saturating_add(age).unwrap_or(date);
        let ahead = theirs.duration_since(sent);
        if -NOISE <= ahead && theirs.duration_since(now) <= NOISE {
            return Self { sure: true, ..ours };
        }
        let confirmed = begins.is_some_and(|begins| near(begins, date));
        // An answer that a cache repeats with its old `Date` and without `Age` looks like one of a clock that is behind. The
        // error is then the same as with `expires_in` alone. With the opposite rule, a node whose clock is ahead would get no token.
        if ahead.abs() <= FARTHEST || confirmed {
            return Self {
                now: theirs,
                sure: true,
                ..ours
            };
        }
        ours
    }

    /// The time until then.
    pub(super) fn left(&self, until: Timestamp) -> SignedDuration {
        until.duration_since(self.now)
    }

    /// True if something of this length that expires then may have begun with this answer, allowing for the usual difference of clocks.
    pub(super) fn may_be_new(&self, ends: Timestamp, length: SignedDuration) -> bool {
        ends.saturating_sub(length)
            .is_ok_and(|begins| near(begins, self.sent))
    }
}

fn near(one: Timestamp, other: Timestamp) -> bool {
    one.duration_since(other).abs() <= LEEWAY
}
