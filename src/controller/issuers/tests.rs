use super::*;
use crate::api::IssuerKind;

#[test]
fn checks_that_fail_are_made_again_soon_and_others_rarely_and_not_all_at_once() {
    let mins = |count| after_failures(count).as_secs() / 60;
    assert_eq!([1, 2, 3, 4, 5, u32::MAX].map(mins), [1, 2, 4, 8, 8, 8]);
    let at = |name: &str| recheck(&(IssuerKind::TokenIssuer, "ns".to_owned(), name.to_owned()));
    let all: HashSet<Duration> = (0..50).map(|n| at(&n.to_string())).collect();
    assert_eq!(all.len(), 50);
    assert!(all.iter().all(|d| (RECHECK..RECHECK * 2).contains(d)));
    assert_eq!(at("a"), at("a"), "a restart draws no other time");
}
