//! Lifetimes that put the minimum remaining lifetime at risk, are too short for it, or are guessed.

use super::*;

#[test]
fn risk_is_reported_before_the_minimum_lifetime_breaks_and_only_if_the_renewal_is_late() {
    let credential = credential();
    // A lifetime of 60 min minus 15 min minimum, 2 min mount delay and 6 min notice: reported after 37 min (2220 s).
    for (age, problem, reported) in [
        (2200, true, false),
        (2220, true, true),
        (2700, true, true),
        (2700, false, false),
    ] {
        let world = holding(
            &credential,
            record(&credential, (-age, -age + 1800, 3600 - age)),
        );
        let (world, outcome) = if problem {
            (
                failing(&credential, world, Class::Transient),
                Outcome::Failed,
            )
        } else {
            (world, Outcome::Steady)
        };
        let view = status(&credential, &world, &outcome, None, at(0));
        assert_eq!(
            condition(&view.status, "LifetimeAtRisk").is_some(),
            reported,
            "at age {age}"
        );
        if age == 2200 {
            assert!(
                view.requeue <= Duration::from_secs(20),
                "a reconcile is planned for the moment of risk"
            );
        }
    }
}

#[test]
fn lifetimes_that_cannot_hold_the_minimum_lifetime_are_reported_at_once() {
    const LONGER: &str = "longer lifetime at the issuer";
    const LOWER: &str = "lower spec.minLifetime";
    const NOTIFY: &str = "spec.target.notifyPods";
    let notify = json!({ "selector": { "matchLabels": { "app": "a" } } });
    // Lifetime, minLifetime, notified; parts of the message with the fixes, and a fix that it must not contain.
    for (lifetime, minimum, notified, expected, none) in [
        (
            60,
            None,
            false,
            &[
                "lifetime 1 min is too short for mounted files",
                "90 s",
                LONGER,
                NOTIFY,
            ][..],
            Some(LOWER),
        ),
        (
            99,
            None,
            false,
            &["lifetime 1 min 39 s", LONGER, NOTIFY],
            Some(LOWER),
        ),
        (100, None, false, &[], None),
        (120, None, false, &[], None),
        (240, None, false, &[], None),
        (3600, None, false, &[], None),
        // So short that a notification would not help either.
        (15, None, false, &["lifetime 15 s", LONGER], Some(NOTIFY)),
        (
            120,
            Some(40),
            false,
            &[
                "minLifetime 40 s and 2 min of Secret propagation",
                LONGER,
                LOWER,
                NOTIFY,
            ],
            None,
        ),
        (
            3600,
            Some(3000),
            false,
            &[
                "lifetime 60 min is too short for minLifetime 50 min",
                LONGER,
                LOWER,
            ],
            Some(NOTIFY),
        ),
        (60, None, true, &[], None),
        (24, None, true, &[], None),
        (
            20,
            None,
            true,
            &["minLifetime 6 s and 5 s of Secret propagation", LONGER],
            Some(NOTIFY),
        ),
        (
            60,
            Some(50),
            true,
            &["minLifetime 50 s", LONGER, LOWER],
            Some(NOTIFY),
        ),
    ] {
        let target = if notified {
            json!({ "notifyPods": notify })
        } else {
            json!({})
        };
        let mut credential = credential_with(&json!({ "target": target }));
        credential.min_lifetime = minimum.map(secs);
        let short_lifetime = holding(
            &credential,
            record(&credential, (-1, lifetime / 2, lifetime - 1)),
        );
        let view = status(&credential, &short_lifetime, &Outcome::Steady, None, at(0));
        let risk = condition(&view.status, "LifetimeAtRisk");
        let case = format!("{lifetime} {minimum:?} {notified}");
        if expected.is_empty() {
            assert!(risk.is_none(), "{case}: {risk:?}");
            continue;
        }
        let risk = risk.unwrap_or_else(|| panic!("{case}"));
        assert_eq!(risk.reason, "LifetimeTooShort", "{case}");
        for expected in expected {
            assert!(risk.message.contains(expected), "{case}: {}", risk.message);
        }
        assert!(
            none.is_none_or(|none| !risk.message.contains(none)),
            "{case}: {}",
            risk.message
        );
    }
}

#[test]
fn a_short_lifetime_of_a_published_field_names_the_field() {
    let key = json!({ "format": "AnswerField", "field": "id_token", "key": "id" });
    let credential =
        credential_with(&json!({ "target": { "keys": [{ "format": "Token" }, key] } }));
    let mut short = record(&credential, (-1, 30, 59));
    short.lifetime = crate::oauth::LifetimeSource::AnswerField(at(3600)).note();
    let world = holding(&credential, short);
    let view = status(&credential, &world, &Outcome::Steady, None, at(0));
    let risk = condition(&view.status, "LifetimeAtRisk").unwrap();
    let says =
        "the lifetime of a field of the answer (id_token in spec.target.keys) 1 min is too short";
    assert!(risk.message.contains(says), "{}", risk.message);
}

#[test]
fn a_guessed_lifetime_is_reported_with_the_field_that_fixes_it() {
    let credential = credential();
    for (note, reason, seen) in [
        ("Guessed", "LifetimeUnknown", "does not state"),
        ("Unread expires_at", "LifetimeUnknown", "expires_at"),
        (
            "OtherUnit expires_in 900000",
            "LifetimeUnclear",
            "expires_in 900000, which is 10 d 10 h",
        ),
        ("TooLong expires_in", "LifetimeUnclear", "366 days"),
    ] {
        let mut guess = record(&credential, (-10, 400, 890));
        note.clone_into(&mut guess.lifetime);
        let view = status(
            &credential,
            &holding(&credential, guess),
            &Outcome::Steady,
            None,
            at(0),
        );
        let risk = condition(&view.status, "LifetimeAtRisk").unwrap();
        assert_eq!(risk.reason, reason);
        assert!(
            risk.message.contains("assumedLifetime") && risk.message.contains(seen),
            "{}",
            risk.message
        );
    }
}
