mod answers;
mod properties;

use crate::Reason;
use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use secrecy::SecretString;

use crate::{
    api::{Reuse, names},
    fixtures::{at, map, secs},
    oauth::{
        Class, Granted, TokenError,
        renewal::{
            Attempt, Changes, Dead, Mark, Notes, Remembered, ReuseRule, Send, Sent, Step,
            TokenState, after, before, put_back, spent_after, token_state,
        },
        spent::{self, Spent},
    },
};

use answers::{noted, sent, token_error};

const ALWAYS: Option<Reuse> = Some(Reuse::Always);
const NEVER: Option<Reuse> = Some(Reuse::Never);

fn rule(reuse: Option<Reuse>, window: i64) -> ReuseRule {
    ReuseRule {
        reuse,
        window: secs(window),
    }
}

fn mark(since: i64) -> Mark {
    Mark::new(at(since), "other-1", false)
}

fn notes(since: Option<i64>, rotates: Option<bool>, dead: bool) -> Notes {
    Notes {
        mark: since.map(mark),
        rotates,
        dead: dead.then_some(Dead { request: None }),
        ..Notes::default()
    }
}

fn attempt(remembered: &Remembered) -> Attempt<'_> {
    Attempt {
        credential: "ns/c",
        process: "me-1",
        token: "token",
        request: "request",
        remembered,
        published_until: Some(at(900_000)),
    }
}

/// A short text: send with a mark, send without one, or stop for this reason.
fn step_of(notes: &Notes, rule: ReuseRule, attempt: &Attempt<'_>) -> String {
    match before(notes, rule, attempt, at(0)) {
        Step::Send(Send {
            mark: Some(mark), ..
        }) if mark.last_try => "last try".to_owned(),
        Step::Send(Send { mark: Some(_), .. }) => "mark".to_owned(),
        Step::Send(Send { mark: None, .. }) => "send".to_owned(),
        Step::Spent(_) => "spent".to_owned(),
        Step::Stop(token_error) => {
            assert_eq!(token_error.class, Class::NeedsUser);
            assert_ne!(token_error.until_change, token_error.retry_at.is_some());
            assert!(
                token_error
                    .next_step
                    .to_string()
                    .contains("kubectl apicred login c --namespace ns")
            );
            token_error.reason.as_str().to_owned()
        }
    }
}

fn reported(notes: &Notes, rule: ReuseRule) -> String {
    step_of(notes, rule, &attempt(&Remembered::default()))
}

#[test]
fn a_refresh_token_is_sent_once_unless_the_issuer_does_not_mind() {
    #[rustfmt::skip]
    let cases = [
        // Entra ID: no marks, whatever the notes contain.
        (notes(None, None, false), rule(ALWAYS, 0), "send"),
        (notes(Some(-500), Some(true), true), rule(ALWAYS, 0), "send"),
        // Others: a mark first. An existing mark means that the outcome is unknown.
        (notes(None, None, false), rule(None, 0), "mark"),
        (notes(None, Some(true), false), rule(NEVER, 30), "mark"),
        (notes(Some(-10), Some(true), false), rule(None, 0), "RefreshOutcomeUnknown"),
        (notes(Some(-10), Some(true), false), rule(NEVER, 30), "send"),
        (notes(Some(-31), Some(true), false), rule(NEVER, 30), "RefreshOutcomeUnknown"),
        (notes(Some(31), None, false), rule(NEVER, 30), "RefreshOutcomeUnknown"),
        // One that was not rotated before may be sent again, unless the user has set `Never`.
        (notes(Some(-500), Some(false), false), rule(None, 0), "send"),
        (notes(Some(-500), Some(false), false), rule(NEVER, 0), "RefreshOutcomeUnknown"),
        (notes(None, None, true), rule(None, 0), "SignInRequired"),
    ];
    for (notes, rule, expected) in cases {
        assert_eq!(reported(&notes, rule), expected, "{notes:?} {rule:?}");
    }
}

#[test]
fn a_token_error_belongs_to_the_request_that_got_it() {
    let dead = |request: Option<&str>| Notes {
        dead: Some(Dead {
            request: request.map(str::to_owned),
        }),
        ..Notes::default()
    };
    for (noted, expected) in [
        (Some("request"), "SignInRequired"),
        // Written before requests were noted.
        (None, "SignInRequired"),
        (Some("of another client id"), "mark"),
    ] {
        assert_eq!(reported(&dead(noted), rule(None, 0)), expected, "{noted:?}");
    }
    // Another request does not use a refresh token that may be spent either.
    let mut doubtful = dead(Some("of another client id"));
    doubtful.mark = Some(mark(-500));
    assert_eq!(reported(&doubtful, rule(None, 0)), "RefreshOutcomeUnknown");
}

#[test]
fn a_mark_that_this_process_set_without_a_request_is_no_doubt() {
    let own = Mark::new(at(-500), "me-1", false);
    let with_mark = |m: &Mark| Notes {
        mark: Some(m.clone()),
        ..Notes::default()
    };
    let void = |doubt: Option<Mark>| Remembered {
        void: vec![Send {
            mark: Some(own.clone()),
            doubt,
        }],
        ..Remembered::default()
    };
    let say = |notes: &Notes, remembered: &Remembered| {
        step_of(notes, rule(NEVER, 0), &attempt(remembered))
    };
    assert_eq!(say(&with_mark(&own), &void(None)), "mark");
    // Another process, another time, or nothing remembered after a restart.
    for other in [
        Mark::new(at(-500), "me-2", false),
        Mark::new(at(-499), "me-1", false),
        Mark::new(at(-500), "me-1", true),
    ] {
        assert_eq!(
            say(&with_mark(&other), &void(None)),
            "RefreshOutcomeUnknown",
            "{other:?}"
        );
    }
    assert_eq!(
        say(&with_mark(&own), &Remembered::default()),
        "RefreshOutcomeUnknown"
    );
    // It replaced the mark of a request whose outcome is unknown: that doubt stays.
    assert_eq!(
        say(&with_mark(&own), &void(Some(mark(-900)))),
        "RefreshOutcomeUnknown"
    );
}

/// The write of a mark gets no answer and is done late, after the next one was refused because of its version.
#[test]
fn a_mark_that_is_written_late_is_own_still() {
    let how = |since| Send {
        mark: Some(Mark::new(at(since), "me-1", false)),
        doubt: None,
    };
    let mut remembered = Remembered::default();
    remembered.marking(&how(-20));
    remembered.marking(&how(-10));
    remembered.not_marked(&how(-10));
    let late = Notes {
        mark: how(-20).mark,
        ..Notes::default()
    };
    assert_eq!(
        step_of(&late, rule(NEVER, 0), &attempt(&remembered)),
        "mark"
    );
    for n in 0..1000 {
        remembered.marking(&how(n));
    }
    assert!(remembered.void.len() < 100);
}

#[test]
fn a_doubt_outlives_a_secret_that_was_replaced_without_its_annotations() {
    let doubt = |of: &str| Remembered {
        doubt: Some((of.to_owned(), mark(-500))),
        ..Remembered::default()
    };
    let say = |of| step_of(&Notes::default(), rule(NEVER, 0), &attempt(&doubt(of)));
    assert_eq!(say("token"), "RefreshOutcomeUnknown");
    assert_eq!(say("the one of a new sign-in"), "mark");
}

/// A user copies the state Secret of a credential, or its refresh token, while the outcome of its request is unknown.
#[test]
fn a_doubt_of_another_credential_about_the_same_token_is_taken_over() {
    let of_another = mark(-500);
    let copied = notes(Some(-500), Some(true), false);
    let other_token = Remembered {
        doubt: Some(("an older one".to_owned(), mark(-900))),
        ..Remembered::default()
    };
    for (notes, remembered) in [
        (Notes::default(), Remembered::default()),
        (Notes::default(), other_token.clone()),
        (copied.clone(), Remembered::default()),
        (copied, other_token),
    ] {
        let (mut notes, mut remembered) = (notes, remembered);
        remembered.take_over(&mut notes, "token", &of_another);
        let attempt = Attempt {
            published_until: None,
            ..attempt(&remembered)
        };
        let step = step_of(&notes, rule(None, 0), &attempt);
        assert_eq!(step, "RefreshOutcomeUnknown", "{notes:?} {remembered:?}");
    }
}

#[test]
fn when_nothing_is_left_to_lose_the_old_refresh_token_is_tried_once() {
    let none = Remembered::default();
    let say = |notes: &Notes, reuse, until: Option<i64>| {
        let attempt = Attempt {
            published_until: until.map(at),
            ..attempt(&none)
        };
        step_of(notes, rule(reuse, 0), &attempt)
    };
    let unknown = notes(Some(-500), Some(true), false);
    assert_eq!(say(&unknown, None, Some(-1)), "last try");
    // Nothing was published since the sign-in.
    assert_eq!(say(&unknown, None, None), "last try");
    assert_eq!(say(&unknown, NEVER, None), "RefreshOutcomeUnknown");
    // The target was edited, deleted or renamed: the state Secret shows when the token expires.
    let noted = |seconds| Notes {
        token_expires_at: Some(at(seconds)),
        ..unknown.clone()
    };
    for (end, until, expected) in [
        (1, None, "RefreshOutcomeUnknown"),
        (1, Some(-1), "RefreshOutcomeUnknown"),
        (-1, Some(1), "RefreshOutcomeUnknown"),
        (-1, None, "last try"),
        (-1, Some(-1), "last try"),
    ] {
        assert_eq!(say(&noted(end), None, until), expected, "{end} {until:?}");
    }
    // There is a valid token, which a second use may revoke; the user has set `Never`.
    assert_eq!(say(&unknown, None, Some(1)), "RefreshOutcomeUnknown");
    assert_eq!(say(&unknown, NEVER, Some(-1)), "RefreshOutcomeUnknown");
    // Once only.
    let tried = Notes {
        mark: Some(Mark::new(at(-100), "other-1", true)),
        ..unknown.clone()
    };
    assert_eq!(say(&tried, None, Some(-1)), "RefreshOutcomeUnknown");
    assert_eq!(say(&tried, None, None), "RefreshOutcomeUnknown");
    // It is made when the token has expired, and no timer tries before.
    let attempt = Attempt {
        published_until: Some(at(900)),
        ..attempt(&none)
    };
    let Step::Stop(waits) = before(&unknown, rule(None, 0), &attempt, at(0)) else {
        panic!("it waits");
    };
    assert_eq!((waits.retry_at, waits.until_change), (Some(at(900)), false));
}

/// Another process may be between its mark and its write, with its own clock; it may lose the lease in between.
#[test]
fn no_last_try_is_made_while_the_first_request_may_be_under_way() {
    for ended in [Some(at(-3600)), None] {
        waits_until_settled(ended);
    }
}

fn waits_until_settled(ended: Option<Timestamp>) {
    let step = |since: i64, remembered: &Remembered| {
        let attempt = Attempt {
            published_until: ended,
            ..attempt(remembered)
        };
        before(
            &notes(Some(since), Some(true), false),
            rule(None, 0),
            &attempt,
            at(0),
        )
    };
    let none = Remembered::default();
    for since in [0, -1, -20, -41, -75, -149, 1, 30, 149] {
        let Step::Stop(waits) = step(since, &none) else {
            panic!("{since}: the first request may be under way");
        };
        let (again, settled) = (waits.retry_at.unwrap(), at(since + 150));
        assert_eq!((again, waits.until_change), (settled, false), "{since}");
    }
    for since in [-151, -100_000, 151, 100_000] {
        let last =
            matches!(step(since, &none), Step::Send(Send { mark: Some(m), .. }) if m.last_try);
        assert!(last, "{since}: it has passed, or another writer set it");
    }
    // This process knows the end of its own request, but not of another mark's request.
    let own = |since| Remembered {
        doubt: Some(("token".to_owned(), mark(since))),
        ..Remembered::default()
    };
    assert!(matches!(step(-5, &own(-5)), Step::Send(_)));
    assert!(matches!(step(-5, &own(-50)), Step::Stop(_)));
}

/// Some issuers alternate between two, or go back to an older one after a grace period.
#[test]
fn a_refresh_token_that_the_issuer_gives_out_once_more_is_not_spent() {
    let notes = Notes {
        stored: Some("b".to_owned()),
        spent: vec![Spent::new("a", at(-500), true)],
        ..Notes::default()
    };
    let sent = Sent {
        token: "b".to_owned(),
        request: "request".to_owned(),
        at: at(0),
        how: Send::default(),
        spent: notes.spent.clone(),
    };
    let what = (TokenState::Rotated, None, Some("a"));
    let changes = after(&notes, rule(None, 0), &sent, what).unwrap();
    let written = changes[names::SPENT_REFRESH_TOKENS].clone().unwrap();
    let spent: Vec<String> = spent::read(&written)
        .into_iter()
        .map(|s| s.digest)
        .collect();
    assert_eq!(spent, ["b"]);
}

/// A restore also restores the old notes on the Secrets, and a restored credential is another object. One tenant cannot make the process
/// forget what others have spent.
#[test]
fn what_a_process_has_spent_it_remembers_within_bounds() {
    let mut memory = spent::Memory::default();
    memory.note("quiet", &Spent::new("q", at(0), false));
    for n in 0..1_000 {
        memory.note("busy", &Spent::new(&format!("b{n}"), at(n), false));
    }
    let knows = |memory: &spent::Memory, digest: &str| memory.find(digest).is_some();
    assert!(knows(&memory, "q") && knows(&memory, "b999") && !knows(&memory, "b1"));
    for n in 0..9_000 {
        memory.note(
            &format!("n{n}"),
            &Spent::new(&format!("x{n}"), at(n), false),
        );
    }
    assert!(memory.len() <= 8192 && knows(&memory, "x8999"));
    // Each is stored once, with the time of its first use.
    let before = memory.len();
    memory.note("n", &Spent::new("x8999", at(7), false));
    assert_eq!(memory.len(), before);
    assert_eq!(memory.find("x8999").unwrap().at, at(8_999));
    // The issuer has issued it again.
    memory.forget("x8999");
    assert!(!knows(&memory, "x8999"));
}

#[test]
fn a_used_refresh_token_is_not_sent_again_if_it_is_restored() {
    let spent = Notes {
        spent: vec![Spent::new("token", at(-500), true)],
        ..Notes::default()
    };
    for (reuse, window) in [(None, 0), (None, 600), (NEVER, 0), (NEVER, 600)] {
        assert_eq!(reported(&spent, rule(reuse, window)), "spent");
    }
    assert_eq!(reported(&spent, rule(ALWAYS, 0)), "send");
    let token_error = put_back("ns/c", "state", at(-500), Some("argocd-controller"));
    assert!(token_error.until_change && token_error.reason.as_str() == "RefreshTokenSpent");
    for part in [
        "argocd-controller",
        "Secret state",
        "GitOps",
        "kubectl apicred login c",
    ] {
        assert!(
            token_error.next_step.to_string().contains(part),
            "{}",
            token_error.next_step
        );
    }
}

#[test]
fn notes_are_read_from_annotations_and_damage_counts_as_the_worst() {
    assert_eq!(Notes::read(None), Notes::default());
    let all = map(&[
        (names::IN_FLIGHT_SINCE, &format!("{} by pod-1", at(0))),
        (names::ROTATES, "false"),
        (names::SIGN_IN_REQUIRED, "invalid_grant (request AbC)"),
        (names::STORED_REFRESH_TOKEN, "d"),
        (names::SPENT_REFRESH_TOKENS, "given:e@1790000000 f@1 g@?"),
    ]);
    let read = Notes::read(Some(&all));
    assert_eq!(read.mark, Some(Mark::new(at(0), "pod-1", false)));
    assert_eq!(read.rotates, Some(false));
    let request = Some("AbC".to_owned());
    assert_eq!(read.dead, Some(Dead { request }));
    assert_eq!(read.stored.as_deref(), Some("d"));
    let digests: Vec<&str> = read.spent.iter().map(|s| s.digest.as_str()).collect();
    assert_eq!(digests, ["f", "e"]);
    // A mark without a process name, as older versions wrote it.
    let old = map(&[(names::IN_FLIGHT_SINCE, &at(0).to_string())]);
    assert_eq!(Notes::read(Some(&old)).mark.map(|m| m.since), Some(at(0)));
    let damaged: BTreeMap<String, String> =
        map(&[(names::IN_FLIGHT_SINCE, "yesterday"), (names::ROTATES, "?")]);
    let read = Notes::read(Some(&damaged));
    assert_eq!(reported(&read, rule(None, 600)), "RefreshOutcomeUnknown");
    assert_eq!(read.rotates, Some(true));
}

#[test]
fn two_requests_fit_into_a_window() {
    for window in [1, 2, 10, 29, 30, 600] {
        let (deadline, tries) = rule(NEVER, window).patience();
        assert_eq!(tries, 2);
        assert!(deadline.is_positive() && deadline * 2 <= secs(window) && deadline <= secs(15));
    }
    assert_eq!(rule(None, 10).patience().0, secs(5));
    // Without a window a lost answer requires a new sign-in.
    assert_eq!(rule(None, 0).patience(), (secs(20), 1));
    assert_eq!(rule(ALWAYS, 30).patience(), (secs(15), 1));
}
