use std::collections::BTreeSet;

use super::*;

#[test]
fn each_error_is_listed_once_and_can_be_shown() {
    let mut seen = BTreeSet::new();
    for (errors, _) in ERRORS {
        for error in *errors {
            assert!(seen.insert(*error), "{error} is listed twice");
            let product = error.starts_with("e0000");
            assert!(
                product || crate::oauth::error_code(error).is_some(),
                "{error}"
            );
        }
    }
    for (errors, _, phrases, _) in DESCRIBED {
        assert!(errors.iter().all(|e| seen.contains(e)), "{errors:?}");
        assert!(
            phrases.iter().all(|p| p.to_lowercase() == **p),
            "{phrases:?}"
        );
    }
}

#[test]
fn only_a_number_about_the_client_blames_the_client_whatever_the_error() {
    let ranges = [
        1..3,
        50_000..50_200,
        70_000..70_030,
        700_000..700_300,
        7_000_100..7_000_300,
    ];
    for number in ranges.into_iter().flatten() {
        for error in ["invalid_client", "unauthorized_client", "invalid_grant"] {
            let seen = Seen {
                status: 401,
                error: Some(error),
                code: Some(number),
                ..Seen::default()
            };
            let proven = aadsts::known(number, None, false).is_some_and(|k| k.about_client);
            assert_eq!(classify(&seen).about_client, proven, "{number} {error}");
        }
    }
}

/// A client with a certificate exchanges a token: the token has a signature and an audience as well.
#[test]
fn a_text_about_the_exchanged_token_does_not_blame_the_assertion_of_the_client() {
    let of_text = |text: &str| {
        let seen = Seen {
            status: 400,
            error: Some("invalid_request"),
            text,
            asserted: true,
            ..Seen::default()
        };
        let classified = classify(&seen);
        (classified.about_client, classified.reason)
    };
    for text in [
        "invalid signature",
        "the audience is not valid",
        "jwt expired",
    ] {
        for name in ["subject_token", "subject token", "actor token"] {
            let named = of_text(&format!("{name}: {text}"));
            assert!(!named.0 && named.1 != of_text(text).1, "{name}: {text}");
        }
    }
}

#[test]
fn a_method_that_is_named_after_the_secret_is_no_wrong_secret() {
    for text in [
        "client_secret_basic is not valid",
        "invalid client_secret_post",
        "bad method client_secret_jwt",
        "client credentials grant is invalid",
    ] {
        assert!(!is_about_secret("invalid_request", text), "{text}");
    }
    for text in ["client_secret is not valid", "invalid client secret"] {
        assert!(is_about_secret("invalid_request", text), "{text}");
    }
}
