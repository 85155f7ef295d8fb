//! Why there is no document, and when a document that was read is wrong.

use super::*;

#[test]
fn of_several_failures_the_most_specific_is_reported() {
    use Seen::{Loop, Redirect, Status};
    let page = || Seen::Unusable(Unusable::NotDocument(NotObject::WebPage));
    let other = || Seen::Unusable(Unusable::Issuer(Some("https://o.example.com".to_owned())));
    let coded = || Seen::Unusable(Unusable::Coded("br".to_owned()));
    let away = || Redirect(301, Some("https://o.example.com".to_owned()));
    let large = || {
        Seen::Broken(TokenError {
            http_status: Some(200),
            ..TokenError::local(
                Class::Transient,
                Reason::AnswerTooLarge,
                "larger than 1 MiB",
            )
        })
    };
    #[rustfmt::skip]
    let cases: Vec<Case> = vec![
        (vec![Status(404); 4], Class::Transient, Some(404), &["no discovery document below issuerUrl", "oauth2.tokenUrl"]),
        (vec![Status(404), Status(410), Status(405), Status(400)], Class::Transient, Some(404), &["HTTP 410", "HTTP 405"]),
        (vec![Status(404), Status(500), Status(404), Status(404)], Class::Transient, Some(500), &["oauth-authorization-server/realm cannot be read now", "HTTP 404"]),
        (vec![Status(401), Status(403), Status(404), Status(404)], Class::Transient, Some(401), &["not public", "without authentication"]),
        (vec![page(), page(), page(), page()], Class::Transient, None, &["is a web page", "issuerUrl"]),
        (vec![page(), Status(404), page(), Status(404)], Class::Transient, None, &["is a web page", "HTTP 404"]),
        (vec![away(), Status(404), away(), Status(404)], Class::Transient, Some(301), &["redirects to https://o.example.com, which apicred does not follow", "set issuerUrl to the issuer there"]),
        (vec![Status(404), Seen::Later(503, Duration::from_secs(7))], Class::Transient, Some(503), &["cannot be read now", "a pause of 7 s", "HTTP 404"]),
        (vec![Seen::Later(429, Duration::from_hours(1))], Class::Transient, Some(429), &["a pause of 3600 s"]),
        (vec![coded(), Status(404)], Class::Transient, None, &["is compressed with br", "accept-encoding: identity", "oauth2.tokenUrl", "HTTP 404"]),
        (vec![page(), coded()], Class::Transient, None, &["is compressed with br", "is a web page"]),
        (vec![Redirect(302, None), Status(404)], Class::Transient, Some(302), &["no https address"]),
        (vec![Loop(308), Status(404)], Class::Transient, Some(308), &["in a loop"]),
        (vec![large(), Status(404)], Class::Transient, Some(200), &["larger than 1 MiB"]),
        (vec![Status(404), Status(503), away(), other()], Class::Invalid, None, &["another issuer, \"https://o.example.com\""]),
    ];
    for (seen, class, status, expected) in cases {
        let addresses_read: Vec<(Url, Seen)> = addresses(&url(ISSUER))
            .into_iter()
            .zip(seen.clone())
            .collect();
        let token_error = conclude(ISSUER, &addresses_read);
        let wait = seen.iter().find_map(|s| match s {
            Seen::Later(_, wait) => Some(*wait),
            _ => None,
        });
        assert_eq!(token_error.retry_after, wait, "{seen:?}");
        assert_eq!(
            (
                token_error.class,
                token_error.reason.as_str(),
                token_error.http_status
            ),
            (class, "DiscoveryFailed", status),
            "{seen:?}"
        );
        let message = token_error.message();
        for expected_part in expected {
            assert!(
                message.contains(expected_part),
                "{expected_part:?} in {message}"
            );
        }
        assert!(message.len() < 800, "{message}");
    }
}

/// Every stage, and whether a failure at it means that the whole host does not answer, and whether it disproves the endpoint:
/// for a request that was not sent, and for one that may have been.
#[test]
fn each_stage_shows_whether_the_host_is_silent_or_the_endpoint_is_wrong() {
    let at = |stage, not_sent| TokenError {
        not_sent,
        ..TokenError::local(Class::Transient, Reason::AccessDenied, "").at(stage)
    };
    #[rustfmt::skip]
    let rows = [
        (Stage::Own, true, (true, false)),
        (Stage::Own, false, (true, false)),
        (Stage::Proxy, true, (true, false)),
        (Stage::Tunnel, true, (true, true)),
        (Stage::Name, true, (true, true)),
        (Stage::Connect, true, (true, true)),
        (Stage::Tls, true, (true, true)),
        (Stage::ClientCertificate, true, (true, true)),
        (Stage::ClientCertificate, false, (true, true)),
        (Stage::Timeout, true, (true, true)),
        // A connection was made, so the server exists.
        (Stage::Timeout, false, (true, false)),
        // A firewall that resets the connection for one path.
        (Stage::BrokenOff, false, (false, true)),
        (Stage::BrokenOff, true, (true, true)),
        (Stage::Foreign, false, (false, false)),
        (Stage::Answered, false, (false, false)),
    ];
    for (stage, not_sent, (silent, wrong)) in rows {
        for class in [Class::Transient, Class::Denied, Class::Invalid] {
            let token_error = TokenError {
                class,
                ..at(stage, not_sent)
            };
            assert_eq!(is_silence(&token_error), silent, "{token_error:?}");
            assert_eq!(disproves(&token_error), wrong, "{token_error:?}");
            let answered = TokenError {
                http_status: Some(200),
                ..token_error
            };
            assert!(!is_silence(&answered) || not_sent, "{answered:?}");
        }
    }
}

#[test]
fn an_endpoint_is_wrong_by_what_a_move_leaves_behind() {
    let answered = |status, stage, error: Option<&str>| TokenError {
        http_status: Some(status),
        error: error.map(str::to_owned),
        ..TokenError::local(Class::Invalid, Reason::AccessDenied, "").at(stage)
    };
    let (page, expected_part) = (Stage::Foreign, Stage::Answered);
    for (token_error, wrong) in [
        (answered(404, expected_part, None), true),
        (answered(404, page, None), true),
        (answered(405, expected_part, None), true),
        (answered(410, expected_part, None), true),
        (answered(421, expected_part, None), true),
        (answered(308, expected_part, None), true),
        (answered(200, page, None), true),
        // An OAuth answer comes from a token endpoint, whatever its status.
        (answered(404, expected_part, Some("invalid_client")), false),
        (answered(200, expected_part, None), false),
        (answered(200, Stage::BrokenOff, None), false),
        (answered(200, Stage::Timeout, None), false),
        (answered(400, expected_part, Some("invalid_scope")), false),
        (answered(401, expected_part, None), false),
        (answered(403, page, None), false),
        (answered(429, expected_part, None), false),
        (answered(503, page, None), false),
    ] {
        assert_eq!(disproves(&token_error), wrong, "{token_error:?}");
    }
}
