//! A look that waits in an issuer's line is told what it waits for, and nobody's call is lost.

use crate::{
    controller::triggers::{Triggers, Waited},
    credential::Key,
};

fn key(name: &str) -> Key {
    Key {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    }
}

#[tokio::test]
async fn a_turn_goes_to_the_look_that_waits_and_to_nobody_else() {
    let (triggers, mut woken) = Triggers::new();
    let mut seat = triggers.seat(&key("a")).unwrap();
    triggers.call(&key("a"));
    assert_eq!(seat.wait().await, Waited::Called);
    assert!(woken.try_recv().is_err(), "no second look");
    triggers.call(&key("b"));
    assert_eq!(woken.try_recv().unwrap().name, "b", "b has no look open");
}

#[tokio::test]
async fn a_change_ends_the_wait_and_brings_a_look() {
    let (triggers, mut woken) = Triggers::new();
    let mut seat = triggers.seat(&key("a")).unwrap();
    triggers.send(&key("a"));
    triggers.call(&key("a"));
    assert_eq!(
        seat.wait().await,
        Waited::Changed,
        "whatever comes after it"
    );
    assert_eq!(woken.try_recv().unwrap().name, "a");
}

#[tokio::test]
async fn a_call_that_nobody_heard_brings_a_look() {
    let (triggers, mut woken) = Triggers::new();
    let seat = triggers.seat(&key("a")).unwrap();
    triggers.call(&key("a"));
    drop(seat);
    assert_eq!(woken.try_recv().unwrap().name, "a");
    triggers.call(&key("a"));
    assert_eq!(woken.try_recv().unwrap().name, "a", "and one after it, too");
}

#[tokio::test]
async fn a_crowd_leaves_looks_to_others() {
    let (triggers, _woken) = Triggers::new();
    let seats: Vec<_> = (0..1000)
        .map_while(|n| triggers.seat(&key(&n.to_string())))
        .collect();
    assert_eq!(seats.len(), usize::from(crate::controller::LOOKS) / 2);
    drop(seats);
    assert!(triggers.seat(&key("late")).is_some());
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let (triggers, _woken) = Triggers::new();
    let mut seat = triggers.seat(&key("a")).unwrap();
    assert_eq!(seat.wait().await, Waited::InVain);
}
