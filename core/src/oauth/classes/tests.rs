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
