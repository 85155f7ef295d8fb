//! How long the next attempt waits after a failure.

use super::*;

pub(super) fn retry(class: Class, failures: u32) -> Retry<'static> {
    Retry {
        class,
        failures,
        retry_after: None,
        propagating: false,
        deadline: None,
        seed: "uid",
    }
}

pub(super) fn waits(retry: &Retry<'_>) -> f64 {
    next_attempt(retry, at(0))
        .duration_since(at(0))
        .as_secs_f64()
}

#[test]
fn each_class_waits_in_its_own_range() {
    for (class, propagating, first, most) in [
        (Class::Transient, false, 1.0, 60.0),
        (Class::Throttled, false, 30.0, 600.0),
        (Class::Denied, false, 60.0, 3600.0),
        (Class::Denied, true, 5.0, 30.0),
        (Class::Invalid, false, 300.0, 3600.0),
        (Class::NeedsUser, false, 120.0, 3600.0),
    ] {
        for (failures, base) in [(1, first), (u32::MAX, most)] {
            let wait = waits(&Retry {
                propagating,
                ..retry(class, failures)
            });
            assert!(
                (base..=base * 1.2).contains(&wait),
                "{class:?} after {failures}: {wait}"
            );
        }
    }
}

#[test]
fn no_wait_exceeds_the_last_attempt_for_the_minimum_lifetime() {
    let by = |class, deadline, retry_after| {
        waits(&Retry {
            deadline: Some(at(deadline)),
            retry_after,
            ..retry(class, 9)
        })
    };
    for class in [Class::Denied, Class::Invalid] {
        assert!((by(class, 100, None) - 100.0).abs() < 0.001, "{class:?}");
        assert!(
            (by(class, 3, None) - 10.0).abs() < 0.001,
            "{class:?} near the deadline"
        );
        assert!(by(class, 0, None) >= 3600.0, "{class:?} at the deadline");
        assert!(
            by(class, -50, None) >= 3600.0,
            "{class:?} after the deadline"
        );
        let retry_after = Some(Duration::from_secs(200));
        assert!(
            by(class, 100, retry_after) >= 200.0,
            "{class:?}: the issuer's word comes first"
        );
    }
    assert!(by(Class::Transient, 20, None) <= 20.0);
    // If the issuer throttles, or a user must act, one more attempt does not help.
    assert!(by(Class::Throttled, 100, None) >= 600.0);
    assert!(by(Class::NeedsUser, 100, None) >= 3600.0);
}
