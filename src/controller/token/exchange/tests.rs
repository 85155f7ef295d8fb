use super::*;

#[test]
fn a_throttled_client_pauses_and_a_looping_one_does_not_as_a_client() {
    let refusal = |aadsts, retry_after| Refusal {
        aadsts,
        retry_after,
        ..Refusal::local(Class::Throttled, Reason::Throttled, "wait")
    };
    let asked = Some(Duration::from_secs(7));
    assert_eq!(pause(&refusal(None, None)), Some(Duration::from_secs(30)));
    assert_eq!(pause(&refusal(Some(90_055), asked)), asked);
    for asked in [None, asked] {
        assert_eq!(pause(&refusal(Some(oauth::LOOP), asked)), None);
    }
}
