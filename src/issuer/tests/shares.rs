use std::collections::HashMap;

use proptest::prelude::*;

use crate::issuer::shares::Shares;

#[test]
fn a_namespace_holds_a_quarter_and_more_only_while_half_is_free() {
    let mut shares = Shares::new(8);
    for n in 0..4 {
        assert!(shares.may("a", &n, false), "{n}: half is free");
        shares.take("a", false);
    }
    assert!(!shares.may("a", &4, false));
    assert!(!shares.may("a", &4, false), "asked twice, parked once");
    for n in 10..12 {
        assert!(shares.may("b", &n, false), "a quarter of its own");
        shares.take("b", false);
    }
    assert!(!shares.may("b", &12, false));
    // One ends; a has its quarter and two more, and half is not free.
    assert!(shares.give_back("a", false).is_empty());
    assert_eq!(shares.give_back("b", false), [12]);
    assert!(shares.give_back("a", false).contains(&4));
    assert!(shares.give_back("a", false).is_empty());
}

#[test]
fn issuers_of_namespaces_leave_a_quarter_to_those_of_the_cluster() {
    let mut shares = Shares::new(8);
    for (n, group) in ["a", "a", "b", "b", "c", "c"].into_iter().enumerate() {
        assert!(shares.may(group, &n, true), "{n}");
        shares.take(group, true);
    }
    assert!(!shares.may("d", &20, true));
    assert!(shares.may("d", &21, false));
    shares.forget(&20);
    assert!(shares.give_back("a", true).is_empty(), "it is gone");
}

#[test]
fn one_worker_serves_all_in_turn() {
    let mut shares = Shares::new(1);
    assert!(shares.may("a", &1, true));
    shares.take("a", true);
    assert!(!shares.may("b", &2, true));
    assert_eq!(shares.give_back("a", true), [2]);
    assert!(shares.may("b", &2, true));
}

proptest! {
    #[test]
    fn who_is_parked_is_called_once_all_have_ended(steps in prop::collection::vec((0_u8..4, any::<bool>()), 1..60), workers in 1_u16..20) {
        let mut shares = Shares::new(workers);
        let (mut running, mut parked) = (Vec::new(), HashMap::new());
        for (n, (group, own)) in steps.into_iter().enumerate() {
            let group = ["a", "b", "c", "d"][usize::from(group)];
            if shares.may(group, &n, own) {
                shares.take(group, own);
                running.push((group, own));
            } else {
                parked.insert(n, (group, own));
            }
        }
        let mut rounds = 0;
        while let Some((group, own)) = running.pop() {
            for n in shares.give_back(group, own) {
                let (group, own) = parked.remove(&n).expect("it was parked");
                if shares.may(group, &n, own) {
                    shares.take(group, own);
                    running.push((group, own));
                } else {
                    parked.insert(n, (group, own));
                }
            }
            rounds += 1;
            prop_assert!(rounds < 1000);
        }
        prop_assert!(parked.is_empty(), "{:?} never came", parked);
    }
}
