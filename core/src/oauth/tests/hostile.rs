//! Any input gives a token or a token error, never a panic, and nothing of it appears in texts for users.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    fixtures::{at, secs},
    oauth::{AnswerContext, Class, RawAnswer, TokenError, answer, retry_after},
};

/// The text of a token error, without the fields with codes and ids of fixed alphabets.
fn reported(token_error: &TokenError) -> String {
    let mut bare = token_error.clone();
    (bare.error, bare.correlation_id, bare.trace_id, bare.aadsts) = (None, None, None, None);
    format!("{}\n{bare:?}", bare.message())
}

fn shows(reported: &str, body: &str) -> bool {
    let characters: Vec<char> = body.chars().collect();
    characters
        .windows(12)
        .any(|w| reported.contains(&w.iter().collect::<String>()))
}

fn any_scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|f| json!(f)),
        ".{0,40}".prop_map(Value::from),
        "[a-z0-9_.~-]{1,200}".prop_map(Value::from),
        "[0-9]{1,20}".prop_map(Value::from),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    any_scalar().prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,8}", inner, 0..4).prop_map(|m| json!(m)),
        ]
    })
}

/// Names of fields that are read.
const NAMES: [&str; 20] = [
    "access_token",
    "accessToken",
    "token_type",
    "issued_token_type",
    "id_token",
    "refresh_token",
    "expires_in",
    "expires_on",
    "expires_at",
    "expires",
    "refresh_in",
    "scope",
    "error",
    "error_codes",
    "error_description",
    "correlation_id",
    "trace_id",
    "error_uri",
    "claims",
    "data",
];

/// Documents with the field names that apicred reads, and any values.
fn any_document() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(NAMES.to_vec());
    prop::collection::vec((name, any_value()), 0..10).prop_map(|fields| {
        let fields: Vec<String> = fields
            .iter()
            .map(|(k, v)| format!("{}:{v}", json!(k)))
            .collect();
        format!("{{{}}}", fields.join(",")).into_bytes()
    })
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => any_document(),
        1 => prop::collection::vec(any::<u8>(), 0..300),
        1 => ".{0,200}".prop_map(String::into_bytes),
        1 => "(access_token|error)=[a-zA-Z0-9%+&=_]{0,100}".prop_map(String::into_bytes),
        1 => "(&?(access_token|token_type|expires_in|scope|error)=[a-zA-Z0-9%+]{0,9}){0,5}".prop_map(String::into_bytes),
        // UTF-16, another charset, a byte order mark.
        1 => any_document().prop_map(|b| String::from_utf8_lossy(&b).encode_utf16().flat_map(u16::to_le_bytes).collect()),
        1 => (any_document(), any::<u8>()).prop_map(|(b, x)| b.into_iter().map(|b| if b == b'a' { x } else { b }).collect()),
        1 => (any_document(), 0_usize..200).prop_map(|(mut b, at)| { b.truncate(at); b }),
    ]
}

/// Status, content type, `Retry-After`, body. [`RawAnswer`] itself has no `Debug`, since it may hold a token.
pub(super) type Wire = (u16, Option<String>, Option<String>, Vec<u8>);

pub(super) fn raw((status, content_type, retry_after, body): &Wire) -> RawAnswer {
    RawAnswer {
        content_type: content_type.clone(),
        retry_after: retry_after.clone(),
        ..RawAnswer::new(*status, body.clone())
    }
}

prop_compose! {
    pub(super) fn any_answer()(
        status in prop_oneof![3 => Just(200_u16), 1 => 100_u16..600, 1 => any::<u16>()], body in any_body(),
        content_type in prop::option::of(prop_oneof![
            Just("application/json".to_owned()), Just("application/x-www-form-urlencoded".to_owned()), Just("text/plain".to_owned()), ".{0,30}",
        ]),
        retry_after in prop::option::of(prop_oneof!["[0-9]{0,25}", ".{0,30}", Just("Fri, 31 Dec 9999 23:59:59 GMT".to_owned())]),
    ) -> Wire {
        (status, content_type, retry_after, body)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_answer_is_a_sound_token_or_a_silent_token_error(wire in any_answer(), assumed in prop::option::of(1_i64..100_000), late in 0_i64..20) {
        let context = AnswerContext { sent: at(0), now: at(late), assumed_lifetime: assumed.map(secs) };
        let raw = raw(&wire);
        match answer(&raw, context) {
            Ok(token) => {
                prop_assert!((200..=299).contains(&raw.status));
                prop_assert!(token.expires_at > at(late), "a token that lives");
                prop_assert!(token.expires_at <= at(0) + secs(366 * 86_400));
                prop_assert_eq!(token.issued_at, at(0));
                prop_assert!(token.refresh_in.is_none_or(|r| r.is_positive()));
                let text = secrecy::ExposeSecret::expose_secret(&token.secret);
                prop_assert!(!text.is_empty() && text.bytes().all(|b| (0x20..=0x7e).contains(&b)));
            }
            Err(token_error) => {
                let mut reported = reported(&token_error);
                for name in NAMES {
                    reported = reported.replace(name, "");
                }
                prop_assert!(!reported.contains('\n') || reported.matches('\n').count() == 1, "one line each");
                prop_assert!(!shows(&reported, &String::from_utf8_lossy(&raw.body)), "{}", reported);
                prop_assert!(!token_error.reason.as_str().is_empty() && !token_error.next_step.to_string().is_empty());
                // The status of the answer.
                prop_assert_eq!(token_error.http_status, Some(raw.status));
                let status = format!("HTTP {}", raw.status);
                prop_assert!(token_error.message().contains(&status));
                // A token was issued but cannot be used: the next one would be the same.
                let body = String::from_utf8_lossy(&raw.body);
                // An empty one is not a token.
                let brought = body.contains("\"access_token\":\"") && !body.contains("\"access_token\":\"\"");
                let passing = matches!(token_error.class, Class::Transient | Class::Throttled);
                prop_assert!(!(passing && brought && (200..=299).contains(&raw.status)), "{}", token_error.message());
                let ids = [&token_error.error, &token_error.correlation_id, &token_error.trace_id];
                for id in ids.into_iter().flatten() {
                    prop_assert!(id.len() <= 128 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b)));
                }
            }
        }
    }

    #[test]
    fn a_refused_answer_never_shows_a_text_that_it_carried(
        secret in "[A-Za-z0-9]{6}[ /+=:%]{1,2}[A-Za-z0-9/+=]{12,60}", name in "[a-z_]{1,20}", status in 100_u16..600,
    ) {
        let body = json!({
            "error": secret, "error_description": format!("AADSTS50001: {secret}"), "correlation_id": secret,
            "trace_id": secret, "access_token": format!("{secret}\n"), "token_type": secret, "scope": secret, (name): secret,
        });
        let raw = RawAnswer {
            content_type: Some(secret.clone()),
            retry_after: Some(secret.clone()),
            challenge: Some(secret.clone()),
            ..RawAnswer::new(status, body.to_string().into_bytes())
        };
        let context = AnswerContext { sent: at(0), now: at(0), assumed_lifetime: None };
        let token_error = answer(&raw, context).err().unwrap();
        let reported = format!("{} {token_error:?}", token_error.message());
        prop_assert!(!reported.contains(&secret[..12]), "{}", reported);
    }

    #[test]
    fn a_pause_is_never_longer_than_an_hour(value in ".{0,40}", number in any::<u128>()) {
        for value in [value, number.to_string()] {
            prop_assert!(retry_after(&value, at(0)).is_none_or(|d| d.as_secs() <= 3600));
        }
    }
}

#[test]
fn a_megabyte_of_anything_is_read_in_good_time() {
    for body in [
        vec![b'['; 1 << 20],
        vec![b'{'; 1 << 20],
        vec![b'"'; 1 << 20],
        vec![0; 1 << 20],
        b"access_token=&".repeat(70_000),
    ] {
        let raw = RawAnswer {
            content_type: Some("application/x-www-form-urlencoded".to_owned()),
            ..RawAnswer::new(200, body)
        };
        let context = AnswerContext {
            sent: at(0),
            now: at(0),
            assumed_lifetime: None,
        };
        assert!(answer(&raw, context).is_err());
    }
}
