//! A credential that has expired or is suspended, and whose spec, client or issuer cannot be used: the fault prevents nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::status::{condition, facts, short};
use crate::{
    Reason,
    api::{ApiCredential, ApiCredentialStatus},
    credential::FieldError,
    fixtures::{at, credential, object, observed, ours, published},
    plan::{Outcome, Severity, View, invalid, status},
    publish::{
        ManagedKeys,
        ownership::{Published, SecretFacts},
    },
};

/// What may be missing or wrong, and whether waiting can correct it.
const FAULTS: [Reason; 6] = [
    Reason::IssuerNotFound,
    Reason::ClientNotFound,
    Reason::IssuerNotReady,
    Reason::IssuerOutOfScope,
    Reason::InvalidSpec,
    Reason::NotReadable,
];

fn errors(reason: Reason) -> [FieldError; 1] {
    [FieldError::new("spec.issuerRef", "is gone; create it").because(reason)]
}

/// The Secret with a token that is valid from -300 to 3300.
fn live() -> SecretFacts {
    facts(&observed(&credential()).target)
}

fn emptied() -> SecretFacts {
    let left = published(&credential(), None);
    let managed_keys = ManagedKeys {
        data: Vec::new(),
        ..ManagedKeys::clone(&left.managed_keys)
    };
    facts(&ours(Published {
        managed_keys: std::sync::Arc::new(managed_keys),
        ..left
    }))
}

/// The status while everything worked.
fn good() -> ApiCredentialStatus {
    let credential = credential();
    let steady = Outcome::Steady;
    status(&credential, &observed(&credential), &steady, None, at(0)).status
}

fn unusable(
    spec: &Value,
    old: Option<&ApiCredentialStatus>,
    facts: Option<&SecretFacts>,
    (reason, now): (Reason, i64),
) -> View {
    invalid(&object(spec), old, facts, &errors(reason), at(now))
}

fn ready(view: &View) -> &str {
    &condition(&view.status, "Ready").unwrap().message
}

fn noticed(view: &View) -> Vec<(&str, Severity)> {
    let notices = view.notices.iter();
    notices.map(|n| (n.reason.as_str(), n.severity)).collect()
}

#[test]
fn after_the_end_only_the_end_is_reported_whatever_is_missing() {
    let spec = json!({ "notAfter": at(0).to_string() });
    let paused = json!({ "notAfter": at(0).to_string(), "suspend": true });
    for reason in FAULTS {
        for spec in [&spec, &paused] {
            let view = unusable(spec, Some(&good()), Some(&emptied()), (reason, 1));
            assert_eq!(
                short(&view.status),
                "Ready=False/Ended Stalled=True/Ended",
                "{reason}"
            );
            assert!(ready(&view).contains("contains no token any more"));
            assert_eq!(noticed(&view), [("Ended", Severity::Normal)], "{reason}");
            assert_eq!(view.status.expires_at, None);
            // Another missing object is no news.
            let other = unusable(
                spec,
                Some(&view.status),
                Some(&emptied()),
                (Reason::ClientNotFound, 2),
            );
            assert_eq!(other.status, view.status);
            assert!(other.notices.is_empty());
        }
        let before = unusable(&spec, None, None, (reason, -1));
        assert!(
            short(&before.status).starts_with(&format!("Ready=False/{reason}")),
            "{reason}"
        );
        assert!(before.requeue <= Duration::from_secs(1));
        // The fault was reported before the end.
        let ended = unusable(&spec, Some(&before.status), None, (reason, 0));
        assert_eq!(
            short(&ended.status),
            "Ready=False/Ended Stalled=True/Ended",
            "{reason}"
        );
        assert!(ready(&ended).contains("no token is requested"));
        assert_eq!(noticed(&ended), [("Ended", Severity::Normal)], "{reason}");
    }
}

#[test]
fn a_token_that_could_not_be_removed_at_the_end_is_reported_and_tried_again_soon() {
    let spec = json!({ "notAfter": at(0).to_string() });
    let view = unusable(
        &spec,
        Some(&good()),
        Some(&live()),
        (Reason::IssuerNotFound, 1),
    );
    assert_eq!(
        short(&view.status),
        "Ready=True/TokenPublished RenewalFailing=True/Ended"
    );
    let why = &condition(&view.status, "RenewalFailing").unwrap().message;
    assert!(why.contains("could not be removed"), "{why}");
    assert!(view.requeue <= Duration::from_secs(30));
    assert_eq!(noticed(&view), [("Ended", Severity::Normal)]);
    let removed = unusable(
        &spec,
        Some(&view.status),
        Some(&emptied()),
        (Reason::IssuerNotFound, 31),
    );
    assert_eq!(
        short(&removed.status),
        "Ready=False/Ended Stalled=True/Ended"
    );
    assert!(removed.notices.is_empty(), "one event");
}

#[test]
fn a_suspended_credential_with_a_token_stays_ready_and_one_without_reports_the_suspension() {
    let spec = json!({ "suspend": true });
    for reason in FAULTS {
        let with = unusable(&spec, Some(&good()), Some(&live()), (reason, 1));
        assert_eq!(short(&with.status), "Ready=True/TokenPublished", "{reason}");
        assert!(with.notices.is_empty(), "{reason}");
        assert_eq!(with.status.expires_at, good().expires_at);
        let shown = "Ready=False/Suspended Stalled=True/Suspended";
        for facts in [None, Some(&emptied())] {
            let without = unusable(&spec, None, facts, (reason, 1));
            assert_eq!(short(&without.status), shown, "{reason}");
            let why = ready(&without);
            assert!(why.contains("there is no valid token"), "{why}");
            assert!(why.contains("spec.issuerRef: is gone; create it"), "{why}");
        }
        // It expires while the credential is suspended: what failed before is no renewal that is wanted.
        let failing = unusable(&json!({}), Some(&good()), Some(&live()), (reason, 1));
        for old in [&with, &failing] {
            let expired = unusable(&spec, Some(&old.status), Some(&live()), (reason, 3300));
            assert_eq!(short(&expired.status), shown, "{reason}");
        }
    }
}

#[test]
fn a_token_of_another_generation_does_not_make_a_suspended_credential_ready() {
    let edited = |spec: &Value| {
        let mut object: ApiCredential = object(spec);
        object.metadata.generation = Some(4);
        let errors = errors(Reason::IssuerNotFound);
        invalid(&object, Some(&good()), Some(&live()), &errors, at(1))
    };
    let view = edited(&json!({ "suspend": true }));
    assert_eq!(
        short(&view.status),
        "Ready=False/Suspended Stalled=True/Suspended"
    );
    assert!(ready(&view).contains("cannot compare the token"));
    // Without the suspension, the fault counts again.
    let view = edited(&json!({ "suspend": false }));
    assert_eq!(
        short(&view.status),
        "Ready=False/IssuerNotFound Reconciling=True/IssuerNotFound"
    );
}
