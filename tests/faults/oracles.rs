//! Rules that always hold. O1, O2 and O4 are checked on every state of the Secret by
//! [`Recorder::finish`](crate::support::Recorder::finish); O6, O7 and O12 while a scenario runs (see [`crate::scenario`]).

use std::fmt::Write;

use serde_json::Value;

use crate::{
    scenario::Scenario,
    support::{Place, canaries::Canaries},
};

/// Words with this many characters are keys, digests and IDs, also if they contain no digit.
const LONG: usize = 24;

/// A text without the parts that differ between scenarios: names of the place, times, IDs, versions, tokens, digests.
pub(crate) fn mask(place: &Place, text: &str) -> String {
    let text = text
        .replace(&place.namespace, "PLACE")
        .replace(&place.client, "PLACE")
        .replace(&place.issuer_name, "PLACE");
    let mut masked = String::with_capacity(text.len());
    let part = |c: char| c.is_ascii_alphanumeric() || "-_+/=~".contains(c);
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let end = if part(first) {
            rest.find(|c| !part(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (word, tail) = rest.split_at(end);
        let small = word.len() == 1 && word != "0";
        // An ID of an operator has eight hexadecimal digits, and sometimes only letters.
        let id = word.len() == 8 && word.bytes().all(|b| b.is_ascii_hexdigit());
        let special = id || word.contains(|c: char| c.is_ascii_digit()) && !small && word != "v1";
        let long = word.len() >= LONG && !word.contains('/');
        masked.push_str(if special || long { "#" } else { word });
        rest = tail;
    }
    masked
}

/// The same for each text in a value.
pub(crate) fn mask_all(place: &Place, value: &mut Value) {
    match value {
        Value::String(text) => *text = mask(place, text),
        Value::Array(all) => all.iter_mut().for_each(|v| mask_all(place, v)),
        Value::Object(all) => all.values_mut().for_each(|v| mask_all(place, v)),
        _ => {}
    }
}

/// Compares a scenario with the one without a fault.
pub(crate) fn check(scenario: &Scenario, reference: &Scenario) {
    let name = &scenario.name;
    let lost = scenario.crashes;
    assert!(
        lost <= scenario.spoilt,
        "{name}: {lost} ends of the operator"
    );
    // O3. A token that could not be written is kept in memory: it is lost only with its process.
    assert!(
        scenario.posts <= reference.posts + lost,
        "O3: {name}: {} POSTs in place of {}",
        scenario.posts,
        reference.posts
    );
    let tokens = scenario.tokens.len();
    assert!(
        (reference.tokens.len()..=reference.tokens.len() + lost).contains(&tokens),
        "O3: {name}: {tokens} tokens were published in place of {}",
        reference.tokens.len()
    );
    // O5.
    assert_eq!(
        scenario.others.0, scenario.others.1,
        "O5: {name}: a Secret of others"
    );
    assert_eq!(scenario.end, reference.end, "O8: {name}");
    writes(scenario, reference);
    leaks(scenario);
}

/// O9: the same objects are written as often as in the reference, except for the cost of one fault.
fn writes(scenario: &Scenario, reference: &Scenario) {
    let mut faults = String::new();
    for (what, count) in &scenario.writes {
        let usual = reference.writes.get(what).copied().unwrap_or_default();
        let more = match what.as_str() {
            // A failure is reported, and its end as well.
            _ if what.contains("/status") || what.contains("events") => 2,
            _ => 1,
        };
        let allowed = usual + more * (scenario.troubles + scenario.crashes).min(2);
        if *count > allowed {
            let _ = write!(
                faults,
                "{what}: {count} in place of {usual}, {allowed} at most; "
            );
        }
    }
    assert!(faults.is_empty(), "O9: {}: {faults}", scenario.name);
}

/// O10: no readable output contains a secret.
fn leaks(scenario: &Scenario) {
    let canaries = Canaries::default();
    for value in &scenario.canaries {
        canaries.add(value);
    }
    assert!(
        canaries.len() >= 4,
        "O10: {}: nothing to listen for",
        scenario.name
    );
    assert!(
        scenario.text.contains("token published"),
        "O10: {}: these are no words of an operator",
        scenario.name
    );
    let leak = canaries.net().first_leak(&scenario.text);
    assert_eq!(leak, None, "O10: {}", scenario.name);
}
