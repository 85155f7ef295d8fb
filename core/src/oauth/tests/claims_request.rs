//! Claims requests (step-up): the stored part is sent as it was requested, and the rest is reported.

use serde_json::{Value, json};

use super::answer::raw;
use crate::{
    fixtures::at,
    oauth::{AnswerContext, TokenError, answer, claims_of_challenge, claims_request},
};

fn acrs(value: &str) -> String {
    json!({ "access_token": { "acrs": { "essential": true, "value": value } } }).to_string()
}

#[test]
fn names_of_authentication_contexts_are_sent_as_they_are() {
    for value in [
        "c1",
        "urn:microsoft:req1",
        "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
        "https://refeds.org/profile/mfa",
        "http://schemas.microsoft.com/claims/multipleauthn",
        "http://schemas.openid.net/pape/policies/2007/06/multi-factor",
        "urn:mace:incommon:iap:silver",
        "urn:uuid:0f1e2d3c-4b5a-4c6d-8e7f-90a1b2c3d4e5",
        "https://id.example.com/loa/2/",
        "0f1e2d3c-4b5a-4c6d-8e7f-90a1b2c3d4e5",
        // Addresses of continuous access evaluation.
        "40.80.27.150",
        "2001:db8::1",
    ] {
        let claims = acrs(value);
        assert_eq!(claims_of_challenge(&claims).as_deref(), Ok(&*claims));
        assert_eq!(claims_request(&claims).as_deref(), Some(&*claims));
        let several = json!({ "id_token": { "acr": { "values": ["c1", value] } } }).to_string();
        assert_eq!(claims_of_challenge(&several).as_deref(), Ok(&*several));
    }
}

#[test]
fn the_plugin_refuses_what_it_would_not_send() {
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnc2lnc2lnc2ln";
    let long = format!("urn:{}", "part:".repeat(40));
    let many: Vec<String> = (0..7).map(|n| format!("c{n}")).collect();
    let claims: Value = many.iter().map(|n| (n.clone(), json!({}))).collect();
    #[rustfmt::skip]
    let cases = [
        (acrs("two words"), "access_token.acrs"),
        (acrs(token), "access_token.acrs"),
        (acrs("urn:4f1dd2a09be34c714f1dd2a09be34c71"), "access_token.acrs"),
        (acrs("urn:a?b=c"), "access_token.acrs"),
        (acrs("someone@example.com"), "access_token.acrs"),
        (acrs(""), "access_token.acrs"),
        (acrs(&long), "access_token.acrs"),
        (json!({ "access_token": { "acrs": { "value": 7 } } }).to_string(), "access_token.acrs"),
        (json!({ "access_token": { "acrs": { "essential": "yes" } } }).to_string(), "access_token.acrs"),
        (json!({ "access_token": { "acrs": { "values": "c1" } } }).to_string(), "access_token.acrs"),
        (json!({ "access_token": { "acrs": { "values": ["c1", "<b>"] } } }).to_string(), "access_token.acrs"),
        (json!({ "access_token": { "acrs": { "values": many } } }).to_string(), "access_token.acrs"),
        (json!({ "access_token": { "acrs": { "value": "c1", "other": "y" } } }).to_string(), "access_token.acrs"),
        (json!({ "access_token": { "acrs": "c1" } }).to_string(), "access_token.acrs"),
        (json!({ "access_token": { "a b": {}, "acrs": { "value": "c1" } } }).to_string(), "access_token"),
        (json!({ "access_token": claims }).to_string(), "access_token"),
        (json!({ "access_token": { "acrs": {} }, "more": 1 }).to_string(), "more"),
        (json!({ "access_token": { "acrs": {} }, "a b": 1 }).to_string(), "is not known"),
        (json!({ "access_token": { "acrs": {} }, "id_token": "x" }).to_string(), "id_token"),
    ];
    for (text, place) in cases {
        let problem = claims_of_challenge(&text).expect_err(&text);
        assert!(problem.contains(place), "{text}: {problem}");
        assert!(problem.contains("not sen"), "{text}: {problem}");
        assert!(
            !problem.contains("a b") && !problem.contains("eyJ"),
            "{problem}"
        );
    }
}

fn refused(claims: &str) -> TokenError {
    let body = json!({ "error": "interaction_required", "claims": claims }).to_string();
    let context = AnswerContext {
        sent: at(0),
        now: at(0),
        assumed_lifetime: None,
    };
    let answered = answer(&raw(400, "application/json", body.as_bytes()), context);
    answered.err().unwrap()
}

#[test]
fn parts_of_a_claims_request_that_are_not_stored_are_reported() {
    let whole = refused(&acrs("urn:microsoft:req1"));
    let stored = whole.detail.as_ref().and_then(|d| d.claims.clone());
    assert_eq!(stored, Some(acrs("urn:microsoft:req1")));
    let message = whole.message();
    assert!(message.contains("acrs=urn:microsoft:req1"), "{message}");
    assert!(!message.contains("does not store"), "{message}");
    for partly in [
        acrs("someone@example.com"),
        json!({ "access_token": { "acrs": { "value": "c1" }, "a b": {} } }).to_string(),
        json!({ "access_token": { "acrs": { "values": ["c1", "<b>"] } } }).to_string(),
    ] {
        let message = refused(&partly).message();
        assert!(message.contains("does not store"), "{partly}: {message}");
        assert!(message.contains("acrs"), "{partly}: {message}");
        assert!(
            !message.contains('@') && !message.contains("<b>"),
            "{message}"
        );
    }
}
