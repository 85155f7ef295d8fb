use super::*;

#[test]
fn a_throttled_client_pauses_and_a_looping_one_does_not_as_a_client() {
    let token_error = |aadsts, retry_after| TokenError {
        aadsts,
        retry_after,
        ..TokenError::local(Class::Throttled, Reason::Throttled, "wait")
    };
    let retry_after = Some(Duration::from_secs(7));
    assert_eq!(
        pause(&token_error(None, None)),
        Some(Duration::from_secs(30))
    );
    assert_eq!(pause(&token_error(Some(90_055), retry_after)), retry_after);
    for retry_after in [None, retry_after] {
        assert_eq!(pause(&token_error(Some(oauth::LOOP), retry_after)), None);
    }
}
