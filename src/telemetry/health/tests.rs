//! Readiness and liveness, from the lists, watches and reconciles of a process.

use super::*;
use crate::fixtures::at;

fn object(name: &str) -> ObjectName {
    ("secops".to_owned(), name.to_owned())
}

#[test]
fn a_watch_that_does_not_show_our_own_writes_is_dead_and_a_quiet_one_is_not() {
    let health = Health::default();
    health.event_seen("secrets", at(0));
    assert!(health.alive(at(1_000_000)).is_ok(), "nothing is owed");
    health.wrote("secrets", &object("a"), "7", at(10));
    health.wrote("secrets", &object("a"), "9", at(500));
    assert!(health.alive(at(600)).is_ok());
    let reported = health.alive(at(611)).unwrap_err();
    assert!(
        reported.contains("secrets") && reported.contains("601"),
        "{reported}"
    );
    let late = SignedDuration::from_mins(1);
    assert_eq!(health.unseen("secrets", late, at(611)), [object("a")]);
    assert!(health.unseen("credentials", late, at(611)).is_empty());
    // Events of other objects, streams and versions are not an echo.
    health.event_seen("secrets", at(612));
    health.showed("secrets", &object("b"), "9");
    health.showed("credentials", &object("a"), "9");
    health.showed("secrets", &object("a"), "8");
    assert!(health.alive(at(612)).is_err());
    health.showed("secrets", &object("a"), "10");
    assert!(health.alive(at(10_000)).is_ok());
    assert_eq!(health.watches(), [("secrets", at(612))]);
}

#[test]
fn no_echo_is_expected_of_an_object_that_is_gone() {
    let health = Health::default();
    health.wrote("credentials", &object("a"), "7", at(0));
    health.wrote("credentials", &object("b"), "8", at(0));
    health.gone("credentials", &object("a"));
    assert!(health.alive(at(601)).is_err(), "the other one is owed");
    health.gone("credentials", &object("b"));
    assert!(health.alive(at(10_000)).is_ok());
    assert_eq!(health.sizes(), (0, 0));
}

#[test]
fn a_standby_that_cannot_acquire_the_lease_is_not_ready() {
    let health = Health::default();
    health.set_standby(Ok(()));
    health.set_lease(Err("the quota few leaves no room".to_owned()));
    let reported = health.ready(at(0)).unwrap_err();
    assert!(
        reported.contains("lease") && reported.contains("quota few"),
        "{reported}"
    );
    health.set_lease(Ok(()));
    assert_eq!(health.ready(at(0)), Ok(()), "another operator leads");
    health.set_lease(Err("the quota few leaves no room".to_owned()));
    health.leads();
    assert!(!health.ready(at(0)).unwrap_err().contains("quota"));
}

#[test]
fn a_standby_has_no_lists_whatever_readiness_reports() {
    let health = Health::default();
    health.set_standby(Err("not checked yet".to_owned()));
    assert!(health.ready(at(0)).is_err());
    health.set_standby(Ok(()));
    assert_eq!(health.ready(at(0)), Ok(()));
    assert_eq!(health.unlisted(), STREAMS, "nothing may be decided");
    health.leads();
    assert!(health.ready(at(0)).is_err());
    for stream in STREAMS {
        health.listed(stream);
    }
    assert_eq!(health.ready(at(0)), Ok(()));
    assert!(health.unlisted().is_empty());
}

#[test]
fn a_leader_whose_watch_fails_after_its_list_is_not_ready() {
    let health = Health::default();
    for stream in STREAMS {
        health.listed(stream);
        health.opened(stream, "", at(0));
    }
    health.failed("credentials", "", at(10));
    health.failed("credentials", "", at(40));
    assert!(health.has_failed("credentials", "secops"));
    assert!(!health.has_failed("secrets", "secops"));
    assert_eq!(health.ready(at(70)), Ok(()), "an interruption");
    let reported = health.ready(at(71)).unwrap_err();
    assert!(reported.contains("watch of credentials"), "{reported}");
    health.opened("credentials", "", at(100));
    assert!(!health.has_failed("credentials", "secops"));
    assert_eq!(health.ready(at(1_000)), Ok(()));
}

#[test]
fn a_watch_that_opens_and_ends_at_once_again_and_again_is_not_open() {
    let health = Health::default();
    for stream in STREAMS {
        health.listed(stream);
        health.opened(stream, "", at(0));
    }
    for round in 0..7 {
        health.failed("credentials", "", at(100 + 10 * round));
        assert_eq!(health.ready(at(100 + 10 * round)), Ok(()), "{round}");
        health.opened("credentials", "", at(109 + 10 * round));
        assert!(!health.has_failed("credentials", "secops"), "{round}");
    }
    health.failed("credentials", "", at(170));
    assert!(health.has_failed("credentials", "secops"));
    let reported = health.ready(at(170)).unwrap_err();
    assert!(reported.contains("watch of credentials"), "{reported}");
    // It stayed open, so the next interruption is a new one.
    health.opened("credentials", "", at(180));
    health.failed("credentials", "", at(300));
    assert_eq!(health.ready(at(360)), Ok(()));
    assert!(health.ready(at(361)).is_err());
}

#[test]
fn one_namespace_that_is_gone_does_not_make_a_leader_unready() {
    let health = Health::default();
    for stream in STREAMS {
        health.listed(stream);
    }
    health.opened("secrets", "a", at(0));
    health.failed("secrets", "b", at(0));
    assert!(health.has_failed("secrets", "b") && !health.has_failed("secrets", "a"));
    assert_eq!(health.ready(at(1_000)), Ok(()));
    health.failed("secrets", "a", at(1_000));
    assert_eq!(health.ready(at(1_060)), Ok(()));
    assert!(health.ready(at(1_061)).unwrap_err().contains("secrets"));
}
