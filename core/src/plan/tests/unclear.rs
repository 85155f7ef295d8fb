//! Requests with a password without a clear answer, and what counts as a guess about an entry of the client.

use serde_json::json;

use crate::{
    Reason,
    credential::Credential,
    fixtures::{at, credential, credential_with, observed},
    oauth::{Class, Stage, TokenError},
    plan::{fail, is_guess, stop_unclear},
};

fn with_password() -> Credential {
    let key = json!({ "name": "source", "key": "k" });
    credential_with(&json!({ "grant": { "password": { "username": "u", "passwordRef": key } } }))
}

fn error(stage: Stage, not_sent: bool) -> TokenError {
    TokenError {
        not_sent,
        ..TokenError::local(Class::Transient, Reason::IssuerTimeout, "no answer").at(stage)
    }
}

#[test]
fn a_password_without_an_answer_is_sent_three_times_at_most() {
    let late = || error(Stage::Timeout, false);
    let unsent = || error(Stage::Connect, true);
    let attempts = |credential: &Credential, errors: &[TokenError]| -> Vec<bool> {
        let mut world = observed(credential);
        let one = |token_error: &TokenError| {
            let mut token_error = token_error.clone();
            stop_unclear(credential, &world, &mut token_error, at(0));
            let stops = token_error.until_change;
            world.memory = fail(credential, &world, token_error, at(0));
            stops
        };
        errors.iter().map(one).collect()
    };
    let password = with_password();
    let three = [late(), late(), late()];
    assert_eq!(attempts(&password, &three), [false, false, true]);
    let mixed = [
        late(),
        unsent(),
        error(Stage::BrokenOff, false),
        unsent(),
        late(),
    ];
    assert_eq!(
        attempts(&password, &mixed),
        [false, false, false, false, true]
    );
    // An answer that was not read to its end, and TLS that failed after the request.
    let large = TokenError {
        http_status: Some(200),
        ..TokenError::local(Class::Invalid, Reason::AnswerTooLarge, "too large").at(Stage::Answered)
    };
    let incomplete = [large, error(Stage::Tls, false), late()];
    assert_eq!(attempts(&password, &incomplete), [false, false, true]);
    // Not sent: any number. Another grant: any number.
    let none: Vec<TokenError> = (0..9).map(|_| unsent()).collect();
    assert!(!attempts(&password, &none).contains(&true));
    assert!(!attempts(&credential(), &three).contains(&true));
}

/// An outage behind a gateway ends without a user, and a password is not sent often in the meantime.
#[test]
fn a_password_is_sent_once_an_hour_while_a_gateway_answers_for_the_issuer() {
    let answered = |status: u16| TokenError {
        http_status: Some(status),
        ..TokenError::local(Class::Transient, Reason::IssuerUnavailable, "x").at(Stage::Answered)
    };
    let password = with_password();
    for (statuses, rare) in [([502, 504, 502], true), ([503, 503, 503], false)] {
        let mut world = observed(&password);
        let mut waits = Vec::new();
        for status in statuses.into_iter().chain(statuses) {
            let mut token_error = answered(status);
            stop_unclear(&password, &world, &mut token_error, at(0));
            assert!(!token_error.until_change, "{status}");
            world.memory = fail(&password, &world, token_error, at(0));
            let failure = world.memory.failure.as_ref().unwrap();
            waits.push(failure.next_attempt >= at(3600));
        }
        let expected = [false, false, rare, rare, rare, rare];
        assert_eq!(waits, expected, "{statuses:?}");
    }
    // One missing answer during such an outage does not stop the password.
    let mut world = observed(&password);
    for status in [502, 504, 502] {
        let mut token_error = answered(status);
        stop_unclear(&password, &world, &mut token_error, at(0));
        world.memory = fail(&password, &world, token_error, at(0));
    }
    let mut late = error(Stage::Timeout, false);
    stop_unclear(&password, &world, &mut late, at(3600));
    assert!(!late.until_change);
    // The issuer requests a longer pause.
    let mut pauses = TokenError {
        retry_after: Some(std::time::Duration::from_secs(4000)),
        ..answered(504)
    };
    stop_unclear(&password, &world, &mut pauses, at(0));
    assert_eq!(pauses.retry_at, None);
    let mut one = answered(504);
    stop_unclear(&credential(), &observed(&credential()), &mut one, at(0));
    assert_eq!(one.retry_at, None);
}

#[test]
fn each_answer_to_an_entry_on_trial_may_be_about_it_except_throttling() {
    let seen = |status: Option<u16>, class: Class| TokenError {
        http_status: status,
        ..TokenError::local(class, Reason::RequestRefused, "x")
    };
    let usual = credential();
    for (status, class, expected) in [
        (Some(401), Class::Denied, true),
        (Some(400), Class::Invalid, true),
        (Some(401), Class::Transient, true),
        (Some(500), Class::Transient, true),
        (Some(200), Class::Transient, true),
        (Some(429), Class::Throttled, false),
        (Some(400), Class::Throttled, false),
        (None, Class::Transient, false),
    ] {
        let token_error = seen(status, class);
        assert_eq!(
            is_guess(&usual, &token_error),
            expected,
            "{status:?} {class:?}"
        );
        assert!(!is_guess(&with_password(), &token_error));
    }
    let pauses = TokenError {
        retry_after: Some(std::time::Duration::from_secs(5)),
        ..seen(Some(503), Class::Transient)
    };
    assert!(!is_guess(&usual, &pauses));
    let key = json!({ "name": "state", "key": "k" });
    let refresh = credential_with(&json!({ "grant": { "refreshToken": { "secretRef": key } } }));
    assert!(!is_guess(&refresh, &seen(Some(500), Class::Transient)));
}
