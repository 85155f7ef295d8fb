//! `spec.notAfter`: before it nothing changes; after it no token is requested and the Secret contains none.

use serde_json::{Value, json};

use crate::{
    Reason,
    api::DeletionPolicy,
    credential::{Credential, FieldError, IssuerLookup, parse},
    fixtures::{at, credential_with, issuer, object, observed, ours, published, record},
    oauth::{Class, LifetimeSource, TokenError},
    plan::{Observed, Outcome, Plan, RenewalCause, Severity, fail, invalid, over, plan, status},
    publish::{
        ManagedKeys,
        ownership::{ForeignWrite, Published, SecretFacts, Target},
    },
};

type Change = fn(&mut Observed);

fn ending(more: &Value) -> Credential {
    let mut change = json!({ "notAfter": at(0).to_string() });
    crate::fixtures::merge(&mut change, more);
    credential_with(&change)
}

fn emptied(credential: &Credential) -> Published {
    let mut left = published(credential, None);
    left.managed_keys = std::sync::Arc::new(ManagedKeys {
        data: Vec::new(),
        ..ManagedKeys::clone(&left.managed_keys)
    });
    left
}

fn with(credential: &Credential, change: impl FnOnce(&mut Observed)) -> Observed {
    let mut observed = observed(credential);
    change(&mut observed);
    observed
}

fn refused(plan: &Plan) -> bool {
    matches!(
        plan,
        Plan::Refuse {
            reason: Reason::Ended,
            ..
        }
    )
}

#[test]
fn not_after_applies_at_its_second_and_takes_precedence() {
    let credential = ending(&json!({}));
    let world = observed(&credential);
    assert!(matches!(
        plan(&credential, &world, at(-1)),
        Plan::Keep { .. }
    ));
    assert_eq!(plan(&credential, &world, at(0)), Plan::Empty);
    let suspended = ending(&json!({ "suspend": true }));
    assert_eq!(plan(&suspended, &observed(&suspended), at(1)), Plan::Empty);
    let changes: [(&str, Change); 5] = [
        ("no permission", |o| super::decision::denied(o)),
        ("no source", |o| o.sources[0].present = None),
        ("held", |o| o.held = true),
        ("edited", |o| {
            if let Target::Ours { published, .. } = &mut o.target {
                published.foreign_write = ForeignWrite::Edited("kubectl".to_owned());
            }
        }),
        ("damaged", |o| {
            if let Target::Ours { published, .. } = &mut o.target {
                published.record = None;
            }
        }),
    ];
    for (name, change) in changes {
        let world = with(&credential, change);
        assert_eq!(plan(&credential, &world, at(1)), Plan::Empty, "{name}");
    }
}

#[test]
fn after_the_end_nothing_is_requested_whatever_the_target_is() {
    let credential = ending(&json!({}));
    for target in [
        Target::Absent,
        Target::Deleting(None),
        Target::Deleting(Some(("42".to_owned(), Box::new(emptied(&credential))))),
        Target::Foreign("it is another's".to_owned()),
        Target::Adoptable {
            version: "1".to_owned(),
        },
        ours(emptied(&credential)),
    ] {
        let world = with(&credential, |o| o.target = target.clone());
        let plan = plan(&credential, &world, at(1));
        assert!(refused(&plan), "{target:?}: {plan:?}");
        let Plan::Refuse { message, .. } = plan else {
            continue;
        };
        let had = target.own().is_some();
        assert_eq!(message.contains("contains no token any more"), had);
        assert_ne!(message.contains(": no token is requested;"), had);
    }
    let world = with(&credential, |o| o.deleting = true);
    assert_eq!(plan(&credential, &world, at(1)), Plan::Release);
}

#[test]
fn a_token_in_a_secret_that_a_finalizer_retains_is_removed() {
    for suspend in [false, true] {
        let credential = ending(&json!({ "suspend": suspend }));
        let world = with(&credential, |o| {
            let live = published(&credential, Some(record(&credential, (-300, 1500, 3300))));
            o.target = Target::Deleting(Some(("42".to_owned(), Box::new(live))));
        });
        assert_eq!(plan(&credential, &world, at(0)), Plan::Empty);
        assert!(!matches!(plan(&credential, &world, at(-1)), Plan::Empty));
    }
}

#[test]
fn a_later_end_or_none_brings_a_token_again() {
    for change in [json!({}), json!({ "notAfter": at(3600).to_string() })] {
        let credential = credential_with(&change);
        let world = with(&credential, |o| o.target = ours(emptied(&credential)));
        assert_eq!(
            plan(&credential, &world, at(1)),
            Plan::Mint(RenewalCause::SpecChanged)
        );
    }
}

#[test]
fn the_end_is_reported_once_and_the_requeue_before_it_is_in_time() {
    let credential = ending(&json!({}));
    let before = status(
        &credential,
        &observed(&credential),
        &Outcome::Steady,
        None,
        at(-30),
    );
    assert!(
        before.requeue.as_secs() <= 30,
        "a reconcile at the end itself"
    );
    let world = with(&credential, |o| o.target = ours(emptied(&credential)));
    let Plan::Refuse { reason, message } = plan(&credential, &world, at(1)) else {
        panic!("a refusal");
    };
    let outcome = Outcome::Refused { reason, message };
    let view = status(&credential, &world, &outcome, Some(&before.status), at(1));
    let reported = view.status.conditions.iter();
    let reported: Vec<_> = reported
        .map(|c| (c.type_.as_str(), c.status.as_str(), c.reason.as_str()))
        .collect();
    assert_eq!(
        reported,
        [("Ready", "False", "Ended"), ("Stalled", "True", "Ended")]
    );
    assert_eq!(view.status.expires_at, None, "there is no token");
    assert_eq!(view.notices.len(), 1);
    assert_eq!(view.notices[0].severity, Severity::Normal);
    let again = status(&credential, &world, &outcome, Some(&view.status), at(2));
    assert!(again.notices.is_empty());
}

#[test]
fn a_credential_that_became_unusable_ends_all_the_same() {
    let object = object(&json!({ "notAfter": at(0).to_string() }));
    let credential = parse(&object, |_| IssuerLookup::Found(issuer())).unwrap();
    let facts = |published: Published| SecretFacts {
        uid: "secret-uid".to_owned(),
        version: "42".to_owned(),
        deleting: false,
        adopt_by: None,
        published: Some(Box::new(published)),
        controller: None,
        created_at: None,
        secret_expires_at: None,
        expiry_unreadable: false,
        rotated_until: None,
        unread: None,
        wants_copy: false,
        last_good: None,
    };
    let live = facts(published(
        &credential,
        Some(record(&credential, (-300, 1500, 3300))),
    ));
    let of = |facts: Option<&SecretFacts>, now| {
        over::of_unusable(&object, facts, now).map(|(version, _)| version.to_owned())
    };
    assert_eq!(of(Some(&live), at(-1)), None);
    assert_eq!(of(Some(&live), at(0)).as_deref(), Some("42"));
    assert_eq!(of(Some(&facts(emptied(&credential))), at(0)), None, "once");
    assert_eq!(of(None, at(0)), None);
    let mut other = live.clone();
    other.published.as_mut().unwrap().credential_uid = "another".to_owned();
    assert_eq!(of(Some(&other), at(0)), None, "only its own Secret");
    let mut going = live.clone();
    going.deleting = true;
    assert_eq!(
        of(Some(&going), at(0)).as_deref(),
        Some("42"),
        "a finalizer delays its deletion"
    );
    let mut revoked = object.clone();
    revoked.spec.deletion_policy = Some(DeletionPolicy::Revoke);
    let unrevoked = |facts: &SecretFacts, now| over::unrevoked(&revoked, Some(facts), now);
    assert!(unrevoked(&live, at(0)) && !over::unrevoked(&object, Some(&live), at(0)));
    assert!(!unrevoked(&live, at(-1)), "it has not ended");
    assert!(!unrevoked(&live, at(3300)), "it has expired");
    let mut limited = record(&credential, (-300, 100, 200));
    limited.lifetime = LifetimeSource::AnswerField(at(3300)).note();
    let limited = facts(published(&credential, Some(limited)));
    assert!(
        unrevoked(&limited, at(3299)),
        "only a published field has expired"
    );
    assert!(!unrevoked(&limited, at(3300)));
    assert!(!unrevoked(&facts(emptied(&credential)), at(0)));
    assert!(
        unrevoked(&facts(published(&credential, None)), at(0)),
        "not known"
    );
    let errors = [FieldError::new("spec.issuerRef", "is gone")];
    let view = invalid(&object, None, Some(&live), &errors, at(-30));
    assert!(view.requeue.as_secs() <= 30, "{:?}", view.requeue);
}

#[test]
fn an_end_that_is_no_time_is_refused() {
    for text in ["tomorrow", "2027-06-30", "", "2027-06-30T18:00:00"] {
        let object = object(&json!({ "notAfter": text }));
        let faults = parse(&object, |_| IssuerLookup::Found(issuer())).unwrap_err();
        assert_eq!(faults[0].field, "spec.notAfter", "{text}");
    }
}

#[test]
fn a_token_that_cannot_be_removed_does_not_count_as_valid() {
    for suspend in [false, true] {
        let credential = ending(&json!({ "suspend": suspend }));
        let world = observed(&credential);
        let before = status(&credential, &world, &Outcome::Steady, None, at(-30)).status;
        let cause = "it is immutable";
        let refused = TokenError::local(Class::Transient, Reason::TargetInvalid, cause);
        let failed = Observed {
            memory: fail(&credential, &world, refused, at(1)),
            ..world.clone()
        };
        let waiting = Outcome::Waiting {
            reason: Reason::TargetOutOfSync,
            message: cause.to_owned(),
            until: at(10),
        };
        for (world, outcome, severity) in [
            (&failed, Outcome::Failed, Severity::Warning),
            (&world, waiting, Severity::Normal),
        ] {
            let view = status(&credential, world, &outcome, Some(&before), at(1));
            let reported = view.status.conditions.iter();
            let reported: Vec<_> = reported
                .map(|c| (c.type_.as_str(), c.status.as_str(), c.reason.as_str()))
                .collect();
            let ended = [("Ready", "False", "Ended"), ("Stalled", "True", "Ended")];
            assert_eq!(reported, ended, "{outcome:?}");
            let message = &view.status.conditions[0].message;
            assert!(
                message.contains("could not be removed from Secret"),
                "{message}"
            );
            assert!(message.contains(cause), "{message}");
            assert_eq!(view.notices[0].severity, severity);
            assert!(view.requeue.as_secs() <= 60, "{:?}", view.requeue);
        }
        // The removal has not been tried yet.
        let view = status(&credential, &world, &Outcome::Steady, Some(&before), at(1));
        assert_eq!(view.status.conditions[0].reason, "Ended");
    }
}
