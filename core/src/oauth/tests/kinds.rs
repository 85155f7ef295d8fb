//! Token errors by kind: grant, status, type and body of an answer, and the expected error. A row is a line.

mod blame;
mod messages;
mod same_text;
mod table;

use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{answer::raw, hostile};
use crate::{
    credential::{Credential, Issuer, IssuerLookup, SecretStyle, parse},
    fixtures::{at, cluster_issuer, object, token_issuer},
    oauth::{
        Class::{self, Denied, Invalid, NeedsUser, Throttled, Transient},
        Material, RawAnswer, RequestContext, SentSecrets, TokenEndpoint, TokenError, TokenRequest,
        answer_to, explained, request,
    },
};

pub(super) const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
pub(super) const TEXT: &str = "text/plain";

/// The names that [`named`] accepts.
const GRANTS: [&str; 22] = [
    "public",
    "cc",
    "secret jwt",
    "discovered",
    "entra cc",
    "certificate",
    "entra certificate",
    "account",
    "entra account",
    "stored",
    "entra stored",
    "mtls",
    "entra machine",
    "refresh",
    "entra refresh",
    "obo",
    "assertion",
    "signed",
    "exchange",
    "password",
    "entra password",
    "extension",
];

fn key() -> Value {
    json!({ "name": "source", "key": "k" })
}

/// A credential by the name of its grant, at Entra ID (`entra …`) or at another issuer.
fn named(name: &str) -> Credential {
    let none = json!(null);
    let (entra, grant) = match name.split_once(' ') {
        Some(("entra", grant)) => (true, grant),
        _ => (name.starts_with("obo"), name),
    };
    let change = match grant {
        "cc" | "secret jwt" | "discovered" => json!({}),
        "certificate" => {
            json!({ "client": { "secrets": none, "certificates": [{ "secretName": "t" }] } })
        }
        "account" => {
            json!({ "client": { "secrets": none, "serviceAccount": { "name": "robot" } } })
        }
        "stored" => {
            json!({ "client": { "secrets": none, "assertion": { "secretName": "svid", "key": "jwt" } } })
        }
        "machine" => {
            json!({ "client": { "id": "c1", "secrets": none, "managedIdentity": {} } })
        }
        "mtls" => json!({ "client": { "secrets": none, "mtls": { "secretName": "t" } } }),
        "public" => {
            json!({ "client": { "secrets": none, "public": {} }, "grant": { "refreshToken": { "secretRef": key() } } })
        }
        "refresh" => json!({ "grant": { "refreshToken": { "secretRef": key() } } }),
        "obo" => json!({ "grant": { "onBehalfOf": { "assertionRef": key() } } }),
        "assertion" => json!({ "grant": { "jwtBearer": { "assertionRef": key() } } }),
        "signed" => {
            json!({ "grant": { "jwtBearer": { "signed": { "keyRef": key(), "issuer": "i" } } } })
        }
        "exchange" => {
            json!({ "grant": { "tokenExchange": { "subject": { "secretRef": key() } } } })
        }
        "password" => {
            json!({ "grant": { "password": { "username": "ada", "passwordRef": key() } } })
        }
        "extension" => {
            json!({ "client": none, "grant": { "extension": { "grantType": "urn:x:y", "parameters": [{ "name": "apikey", "secretRef": key() }] } } })
        }
        other => panic!("{other}"),
    };
    let at = "https://as.example.com/token";
    let issuer = match name {
        _ if entra => {
            json!({ "entra": { "tenantId": "contoso.example" }, "managedIdentity": { "imds": {} } })
        }
        "secret jwt" => {
            json!({ "oauth2": { "tokenUrl": at, "clientAuthentication": { "secretJwt": {} } } })
        }
        "discovered" => json!({ "oidc": { "issuerUrl": "https://as.example.com" } }),
        _ => json!({ "oauth2": { "tokenUrl": at } }),
    };
    let issuer = Issuer::cluster(&cluster_issuer(&issuer)).unwrap();
    parse(&object(&change), |_| IssuerLookup::Found(issuer)).unwrap()
}

fn sent(credential: &Credential, secret: &str) -> TokenRequest {
    let url = "https://as.example.com/token".parse().unwrap();
    let endpoint = TokenEndpoint::bare(url, SecretStyle::Post);
    let moment = RequestContext {
        now: at(0),
        request_id: "r",
        assertion_id: "a",
    };
    let material = Material::Secret(SecretString::from(secret));
    match request(credential, &endpoint, &material, &[], moment) {
        Ok(request) => request,
        Err(token_error) => panic!("{}", token_error.message()),
    }
}

pub(super) fn refused(name: &str, answer: &RawAnswer) -> TokenError {
    let credential = named(name);
    let reported = answer_to(&credential, answer, at(0), at(1));
    let token_error = reported.err().expect("a token error");
    let echo = SentSecrets::of(&sent(&named("cc"), "hT9~xkCd-42-QqZzWw77"));
    explained(token_error, &credential, answer, &echo, at(1))
}

/// The same for a client that uses Basic.
pub(super) fn refused_by_basic(answer: &RawAnswer) -> TokenError {
    let credential = named("cc");
    let mut request = sent(&credential, "");
    let header = crate::oauth::encode::basic("c", "hT9~xkCd-42-QqZzWw77");
    request.body = SecretString::from("grant_type=client_credentials");
    request
        .headers
        .push(("authorization", SecretString::from(header)));
    let token_error = answer_to(&credential, answer, at(0), at(1))
        .err()
        .expect("a token error");
    explained(
        token_error,
        &credential,
        answer,
        &SentSecrets::of(&request),
        at(1),
    )
}

pub(super) type Row<'a> = (
    &'a str,
    u16,
    &'a str,
    &'a str,
    Class,
    &'a str,
    bool,
    &'a [&'a str],
);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_answer_to_any_grant_has_a_message_without_bounds_or_with_a_secret(
        wire in hostile::any_answer(), name in prop::sample::select(GRANTS.to_vec()),
        secret in "[A-Za-z0-9~_.+/=-]{12,80}", quoted in "[ -~\\PC]{0,300}", status in prop::sample::select(vec![200_u16, 400, 401, 403, 500]),
    ) {
        let credential = named(name);
        let echo = SentSecrets::of(&sent(&named("cc"), &secret));
        let repeated = json!({ "error": "invalid_client", "error_description": format!("{quoted}{secret}{quoted}"), "message": secret });
        let raw_answer = raw(status, JSON, repeated.to_string().as_bytes());
        for answer in [hostile::raw(&wire), raw_answer] {
            let Err(token_error) = answer_to(&credential, &answer, at(0), at(1)) else { continue };
            let message = explained(token_error, &credential, &answer, &echo, at(1)).message();
            prop_assert!(message.len() < 4096 && !message.chars().any(char::is_control), "{message}");
            prop_assert!(!message.contains(&secret[..8]), "{message}");
        }
    }
}
