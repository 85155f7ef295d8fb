use crate::Reason;
use crate::{
    api::SecretKeyRef,
    credential::Credential,
    fixtures::{at, credential, mark, observed, refused},
    oauth::{Class, TokenError},
    plan::{Hold, Observed, Plan, RenewalCause, SentContent, fail, fingerprint, plan},
    publish::{RefusedSource, SourceMark, ownership::Target},
};

fn answer(class: Class) -> TokenError {
    TokenError {
        about_client: class == Class::Denied,
        http_status: Some(401),
        ..TokenError::local(class, Reason::ClientRefused, "correct it")
    }
}

/// An attempt without a token failed, after its requests with these contents.
fn failed(
    credential: &Credential,
    class: Class,
    contents: &[(Option<SourceMark>, &str)],
) -> Observed {
    let mut world = observed(credential);
    world.target = Target::Absent;
    attempt(credential, &mut world, (class, 0), contents);
    world
}

fn attempt(
    credential: &Credential,
    world: &mut Observed,
    (class, when): (Class, i64),
    contents: &[(Option<SourceMark>, &str)],
) {
    let error = answer(class);
    let contents = contents
        .iter()
        .filter_map(|(used, content)| SentContent::of(used.clone(), (*content).to_owned(), &error));
    let contents = contents.collect();
    world.memory = fail(credential, world, error, at(when));
    world.note_sent(credential, Some(contents));
}

fn move_to(source: &mut crate::plan::Source, version: &str, seconds: i64) {
    source.present = Some(("source-uid".to_owned(), version.to_owned()));
    source.changed_at = Some(at(seconds));
}

fn fingerprints(credential: &Credential, world: &Observed) -> Vec<String> {
    let all = world.comparisons(credential).into_iter();
    all.map(|c| c.fingerprint).collect()
}

#[test]
fn a_new_label_on_the_secret_of_a_failure_is_compared_and_changes_nothing() {
    for class in [Class::Denied, Class::Transient, Class::Invalid] {
        let credential = credential();
        let mut world = failed(&credential, class, &[(Some(mark("7")), "fp7")]);
        let before = world.memory.failure.clone().unwrap();
        for (version, seconds) in [("8", 0), ("9", 0), ("10", 0)] {
            move_to(&mut world.sources[0], version, seconds);
            assert_eq!(plan(&credential, &world, at(seconds)), Plan::Compare);
            assert_eq!(fingerprints(&credential, &world), ["fp7"]);
            world.same_content(&credential);
            let hold = plan(&credential, &world, at(seconds));
            let (until, why) = (before.next_attempt, Hold::Backoff);
            assert_eq!(hold, Plan::Hold { until, why }, "{class:?}");
        }
        let kept = world.memory.failure.clone().unwrap();
        assert_eq!(
            (kept.failures, kept.next_attempt, kept.changed, kept.at),
            (1, before.next_attempt, None, at(0))
        );
        // It is counted on, and the label is not a new secret.
        attempt(
            &credential,
            &mut world,
            (class, 60),
            &[(Some(mark("10")), "fp7")],
        );
        let next = world.memory.failure.unwrap();
        assert_eq!((next.failures, next.changed), (2, None), "{class:?}");
    }
}

#[test]
fn new_content_is_tried_at_once() {
    let credential = credential();
    let mut world = failed(&credential, Class::Denied, &[(Some(mark("7")), "fp7")]);
    move_to(&mut world.sources[0], "8", 10);
    assert_eq!(plan(&credential, &world, at(10)), Plan::Compare);
    world.other_content();
    let mint = Plan::Mint(RenewalCause::Absent);
    assert_eq!(plan(&credential, &world, at(10)), mint);
    attempt(
        &credential,
        &mut world,
        (Class::Denied, 10),
        &[(Some(mark("8")), "fp8")],
    );
    let failure = world.memory.failure.as_ref().unwrap();
    assert_eq!((failure.failures, failure.changed), (1, Some(at(10))));
    // A label after it: the time of the new content still counts.
    move_to(&mut world.sources[0], "9", 100);
    assert_eq!(fingerprints(&credential, &world), ["fp8"]);
    world.same_content(&credential);
    attempt(
        &credential,
        &mut world,
        (Class::Denied, 120),
        &[(Some(mark("9")), "fp8")],
    );
    let failure = world.memory.failure.as_ref().unwrap();
    assert_eq!((failure.failures, failure.changed), (2, Some(at(10))));
}

#[test]
fn other_changes_and_unknown_contents_are_not_compared() {
    type Change = fn(&mut Credential, &mut Observed);
    let changes: [(&str, Change); 5] = [
        ("spec", |c, _| c.request.scopes.push("more".to_owned())),
        ("issuer or its CA", |c, _| c.issuer.version.push('x')),
        ("renewal request", |c, _| {
            c.renew_requested = Some("a".to_owned());
        }),
        ("what was sent is not known", |_, o| o.other_content()),
        ("nothing changed", |_, o| move_to(&mut o.sources[0], "7", 0)),
    ];
    for (what, change) in changes {
        let mut credential = credential();
        let mut world = failed(&credential, Class::Denied, &[(Some(mark("7")), "fp7")]);
        move_to(&mut world.sources[0], "8", 10);
        change(&mut credential, &mut world);
        assert_eq!(fingerprints(&credential, &world), [""; 0], "{what}");
    }
    // An annotation may allow what apicred refused to send, and a user may sign in.
    let local = TokenError::local(Class::Denied, Reason::ClientRefused, "allow it");
    for error in [local, answer(Class::NeedsUser)] {
        assert!(SentContent::of(None, "fp".to_owned(), &error).is_none());
    }
}

#[test]
fn the_sources_of_the_grant_are_compared_as_well() {
    let credential = credential();
    let mut world = observed(&credential);
    world.target = Target::Absent;
    let mut grant = world.sources[0].clone();
    grant.reference.name = "user".to_owned();
    world.grant_sources = vec![grant];
    attempt(
        &credential,
        &mut world,
        (Class::Denied, 0),
        &[(Some(mark("7")), "both")],
    );
    let of_user = SourceMark {
        name: "user".to_owned(),
        ..mark("7")
    };
    let request = fingerprint::request(&credential);
    world.memory.refuse(RefusedSource {
        mark: of_user.clone(),
        ..refused(&credential, "7")
    });
    move_to(&mut world.grant_sources[0], "8", 10);
    assert_eq!(fingerprints(&credential, &world), ["both"]);
    world.same_content(&credential);
    assert_eq!(fingerprints(&credential, &world), [""; 0]);
    let now = SourceMark {
        version: "8".to_owned(),
        ..of_user.clone()
    };
    assert!(world.memory.refused_source(&now, &request).is_some());
    assert!(world.memory.refused_source(&of_user, &request).is_none());
}

#[test]
fn of_several_entries_those_that_changed_are_compared() {
    let credential = credential();
    let mut world = observed(&credential);
    world.target = Target::Absent;
    let entry = |name: &str| SecretKeyRef {
        name: name.to_owned(),
        ..world.sources[0].reference.clone()
    };
    let (second, third) = (entry("second"), entry("third"));
    for reference in [second, third] {
        let mut source = world.sources[0].clone();
        source.reference = reference;
        world.sources.push(source);
    }
    let of = |name: &str| SourceMark {
        name: name.to_owned(),
        ..mark("7")
    };
    let contents = [(Some(mark("7")), "fp1"), (Some(of("second")), "fp2")];
    attempt(&credential, &mut world, (Class::Denied, 0), &contents);
    move_to(&mut world.sources[1], "8", 10);
    assert_eq!(fingerprints(&credential, &world), ["fp2"]);
    move_to(&mut world.sources[0], "8", 10);
    assert_eq!(fingerprints(&credential, &world), ["fp1", "fp2"]);
    // The content of one that was not tried is not known.
    move_to(&mut world.sources[2], "8", 10);
    assert_eq!(fingerprints(&credential, &world), [""; 0]);
    world.memory.refuse(RefusedSource {
        mark: of("third"),
        fingerprint: Some("fp3".to_owned()),
        ..refused(&credential, "7")
    });
    assert_eq!(fingerprints(&credential, &world), ["fp1", "fp2", "fp3"]);
}
