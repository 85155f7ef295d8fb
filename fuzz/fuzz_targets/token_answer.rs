//! Any bytes as the answer of a token endpoint, for every grant: a token or a token error, within limits, and no text of
//! the body in the messages for users.
#![no_main]

use std::sync::LazyLock;

use apicred::{
    api::ApiCredential,
    credential::{Credential, Issuer, IssuerLookup, parse},
    oauth::{
        AnswerContext, Granted, RawAnswer, TokenError, Token, answer, answer_to, granted,
        granted_in_part,
    },
};
use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

const NOW: i64 = 1_790_000_000;

static CREDENTIALS: LazyLock<Vec<Credential>> = LazyLock::new(|| {
    let reference = json!({ "name": "s", "key": "k" });
    let secret = json!({ "id": "c", "secrets": [reference] });
    let entra = json!({ "entra": { "tenantId": "t.example" } });
    let generic = json!({ "oauth2": { "tokenUrl": "https://i.example.com/token" } });
    let grants = [
        json!({ "clientCredentials": {} }),
        json!({ "refreshToken": { "secretRef": reference } }),
        json!({ "onBehalfOf": { "assertionRef": reference } }),
        json!({ "jwtBearer": { "assertionRef": reference } }),
        json!({ "tokenExchange": { "subject": { "secretRef": reference } } }),
        json!({ "password": { "username": "u", "passwordRef": reference } }),
    ];
    let mut all = Vec::new();
    for grant in grants {
        for issuer in [&entra, &generic] {
            all.extend(credential(issuer, &grant, &secret));
        }
    }
    let mut with_identity = entra.clone();
    with_identity["managedIdentity"] = json!({ "imds": {} });
    let machine = json!({ "id": "c", "managedIdentity": {} });
    all.extend(credential(
        &with_identity,
        &json!({ "clientCredentials": {} }),
        &machine,
    ));
    assert!(all.len() >= 10, "the credentials are valid: {}", all.len());
    all
});

fn credential(issuer: &Value, grant: &Value, client: &Value) -> Option<Credential> {
    let object: ApiCredential = serde_json::from_value(json!({
        "apiVersion": "apicred.dev/v1alpha1", "kind": "ApiCredential",
        "metadata": { "name": "c", "namespace": "n", "uid": "u", "generation": 1 },
        "spec": {
            "issuerRef": { "kind": "ClusterTokenIssuer", "name": "i" }, "client": client, "grant": grant,
            "scopes": ["https://api.example.com/.default"], "target": { "secretName": "t" },
        },
    }))
    .ok()?;
    let issuer = serde_json::from_value(json!({
        "apiVersion": "apicred.dev/v1alpha1", "kind": "ClusterTokenIssuer",
        "metadata": { "name": "i", "uid": "u", "generation": 1 }, "spec": issuer,
    }))
    .ok()?;
    parse(&object, |_| {
        IssuerLookup::Found(Issuer::cluster(&issuer).expect("valid"))
    })
    .ok()
}

fn check(result: Result<Token, TokenError>, body: &str) {
    match result {
        Ok(token) => {
            let text = token.secret.expose_secret();
            assert!(!text.is_empty() && text.len() <= 256 * 1024);
            assert!(
                !text.contains(['\n', '\r', '\0']),
                "a token of several lines"
            );
            let lifetime = token.expires_at.duration_since(token.issued_at);
            assert!(lifetime <= SignedDuration::from_hours(24 * 367), "{lifetime}");
        }
        Err(token_error) => {
            let reported = token_error.message();
            assert!(reported.len() < 2_000, "{} bytes", reported.len());
            assert!(!reported.chars().any(char::is_control));
            let mut bare = token_error.clone();
            (bare.error, bare.correlation_id, bare.trace_id, bare.aadsts) =
                (None, None, None, None);
            let reported = format!("{bare:?}");
            // Words of our messages may occur in the body by chance. A run of characters that our messages do not contain must not.
            let marked = body.split(|c: char| c.is_whitespace() || "\"',".contains(c));
            for word in marked.filter(|w| w.len() >= 12 && w.contains('~')) {
                assert!(!reported.contains(word), "a word of the body is reported");
            }
        }
    }
}

/// An answer in the format of the corpus files, `HTTP/1.1 200`, headers, an empty line and the body; or a head of four
/// bytes, three lines of headers, an empty line and the body.
fn message(data: &[u8]) -> Option<([u8; 4], RawAnswer)> {
    let text = String::from_utf8_lossy(data);
    if let Some(rest) = text.strip_prefix("HTTP/1.1 ") {
        let end = data.windows(2).position(|w| w == b"\n\n")?;
        let (head, body) = (rest.split_once("\n\n")?.0, data.get(end + 2..)?);
        let header = |name: &str| {
            let of = |line: &str| {
                let (found, value) = line.split_once(": ")?;
                found.eq_ignore_ascii_case(name).then(|| value.to_owned())
            };
            head.lines().find_map(of)
        };
        let sum = data.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        let answer = RawAnswer {
            status: head.split_whitespace().next()?.parse().ok()?,
            content_type: header("content-type"),
            content_encoding: header("content-encoding"),
            retry_after: header("retry-after"),
            limit_reset: header("x-ratelimit-reset"),
            challenge: header("www-authenticate"),
            date: header("date"),
            age: header("age"),
            location: header("location"),
            body: body.to_vec(),
        };
        return Some(([0, 1, sum, sum], answer));
    }
    let (head, rest) = data.split_first_chunk::<4>()?;
    let end = rest.windows(2).position(|w| w == b"\n\n");
    let (headers, body) = end.map_or((&[][..], rest), |end| (&rest[..end], &rest[end + 2..]));
    let headers = String::from_utf8_lossy(headers).into_owned();
    let mut headers = headers.split('\n').map(str::to_owned);
    let mut next = || headers.next().filter(|h| !h.is_empty());
    let answer = RawAnswer {
        status: [200, 201, 204, 302, 400, 401, 403, 404, 429, 500, 503][usize::from(head[0]) % 11],
        content_type: next(),
        retry_after: next(),
        challenge: next(),
        content_encoding: next(),
        date: next(),
        age: None,
        location: next(),
        limit_reset: next(),
        body: body.to_vec(),
    };
    Some((*head, answer))
}

fuzz_target!(|data: &[u8]| {
    let Some((head, raw)) = message(data) else {
        return;
    };
    let text = String::from_utf8_lossy(&raw.body).into_owned();
    let body = text.as_str();
    let at = |seconds| Timestamp::from_second(seconds).expect("in range");
    let (sent, now) = (at(NOW), at(NOW + i64::from(head[1])));
    let assumed_lifetime = (head[2] > 127).then(|| SignedDuration::from_mins(30));
    let context = AnswerContext {
        sent,
        now,
        assumed_lifetime,
    };
    for given in [granted(&raw), granted_in_part(&raw)] {
        if let Granted::New(token) = given {
            assert!(!token.expose_secret().trim().is_empty() && raw.status < 300);
        }
    }
    check(answer(&raw, context), body);
    let credential = &CREDENTIALS[usize::from(head[3]) % CREDENTIALS.len()];
    check(answer_to(credential, &raw, sent, now), body);
});
