//! The result of a refresh, and the notes after it.

use super::*;

pub(super) fn token_error(status: Option<u16>, class: Class, error: Option<&str>) -> TokenError {
    TokenError {
        http_status: status,
        error: error.map(str::to_owned),
        ..TokenError::local(class, Reason::RequestRefused, "x")
    }
}

fn of(status: Option<u16>, class: Class, error: Option<&str>) -> TokenState {
    token_state(&Granted::Nothing, Some(&token_error(status, class, error)))
}

#[test]
fn what_became_of_a_refresh_token_that_was_sent() {
    let not_sent = TokenError {
        not_sent: true,
        ..token_error(None, Class::Transient, None)
    };
    let comes_back = TokenError {
        retry_after: Some(std::time::Duration::from_secs(5)),
        ..token_error(Some(503), Class::Transient, None)
    };
    let new = || Granted::New(SecretString::from("new"));
    let lost = token_error(None, Class::Transient, None);
    #[rustfmt::skip]
    let cases = [
        ("no connection", token_state(&Granted::Nothing, Some(&not_sent)), TokenState::Intact),
        ("connection lost", of(None, Class::Transient, None), TokenState::Unknown),
        ("a failure of apicred's own after the answer", of(None, Class::Invalid, None), TokenState::Unknown),
        ("throttled", of(Some(429), Class::Throttled, None), TokenState::Intact),
        ("a gateway's 503", of(Some(503), Class::Transient, None), TokenState::Unknown),
        ("503 with a time to come back", token_state(&Granted::Nothing, Some(&comes_back)), TokenState::Intact),
        ("503 of the endpoint", of(Some(503), Class::Transient, Some("temporarily_unavailable")), TokenState::Intact),
        ("something broke", of(Some(500), Class::Transient, Some("server_error")), TokenState::Unknown),
        ("a gateway's words", of(Some(503), Class::Transient, Some("upstream_reset")), TokenState::Unknown),
        ("gateway", of(Some(502), Class::Transient, None), TokenState::Unknown),
        ("the gateway waited", of(Some(504), Class::Transient, None), TokenState::Unknown),
        ("a proxy's own number", of(Some(499), Class::Invalid, None), TokenState::Unknown),
        ("a request that timed out", of(Some(408), Class::Transient, None), TokenState::Unknown),
        ("a redirect", of(Some(302), Class::Invalid, None), TokenState::Intact),
        ("a redirect to a path with a slash", of(Some(308), Class::Invalid, None), TokenState::Intact),
        ("a redirect with a code", of(Some(302), Class::Invalid, Some("login_required")), TokenState::Intact),
        ("200 that nobody can read", of(Some(200), Class::Transient, None), TokenState::Unknown),
        ("200 with a token error", of(Some(200), Class::NeedsUser, Some("invalid_grant")), TokenState::Dead),
        ("the client was refused", of(Some(401), Class::Denied, Some("invalid_client")), TokenState::Intact),
        ("the client was refused without a word", of(Some(401), Class::Denied, None), TokenState::Intact),
        ("dead", of(Some(400), Class::NeedsUser, Some("invalid_grant")), TokenState::Dead),
        ("doubtful", of(Some(400), Class::NeedsUser, Some("invalid_request")), TokenState::Intact),
        ("a new one beside a fault", token_state(&new(), Some(&token_error(Some(200), Class::Invalid, None))), TokenState::Rotated),
        ("a new one in an answer that broke off", token_state(&new(), Some(&lost)), TokenState::Rotated),
        ("none beside a fault", token_state(&Granted::Same, Some(&token_error(Some(200), Class::Invalid, None))), TokenState::Unchanged),
        ("a token", token_state(&Granted::Same, None), TokenState::Unchanged),
    ];
    for (what, seen, expected) in cases {
        assert_eq!(seen, expected, "{what}");
    }
}

pub(super) fn sent(mark: Option<Mark>, doubt: Option<Mark>) -> Sent {
    Sent {
        token: "token".to_owned(),
        request: "request".to_owned(),
        at: at(0),
        how: Send { mark, doubt },
        spent: Vec::new(),
    }
}

#[expect(clippy::option_option, reason = "not written, removed, or written")]
pub(super) fn noted(changes: Option<Changes>, name: &str) -> Option<Option<String>> {
    changes?.get(name).cloned()
}

#[test]
fn what_is_noted_after_an_answer() {
    let notes = Notes::default();
    let own = Mark::new(at(0), "me-1", false);
    let usual = sent(Some(own.clone()), None);
    let write = |sent: &Sent, token_state, new| {
        after(
            &notes,
            rule(None, 0),
            sent,
            (token_state, Some("invalid_grant"), new),
        )
    };
    let rotated = write(&usual, TokenState::Rotated, Some("new"));
    assert_eq!(noted(rotated.clone(), names::IN_FLIGHT_SINCE), Some(None));
    assert_eq!(
        noted(rotated.clone(), names::STORED_REFRESH_TOKEN),
        Some(Some("new".to_owned()))
    );
    let list = noted(rotated, names::SPENT_REFRESH_TOKENS)
        .flatten()
        .unwrap();
    assert_eq!(spent::read(&list), [Spent::new("token", at(0), true)]);
    assert_eq!(
        noted(
            write(&usual, TokenState::Unchanged, None),
            names::SPENT_REFRESH_TOKENS
        ),
        None
    );
    assert_eq!(write(&usual, TokenState::Unknown, None), None);
    assert_eq!(
        noted(
            write(&usual, TokenState::Intact, None),
            names::IN_FLIGHT_SINCE
        ),
        Some(None)
    );
    let dead = write(&usual, TokenState::Dead, None);
    assert_eq!(
        noted(dead.clone(), names::SIGN_IN_REQUIRED),
        Some(Some("invalid_grant (request request)".to_owned()))
    );
    assert_eq!(noted(dead, names::IN_FLIGHT_SINCE), Some(None));
    // A second request within the window was not sent: the outcome of the first one is still unknown.
    let second = sent(None, Some(mark(-5)));
    assert_eq!(write(&second, TokenState::Intact, None), None);
    // A last try that was not sent is replaced by the mark before it, and may be made again.
    let last = sent(Some(Mark::new(at(0), "me-1", true)), Some(mark(-500)));
    assert_eq!(
        noted(
            write(&last, TokenState::Intact, None),
            names::IN_FLIGHT_SINCE
        ),
        Some(Some(mark(-500).text))
    );
    // While an outcome is unknown, a token error shows nothing about another request.
    assert_eq!(
        noted(write(&last, TokenState::Dead, None), names::IN_FLIGHT_SINCE),
        None
    );
    // At Entra ID no list is stored.
    let always = after(
        &notes,
        rule(ALWAYS, 0),
        &sent(None, None),
        (TokenState::Rotated, None, Some("new")),
    );
    assert_eq!(noted(always, names::SPENT_REFRESH_TOKENS), None);
}

#[test]
fn what_a_user_gave_is_remembered_longest() {
    let mut notes = Notes::default();
    let mut token = "given-by-a-user".to_owned();
    for n in 0..500 {
        let sent = Sent {
            token: token.clone(),
            at: at(n),
            ..sent(None, None)
        };
        notes.spent = spent_after(&notes, &sent, TokenState::Rotated);
        token = format!("issued-{n}");
        notes.stored = Some(token.clone());
    }
    assert!(notes.spent.iter().any(|s| s.digest == "given-by-a-user"));
    assert!(notes.spent.iter().any(|s| s.digest == "issued-498"));
    assert!(
        !notes.spent.iter().any(|s| s.digest == token),
        "it is not spent yet"
    );
    let text = spent::write(&notes.spent);
    assert!(text.len() < 4096, "{} bytes", text.len());
    assert_eq!(spent::read(&text), notes.spent);
    assert_eq!(spent::merge(&notes.spent, &notes.spent), notes.spent);
    assert_eq!(spent::merge(&[], &notes.spent), notes.spent);
}
