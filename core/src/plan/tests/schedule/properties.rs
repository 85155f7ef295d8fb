//! Properties of the schedule for any lifetime, `refresh_in`, minimum lifetime and jitter.

use super::*;
use crate::fixtures::any_class;

fn any_time() -> impl Strategy<Value = Timestamp> {
    let ends = (Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    prop_oneof![ends.0..=ends.1, Just(ends.0), Just(ends.1)]
        .prop_map(|s| Timestamp::from_second(s).unwrap())
}

prop_compose! {
    /// Lifetime and `refresh_in` of an issuer, `minLifetime` of a user, and the seed of the jitter.
    fn any_lifetime()(
        lifetime in prop_oneof![1_i64..7200, 1_i64..40_000_000],
        refresh_in in prop::option::of(-10_i64..100_000),
        user in prop::option::of(10_i64..=86_400),
        seed in "[a-z0-9]{1,8}",
    ) -> (i64, Option<SignedDuration>, Option<SignedDuration>, String) {
        (lifetime, refresh_in.map(secs), user.map(secs), seed)
    }
}

proptest! {
    #[test]
    fn a_renewal_is_within_the_lifetime_before_half_of_it_and_is_stable((lifetime, refresh_in, user, seed) in any_lifetime(), phase: u32) {
        let first = renewal(at(0), at(lifetime), refresh_in, promise(user), Spread { seed: &seed, phase });
        prop_assert!(first.at >= at(0) && first.at < at(lifetime));
        prop_assert!(first.at.duration_since(at(0)) <= secs(lifetime) / 2, "jitter may only be earlier");
        prop_assert_eq!(first, renewal(at(0), at(lifetime), refresh_in, promise(user), Spread { seed: &seed, phase }));
    }

    #[test]
    fn a_renewal_leaves_minimum_lifetime_and_mount_delay_whenever_the_lifetime_can_hold_them((lifetime, refresh_in, user, seed) in any_lifetime(), phase: u32) {
        let renewal = renewal(at(0), at(lifetime), refresh_in, promise(user), Spread { seed: &seed, phase });
        let (lifetime, promise) = (secs(lifetime), promise(user));
        let left = at(0).saturating_add(lifetime).unwrap().duration_since(renewal.at);
        if promise.allows_minimum(lifetime) {
            prop_assert!(left >= promise.min_lifetime(lifetime) + MOUNT_DELAY);
        } else {
            prop_assert!(["TooShort", "MountDelay"].contains(&renewal.reason));
        }
    }

    #[test]
    fn a_lifetime_that_serves_files_leaves_what_the_kubelet_needs(lifetime in 100_i64..=3600, seed in "[a-z0-9]{1,8}", phase: u32, millis in 0_i64..1000) {
        let issued = at(0) + SignedDuration::from_millis(millis);
        let renewal = renewal(issued, issued + secs(lifetime), None, promise(None), Spread { seed: &seed, phase });
        let left = (issued + secs(lifetime)).duration_since(renewal.at);
        prop_assert!(promise(None).is_served(secs(lifetime)));
        // Below 111 s the 10 s between two tokens take precedence.
        let least = MOUNT_LEFT.min(secs(lifetime) - SHORTEST - secs(1));
        prop_assert!(left >= least, "{} of {} left", left, lifetime);
        prop_assert!(renewal.at.duration_since(issued) >= SHORTEST);
    }

    #[test]
    fn two_tokens_are_ten_seconds_apart_if_the_lifetime_is_twice_that((lifetime, _, user, seed) in any_lifetime(), notified: bool, phase: u32) {
        let lifetime = lifetime.max(20);
        let promise = Promise { minimum: user, notified };
        let renewal = renewal(at(0), at(lifetime), None, promise, Spread { seed: &seed, phase });
        prop_assert!(renewal.at.duration_since(at(0)) >= SHORTEST);
    }

    #[test]
    fn a_notified_pod_has_the_minimum_if_the_lifetime_allows_it((lifetime, refresh_in, user, seed) in any_lifetime(), phase: u32) {
        let promise = notified(user);
        let renewal = renewal(at(0), at(lifetime), refresh_in, promise, Spread { seed: &seed, phase });
        if promise.allows_minimum(secs(lifetime)) {
            prop_assert!(at(lifetime).duration_since(renewal.at) >= promise.min_lifetime(secs(lifetime)) + NOTIFIED_DELAY);
        } else {
            prop_assert_eq!(renewal.reason, "TooShort");
        }
    }

    #[test]
    fn no_token_is_renewed_at_once((lifetime, refresh_in, user, seed) in any_lifetime(), phase: u32) {
        let renewal = renewal(at(0), at(lifetime), refresh_in, promise(user), Spread { seed: &seed, phase });
        let after = renewal.at.duration_since(at(0));
        // With `MountDelay` the time for the kubelet takes precedence over this rule. Two tokens are still 10 s apart.
        if renewal.reason == "MountDelay" {
            prop_assert!(after >= SHORTEST, "{} after {}", after, lifetime);
            return Ok(());
        }
        // A quarter of the lifetime, or a tenth if the issuer requests it, minus a fifth for jitter.
        let share = if refresh_in.is_some() { 0.1 } else { 0.25 };
        let least = secs(lifetime).as_secs_f64() * share * 0.8 - secs(round(lifetime)).as_secs_f64();
        prop_assert!(after.as_secs_f64() > least, "{} after {}", after, lifetime);
    }

    #[test]
    fn no_times_make_the_schedule_panic(
        issued in any_time(), expires in any_time(), now in any_time(),
        refresh_in in prop::option::of(any::<i64>()), user in prop::option::of(0_i64..=86_400), notified: bool, phase: u32,
    ) {
        let promise = Promise { minimum: user.map(secs), notified };
        let renewal = renewal(issued, expires, refresh_in.map(secs), promise, Spread { seed: "uid", phase });
        let risk = risk_at(issued, expires, promise);
        for moment in [renewal.at, risk, expires] {
            prop_assert!(wait(now, moment) >= Duration::from_secs(10));
        }
    }

    #[test]
    fn risk_is_reported_before_the_minimum_lifetime_breaks((lifetime, _, user, _) in any_lifetime()) {
        let breaks = at(lifetime) - promise(user).min_lifetime(secs(lifetime));
        prop_assert!(risk_at(at(0), at(lifetime), promise(user)) <= breaks - MOUNT_DELAY - secs(60));
        prop_assert!(risk_at(at(0), at(lifetime), notified(user)) <= breaks - NOTIFIED_DELAY - secs(60));
    }

    #[test]
    fn a_healthy_renewal_is_never_called_at_risk((lifetime, refresh_in, user, seed) in any_lifetime(), phase: u32) {
        let user = user.map(|u| u.min(secs(lifetime) / 4));
        let renewal = renewal(at(0), at(lifetime), refresh_in, promise(user), Spread { seed: &seed, phase });
        if lifetime >= 3600 && renewal.reason != "MinLifetime" {
            prop_assert!(renewal.at < risk_at(at(0), at(lifetime), promise(user)));
        }
    }

    #[test]
    fn backoff_never_falls_is_capped_and_respects_the_issuer(
        class in any_class(), propagating: bool, failures in 1_u32..40, retry_after in prop::option::of(0_u64..1_000_000),
    ) {
        let retry_after = retry_after.map(Duration::from_secs);
        let of = |failures| waits(&Retry { retry_after, propagating, ..retry(class, failures) });
        let (this, next) = (of(failures), of(failures + 1));
        // At the maximum, a wait differs from the next one only by the random fifth that spreads credentials.
        prop_assert!(next * 1.2 >= this, "{} then {}", this, next);
        let retry_after = retry_after.map_or(0.0, |a| a.as_secs_f64());
        prop_assert!(this >= retry_after && this <= retry_after.max(3600.0) * 1.2);
        prop_assert!(this >= 1.0, "no hot loop");
    }

    #[test]
    fn a_retry_is_always_later_and_never_panics(
        class in any_class(), propagating: bool, failures: u32, retry_after in prop::option::of(any::<u64>()),
        deadline in prop::option::of(any_time()), now in any_time(),
    ) {
        let retry = Retry {
            class, failures, propagating, deadline, seed: "uid",
            retry_after: retry_after.map(Duration::from_secs),
        };
        let at = next_attempt(&retry, now);
        prop_assert!(at >= later(now, secs(1)));
    }
}
