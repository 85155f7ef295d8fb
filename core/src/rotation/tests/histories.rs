//! Random histories: steps, crashes, lost and late answers, lagging caches and replicas, edits, clock jumps.

use proptest::prelude::*;

use super::world::{Edit, Op, World, Wrong};
use crate::rotation::{Class, Kind, RotationSettings};

fn wrong() -> impl Strategy<Value = Wrong> {
    prop_oneof![
        8 => Just(Wrong::Nothing),
        1 => Just(Wrong::Lost),
        1 => Just(Wrong::AnswerLost),
        1 => (1_i64..90).prop_map(Wrong::Late),
        1 => Just(Wrong::ErrorAfter),
        1 => prop::sample::select(vec![Class::Throttled, Class::Conflict, Class::Policy, Class::Permission])
            .prop_map(Wrong::Refused),
        1 => Just(Wrong::CrashBefore),
        1 => Just(Wrong::CrashAfter),
    ]
}

fn run() -> impl Strategy<Value = Op> {
    let behind = prop_oneof![6 => Just(0_usize), 1 => 1_usize..4];
    let at_most = prop::sample::select(vec![60_i64, 400, 4_000, 90_000, 8_000_000]);
    let actor = prop_oneof![3 => Just(0_usize), 1 => Just(1)];
    (actor, wrong(), behind, at_most).prop_map(|(actor, wrong, behind, at_most)| Op::Run {
        actor,
        wrong,
        behind,
        at_most,
    })
}

fn calm() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => run(),
        1 => (1_i64..4_000).prop_map(Op::Pass),
        1 => (0_usize..2).prop_map(Op::Crash),
        1 => Just(Op::Request),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        Just(Edit::OwnValue),
        (1_usize..12, any::<bool>(), any::<bool>())
            .prop_map(|(back, values, note)| Edit::Restore { back, values, note }),
        Just(Edit::RemoveNote),
        Just(Edit::DamageAnnotation),
        Just(Edit::RemoveNext),
        Just(Edit::RemovePrevious),
        Just(Edit::PutPreviousBack),
        Just(Edit::OtherKey),
    ]
}

/// Edits that leave the annotation as it is.
fn of_values() -> impl Strategy<Value = Edit> {
    prop_oneof![
        2 => Just(Edit::OwnValue),
        2 => Just(Edit::RemoveNext),
        2 => Just(Edit::RemovePrevious),
        1 => Just(Edit::PutPreviousBack),
        1 => Just(Edit::OtherKey),
    ]
}

fn wild() -> impl Strategy<Value = Op> {
    let jump = prop::sample::select(vec![
        -400_000_i64,
        -4_000,
        -60,
        60,
        4_000,
        400_000,
        20_000_000,
    ]);
    prop_oneof![
        20 => calm(),
        1 => edit().prop_map(Op::Edit),
        1 => Just(Op::Copy(true)),
        1 => Just(Op::Recreate),
        1 => (0_usize..2, jump).prop_map(|(actor, by)| Op::Jump(actor, by)),
    ]
}

/// Runs a history and lets it settle. A violation is shown with the last steps before it.
fn play(world: &mut World, ops: &[Op]) {
    for op in ops {
        world.op(*op);
    }
    world.settle();
}

/// Runs a history. If it violates a rule, it runs again to show the steps before and after the violation.
fn played(world: impl Fn() -> World, ops: &[Op]) -> World {
    let attempt = |mut world: World| {
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(&mut world, ops)));
        (world, outcome)
    };
    let (done, outcome) = attempt(world());
    if let Err(panic) = outcome {
        let (again, _) = attempt(world().traced());
        let trace = again.trace.unwrap_or_default();
        let at = trace.iter().position(|line| line == "settle");
        let from = at.unwrap_or(trace.len()).saturating_sub(60);
        let to = (from + 120).min(trace.len());
        #[expect(
            clippy::disallowed_macros,
            reason = "the steps before a violation explain it"
        )]
        {
            println!("{}", trace[from..to].join("\n"));
        }
        std::panic::resume_unwind(panic);
    }
    done
}

fn settings(kind: Kind, adopt: bool) -> RotationSettings {
    RotationSettings {
        adopt: adopt.then(|| match kind {
            Kind::Key => "001-value".to_owned(),
            _ => "key-0".to_owned(),
        }),
        ..RotationSettings::of(kind)
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::Secret, Kind::Certificate, Kind::Key])
}

proptest! {
    #[test]
    fn nothing_that_crashes_lags_or_gets_lost_breaks_a_rotation(
        kind in kind(),
        ops in prop::collection::vec(calm(), 0..120),
        (seed, hints, reveals, adopt) in any::<(u64, bool, bool, bool)>(),
    ) {
        played(|| World::new(settings(kind, adopt), seed, hints, reveals), &ops);
    }

    #[test]
    fn edits_backups_and_clocks_that_jump_cost_no_value_that_works(
        kind in kind(),
        ops in prop::collection::vec(wild(), 0..120),
        (seed, hints, reveals, adopt) in any::<(u64, bool, bool, bool)>(),
    ) {
        played(|| World::new(settings(kind, adopt), seed, hints, reveals), &ops);
    }

    #[test]
    fn a_copy_of_the_secret_in_another_namespace_loses_no_value(
        kind in kind(),
        ops in prop::collection::vec(prop_oneof![15 => calm(), 1 => Just(Op::Copy(false))], 0..120),
        (seed, hints, reveals, adopt) in any::<(u64, bool, bool, bool)>(),
    ) {
        played(|| World::new(settings(kind, adopt), seed, hints, reveals), &ops);
    }

    #[test]
    fn a_client_that_names_another_application_for_a_while_loses_nothing(
        kind in kind(),
        ops in prop::collection::vec(prop_oneof![9 => calm(), 1 => Just(Op::Rename)], 0..120),
        (seed, hints, reveals, adopt) in any::<(u64, bool, bool, bool)>(),
    ) {
        let world = || World::new(settings(kind, adopt), seed, hints, reveals);
        played(world, &ops);
        // The user takes it back in the end, so no action is needed.
        let renames = ops.iter().filter(|op| matches!(op, Op::Rename)).count();
        let mut all = ops;
        all.extend((renames % 2 == 1).then_some(Op::Rename));
        let world = played(world, &all);
        // A certificate is also announced there before the issuer refuses the proof.
        prop_assert!(kind == Kind::Certificate || !world.ended_elsewhere);
    }

    #[test]
    fn a_client_that_names_another_application_while_its_secret_is_edited_loses_no_value_that_works(
        kind in kind(),
        ops in prop::collection::vec(
            prop_oneof![18 => calm(), 1 => edit().prop_map(Op::Edit), 1 => Just(Op::Rename)],
            0..120,
        ),
        (seed, hints, reveals, adopt) in any::<(u64, bool, bool, bool)>(),
    ) {
        played(|| World::new(settings(kind, adopt), seed, hints, reveals), &ops);
    }

    #[test]
    fn a_client_that_is_created_again_leaves_nothing_that_is_not_reported(
        kind in kind(),
        ops in prop::collection::vec(prop_oneof![9 => calm(), 1 => Just(Op::Recreate)], 0..120),
        (seed, hints, reveals, adopt) in any::<(u64, bool, bool, bool)>(),
    ) {
        played(|| World::new(settings(kind, adopt), seed, hints, reveals), &ops);
    }

    #[test]
    fn without_the_right_to_read_the_application_each_certificate_that_is_left_is_named(
        ops in prop::collection::vec(
            prop_oneof![9 => calm(), 1 => of_values().prop_map(Op::Edit)],
            0..120,
        ),
        (seed, reveals) in any::<(u64, bool)>(),
    ) {
        let settings = || settings(Kind::Certificate, false);
        played(|| World::new(settings(), seed, true, reveals).blind(), &ops);
    }

    #[test]
    fn a_certificate_rotates_without_the_right_to_read_the_application(
        ops in prop::collection::vec(calm(), 0..120),
        seed in any::<u64>(),
    ) {
        played(|| World::new(settings(Kind::Certificate, true), seed, true, true).blind(), &ops);
    }
}

/// The histories above must reach every state: a model that never leaves the first state proves nothing.
#[test]
fn a_history_without_faults_goes_through_every_state() {
    for kind in [Kind::Secret, Kind::Certificate, Kind::Key] {
        let world = played(|| World::new(settings(kind, true), 7, true, false), &[]);
        let states: Vec<&str> = world.seen_states.into_iter().collect();
        assert_eq!(
            states,
            ["Adding", "Overlap", "Proving", "Retiring", "Steady"],
            "{kind:?}"
        );
    }
}

/// A user stores a value of the other application, and names the first one again an hour later. The next value is then the one that works.
#[test]
fn a_next_value_that_works_is_not_given_up_for_one_of_another_application() {
    for kind in [Kind::Secret, Kind::Certificate, Kind::Key] {
        let mut proving = 0;
        for before in 0..16 {
            let mut world = World::new(settings(kind, false), 7, true, true);
            world.op(Op::Request);
            for _ in 0..before {
                world.op(goes_on(0));
            }
            if world.state() != "Proving" {
                continue;
            }
            proving += 1;
            let store = Op::Edit(Edit::OwnValue);
            for op in [Op::Rename, store, Op::Pass(3_700), Op::Rename] {
                world.op(op);
            }
            assert!(!world.current_is_live(), "{kind:?} {before}");
            for _ in 0..40 {
                world.op(goes_on(0));
            }
            assert!(world.current_is_live(), "{kind:?} {before}");
        }
        assert!(proving > 3, "{kind:?}: {proving}");
    }
}

fn goes_on(actor: usize) -> Op {
    fails(actor, Wrong::Nothing)
}

fn fails(actor: usize, wrong: Wrong) -> Op {
    Op::Run {
        actor,
        wrong,
        behind: 0,
        at_most: 60,
    }
}

/// A public key has no name. If it is given up, it is removed by its thumbprint, also if the call that added it had no answer.
#[test]
fn a_public_key_that_was_added_without_an_answer_and_then_refused_is_removed() {
    let lost = [Wrong::AnswerLost, Wrong::ErrorAfter, Wrong::Late(80)];
    for (before, between) in (0..9).flat_map(|b| (0..9).map(move |a| (b, a))) {
        for wrong in lost {
            let mut ops = vec![goes_on(0); before];
            ops.push(fails(0, wrong));
            // A lost answer contains a new registration access token. The other process continues when a user has stored it.
            ops.extend(vec![goes_on(1); between]);
            ops.push(fails(1, Wrong::Refused(Class::Policy)));
            ops.push(fails(0, Wrong::Refused(Class::Policy)));
            played(
                || World::new(settings(Kind::Key, true), 7, true, false),
                &ops,
            );
        }
    }
}

/// The call of one process arrives while the other one gives the key up.
#[test]
fn a_public_key_that_comes_after_it_was_given_up_is_removed() {
    let mut ops: Vec<Op> = [0, 0, 1, 0, 0, 1, 1].map(goes_on).to_vec();
    ops.extend([Op::Pass(2_996), fails(1, Wrong::Late(2))]);
    let world = || {
        World::new(
            settings(Kind::Key, true),
            4_563_346_282_874_457_958,
            false,
            false,
        )
    };
    played(world, &ops);
}

/// Its annotation is deleted, and the issuer does not have it, so apicred treats it as made by others. A user removes it.
#[test]
fn an_unknown_next_value_stops_no_rotation_forever() {
    for (added, removed) in (4..8).flat_map(|a| (0..6).map(move |r| (a, r))) {
        let mut ops = vec![goes_on(0); added];
        ops.extend([fails(0, Wrong::Refused(Class::Policy)), Op::Pass(400)]);
        ops.extend(vec![goes_on(0); removed]);
        ops.push(Op::Edit(Edit::RemoveNote));
        for kind in [Kind::Secret, Kind::Certificate, Kind::Key] {
            played(|| World::new(settings(kind, false), 7, true, false), &ops);
        }
    }
}
