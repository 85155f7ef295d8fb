//! The text of an answer is quoted without its tokens, and apicred's statements about it are true.

use serde_json::{Value, json};

use super::{
    answer::raw,
    kinds::{JSON, TEXT, refused, refused_by_basic},
};
use crate::oauth::{Class, Granted, RawAnswer, TokenError, granted};

const TOKEN: &str = "d290f1ee-6c54-4b01-90e6-d701748f0851";
const OTHER: &str = "8d1b2c3a-0c54-4b01-90e6-d701748f0852";

fn message(status: u16, kind: &str, body: &str) -> String {
    refused("cc", &raw(status, kind, body.as_bytes())).message()
}

#[test]
fn the_text_of_a_success_is_never_quoted() {
    for body in [
        format!("access_token: {TOKEN}\nrefresh_token: {OTHER}\nexpires_in: 3600"),
        ")]}'\n{ \"access_token\": \"abc123\", \"refresh_token\": \"rt-2\", \"expires_in\": 3600 }"
            .to_owned(),
        "your token is rt-2".to_owned(),
        "while(1); { \"token\" : \"abc123\" }".to_owned(),
    ] {
        for kind in [TEXT, JSON, ""] {
            for status in [200, 201] {
                let message = message(status, kind, &body);
                for secret in [TOKEN, OTHER, "abc123", "rt-2", "issuer says"] {
                    assert!(!message.contains(secret), "{message}");
                }
            }
        }
    }
}

#[test]
fn tokens_of_a_response_are_removed_from_its_text_at_any_length() {
    for (body, secret, left) in [
        (
            json!({ "message": format!("token {TOKEN} issued") }),
            TOKEN,
            "token […] issued",
        ),
        (
            json!({ "message": format!("issued {TOKEN}") }),
            TOKEN,
            "issued […]",
        ),
        (
            json!({ "message": format!("the new client secret is {TOKEN}") }),
            TOKEN,
            "secret is […]",
        ),
        (
            json!({ "message": format!("token id {TOKEN} of the client") }),
            TOKEN,
            "token id […]",
        ),
        (
            json!({ "error": "server_error", "error_description": "gave Kx9-2b-77 before", "access_token": "Kx9-2b-77" }),
            "Kx9-2b-77",
            "gave […] before",
        ),
        (
            json!({ "message": "gave rt-2 away", "refreshToken": "rt-2" }),
            "rt-2",
            "gave […] away",
        ),
        (
            json!({ "message": "gave ab away", "data": { "id_token": "ab" } }),
            "gave ab",
            "gave […] away",
        ),
        (
            json!({ "message": "gave 4711 away", "list": [{ "client_secret": 4711 }] }),
            "4711",
            "gave […] away",
        ),
        (
            json!({ "message": "refresh_token=rt-2 is old" }),
            "rt-2",
            "[…] is old",
        ),
        (
            json!({ "message": "refresh_token: rt-2 is old" }),
            "rt-2",
            "refresh_token: […] is old",
        ),
        (
            json!({ "message": "'refresh_token': 'rt-2' is old" }),
            "'rt-2",
            "is old",
        ),
    ] {
        for status in [200, 400] {
            let message = message(status, JSON, &body.to_string());
            assert!(!message.contains(secret), "{status}: {message}");
            assert!(message.contains(left), "{status}: {message}");
        }
    }
    let text = message(
        400,
        TEXT,
        &format!("access_token: {TOKEN} refresh_token: rt-2 is old"),
    );
    assert!(!text.contains(TOKEN) && !text.contains("rt-2"), "{text}");
}

#[test]
fn ids_stay_readable() {
    for text in [
        format!("Application with identifier '{TOKEN}' was not found in the directory '{OTHER}'."),
        format!("The user has not consented to use the application with ID '{TOKEN}' named 'x'."),
        format!("Tenant '{TOKEN}' not found."),
        format!(
            "Invalid client secret provided, not the client secret ID, for a secret added to app '{TOKEN}'."
        ),
        format!("The resource principal named api://{TOKEN} was not found"),
        format!("identity provider 'https://sts.windows.net/{TOKEN}/' is unknown"),
        format!("it failed (request id {TOKEN})"),
        format!("it failed, request_id={TOKEN}"),
        "invalid refresh_token: it is expired".to_owned(),
        "unsupported token_type: bearer2".to_owned(),
    ] {
        let body = json!({ "error": "invalid_client", "error_description": text }).to_string();
        let message = message(401, JSON, &body);
        assert!(message.contains(&text), "{message}");
    }
    // The scheme of the header is part of the fix.
    let text = "Client authentication method client_secret_basic is not supported";
    let body = json!({ "error": "invalid_client", "error_description": text }).to_string();
    let message = refused_by_basic(&raw(401, JSON, body.as_bytes())).message();
    assert!(message.contains(text), "{message}");
}

#[test]
fn a_token_in_xml_is_not_requested_each_minute() {
    for (kind, body) in [
        (
            "application/xml",
            "<OAuth><access_token>abcdefgh</access_token></OAuth>",
        ),
        (
            "text/xml",
            "<?xml version=\"1.0\"?><OAuth><access_token>abcdefgh</access_token></OAuth>",
        ),
        ("", "<oAuth>\n<accessToken>abcdefgh</accessToken></oAuth>"),
        (
            "application/xml",
            "<o><refresh_token>abcdefgh</refresh_token></o>",
        ),
    ] {
        let token_error = refused("cc", &raw(200, kind, body.as_bytes()));
        let message = token_error.message();
        assert_eq!(
            (token_error.class, token_error.reason.as_str()),
            (Class::Invalid, "MalformedAnswer"),
            "{message}"
        );
        assert!(
            message.contains("is XML") && !message.contains("captive"),
            "{message}"
        );
        assert!(!message.contains("abcdefgh"), "{message}");
    }
    let page = "<html><script>if (access_token) go()</script></html>";
    let token_error = refused("cc", &raw(200, "text/html", page.as_bytes()));
    assert_eq!(token_error.class, Class::Transient);
}

#[test]
fn a_refresh_token_in_an_envelope_is_stored() {
    let refresh_token = |body: &str| match granted(&raw(200, JSON, body.as_bytes())) {
        Granted::New(token) => secrecy::ExposeSecret::expose_secret(&token).to_owned(),
        Granted::Same => "same".to_owned(),
        Granted::Nothing => "nothing".to_owned(),
    };
    for (body, expected) in [
        (
            json!({ "data": { "access_token": "a", "refresh_token": "rt-2" } }),
            "rt-2",
        ),
        (
            json!({ "result": [{ "refreshToken": "rt-2" }], "status": "ok" }),
            "rt-2",
        ),
        (
            json!({ "data": { "refresh_token": "old" }, "refresh_token": "rt-2" }),
            "rt-2",
        ),
        (json!({ "data": { "access_token": "a" } }), "same"),
        (json!({ "data": { "refresh_token": null } }), "nothing"),
        (
            json!({ "data": { "deeper": { "refresh_token": "x" } } }),
            "nothing",
        ),
    ] {
        assert_eq!(refresh_token(&body.to_string()), expected, "{body}");
    }
    let xml = |token: &str| {
        refresh_token(&format!(
            "<o><access_token>a</access_token><refresh_token>{token}</refresh_token></o>"
        ))
    };
    assert_eq!(
        (
            xml("rt-2").as_str(),
            xml("a&amp;b").as_str(),
            xml("").as_str()
        ),
        ("rt-2", "nothing", "nothing")
    );
    let packed = RawAnswer {
        content_encoding: Some("gzip".to_owned()),
        ..raw(200, JSON, b"\x1f\x8b\x08\x00\x00")
    };
    let message = refused("refresh", &packed).message();
    assert!(
        message.contains("gzip") && message.contains("sign in again"),
        "{message}"
    );
}

#[test]
fn a_server_that_misses_the_client_is_answered_with_the_method_and_the_setting() {
    let bodies: [Value; 6] = [
        json!({ "error": "invalid_request", "error_description": "Missing parameter: `client_id`" }),
        json!({ "error": "invalid_request", "error_description": "missing a required parameter: client_secret" }),
        json!({ "error": "invalid_client", "error_description": "The client_secret is required" }),
        json!({ "title": "Bad Request", "status": 400, "detail": "client_id missing" }),
        json!({ "message": "client_id was not provided" }),
        json!({ "error": "invalid_request", "error_description": "ClientId must be provided" }),
    ];
    for body in &bodies {
        let token_error = refused_by_basic(&raw(400, JSON, body.to_string().as_bytes()));
        let message = token_error.message();
        assert_eq!(
            token_error.reason.as_str(),
            "ClientAuthenticationUnsupported",
            "{message}"
        );
        for text in ["client_secret_basic", "clientAuthentication: {post: {}}"] {
            assert!(message.contains(text), "{message}");
        }
        // If the form was used, the form is not recommended.
        let posted = message_of(body);
        assert!(
            !posted.contains("{post: {}}") && posted.contains("client_secret_post"),
            "{posted}"
        );
    }
    for (text, reason) in [
        ("unknown client_id x", "ClientUnknown"),
        ("the client_id is not valid", "ClientUnknown"),
    ] {
        let body = json!({ "message": text }).to_string();
        let token_error = refused("cc", &raw(400, JSON, body.as_bytes()));
        assert_eq!(token_error.reason.as_str(), reason, "{text}");
    }
}

fn message_of(body: &Value) -> String {
    message(400, JSON, &body.to_string())
}

#[test]
fn statements_about_a_response_are_true() {
    let of = |status: u16, body: Value| -> TokenError {
        refused("cc", &raw(status, JSON, body.to_string().as_bytes()))
    };
    for error in [json!("Kunde gesperrt"), json!(1004), json!({ "a": 1 })] {
        let seen = of(200, json!({ "error": error, "error_description": "bad" }));
        let message = seen.message();
        assert_eq!(
            (seen.class, seen.reason.as_str()),
            (Class::Invalid, "RequestRefused"),
            "{message}"
        );
        assert!(!message.contains("access token"), "{message}");
    }
    let both = of(
        200,
        json!({ "error": "Kunde gesperrt", "access_token": "a" }),
    );
    assert!(both.message().contains("an error and an access token"));
    for status in [200, 400] {
        let numbered = of(status, json!({ "error": 1004 })).message();
        assert!(numbered.contains("1004"), "{numbered}");
        let long = of(status, json!({ "error": 100_412_345 })).message();
        assert!(!long.contains("100412345"), "{long}");
    }
    for status in [409, 421, 425] {
        let message = of(status, json!({})).message();
        for other in [409, 421, 425] {
            assert_eq!(
                message.contains(&other.to_string()),
                other == status,
                "{message}"
            );
        }
    }
    let large = crate::oauth::unread::too_large(&raw(200, JSON, b"{"), "as.example.com");
    assert!(
        large.message().contains("as.example.com")
            && !large.message().contains("is the URL a token endpoint")
    );
}
