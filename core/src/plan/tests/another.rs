use jiff::SignedDuration;

use crate::{
    ConditionType, Reason,
    fixtures::{at, credential, holding, record},
    plan::{Hold, Observed, Outcome, Plan, RenewalCause, left_to_another, plan, status},
};

/// A token with a lifetime of an hour from another operator, with a source that was changed since.
fn foreign(age: i64) -> Observed {
    let credential = credential();
    let mut world = holding(
        &credential,
        record(&credential, (-age, 1800 - age, 3600 - age)),
    );
    world.another_operator = true;
    if let Some((_, version)) = &mut world.sources[0].present {
        version.push('1');
    }
    world
}

#[test]
fn what_another_operator_renews_is_left_alone_until_the_minimum_lifetime_is_at_risk() {
    let credential = credential();
    let world = foreign(60);
    let Plan::Hold { until, why } = plan(&credential, &world, at(0)) else {
        unreachable!("it must wait");
    };
    assert_eq!(why, Hold::AnotherOperator);
    assert!(until > at(1800) && until < at(3540 - 900), "{until}");
    // Also if a renewal is due, or a user requests one.
    let mut requested = credential.clone();
    requested.renew_requested = Some("now".to_owned());
    for (credential, now) in [(&credential, at(2000)), (&requested, at(0))] {
        let step = plan(credential, &world, now);
        assert_eq!(step, Plan::Hold { until, why });
    }
    assert_eq!(
        plan(&credential, &world, until),
        Plan::Mint(RenewalCause::Due)
    );
    // Its own token is not affected.
    let own = Observed {
        another_operator: false,
        ..world
    };
    assert_eq!(plan(&credential, &own, at(0)), Plan::Verify);
}

#[test]
fn both_operators_write_one_status() {
    let credential = credential();
    let mut world = foreign(60);
    let conditions = |status: &crate::api::ApiCredentialStatus| -> Vec<String> {
        let all = status.conditions.iter();
        all.map(|c| format!("{}/{}", c.type_, c.reason)).collect()
    };
    world.another_operator = false;
    let steady = Outcome::Steady;
    let owner = |old, seconds| status(&credential, &world, &steady, old, at(seconds));
    let first = owner(None, 0).status;
    assert_eq!(conditions(&first), ["Ready/TokenPublished"]);
    let other = |old, seconds| left_to_another(&credential, Some(old), at(1800), at(seconds));
    let reported = other(&first, 1);
    assert_eq!(
        conditions(&reported.status),
        ["Ready/TokenPublished", "RenewalFailing/AnotherOperator"]
    );
    assert_eq!(reported.notices.len(), 1);
    let soon = std::time::Duration::from_secs(5);
    assert_eq!(reported.requeue, soon, "the other one may write over it");
    assert_eq!(
        reported.notices[0].reason.known(),
        Some(Reason::AnotherOperator)
    );
    // Neither operator overwrites the other's report.
    let unchanged = owner(Some(&reported.status), 2);
    assert_eq!(unchanged.status, reported.status);
    assert_eq!(unchanged.notices, []);
    let again = other(&unchanged.status, 3);
    assert!(again.requeue > soon, "it is still reported");
    assert_eq!(
        (again.status, again.notices.len()),
        (reported.status.clone(), 0)
    );
    // An hour after the other operator has stopped, the owner removes the condition.
    assert!(unchanged.requeue <= std::time::Duration::from_hours(1));
    let over = owner(Some(&reported.status), 3601).status;
    assert!(
        ConditionType::RenewalFailing
            .find(&over.conditions)
            .is_none()
    );
    // A failure of the owner itself takes precedence, and the other operator does not change it.
    let failing =
        super::super::states::failing(&credential, world.clone(), crate::oauth::Class::Denied);
    let failed = status(
        &credential,
        &failing,
        &Outcome::Failed,
        Some(&reported.status),
        at(4),
    )
    .status;
    assert_eq!(
        conditions(&failed),
        ["Ready/TokenPublished", "RenewalFailing/RequestRefused"]
    );
    assert_eq!(other(&failed, 5).status, failed);
    // For a spec that the owner has not reconciled yet, nothing is reported.
    let mut edited = credential.clone();
    edited.generation += 1;
    let edited = left_to_another(&edited, Some(&first), at(1800), at(6));
    assert_eq!(
        edited.requeue,
        std::time::Duration::from_secs(5),
        "the other one's status is awaited"
    );
    assert_eq!(edited.status, first);
    assert!(SignedDuration::try_from(edited.requeue).unwrap() <= SignedDuration::from_hours(1));
}
