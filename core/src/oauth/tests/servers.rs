//! The observed behaviour of seven real servers: each observation is one row of a table here, or listed with its test.
//!
//! | observation | test |
//! |---|---|
//! | wrong secret, refresh faults, numbers, types and scopes, device answers, exchange | this file |
//! | Basic encoding, one method only, assertion audience, `client_id` with it | this file and `golden.rs` |
//! | no answer over TLS | `cluster::issuer_faults::an_issuer_with_the_wrong_ca_is_reported_and_works_once_it_is_corrected` |
//! | two refreshes at once, reuse window | `renewal.rs` |
//! | discovery in one form only, endpoints with a slash | `issuer::tests::discovery` |
//! | loopback by name or address | `kubectl-apicred`, `tests.rs` |

use proptest::prelude::*;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{answer::raw, hostile};
use crate::{
    credential::{Credential, Issuer, IssuerLookup, SecretStyle, parse},
    fixtures::{at, cluster_issuer, object},
    oauth::{
        Class, Granted, Material, RawAnswer, RequestContext, Token, TokenEndpoint, TokenError,
        answer_to,
        renewal::{TokenState, token_state},
        request,
    },
};

fn credential(change: &Value) -> Credential {
    let issuer = json!({ "oauth2": { "tokenUrl": "https://as.example.com/token" } });
    let issuer = Issuer::cluster(&cluster_issuer(&issuer)).unwrap();
    parse(&object(change), |_| IssuerLookup::Found(issuer)).unwrap()
}

fn key() -> Value {
    json!({ "name": "source", "key": "k" })
}

/// Every grant that sends a request.
fn grants() -> Vec<Value> {
    let password = json!({ "username": "robot", "passwordRef": key() });
    let exchange = json!({ "subject": { "secretRef": key() } });
    [
        json!({ "clientCredentials": {} }),
        json!({ "refreshToken": { "secretRef": key() } }),
        json!({ "onBehalfOf": { "assertionRef": key() } }),
        json!({ "jwtBearer": { "assertionRef": key() } }),
        json!({ "tokenExchange": exchange }),
        json!({ "password": password }),
        json!({ "extension": { "grantType": "urn:x:y", "parameters": [{ "name": "apikey", "secretRef": key() }] } }),
    ]
    .to_vec()
}

fn with_grant(grant: &Value) -> Credential {
    let entra = grant.get("onBehalfOf").is_some();
    if !entra {
        return credential(&json!({ "grant": grant }));
    }
    let issuer = json!({ "entra": { "tenantId": "contoso.example" } });
    let issuer = Issuer::cluster(&cluster_issuer(&issuer)).unwrap();
    parse(&object(&json!({ "grant": grant })), |_| {
        IssuerLookup::Found(issuer)
    })
    .unwrap()
}

fn reported(credential: &Credential, answer: &RawAnswer) -> Result<Token, TokenError> {
    answer_to(credential, answer, at(0), at(1))
}

fn refused(credential: &Credential, status: u16, body: &str) -> TokenError {
    let answer = raw(status, "application/json", body.as_bytes());
    reported(credential, &answer).err().expect("a token error")
}

fn given(body: &Value) -> Token {
    let answer = raw(200, "application/json", body.to_string().as_bytes());
    match reported(&credential(&json!({})), &answer) {
        Ok(token) => token,
        Err(token_error) => panic!("{body}: {}", token_error.message()),
    }
}

#[test]
fn a_wrong_secret_is_recognized_by_status_and_place_and_not_by_one_code() {
    let usual = credential(&json!({}));
    for (status, body) in [
        (401, r#"{"error":"invalid_client"}"#),
        (
            401,
            r#"{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}"#,
        ),
        (
            401,
            r#"{"error":"access_denied","error_description":"Unauthorized"}"#,
        ),
        (
            401,
            r#"{"error":"unauthorized","error_description":"Bad credentials"}"#,
        ),
        (400, r#"{"error":"invalid_client"}"#),
        (
            400,
            r#"{"errorCode":"E0000004","errorSummary":"Authentication failed"}"#,
        ),
        (200, r#"{"ok":false,"error":"invalid_auth"}"#),
        (401, ""),
    ] {
        let token_error = refused(&usual, status, body);
        assert_eq!(
            (token_error.class, token_error.about_client),
            (Class::Denied, true),
            "{status} {body}"
        );
        assert!(
            token_error.next_step.to_string().contains("client.id"),
            "{status} {body}"
        );
    }
    // A challenge for another scheme than the one in the request changes nothing.
    let answer = RawAnswer {
        challenge: Some("Bearer realm=\"x\"".to_owned()),
        ..raw(401, "", b"")
    };
    let token_error = reported(&usual, &answer).err().unwrap();
    assert!(token_error.about_client && token_error.class == Class::Denied);
}

#[test]
fn basic_is_encoded_so_that_servers_that_decode_read_it_and_one_method_is_used() {
    let moment = RequestContext {
        now: at(0),
        request_id: "r",
        assertion_id: "a",
    };
    let sent = |style| {
        let endpoint = TokenEndpoint::bare("https://as.example.com/token".parse().unwrap(), style);
        let material = Material::Secret(SecretString::from("a%b c+d:é"));
        let Ok(request) = request(&credential(&json!({})), &endpoint, &material, &[], moment)
        else {
            panic!("a request");
        };
        let header = request.headers.iter().find(|(n, _)| *n == "authorization");
        let header = header.map(|(_, v)| v.expose_secret().to_owned());
        (header, request.body.expose_secret().to_owned())
    };
    let (header, body) = sent(SecretStyle::BasicForm);
    let plain = crate::oauth::encode::component("a%b c+d:é");
    // Every server decodes %20 as a space, but not every server decodes +.
    assert_eq!(plain, "a%25b%20c%2Bd%3A%C3%A9");
    assert_eq!(
        header,
        Some(crate::oauth::encode::basic("client-1", &plain))
    );
    assert!(!body.contains("client_secret") && !body.contains("client_id"));
    let (header, body) = sent(SecretStyle::Post);
    assert_eq!(header, None);
    assert!(body.contains("client_id=client-1") && body.contains("client_secret=a%25b"));
}

#[test]
fn an_assertion_that_is_refused_is_a_matter_of_the_client_and_a_500_is_tried_again() {
    let signer = credential(
        &json!({ "client": { "secrets": null, "certificates": [{ "secretName": "t" }] } }),
    );
    // A replayed id, a clock ahead: with and without a code of an RFC.
    for (status, body, class) in [
        (
            400,
            r#"{"error":"invalid_client","error_description":"jti"}"#,
            Class::Transient,
        ),
        (401, r#"{"error":"jti_known"}"#, Class::Transient),
        (400, r#"{"error":"jti_known"}"#, Class::Transient),
        (
            401,
            r#"{"error":"invalid_client","error_description":"Token is not active"}"#,
            Class::Transient,
        ),
        (
            401,
            r#"{"error":"unauthorized_client","error_description":"Client authentication with signed JWT failed: Invalid token audience"}"#,
            Class::Denied,
        ),
        (
            500,
            r#"{"error":"server_error","error_description":"iat"}"#,
            Class::Transient,
        ),
        (500, "", Class::Transient),
    ] {
        assert_eq!(
            refused(&signer, status, body).class,
            class,
            "{status} {body}"
        );
    }
}

#[test]
fn a_refresh_token_that_is_refused_is_dead_or_doubtful_and_never_hammered() {
    let grant = json!({ "grant": { "refreshToken": { "secretRef": key() } } });
    let refresh = credential(&grant);
    for (status, error, reason, is_unchanged) in [
        (400, "invalid_grant", "SignInRequired", TokenState::Dead),
        (401, "invalid_grant", "SignInRequired", TokenState::Dead),
        (
            400,
            "interaction_required",
            "SignInRequired",
            TokenState::Dead,
        ),
        (400, "invalid_request", "RefreshRefused", TokenState::Intact),
    ] {
        let token_error = refused(&refresh, status, &json!({ "error": error }).to_string());
        assert_eq!(
            (token_error.class, token_error.reason.as_str()),
            (Class::NeedsUser, reason),
            "{status} {error}"
        );
        assert!(
            token_error
                .next_step
                .to_string()
                .contains("kubectl apicred login"),
            "{error}"
        );
        assert_eq!(
            token_state(&Granted::Nothing, Some(&token_error)),
            is_unchanged,
            "{status} {error}"
        );
    }
}

#[test]
fn a_refresh_for_more_than_the_user_signed_in_for_requires_another_sign_in() {
    let grant = json!({ "grant": { "refreshToken": { "secretRef": key() } } });
    let token_error = refused(&credential(&grant), 400, r#"{"error":"invalid_scope"}"#);
    assert_eq!(
        (token_error.class, token_error.reason.as_str()),
        (Class::Invalid, "InvalidScope")
    );
    let reported = token_error.next_step.to_string();
    assert!(reported.contains("spec.scopes") && reported.contains("kubectl apicred login"));
    assert_eq!(
        token_state(&Granted::Nothing, Some(&token_error)),
        TokenState::Intact
    );
    let client = refused(&credential(&json!({})), 400, r#"{"error":"invalid_scope"}"#);
    assert!(
        !client.next_step.to_string().contains("login"),
        "{}",
        client.next_step
    );
}

#[test]
fn numbers_types_and_scopes_in_all_forms_seen_make_a_token() {
    let token = given(
        &json!({ "access_token": "t", "token_type": "bearer", "expires_in": 59, "refresh_expires_in": 0 }),
    );
    assert_eq!(
        (token.expires_at, token.refresh_token.is_none()),
        (at(59), true)
    );
    let requested = ["read".to_owned(), "write".to_owned()];
    for (scope, lacking) in [
        (json!(null), &[][..]),
        (json!(""), &[]),
        (json!("write read"), &[]),
        (json!("read write admin"), &[]),
        (json!("read"), &["write"]),
        (json!("other"), &["read", "write"]),
        (json!(["read"]), &["write"]),
        (json!(["write", "read"]), &[]),
    ] {
        let token = given(&json!({ "access_token": "t", "expires_in": 60, "scope": scope }));
        assert_eq!(
            token.not_granted(&crate::fixtures::issuer(), &requested),
            lacking,
            "{scope}"
        );
    }
    let no_type = given(&json!({ "access_token": "t", "expires_in": 60 }));
    assert_eq!(no_type.token_type, "Bearer");
}

#[test]
fn an_exchange_takes_the_extra_parameters_that_some_servers_want() {
    let exchange = credential(&json!({
        "grant": { "tokenExchange": {
            "subject": { "secretRef": key(), "tokenType": "urn:ietf:params:oauth:token-type:access_token" },
            "requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
        } },
        "audience": "orders", "parameters": [{ "name": "requested_issuer", "value": "other" }],
    }));
    let endpoint = TokenEndpoint::bare(
        "https://as.example.com/token".parse().unwrap(),
        SecretStyle::Post,
    );
    let moment = RequestContext {
        now: at(0),
        request_id: "r",
        assertion_id: "a",
    };
    let material = Material::Secret(SecretString::from("s"));
    let grant_inputs = [SecretString::from("subject")];
    let Ok(request) = request(&exchange, &endpoint, &material, &grant_inputs, moment) else {
        panic!("a request");
    };
    let body = request.body.expose_secret();
    for part in [
        "audience=orders",
        "requested_issuer=other",
        "subject_token=subject",
        "requested_token_type=urn",
    ] {
        assert!(body.contains(part), "{part}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn any_answer_to_any_grant_is_a_token_or_a_silent_token_error(wire in hostile::any_answer(), grant in prop::sample::select(grants()), secret in "([a-z][0-9]){8,20}") {
        let credential = with_grant(&grant);
        let answers = [hostile::raw(&wire), hostile::raw(&(wire.0, wire.1, wire.2, json!({
            "error": "invalid_grant", "error_description": format!("AADSTS50126: {secret}"), "suberror": secret, "claims": secret,
        }).to_string().into_bytes()))];
        for answer in answers {
            if let Err(token_error) = reported(&credential, &answer) {
                prop_assert!(!token_error.reason.as_str().is_empty() && !token_error.next_step.to_string().is_empty());
                let message = token_error.message();
                prop_assert!(!message.contains(&secret) && !message.contains('\n'), "{}", message);
                let _ = token_state(&Granted::Nothing, Some(&token_error));
            }
        }
    }
}

#[test]
fn every_grant_is_in_the_list() {
    // A grant that is added later is in the schema but not here.
    let schema = schemars::schema_for!(crate::api::Grant).to_value();
    let mut known: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    let listed = grants();
    known.retain(|k| !listed.iter().any(|g| g.get(k).is_some()));
    assert_eq!(known, Vec::<&String>::new());
}
