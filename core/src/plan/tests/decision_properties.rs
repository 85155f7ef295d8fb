use proptest::prelude::*;

use super::decision::{denied, failed};
use crate::{
    credential::Credential,
    fixtures::{at, credential, mark, observed, ours, published, record},
    plan::{Hold, Observed, Plan, fingerprint, plan},
    publish::ownership::{ForeignWrite, Target},
};

fn any_target(credential: Credential) -> impl Strategy<Value = Target> {
    let record = (
        (-5000_i64..5000, -5000_i64..5000, -5000_i64..5000),
        any::<[bool; 4]>(),
    )
        .prop_map(move |(times, [other_spec, handled, drifted, damaged])| {
            let mut record = record(&credential, times);
            if other_spec {
                record.request.push('x');
            }
            record.renew_handled = handled.then(|| "a".to_owned());
            let mut published = published(&credential, (!damaged).then_some(record));
            if drifted {
                published.template_intact = false;
            }
            published
        });
    let foreign_write = prop::sample::select(vec![
        ForeignWrite::None,
        ForeignWrite::None,
        ForeignWrite::Edited("x".to_owned()),
        ForeignWrite::Claimed("y".to_owned()),
    ]);
    prop_oneof![
        1 => Just(Target::Absent),
        1 => Just(Target::Deleting(None)),
        1 => Just(Target::Adoptable { version: "1".to_owned() }),
        2 => Just(Target::Foreign("x".to_owned())),
        8 => (record, foreign_write).prop_map(|(mut published, foreign_write)| {
            published.foreign_write = foreign_write;
            ours(published)
        }),
    ]
}

prop_compose! {
    fn any_world()(
        target in any_target(credential()),
        switches in any::<[bool; 6]>(),
        version in prop::option::of(6_u8..9), verified in prop::option::of(6_u8..9),
        backoff in prop::option::of(-100_i64..100), not_before in prop::option::of(-100_i64..100),
    ) -> (Credential, Observed) {
        let [deleting, suspend, denied_here, held, requested, junior] = switches;
        let mut credential = credential();
        credential.suspend = suspend && deleting; // rare on purpose
        credential.renew_requested = requested.then(|| "a".to_owned());
        let mut world = observed(&credential);
        world.target = target;
        world.deleting = deleting && held && requested;
        world.held = held;
        world.senior = (junior && denied_here).then(|| "old".to_owned());
        world.sources[0].present = version.map(|v| ("source-uid".to_owned(), v.to_string()));
        world.memory.verified = verified.map(|v| mark(&v.to_string())).into_iter().collect();
        world.memory.not_before = not_before.map(at);
        if denied_here {
            denied(&mut world);
        }
        if let Some(next) = backoff {
            failed(&credential, &mut world, next);
        }
        (credential, world)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_plan_is_total_and_deterministic((credential, world) in any_world(), now in -6000_i64..6000) {
        let first = plan(&credential, &world, at(now));
        prop_assert_eq!(first, plan(&credential, &world, at(now)));
    }

    #[test]
    fn no_token_is_requested_without_need((credential, world) in any_world()) {
        let Some(record) = world.record() else { return Ok(()) };
        let settled = record.request == fingerprint::request(&credential)
            && record.renew_at > at(0) && record.expires_at > at(0) && record.issued_at <= at(60)
            && (credential.renew_requested.is_none() || credential.renew_requested == record.renew_handled);
        if settled {
            let plan = plan(&credential, &world, at(0));
            prop_assert!(!matches!(plan, Plan::Mint(_) | Plan::Publish(_)), "{:?}", plan);
            let unmoved = world.sources[0].mark().is_none_or(|m| Some(m) == record.sources.used);
            prop_assert!(!unmoved || plan != Plan::Verify, "an unmoved source is not read");
        }
    }

    #[test]
    fn a_due_token_is_never_left_unchanged((credential, world) in any_world()) {
        let is_due = world.record().is_none_or(|r| r.renew_at <= at(0) || r.expires_at <= at(0));
        if is_due && !world.deleting {
            let plan = plan(&credential, &world, at(0));
            let waits_on_label = plan == Plan::Render && (credential.suspend || !world.memory.is_empty());
            prop_assert!(
                waits_on_label || matches!(plan, Plan::Mint(_) | Plan::Publish(_) | Plan::Hold { .. } | Plan::Refuse { .. }),
                "{:?}", plan
            );
        }
    }

    #[test]
    fn a_foreign_target_is_never_written((credential, mut world) in any_world(), now in -6000_i64..6000) {
        world.target = Target::Foreign("x".to_owned());
        let plan = plan(&credential, &world, at(now));
        prop_assert!(
            matches!(plan, Plan::Refuse { .. } | Plan::Release | Plan::Hold { why: Hold::Suspended, .. }),
            "{:?}", plan
        );
    }

    #[test]
    fn a_hold_or_a_keep_ends_in_the_future((credential, world) in any_world(), now in -6000_i64..6000) {
        if let Plan::Keep { until } | Plan::Hold { until, .. } = plan(&credential, &world, at(now)) {
            prop_assert!(until > at(now));
        }
    }
}
