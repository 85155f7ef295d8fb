mod jwt;

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::answer::{json_token, jwt, raw, read, read_with};
use crate::{
    credential::{Issuer, IssuerLookup, parse},
    fixtures::{NOW, at, cluster_issuer, object, secs},
    oauth::{Class, LifetimeSource, answer_to, uncertain},
};

/// The result of these fields: the lifetime and its note, or the reason and the text of a token error.
fn made(
    fields: &Value,
    assumed: Option<i64>,
) -> Result<(i64, String), (Class, &'static str, String)> {
    let mut body = json!({ "access_token": "t", "token_type": "Bearer" });
    crate::fixtures::merge(&mut body, fields);
    let body = body.to_string();
    match read_with(200, "application/json", body.as_bytes(), assumed.map(secs)) {
        Ok(token) => Ok((
            token.expires_at.duration_since(at(0)).as_secs(),
            token.lifetime_source.note(),
        )),
        Err(token_error) => Err((
            token_error.class,
            token_error.reason.as_str(),
            token_error.message(),
        )),
    }
}

#[test]
fn expires_in_is_read_in_every_form_seen() {
    for (value, lifetime, note) in [
        (json!(3600), 3600, "ExpiresIn"),
        (json!("3600"), 3600, "ExpiresIn"),
        (json!(" 3600 "), 3600, "ExpiresIn"),
        (json!(3600.9), 3600, "ExpiresIn"),
        (json!("3600.5"), 3600, "ExpiresIn"),
        (json!(3.6e3), 3600, "ExpiresIn"),
        (json!(2), 2, "ExpiresIn"),
        (json!("3600s"), 3600, "ExpiresIn"),
        (json!("3600 seconds"), 3600, "ExpiresIn"),
        (json!("60m"), 3600, "ExpiresIn"),
        (json!("1h"), 3600, "ExpiresIn"),
        (json!("PT1H"), 3600, "ExpiresIn"),
        (json!("01:00:00"), 3600, "ExpiresIn"),
        (json!("3600000ms"), 3600, "ExpiresIn"),
        // Long and in whole days, as of LinkedIn, Auth0 and Twitch.
        (json!(604_800), 604_800, "ExpiresIn"),
        (json!(2_592_000), 2_592_000, "ExpiresIn"),
        (json!(5_184_000), 5_184_000, "ExpiresIn"),
        (json!(5_011_271), 5_011_271, "ExpiresIn"),
        (json!(5_183_944), 5_183_944, "ExpiresIn"),
        (json!(7_776_000), 7_776_000, "ExpiresIn"),
        (json!(15_552_000), 15_552_000, "ExpiresIn"),
        (json!(31_536_000), 31_536_000, "ExpiresIn"),
        (json!(31_535_999), 31_535_999, "ExpiresIn"),
        (json!("125d"), 10_800_000, "ExpiresIn"),
        // The expiry time instead of the time until then.
        (json!(NOW + 3600), 3600, "ExpiresOn"),
        (json!((NOW + 3600) * 1000), 3600, "ExpiresOn"),
        (json!(at(3600).to_string()), 3600, "ExpiresOn"),
        // Another unit than seconds.
        (json!(3_600_000), 3600, "OtherUnit expires_in 3600000"),
        (json!("3599000"), 3599, "OtherUnit expires_in 3599000"),
        (json!(900_000), 900, "OtherUnit expires_in 900000"),
        (json!(86_399_946), 86_399, "OtherUnit expires_in 86399946"),
        // Three and six hours in milliseconds are also whole days: 125 and 250.
        (json!(10_800_000), 10_800, "OtherUnit expires_in 10800000"),
        (json!("21600000"), 21_600, "OtherUnit expires_in 21600000"),
        (json!("1.08e7"), 10_800, "OtherUnit expires_in 10800000"),
        (json!(2.16e7), 21_600, "OtherUnit expires_in 21600000"),
        (json!("10800000.0"), 10_800, "OtherUnit expires_in 10800000"),
        (json!(10_799_946), 10_799, "OtherUnit expires_in 10799946"),
        (json!(3_599_946), 3599, "OtherUnit expires_in 3599946"),
        // A server that counts down from 7 or 90 days passes a multiple of 300,000.
        (json!(599_946), 599_946, "ExpiresIn"),
        (json!(7_499_946), 7_499_946, "ExpiresIn"),
        (json!(43_200_000), 43_200, "OtherUnit expires_in 43200000"),
        (
            json!(10_800_000_000_i64),
            10_800,
            "OtherUnit expires_in 10800000000",
        ),
        (
            json!("21600000000000"),
            21_600,
            "OtherUnit expires_in 21600000000000",
        ),
        (
            json!(3_600_000_000_i64),
            3600,
            "OtherUnit expires_in 3600000000",
        ),
        (
            json!(3_600_000_000_000_i64),
            3600,
            "OtherUnit expires_in 3600000000000",
        ),
        (
            json!(315_360_000),
            315_360,
            "OtherUnit expires_in 315360000",
        ),
        // No token is valid forever.
        (json!(i64::MAX), 31_622_400, "TooLong expires_in"),
        (json!(u64::MAX), 31_622_400, "TooLong expires_in"),
        (json!(1e300), 31_622_400, "TooLong expires_in"),
        (json!("1e300"), 31_622_400, "TooLong expires_in"),
        (json!("9999h"), 31_622_400, "TooLong expires_in"),
        // A field that cannot be read is noted, a missing one is not.
        (json!("soon"), 900, "Unread expires_in"),
        (json!("3,600"), 900, "Unread expires_in"),
        (json!("NaN"), 900, "Unread expires_in"),
        (json!("inf"), 900, "Unread expires_in"),
        (json!("1e400"), 900, "Unread expires_in"),
        (json!([]), 900, "Unread expires_in"),
        (json!({}), 900, "Unread expires_in"),
        (json!(true), 900, "Unread expires_in"),
        (json!(null), 900, "Guessed"),
        (json!(""), 900, "Guessed"),
        (json!(" "), 900, "Guessed"),
    ] {
        let made = made(&json!({ "expires_in": value }), None);
        assert_eq!(made, Ok((lifetime, note.to_owned())), "{value}");
    }
    assert_eq!(made(&json!({ "expiresIn": 60 }), None).unwrap().0, 60);
    assert_eq!(made(&json!({ "expireIn": 60 }), None).unwrap().0, 60);
}

#[test]
fn a_lifetime_of_zero_is_decided_by_the_issuers_setting_or_refused_for_minutes() {
    for value in [
        json!(0),
        json!(-1),
        json!("0"),
        json!(0.9),
        json!("-1"),
        json!("0s"),
        json!(-1e300),
        json!(i64::MIN),
    ] {
        let field = json!({ "expires_in": value });
        let (class, reason, reported) = made(&field, None).unwrap_err();
        assert_eq!(
            (class, reason),
            (Class::Invalid, "LifetimeUnknown"),
            "{value}"
        );
        assert!(
            reported.contains("assumedLifetime") && reported.contains("expires_in"),
            "{reported}"
        );
        assert_eq!(
            made(&field, Some(7200)),
            Ok((7200, "Assumed".to_owned())),
            "{value}"
        );
    }
    let reported = made(&json!({ "expires_in": -1 }), None).unwrap_err().2;
    assert!(reported.contains("expires_in -1"), "{reported}");
    // Another field, or the token itself, may state the expiry that zero does not.
    let other = json!({ "expires_in": 0, "expires_at": NOW + 60 });
    assert_eq!(made(&other, None), Ok((60, "ExpiresOn".to_owned())));
    let own = json!({ "expires_in": 0, "access_token": jwt(&json!({ "exp": NOW + 60 })) });
    assert_eq!(made(&own, None), Ok((60, "Jwt".to_owned())));
    let own =
        json!({ "expires_in": 0, "access_token": jwt(&json!({ "iat": NOW, "exp": NOW + 60 })) });
    assert_eq!(made(&own, Some(3600)), Ok((60, "Jwt".to_owned())));
}

#[test]
fn the_end_is_read_in_every_form_and_under_every_name_seen() {
    let end = at(3600);
    let civil = |format: &str| {
        json!(
            end.to_zoned(jiff::tz::TimeZone::UTC)
                .strftime(format)
                .to_string()
        )
    };
    let forms = [
        json!(NOW + 3600),
        json!((NOW + 3600).to_string()),
        json!((NOW + 3600) * 1000),
        json!(end.to_string()),
        civil("%m/%d/%Y %H:%M:%S +00:00"),
        civil("%Y-%m-%dT%H:%M:%S+00:00"),
        civil("%Y-%m-%dT%H:%M:%S.000+0000"),
        civil("%a, %d %b %Y %H:%M:%S GMT"),
        civil("%a %b %d %H:%M:%S UTC %Y"),
    ];
    for name in [
        "expires_on",
        "expires_at",
        "expiresAt",
        "expires",
        "expiration",
        "expiry",
        "expiry_date",
        "expireTime",
        ".expires",
    ] {
        for form in &forms {
            let made = made(&json!({ name: form }), None);
            assert_eq!(made, Ok((3600, "ExpiresOn".to_owned())), "{name} {form}");
        }
    }
    // The zone is missing at managed identities of Azure. Elsewhere it may be any zone.
    for form in [civil("%m/%d/%Y %H:%M:%S"), civil("%Y-%m-%d %H:%M:%S")] {
        assert_eq!(made(&json!({ "expires_on": form }), None).unwrap().0, 3600);
        let unread = made(&json!({ "expires_at": form }), None);
        assert_eq!(unread, Ok((900, "Unread expires_at".to_owned())), "{form}");
    }
    // A number of seconds, if a name may mean both.
    for name in ["expires", "expiration"] {
        assert_eq!(made(&json!({ name: 300 }), None).unwrap().0, 300);
        assert_eq!(made(&json!({ name: "300s" }), None).unwrap().0, 300);
        assert!(made(&json!({ name: 0 }), None).is_err());
    }
    for garbage in [json!("tomorrow"), json!(300), json!("99/99/9999 99:99:99")] {
        let unread = made(&json!({ "expires_at": garbage }), None);
        assert_eq!(
            unread,
            Ok((900, "Unread expires_at".to_owned())),
            "{garbage}"
        );
        // The issuer's setting is better than a guess.
        let assumed = made(&json!({ "expires_at": garbage }), Some(7200));
        assert_eq!(assumed, Ok((7200, "Assumed".to_owned())), "{garbage}");
    }
    assert_eq!(
        made(&json!({ "expires_at": null }), None).unwrap().1,
        "Guessed"
    );
    let never = made(&json!({ "expires_at": "9999-12-31T23:59:59Z" }), None);
    assert_eq!(never, Ok((31_622_400, "TooLong expires_at".to_owned())));
    // The lifetime of Entra ID's tokens in an outage is not their usual lifetime.
    assert_eq!(
        made(&json!({ "ext_expires_in": 7200 }), None).unwrap().1,
        "Guessed"
    );
}

#[test]
fn the_first_field_that_is_clear_decides() {
    for (fields, lifetime, note) in [
        // The difference does not depend on a common clock.
        (
            json!({ "expires_in": 600, "expires_on": NOW + 3600 }),
            600,
            "ExpiresIn",
        ),
        (
            json!({ "expires_in": "soon", "expires_on": NOW + 3600 }),
            3600,
            "ExpiresOn",
        ),
        (
            json!({ "expires_in": 3_600_000, "expires_on": NOW + 3600 }),
            3600,
            "ExpiresOn",
        ),
        (
            json!({ "expires_in": 3_600_000, "expires": 60 }),
            60,
            "ExpiresIn",
        ),
        (
            json!({ "expires_at": NOW - 60, "expires_in": 60 }),
            60,
            "ExpiresIn",
        ),
        (
            json!({ "expires_in": "soon", "expires": 0, "expires_at": "?" , "expiry": 60 }),
            60,
            "ExpiresIn",
        ),
    ] {
        assert_eq!(
            made(&fields, None),
            Ok((lifetime, note.to_owned())),
            "{fields}"
        );
    }
    // The issuer's setting replaces an assumption.
    let milliseconds = json!({ "expires_in": 3_600_000 });
    assert_eq!(
        made(&milliseconds, Some(7200)),
        Ok((7200, "Assumed".to_owned()))
    );
    let own = json!({ "expires_in": 3_600_000, "access_token": jwt(&json!({ "exp": NOW + 60 })) });
    assert_eq!(made(&own, None), Ok((60, "Jwt".to_owned())));
    let milliseconds = jwt(&json!({ "iat": NOW * 1000, "exp": (NOW + 60) * 1000 }));
    assert_eq!(
        made(&json!({ "access_token": milliseconds }), None),
        Ok((60, "Jwt".to_owned()))
    );
}

#[test]
fn a_token_that_has_expired_is_refused_for_minutes() {
    for (fields, named) in [
        (
            json!({ "expires_on": NOW - 60 }),
            "expired 60 s before it was requested (expires_on)",
        ),
        (json!({ "expires_at": at(-60).to_string() }), "(expires_at)"),
        (
            json!({ "access_token": jwt(&json!({ "exp": NOW - 1 })) }),
            "claim exp",
        ),
        (json!({ "expires_in": 1 }), "valid for 1 s"),
        (
            json!({ "expires_in": 60, "access_token": jwt(&json!({ "iat": NOW, "exp": NOW })) }),
            "claim exp",
        ),
    ] {
        for assumed in [None, Some(3600)] {
            if assumed.is_some() && fields.get("expires_in") == Some(&json!(1)) {
                continue;
            }
            let (class, reason, reported) = made(&fields, assumed).unwrap_err();
            assert_eq!(
                (class, reason),
                (Class::Invalid, "TokenExpired"),
                "{fields}"
            );
            assert!(reported.contains(named), "{reported}");
        }
    }
}

#[test]
fn an_uncertain_lifetime_is_reported_with_what_was_seen() {
    for (note, lifetime, reason, reported) in [
        ("Guessed", 900, "LifetimeUnknown", "does not state"),
        ("Unread expires_at", 900, "LifetimeUnknown", "(expires_at)"),
        (
            "OtherUnit expires_in 3600000",
            3600,
            "LifetimeUnclear",
            "expires_in 3600000, which is 41 d 16 h in seconds; apicred takes it for a smaller unit and assumes 1 h;",
        ),
        (
            "TooLong expires_in",
            31_622_400,
            "LifetimeUnclear",
            "(expires_in); apicred assumes 366 d;",
        ),
    ] {
        let (found, message) = uncertain(note, secs(lifetime)).unwrap();
        assert_eq!(found.as_str(), reason, "{note}");
        assert!(message.contains(reported), "{message}");
        assert!(
            message.contains("set assumedLifetime on the issuer"),
            "{message}"
        );
    }
    for certain in ["ExpiresIn", "ExpiresOn", "Jwt", "Assumed", "Static", ""] {
        assert_eq!(uncertain(certain, secs(60)), None, "{certain}");
    }
}

#[test]
fn a_refresh_token_is_used_before_it_expires() {
    let refresh = json!({ "refreshToken": { "secretRef": { "name": "source", "key": "k" } } });
    let credentials = json!({ "clientCredentials": {} });
    for (grant, fields, refresh_in) in [
        (&refresh, json!({ "refresh_expires_in": 1800 }), Some(900)),
        (
            &refresh,
            json!({ "refresh_token_expires_in": "1209600" }),
            Some(604_800),
        ),
        (
            &refresh,
            json!({ "refresh_expires_in": 1800, "refresh_in": 600 }),
            Some(600),
        ),
        (&refresh, json!({ "refresh_expires_in": 0 }), None),
        (&refresh, json!({ "refresh_expires_in": "never" }), None),
        (&credentials, json!({ "refresh_expires_in": 1800 }), None),
        (&credentials, json!({ "refresh_in": "600s" }), Some(600)),
    ] {
        let issuer = json!({ "oauth2": { "tokenUrl": "https://as.example.com/token" } });
        let issuer = Issuer::cluster(&cluster_issuer(&issuer)).unwrap();
        let credential = parse(&object(&json!({ "grant": grant })), |_| {
            IssuerLookup::Found(issuer)
        })
        .unwrap();
        let mut body = json!({ "access_token": "t", "expires_in": 3600 });
        crate::fixtures::merge(&mut body, &fields);
        let raw = raw(200, "application/json", body.to_string().as_bytes());
        let token = answer_to(&credential, &raw, at(0), at(1)).ok().unwrap();
        assert_eq!(token.refresh_in, refresh_in.map(secs), "{fields}");
    }
}

#[test]
fn a_lifetime_that_is_not_stated_is_the_issuers_setting_or_a_quarter_hour() {
    let body = br#"{"access_token":"t"}"#;
    let reported = read_with(200, "application/json", body, Some(secs(7200))).unwrap();
    assert_eq!(
        (reported.expires_at, reported.lifetime_source),
        (at(7200), LifetimeSource::Assumed)
    );
    let guessed = read(200, "application/json", body).unwrap();
    assert_eq!(
        (guessed.expires_at, guessed.lifetime_source),
        (at(900), LifetimeSource::Guessed)
    );
}
