//! Networks and keys: the rules of the chart are the rules of the operator.

use apicred::credential::{KeyPattern, addresses};
use serde_json::json;

use crate::support::{refused_values, run};

/// Networks around each address that must not be opened by mistake, and around others.
fn networks() -> Vec<String> {
    let others = [
        "10.0.0.0",
        "127.0.0.0",
        "8.8.8.8",
        "::1",
        "::2",
        "fd00:1234::",
        "::ffff:169.254.169.254",
        "2001:db8::1",
    ];
    let all = addresses::DANGEROUS.iter().map(|(address, _)| *address);
    let all = all.chain(others);
    all.flat_map(|address| {
        let lengths: &[u8] = if address.contains(':') {
            &[0, 1, 15, 16, 17, 31, 33, 64, 96, 127, 128]
        } else {
            &[0, 7, 8, 9, 15, 16, 17, 23, 24, 31, 32]
        };
        lengths
            .iter()
            .map(move |length| format!("{address}/{length}"))
    })
    .collect()
}

#[test]
fn a_network_is_too_wide_for_the_chart_if_it_is_for_the_operator() {
    run(async {
        let networks = networks();
        let reported = refused_values(&json!({ "allowCidrs": networks })).await;
        let mut wide = 0;
        for network in &networks {
            let parsed = network.parse().expect("a network");
            let expected = addresses::check_allowed(&[parsed], false).is_err();
            let names = [" is ", " contains "].map(|verb| format!("allowCidrs: {network}{verb}"));
            let found = names.iter().any(|expected| reported.contains(expected));
            assert_eq!(found, expected, "{network}: {reported}");
            wide += usize::from(expected);
        }
        assert!(
            wide > 100 && networks.len() - wide > 30,
            "{wide} of {}",
            networks.len()
        );
    });
}

#[test]
fn a_key_that_the_operator_never_allows_is_refused() {
    let fault = "kubernetes.io/x"
        .parse::<KeyPattern>()
        .expect_err("a reserved key");
    let list = fault
        .split_once("keys of ")
        .and_then(|(_, rest)| rest.split_once(" belong"));
    let domains: Vec<&str> = list.expect("the domains").0.split(", ").collect();
    assert!(domains.len() > 4, "{domains:?}");
    let forms = [
        "D/x",
        "D/*",
        "a.D/x",
        "a.b.D/*",
        "x-D/a",
        "D.example.com/a",
        "D",
        "a.D",
    ];
    let keys: Vec<String> = domains
        .iter()
        .flat_map(|domain| forms.map(|form| form.replace('D', domain)))
        .collect();
    run(async {
        let reported = refused_values(&json!({ "targetMetadata": { "allow": keys } })).await;
        for key in &keys {
            let expected = key.parse::<KeyPattern>().is_err();
            let found = reported.contains(&format!("targetMetadata.allow: \"{key}\""));
            assert_eq!(found, expected, "{key}: {reported}");
        }
    });
}
