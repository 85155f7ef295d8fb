use std::collections::HashMap;

use proptest::prelude::*;

use crate::{
    fixtures::at,
    issuer::{
        line::Urgency,
        shares::{Holder, Shares},
    },
};

fn holder(namespace: &str, own: bool) -> Holder {
    Holder {
        namespace: namespace.to_owned(),
        own,
    }
}

fn enter(shares: &mut Shares<usize>, key: usize, namespace: &str, own: bool) -> bool {
    let patient = Urgency::new(Some(at(9000)), 0, at(0));
    shares.enter(&key, &holder(namespace, own), patient, at(0))
}

fn end(shares: &mut Shares<usize>, namespace: &str, own: bool) -> Vec<usize> {
    shares.give_back(&holder(namespace, own));
    shares.call(at(0))
}

#[test]
fn a_namespace_holds_a_quarter_and_more_only_while_half_is_free() {
    let mut shares = Shares::new(8);
    for n in 0..4 {
        assert!(enter(&mut shares, n, "a", false), "{n}: half is free");
    }
    assert!(!enter(&mut shares, 4, "a", false));
    assert!(!enter(&mut shares, 4, "a", false), "it stands in line once");
    for n in 10..12 {
        assert!(enter(&mut shares, n, "b", false), "a quarter of its own");
    }
    assert!(!enter(&mut shares, 12, "b", false));
    assert!(
        end(&mut shares, "a", false).is_empty(),
        "three of eight and two are held"
    );
    assert_eq!(end(&mut shares, "b", false), [12]);
    assert!(end(&mut shares, "a", false).is_empty());
    assert_eq!(end(&mut shares, "a", false), [4]);
    assert!(enter(&mut shares, 4, "a", false), "its place is kept");
}

#[test]
fn issuers_of_namespaces_leave_a_quarter_to_those_of_the_cluster() {
    let mut shares = Shares::new(8);
    for (n, namespace) in ["a", "a", "b", "b", "c", "c"].into_iter().enumerate() {
        assert!(enter(&mut shares, n, namespace, true), "{n}");
    }
    assert!(!enter(&mut shares, 20, "d", true));
    assert!(enter(&mut shares, 21, "d", false));
    shares.forget(&20);
    assert!(end(&mut shares, "a", true).is_empty(), "it is gone");
}

#[test]
fn who_presses_is_called_first_and_one_place_serves_all() {
    let mut shares = Shares::new(1);
    assert!(enter(&mut shares, 1, "a", true));
    assert!(!enter(&mut shares, 2, "a", true));
    let new = Urgency::new(None, 0, at(0));
    assert!(!shares.enter(&3, &holder("b", true), new, at(0)));
    assert_eq!(end(&mut shares, "a", true), [3]);
    assert!(!enter(&mut shares, 4, "a", true), "the place is kept for 3");
    // It never comes.
    shares.give_back(&holder("nobody", false));
    assert!(shares.call(at(4)).is_empty());
    assert_eq!(shares.call(at(5)), [2]);
}

proptest! {
    #[test]
    fn who_waits_is_called_once_all_have_ended(steps in prop::collection::vec((0_u8..4, any::<bool>()), 1..60), places in 1_u16..20) {
        let mut shares = Shares::new(places);
        let (mut running, mut waiting) = (Vec::new(), HashMap::new());
        for (n, (namespace, own)) in steps.into_iter().enumerate() {
            let namespace = ["a", "b", "c", "d"][usize::from(namespace)];
            if enter(&mut shares, n, namespace, own) {
                running.push((namespace, own));
            } else {
                waiting.insert(n, (namespace, own));
            }
            prop_assert!(running.len() <= usize::from(places));
        }
        while let Some((namespace, own)) = running.pop() {
            for n in end(&mut shares, namespace, own) {
                let (namespace, own) = waiting.remove(&n).expect("it stood in line");
                prop_assert!(enter(&mut shares, n, namespace, own), "its place is kept");
                running.push((namespace, own));
                prop_assert!(running.len() <= usize::from(places));
            }
        }
        prop_assert!(waiting.is_empty(), "{:?} never came", waiting);
    }
}
