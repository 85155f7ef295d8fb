use crate::Reason;
use serde_json::json;

use crate::{
    credential::{Credential, binding::Denial},
    fixtures::{at, credential, credential_with, holding, mark, observed, record, secrets},
    oauth::{Class, TokenError},
    plan::{
        Cause, Existence, Failure, Hold, NewToken, Observed, Plan, RenewalCause, Repairs, plan,
        stamp,
    },
    publish::ownership::{ForeignWrite, Target},
};

/// A change of the healthy observation, and the expected plan.
type Case = (
    &'static str,
    fn(&mut Credential, &mut Observed),
    &'static str,
);

/// A plan in one or two words, for a readable table.
fn short(plan: &Plan) -> String {
    match plan {
        Plan::Keep { .. } => "keep".to_owned(),
        Plan::Render => "render".to_owned(),
        Plan::TakeOver => "take over".to_owned(),
        Plan::Reformat => "reformat".to_owned(),
        Plan::Empty => "empty".to_owned(),
        Plan::Verify => "verify".to_owned(),
        Plan::Compare => "compare".to_owned(),
        Plan::Mint(why) => format!("mint {}", why.as_str()),
        Plan::Publish(why) => format!("publish {}", why.as_str()),
        Plan::Hold { why, .. } => format!("hold {why:?}"),
        Plan::Refuse { reason, .. } => format!("refuse {reason}"),
        Plan::Release => "release".to_owned(),
    }
}

fn edit(observed: &mut Observed, change: impl FnOnce(&mut crate::publish::ownership::Published)) {
    if let Target::Ours { published, .. } = &mut observed.target {
        change(published);
    }
}

fn live(observed: &mut Observed, times: (i64, i64, i64)) {
    edit(observed, |p| {
        let record = p.record.as_mut().unwrap();
        (record.issued_at, record.renew_at, record.expires_at) =
            (at(times.0), at(times.1), at(times.2));
    });
}

fn due(observed: &mut Observed) {
    live(observed, (-2000, -1, 1600));
}

fn expired(observed: &mut Observed) {
    live(observed, (-4000, -2000, 0));
}

fn moved(observed: &mut Observed) {
    observed.sources[0].present = Some(("source-uid".to_owned(), "8".to_owned()));
}

pub(super) fn denied(observed: &mut Observed) {
    observed.permission = Err(Denial::Namespace("not here".to_owned()));
}

fn owner_gone(left: u64) -> Target {
    Target::OwnerGone {
        version: "1".to_owned(),
        uid: "earlier".to_owned(),
        left: std::time::Duration::from_secs(left),
    }
}

fn drift(observed: &mut Observed) {
    edit(observed, |p| p.template_intact = false);
}

/// The Secret was written in other formats than the spec sets.
fn reformat(observed: &mut Observed) {
    edit(observed, |p| {
        p.template_digest = format!("{}:other", p.template_digest.rsplit_once(':').unwrap().0);
    });
}

/// None of them shows the token.
fn hidden(observed: &mut Observed) {
    reformat(observed);
    observed.memory.unreadable = true;
}

pub(super) fn failed(credential: &Credential, observed: &mut Observed, next: i64) {
    observed.memory.failure = Some(Failure {
        stamp: stamp(credential, observed),
        failures: 1,
        unclear: 0,
        at: at(-5),
        next_attempt: at(next),
        requested: None,
        cause: Cause::Seen(TokenError::local(
            Class::Transient,
            Reason::IssuerUnavailable,
            "wait",
        )),
        sent: None,
        changed: None,
    });
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("healthy", |_, _| {}, "keep"),
    ("no Secret", |_, o| o.target = Target::Absent, "mint absent"),
    ("due", |_, o| due(o), "mint due"),
    ("due this second", |_, o| live(o, (-1800, 0, 1800)), "mint due"),
    ("due seconds after it was requested", |_, o| live(o, (-5, -3, 1)), "hold TooShort"),
    ("expired seconds after it was requested", |_, o| live(o, (-5, -4, 0)), "hold TooShort"),
    ("due ten seconds after", |_, o| live(o, (-10, -5, 1)), "mint due"),
    ("due in a second", |_, o| live(o, (-1800, 1, 1800)), "keep"),
    ("expired", |_, o| expired(o), "mint expired"),
    ("renewal asked for", |c, _| c.renew_requested = Some("a".to_owned()), "mint requested"),
    ("renewal asked for and served", |c, o| {
        c.renew_requested = Some("a".to_owned());
        edit(o, |p| p.record.as_mut().unwrap().renew_handled = Some("a".to_owned()));
    }, "keep"),
    ("a served request is removed", |_, o| edit(o, |p| p.record.as_mut().unwrap().renew_handled = Some("a".to_owned())), "keep"),
    ("another scope", |c, _| c.request.scopes = vec!["other".to_owned()], "mint spec_changed"),
    ("a label only", |c, _| { c.target.labels.insert("team".to_owned(), "blue".to_owned()); }, "render"),
    ("a label removed by another writer", |_, o| drift(o), "render"),
    // Sources.
    ("source moved", |_, o| moved(o), "verify"),
    ("source moved and read", |_, o| { moved(o); o.memory.verified = vec![mark("8")]; }, "keep"),
    ("source moved again", |_, o| { moved(o); o.memory.verified = vec![mark("7")]; }, "verify"),
    ("source recreated", |_, o| o.sources[0].present = Some(("new-uid".to_owned(), "7".to_owned())), "verify"),
    ("source gone, token good", |_, o| o.sources[0].present = None, "keep"),
    ("source gone, token due", |_, o| { o.sources[0].present = None; due(o); }, "refuse ClientSecretMissing"),
    ("source no longer in the spec", |c, o| {
        secrets(c)[0].name = "second".to_owned();
        o.sources[0].reference.name = "second".to_owned();
    }, "mint source_changed"),
    ("another key of the same Secret", |c, o| {
        secrets(c)[0].key = "second".to_owned();
        o.sources[0].reference.key = "second".to_owned();
    }, "mint source_changed"),
    // Writes of others.
    ("edited", |_, o| edit(o, |p| p.foreign_write = ForeignWrite::Edited("kubectl".to_owned())), "mint edited"),
    ("notes damaged", |_, o| edit(o, |p| p.record = None), "mint edited"),
    ("edited and drifted", |_, o| { edit(o, |p| p.foreign_write = ForeignWrite::Edited("kubectl".to_owned())); drift(o); }, "mint edited"),
    ("claimed", |_, o| edit(o, |p| p.foreign_write = ForeignWrite::Claimed("argocd".to_owned())), "refuse TargetConflict"),
    ("of a credential that may be deleted", |_, o| o.target = Target::OfAnother("old".to_owned()), "refuse TargetClaimed"),
    ("foreign", |_, o| o.target = Target::Foreign("x".to_owned()), "refuse SecretNotOwned"),
    ("the Secret of an earlier credential of this name", |_, o| o.target = owner_gone(30), "hold OwnerGone"),
    ("and the garbage collector forgets it", |_, o| o.target = owner_gone(0), "take over"),
    ("and no token can be had", |_, o| { o.target = owner_gone(0); denied(o); }, "take over"),
    ("and it is suspended", |c, o| { o.target = owner_gone(0); c.suspend = true; }, "take over"),
    ("it is suspended, and the garbage collector has time", |c, o| { o.target = owner_gone(30); c.suspend = true; }, "hold Suspended"),
    ("and an older credential names it", |_, o| { o.target = owner_gone(0); o.senior = Some("old".to_owned()); }, "refuse TargetClaimed"),
    ("adoptable", |_, o| o.target = Target::Adoptable { version: "1".to_owned() }, "mint adopted"),
    ("going", |_, o| o.target = Target::Deleting(None), "hold TargetDeleting"),
    ("an older one names the free target", |_, o| { o.target = Target::Absent; o.senior = Some("old".to_owned()); }, "refuse TargetClaimed"),
    ("an older one owns the target", |_, o| { o.target = Target::Foreign("x".to_owned()); o.senior = Some("old".to_owned()); }, "refuse TargetClaimed"),
    ("an older one names the target that is ours already", |_, o| o.senior = Some("old".to_owned()), "keep"),
    // The spec's switches.
    ("suspended", |c, o| { c.suspend = true; expired(o); }, "hold Suspended"),
    ("deleting", |_, o| { o.deleting = true; expired(o); }, "release"),
    ("deleting while suspended", |c, o| { o.deleting = true; c.suspend = true; }, "release"),
    ("suspended, and a wrong label", |c, o| { c.suspend = true; expired(o); drift(o); }, "render"),
    ("suspended, and a wrong label on a foreign Secret", |c, o| { c.suspend = true; o.target = Target::Foreign("x".to_owned()); }, "hold Suspended"),
    // A clock that was ahead recorded wrong times.
    ("issued in the future", |_, o| live(o, (61, 2000, 3661)), "mint due"),
    ("issued a moment ahead", |_, o| live(o, (60, 2000, 3660)), "keep"),
    ("failed in the future", |c, o| { due(o); failed(c, o, 9000); o.memory.failure.as_mut().unwrap().at = at(8000); }, "mint due"),
    // Another writer undoes each repair.
    ("undone again and again", |_, o| { o.target = Target::Absent; o.memory.repairs = Some(Repairs { count: 6, at: at(-9) }); }, "hold Repaired"),
    ("undone again after a while", |_, o| { o.target = Target::Absent; o.memory.repairs = Some(Repairs { count: 6, at: at(-10) }); }, "mint absent"),
    ("undone for the fifth time", |_, o| { o.target = Target::Absent; o.memory.repairs = Some(Repairs { count: 5, at: at(0) }); }, "mint absent"),
    ("undone, but due by itself", |_, o| { due(o); o.memory.repairs = Some(Repairs { count: 99, at: at(0) }); }, "mint due"),
    // Permission is checked only if a request is to be sent.
    ("denied, nothing due", |_, o| denied(o), "keep"),
    ("denied and due", |_, o| { denied(o); due(o); }, "refuse NotAuthorizedByIssuer"),
    ("denied and moved", |_, o| { denied(o); moved(o); }, "refuse NotAuthorizedByIssuer"),
    ("denied and drifted", |_, o| { denied(o); drift(o); }, "render"),
    // Failures.
    ("in backoff", |c, o| { due(o); failed(c, o, 60); }, "hold Backoff"),
    ("in backoff, no token", |c, o| { o.target = Target::Absent; failed(c, o, 60); }, "hold Backoff"),
    ("backoff has passed", |c, o| { due(o); failed(c, o, 0); }, "mint due"),
    ("backoff of other inputs", |c, o| { due(o); failed(c, o, 60); moved(o); }, "mint due"),
    ("backoff, then a user requests a renewal", |c, o| { due(o); failed(c, o, 60); c.renew_requested = Some("a".to_owned()); }, "mint requested"),
    ("backoff of an edited issuer", |c, o| { due(o); failed(c, o, 60); c.issuer.version.push('2'); }, "mint due"),
    ("backoff and a wrong label", |c, o| { due(o); failed(c, o, 60); drift(o); }, "render"),
    ("backoff with nothing due", |c, o| failed(c, o, 60), "keep"),
    // A label written now would hide that the token was edited.
    ("backoff, edited and a wrong label", |c, o| {
        edit(o, |p| p.foreign_write = ForeignWrite::Edited("kubectl".to_owned()));
        drift(o);
        failed(c, o, 60);
    }, "hold Backoff"),
    // Other formats: the present token, as long as it can be read; otherwise another one.
    ("other formats", |_, o| reformat(o), "reformat"),
    ("other formats and a wrong label", |_, o| { reformat(o); drift(o); }, "reformat"),
    ("other formats, suspended", |c, o| { c.suspend = true; reformat(o); }, "reformat"),
    ("other formats, denied", |_, o| { denied(o); reformat(o); }, "reformat"),
    ("other formats and due", |_, o| { due(o); reformat(o); }, "mint due"),
    ("other formats, in backoff", |c, o| { due(o); reformat(o); failed(c, o, 60); }, "reformat"),
    ("other formats, edited", |_, o| { reformat(o); edit(o, |p| p.foreign_write = ForeignWrite::Edited("kubectl".to_owned())); }, "mint edited"),
    ("hidden", |_, o| hidden(o), "mint spec_changed"),
    ("hidden, suspended", |c, o| { c.suspend = true; hidden(o); }, "hold Suspended"),
    ("hidden, denied", |_, o| { denied(o); hidden(o); }, "refuse NotAuthorizedByIssuer"),
    ("hidden, in backoff", |c, o| { hidden(o); failed(c, o, 60); }, "hold Backoff"),
    ("hidden, and the old formats wanted again", |_, o| o.memory.unreadable = true, "keep"),
    // A token that was received and not yet written.
    ("held", |_, o| { due(o); o.held = true; }, "publish due"),
    ("held, no Secret", |_, o| { o.target = Target::Absent; o.held = true; }, "publish absent"),
    ("held, write in backoff", |c, o| { due(o); o.held = true; failed(c, o, 60); }, "hold Backoff"),
    ("held, write in backoff, now in another format", |c, o| {
        due(o);
        o.held = true;
        failed(c, o, 60);
        c.target.keys.pop();
    }, "publish due"),
    ("in backoff, now in another format", |c, o| { o.target = Target::Absent; failed(c, o, 60); c.target.keys.pop(); }, "hold Backoff"),
    ("held and denied since", |_, o| { due(o); o.held = true; denied(o); }, "publish due"),
    ("held, source gone since", |_, o| { due(o); o.held = true; o.sources[0].present = None; }, "publish due"),
    ("held, nothing due", |_, o| o.held = true, "keep"),
    // An issuer that repeats the same token.
    ("repeating", |_, o| { due(o); o.memory.not_before = Some(at(60)); }, "hold Repeating"),
    ("repeating, but requested", |c, o| { c.renew_requested = Some("a".to_owned()); o.memory.not_before = Some(at(60)); }, "mint requested"),
    ("repeating no longer", |_, o| { due(o); o.memory.not_before = Some(at(0)); }, "mint due"),
    ("repeating and expired", |_, o| { expired(o); o.memory.not_before = Some(at(60)); }, "mint expired"),
    ("repeating and gone", |_, o| { o.target = Target::Absent; o.memory.not_before = Some(at(60)); }, "mint absent"),
];

#[test]
fn each_state_of_the_world_has_its_plan() {
    for (name, change, expected) in CASES {
        let mut credential = credential();
        let mut observed = observed(&credential);
        change(&mut credential, &mut observed);
        assert_eq!(
            short(&plan(&credential, &observed, at(0))),
            *expected,
            "{name}"
        );
    }
}

#[test]
fn a_plan_names_the_moment_it_waits_for() {
    let credential = credential();
    let unchanged = plan(&credential, &observed(&credential), at(0));
    assert_eq!(unchanged, Plan::Keep { until: at(1500) });
    let mut waiting = observed(&credential);
    due(&mut waiting);
    failed(&credential, &mut waiting, 77);
    let held = plan(&credential, &waiting, at(0));
    assert_eq!(
        held,
        Plan::Hold {
            until: at(77),
            why: Hold::Backoff
        }
    );
    waiting.memory.failure = None;
    waiting.memory.not_before = Some(at(44));
    let held = plan(&credential, &waiting, at(0));
    assert_eq!(
        held,
        Plan::Hold {
            until: at(44),
            why: Hold::Repeating
        }
    );
}

#[test]
fn a_rejected_spec_names_the_next_step() {
    let credential = credential();
    let mut world = observed(&credential);
    world.target = Target::Absent;
    world.sources[0].present = None;
    let Plan::Refuse { message, .. } = plan(&credential, &world, at(0)) else {
        panic!("a missing source is refused");
    };
    assert_eq!(
        message,
        "Secret client with the client secret does not exist in namespace secops; create it"
    );
    world.senior = Some("older".to_owned());
    let Plan::Refuse { message, .. } = plan(&credential, &world, at(0)) else {
        panic!("a junior is refused");
    };
    assert!(
        message.contains("ApiCredential older") && message.contains("target.secretName"),
        "{message}"
    );
    world.senior = None;
    world.target = Target::Foreign("apicred did not create it".to_owned());
    let Plan::Refuse { message, .. } = plan(&credential, &world, at(0)) else {
        panic!("a foreign Secret is refused");
    };
    assert!(
        message.contains("apicred.dev/adopt-by: alerts"),
        "{message}"
    );
}

#[test]
fn after_a_published_token_the_plan_is_keep() {
    let credential = credential_with(&json!({ "target": { "labels": { "team": "blue" } } }));
    let token = crate::fixtures::token("t0ken");
    let sources = record(&credential, (0, 1, 2)).sources;
    let made = crate::plan::record(
        &credential,
        NewToken {
            token: &token,
            token_digest: "d".to_owned(),
            fingerprint: "f".to_owned(),
            sources,
            certificate_validity: None,
        },
        (crate::plan::schedule::Promise::default(), 0),
    );
    let world = holding(&credential, made.clone());
    assert_eq!(
        plan(&credential, &world, at(0)),
        Plan::Keep {
            until: made.renew_at
        }
    );
}

#[test]
fn the_api_server_must_confirm_a_credential_before_a_secret_is_created_again() {
    use RenewalCause::{Absent, Due, Edited, Expired};
    let known = |published, watch_failed| Existence {
        published,
        watch_failed,
    };
    let steps = [
        // In each: never had a token, had one, the watch has failed.
        (Plan::Mint(Absent), [false, true, true]),
        (Plan::Publish(Absent), [true, true, true]),
        (Plan::Mint(Due), [false, false, true]),
        (Plan::Mint(Expired), [false, false, true]),
        (Plan::Mint(Edited), [false, false, true]),
        (Plan::Publish(Due), [false, false, true]),
        (Plan::Verify, [false, false, true]),
        (Plan::Reformat, [false, false, true]),
        (Plan::Render, [false, false, true]),
        // The first never waits, and the second always checks.
        (Plan::Empty, [false, false, false]),
        (Plan::TakeOver, [false, false, false]),
        (Plan::Keep { until: at(0) }, [false, false, false]),
        (Plan::Release, [false, false, false]),
    ];
    for (step, expected) in steps {
        let seen = [known(false, false), known(true, false), known(false, true)];
        let seen = seen.map(|known| step.needs_existence(known));
        assert_eq!(seen, expected, "{step:?}");
    }
}

/// While only the list of credentials fails, a token must not expire.
#[test]
fn a_token_that_ends_soon_is_renewed_although_its_credential_is_not_confirmed() {
    use RenewalCause::{Absent, Due, Edited, Expired};
    let credential = credential();
    let observed = holding(&credential, record(&credential, (0, 1800, 3600)));
    for (step, now, expected) in [
        (Plan::Mint(Due), at(1800), false),
        (Plan::Mint(Due), at(3540), true),
        (Plan::Mint(Expired), at(3601), true),
        (Plan::Publish(Due), at(3540), true),
        (Plan::Mint(Edited), at(3540), false),
        (Plan::Mint(Absent), at(3601), false),
        (Plan::Verify, at(3601), false),
    ] {
        assert_eq!(
            step.is_urgent(&credential, &observed, now),
            expected,
            "{step:?} {now}"
        );
    }
}
