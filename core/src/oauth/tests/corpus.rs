//! Answers of real servers, as files, and the expected result of each. The fuzzer starts with them.

use std::{collections::BTreeSet, fs, path::PathBuf};

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::{
    credential::{Credential, Issuer, IssuerLookup, parse},
    fixtures::{at, cluster_issuer, object},
    oauth::{Class, Granted, RawAnswer, answer_to, granted},
};

use Made::{Refused, Token};

/// The result of an answer.
enum Made {
    /// A token: its lifetime and the source of the lifetime.
    Token(i64, &'static str),
    /// A token error: class, reason, and a part of its message.
    Refused(Class, &'static str, &'static str),
}

const MALFORMED: &str = "MalformedAnswer";
const TYPE: &str = "TokenTypeNotSupported";

#[rustfmt::skip]
const ANSWERS: &[(&str, Made)] = &[
    ("adfs", Token(3600, "ExpiresIn")),
    ("adobe-ims-milliseconds", Token(86_399, "OtherUnit expires_in 86399946")),
    ("apigee", Token(1799, "ExpiresIn")),
    ("app-service-2017", Token(3600, "ExpiresOn")),
    ("asp-net-owin", Token(1_209_599, "ExpiresIn")),
    ("asp-net-owin-without-expires-in", Token(1_209_600, "ExpiresOn")),
    ("auth0", Token(86_400, "ExpiresIn")),
    ("authlib-refresh", Token(3600, "ExpiresIn")),
    ("authlib-refused", Refused(Class::Denied, "ClientRefused", "client secret")),
    ("bare-jwt", Refused(Class::Invalid, MALFORMED, "bare JWT")),
    ("bearer-in-the-token", Token(3600, "ExpiresIn")),
    ("brotli", Refused(Class::Invalid, MALFORMED, "compressed with br")),
    ("byte-order-mark", Token(3600, "ExpiresIn")),
    ("captive-portal", Refused(Class::Transient, "WebPageReceived", "HTTP 200 (text/html)")),
    ("cloud-foundry-uaa", Token(43_199, "ExpiresIn")),
    ("dingtalk", Token(7200, "ExpiresIn")),
    ("django-oauth-toolkit", Token(36_000, "ExpiresIn")),
    ("django-oauth-toolkit-refused", Refused(Class::Denied, "ClientRefused", "HTTP 401, invalid_client")),
    ("docker-registry", Token(300, "ExpiresIn")),
    ("docker-registry-token-alone", Refused(Class::Invalid, MALFORMED, "has token and no access_token")),
    ("empty-error", Token(3600, "ExpiresIn")),
    ("entra-b2c", Token(3600, "ExpiresIn")),
    ("entra-outage-refresh-in", Token(86_399, "ExpiresIn")),
    ("entra-v1", Token(3599, "ExpiresIn")),
    ("entra-v2", Token(3599, "ExpiresIn")),
    ("envoy", Refused(Class::Transient, "IssuerUnavailable", "HTTP 503")),
    ("exchange-id-token", Refused(Class::Invalid, TYPE, "token_type N_A")),
    ("exchange-refresh-token", Refused(Class::Invalid, TYPE, "refresh token")),
    ("facebook-old-form", Token(5_184_000, "ExpiresIn")),
    ("feishu", Refused(Class::Transient, MALFORMED, "without access_token")),
    ("form-refused", Refused(Class::Invalid, "InvalidScope", "invalid_scope")),
    ("form-without-content-type", Token(3600, "ExpiresIn")),
    ("github-form", Token(900, "Guessed")),
    ("github-refused", Refused(Class::Denied, "ClientRefused", "incorrect_client_credentials")),
    ("gitlab", Token(7200, "ExpiresIn")),
    ("google-iam-credentials", Token(3600, "ExpiresOn")),
    ("google-sts", Token(3599, "ExpiresIn")),
    ("google-token", Token(3599, "ExpiresIn")),
    ("gzip", Refused(Class::Invalid, MALFORMED, "compressed with gzip")),
    ("health-check", Refused(Class::Transient, MALFORMED, "is text")),
    ("hydra", Token(3599, "ExpiresIn")),
    ("ibm-cloud-iam", Token(3600, "ExpiresIn")),
    ("ibm-cloud-iam-refused", Refused(Class::Denied, "ClientRefused", "HTTP 400, BXNIM0415E")),
    ("imds", Token(86_399, "ExpiresIn")),
    ("json-in-a-string", Token(3600, "ExpiresIn")),
    ("keycloak", Token(300, "ExpiresIn")),
    ("latin-1-name", Token(3600, "ExpiresIn")),
    ("latin-1-refused", Refused(Class::Invalid, "InvalidScope", "invalid_scope")),
    ("linkedin", Token(5_184_000, "ExpiresIn")),
    ("mailchimp", Refused(Class::Invalid, "LifetimeUnknown", "assumedLifetime")),
    ("milliseconds", Token(3600, "OtherUnit expires_in 3600000")),
    ("mock-oauth2-server", Token(3599, "ExpiresIn")),
    ("netsuite", Token(3600, "ExpiresIn")),
    ("never", Token(31_622_400, "TooLong expires_in")),
    ("nginx-502", Refused(Class::Transient, "IssuerUnavailable", "HTTP 502")),
    ("no-content", Refused(Class::Transient, MALFORMED, "is empty")),
    ("okta", Token(3600, "ExpiresIn")),
    ("okta-dpop", Refused(Class::Invalid, TYPE, "token_type DPoP")),
    ("openid-id-token-alone", Refused(Class::Invalid, MALFORMED, "has id_token and no access_token")),
    ("oracle-idcs", Token(3600, "ExpiresIn")),
    ("padded-with-zeros", Token(3600, "ExpiresIn")),
    ("paypal", Token(32_400, "ExpiresIn")),
    ("qq-form-in-html", Token(7_776_000, "ExpiresIn")),
    ("rate-limited", Refused(Class::Throttled, "Throttled", "HTTP 429")),
    ("salesforce", Token(900, "Guessed")),
    ("seconds-with-unit", Token(3600, "ExpiresIn")),
    ("single-page-application", Refused(Class::Transient, "WebPageReceived", "HTTP 200 (text/html)")),
    ("slack-bot", Token(43_200, "ExpiresIn")),
    ("slack-refused", Refused(Class::Denied, "ClientUnknown", "invalid_client_id")),
    ("slack-user", Refused(Class::Invalid, MALFORMED, "inside of another object")),
    ("soap-fault", Refused(Class::Transient, "IssuerUnavailable", "HTTP 500")),
    ("spring-authorization-server", Token(299, "ExpiresIn")),
    ("spring-login", Refused(Class::Invalid, "RedirectRefused", "login page")),
    ("time-in-place-of-seconds", Token(3600, "ExpiresOn")),
    ("truncated", Refused(Class::Invalid, MALFORMED, "is truncated JSON")),
    ("twitch", Token(5_011_271, "ExpiresIn")),
    ("twitch-user", Token(14_124, "ExpiresIn")),
    ("utf-16", Token(3600, "ExpiresIn")),
    ("vk-offline", Refused(Class::Invalid, "LifetimeUnknown", "expires_in 0")),
    ("wecom", Token(7200, "ExpiresIn")),
    ("wrong-secret-without-a-body", Refused(Class::Denied, "ClientRefused", "HTTP 401")),
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/token_answer")
}

/// Reads a file: status line, headers, an empty line, the body.
fn raw(name: &str) -> RawAnswer {
    let bytes = fs::read(folder().join(format!("{name}.http"))).expect("a file");
    let end = bytes.windows(2).position(|w| w == b"\n\n").expect("a head");
    let head = String::from_utf8(bytes[..end].to_vec()).expect("a head in ASCII");
    let header = |name: &str| {
        let of = |line: &str| {
            line.strip_prefix(name)?
                .strip_prefix(": ")
                .map(str::to_owned)
        };
        head.lines().find_map(of)
    };
    let status = head.split_whitespace().nth(1).expect("a status");
    RawAnswer {
        status: status.parse().expect("a status"),
        content_type: header("content-type"),
        content_encoding: header("content-encoding"),
        retry_after: header("retry-after"),
        limit_reset: header("x-ratelimit-reset"),
        challenge: header("www-authenticate"),
        age: header("age"),
        date: header("date"),
        location: header("location"),
        body: bytes[end + 2..].to_vec(),
    }
}

fn credential(assumed: Option<&str>, grant: &Value) -> Credential {
    let issuer = json!({ "oauth2": { "tokenUrl": "https://as.example.com/token" }, "assumedLifetime": assumed });
    let issuer = Issuer::cluster(&cluster_issuer(&issuer)).unwrap();
    parse(&object(&json!({ "grant": grant })), |_| {
        IssuerLookup::Found(issuer)
    })
    .unwrap()
}

#[test]
fn each_response_of_a_real_server_is_classified_as_in_the_table() {
    let usual = credential(None, &json!({ "clientCredentials": {} }));
    for (name, made) in ANSWERS {
        match (answer_to(&usual, &raw(name), at(0), at(1)), made) {
            (Ok(token), Token(lifetime, note)) => {
                assert_eq!(token.secret.expose_secret(), "opaque-example", "{name}");
                let found = token.expires_at.duration_since(at(0)).as_secs();
                assert_eq!(
                    (found, token.lifetime_source.note().as_str()),
                    (*lifetime, *note),
                    "{name}"
                );
            }
            (Err(token_error), Refused(class, reason, expected)) => {
                let reported = token_error.message();
                assert_eq!(token_error.class, *class, "{name}: {reported}");
                assert!(
                    reason.is_empty() || token_error.reason.as_str() == *reason,
                    "{name}: {token_error:?}"
                );
                assert!(reported.contains(expected), "{name}: {reported}");
            }
            (Ok(token), Refused(..)) => panic!("{name}: a token until {}", token.expires_at),
            (Err(token_error), Token(..)) => panic!("{name}: {}", token_error.message()),
        }
    }
}

#[test]
fn the_issuers_setting_and_the_grant_decide_what_an_answer_leaves_open() {
    let hour = credential(Some("1h"), &json!({ "clientCredentials": {} }));
    for name in [
        "mailchimp",
        "vk-offline",
        "salesforce",
        "github-form",
        "milliseconds",
        "never",
    ] {
        let token = answer_to(&hour, &raw(name), at(0), at(1));
        let token = token.unwrap_or_else(|r| panic!("{name}: {}", r.message()));
        assert_eq!(token.lifetime_source.note(), "Assumed", "{name}");
    }
    let subject = json!({ "secretRef": { "name": "source", "key": "k" } });
    let exchange = |requested: &str| {
        let requested = format!("urn:ietf:params:oauth:token-type:{requested}");
        let grant =
            json!({ "tokenExchange": { "subject": subject, "requestedTokenType": requested } });
        credential(None, &grant)
    };
    for (name, requested, taken) in [
        ("exchange-id-token", "id_token", true),
        ("exchange-id-token", "access_token", false),
        ("exchange-refresh-token", "id_token", false),
        ("google-sts", "access_token", true),
    ] {
        let read = answer_to(&exchange(requested), &raw(name), at(0), at(1));
        assert_eq!(read.is_ok(), taken, "{name} {requested}");
    }
}

#[test]
fn a_refresh_token_is_found_in_each_answer_that_has_one() {
    for (name, _) in ANSWERS {
        let raw = raw(name);
        let body = String::from_utf8_lossy(&raw.body).replace("\": \"", "\":\"");
        let has = body.contains("refresh_token");
        let named = body.contains("refresh_token\":\"") || body.contains("refresh_token=");
        match granted(&raw) {
            Granted::New(token) => {
                assert!(has && named, "{name}");
                assert_eq!(token.expose_secret(), "example", "{name}");
            }
            Granted::Same | Granted::Nothing => {
                // A text that means "no value".
                let nothing = body.contains("\"not_supported\"");
                assert!(!named || nothing, "{name}");
            }
        }
    }
}

#[test]
fn each_file_is_in_the_table() {
    let of = |name: &str| name.strip_suffix(".http").map(str::to_owned);
    let files: BTreeSet<String> = fs::read_dir(folder())
        .expect("a folder")
        .filter_map(|entry| of(entry.expect("an entry").file_name().to_str()?))
        .collect();
    let table: BTreeSet<String> = ANSWERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files, table);
    assert_eq!(table.len(), ANSWERS.len());
}
