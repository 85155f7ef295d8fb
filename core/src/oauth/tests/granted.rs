//! A new refresh token is read, whatever the rest of the answer is.

use proptest::prelude::*;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::answer::{raw, read};
use crate::oauth::{Granted, granted, granted_in_part};

fn expected_part(granted: &Granted) -> String {
    match granted {
        Granted::Nothing => "nothing".to_owned(),
        Granted::Same => "same".to_owned(),
        Granted::New(token) => token.expose_secret().to_owned(),
    }
}

fn reported(status: u16, kind: &str, body: &str) -> String {
    expected_part(&granted(&raw(status, kind, body.as_bytes())))
}

fn json_granted(body: &Value) -> String {
    reported(200, "application/json", &body.to_string())
}

#[test]
fn a_new_refresh_token_is_read_whatever_stands_beside_it() {
    let large = "t".repeat(300_000);
    for beside in [
        json!({ "access_token": "a", "token_type": "Bearer", "expires_in": 0 }),
        json!({ "access_token": "a", "expires_in": -1 }),
        json!({ "access_token": "a", "expires_in": "soon" }),
        json!({ "access_token": "a", "token_type": "DPoP" }),
        json!({ "access_token": "a", "token_type": "BearerToken" }),
        json!({ "access_token": "a", "token_type": 7 }),
        json!({ "access_token": "a\nb" }),
        json!({ "access_token": "\u{e4}" }),
        json!({ "access_token": large }),
        json!({ "access_token": "" }),
        json!({ "access_token": null }),
        json!({ "access_token": ["a"] }),
        json!({ "access_token": "a", "error": "" }),
        json!({ "access_token": "a", "error": "server_error" }),
        json!({ "id_token": "i" }),
        json!({}),
    ] {
        let mut body = beside.clone();
        body["refresh_token"] = json!("rt-2");
        assert_eq!(json_granted(&body), "rt-2", "{beside}");
        for status in [201, 202, 206, 299, 302, 308] {
            assert_eq!(reported(status, "text/html", &body.to_string()), "rt-2");
        }
        // The rest of the answer does not matter here, only for the access token.
        let _ = read(200, "application/json", body.to_string().as_bytes());
        for status in [199, 400, 500, 503] {
            let refused = reported(status, "application/json", &body.to_string());
            assert_eq!(refused, "nothing", "{status}");
        }
    }
}

#[test]
fn what_stands_inside_of_an_answer_with_a_token_is_about_something_else() {
    for (body, expected) in [
        (
            json!({ "access_token": "a", "authed_user": { "access_token": "u", "refresh_token": "of-the-user" } }),
            "same",
        ),
        (
            json!({ "access_token": "a", "client": { "refresh_token": "enabled" } }),
            "same",
        ),
        (
            json!({ "access_token": "a", "refresh_token": "rt-2", "user": { "refresh_token": "other" } }),
            "rt-2",
        ),
        (
            json!({ "data": { "access_token": "a", "refresh_token": "rt-2" } }),
            "rt-2",
        ),
    ] {
        assert_eq!(json_granted(&body), expected, "{body}");
    }
}

#[test]
fn a_new_refresh_token_is_read_in_lenient_encodings() {
    for body in [
        "\u{feff}{\"refresh_token\":\"rt-2\"}",
        "  {\"refresh_token\" : \"rt-2\"}\n",
        "{\"refresh_token\":\"rt-2\"}{}",
        "{\"refresh_token\":\"rt-2\"} trailing",
        "{\"access_token\":\"a\",\"expires_in\":,\"refresh_token\":\"rt-2\"}",
        "{'access_token':'a', \"refresh_token\":\"rt-2\"}",
        "[{\"refresh_token\":\"rt-2\"}]",
        "for(;;);{\"refresh_token\":\"rt-2\"}",
        "{\"refresh_token\":\"rt-1\",\"refresh_token\":\"rt-2\"",
        "{\"refresh_token\":\"rt\\u002d2\",",
        "access_token=a&refresh_token=rt-2",
        "refresh_token=rt%2D2&access_token=a",
        "expires_in=0&refresh_token=rt-2\r\n",
    ] {
        for kind in [
            "",
            "application/json",
            "text/plain",
            "application/octet-stream",
        ] {
            assert_eq!(reported(200, kind, body), "rt-2", "{kind} {body}");
        }
    }
    let mut bytes = b"{\"name\":\"\xff\",\"refresh_token\":\"rt-2\"}".to_vec();
    assert_eq!(expected_part(&granted(&raw(200, "", &bytes))), "rt-2");
    bytes.truncate(bytes.len() - 2);
    assert_eq!(expected_part(&granted(&raw(200, "", &bytes))), "nothing");
    let many = format!(
        "{{\"refresh_token\":\"rt-2\",\"x\":[{}0]}}",
        "0,".repeat(20_000)
    );
    assert_eq!(reported(200, "", &many), "rt-2");
    assert_eq!(
        json_granted(&json!({ "access_token": "a", "refresh_token": 17 })),
        "17"
    );
}

#[test]
fn what_is_no_refresh_token_is_not_taken_for_one() {
    for body in [
        "<html><a href=\"/?x=1&refresh_token=evil\">sign in</a></html>",
        "refresh_token",
        "{\"refresh_token\":",
        "{\"refresh_token\":\"cut off",
        "{\"refresh_token\":12345",
        "{\"refresh_token\":null}",
        "{\"refresh_token\":\"\"}",
        "{\"refresh_token\":\" \"}",
        "{\"refresh_token\":{\"a\":1}}",
        "{\"the_refresh_token\":\"x\"}",
        "no refresh_token=x here",
        "",
    ] {
        assert_eq!(reported(200, "text/html", body), "nothing", "{body}");
    }
    // The old refresh token stays if a token was issued without a new one.
    assert_eq!(
        json_granted(&json!({ "access_token": "a", "expires_in": 0 })),
        "same"
    );
    assert_eq!(
        json_granted(&json!({ "access_token": "a", "refresh_token": "" })),
        "same"
    );
    // IBM Cloud, and what templates write.
    for expected_part in [
        "not_supported",
        "NOT_SUPPORTED",
        "Not Supported",
        "unsupported",
        "none",
        "null",
        "<null>",
        "N/A",
        "n.a.",
        "nil",
        "undefined",
        "-",
        "--",
        "false",
        "not applicable",
    ] {
        let both = json!({ "access_token": "a", "refresh_token": expected_part });
        assert_eq!(json_granted(&both), "same", "{expected_part}");
        let alone = json!({ "access_token": expected_part, "refresh_token": expected_part });
        assert_eq!(json_granted(&alone), "nothing", "{expected_part}");
        let form = format!("access_token=a&refresh_token={expected_part}&x=");
        let kind = "application/x-www-form-urlencoded";
        assert_eq!(reported(200, kind, &form), "same", "{expected_part}");
    }
    // Any other text is a token, however short.
    for token in ["no", "nul", "none-1", "1/none", "n/a=", "!"] {
        let both = json!({ "access_token": "a", "refresh_token": token });
        assert_eq!(json_granted(&both), token);
    }
    assert_eq!(
        json_granted(&json!({ "access_token": "a", "error": "server_error" })),
        "nothing"
    );
    assert_eq!(json_granted(&json!({ "id_token": "i" })), "nothing");
}

#[test]
fn an_answer_that_broke_off_gives_what_is_whole() {
    let reported = |body: &str| {
        expected_part(&granted_in_part(&raw(
            200,
            "application/json",
            body.as_bytes(),
        )))
    };
    let form = |body: &str| {
        let kind = "application/x-www-form-urlencoded";
        expected_part(&granted_in_part(&raw(200, kind, body.as_bytes())))
    };
    assert_eq!(reported("{\"refresh_token\":\"rt-2\",\"access_tok"), "rt-2");
    assert_eq!(reported("{\"refresh_token\":\"rt-"), "nothing");
    // Nothing about a refresh token: the new one may be in the missing rest.
    assert_eq!(reported("{\"access_token\":\"a\"}"), "nothing");
    assert_eq!(form("access_token=a&refresh_token=rt-2&expi"), "rt-2");
    assert_eq!(form("access_token=a&refresh_token=rt-"), "nothing");
    assert_eq!(form("refresh_token=rt-"), "nothing");
}

proptest! {
    #[test]
    fn any_body_is_classified(body in prop::collection::vec(any::<u8>(), 0..200), status in 100_u16..600, form in "(&?(refresh_token|access_token)=?[a-z\"{}:&%0-9]{0,12}){0,5}") {
        for body in [body, form.into_bytes()] {
            let raw = raw(status, "text/plain", &body);
            if let Granted::New(token) = granted(&raw) {
                // A redirect with a token has granted as well.
                prop_assert!(!token.expose_secret().is_empty() && (200..400).contains(&status));
            }
            let _ = granted_in_part(&raw);
        }
    }

    /// However a JSON answer is cut off, a refresh token is complete or missing.
    #[test]
    fn no_cut_gives_half_of_a_refresh_token(cut in 0_usize..200, token in "[ -~]{1,30}") {
        let body = json!({ "access_token": "a", "refresh_token": token, "z": 1 }).to_string();
        let part = &body.as_bytes()[..cut.min(body.len())];
        if let Granted::New(found) = granted_in_part(&raw(200, "application/json", part)) {
            prop_assert_eq!(found.expose_secret(), token.as_str());
        }
    }
}
