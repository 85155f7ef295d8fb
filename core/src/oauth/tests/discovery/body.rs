//! The body of an answer to discovery: encodings, and bodies that are not documents.

use super::*;

#[test]
fn a_document_is_read_in_every_encoding_that_servers_send() {
    let plain = String::from_utf8(document(&json!({}))).unwrap();
    let utf16 = |order: fn(u16) -> [u8; 2]| -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(plain.encode_utf16());
        units.flat_map(order).collect()
    };
    let with = |front: &[u8], back: &[u8]| [front, plain.as_bytes(), back].concat();
    for (name, body) in [
        ("byte order mark", with(b"\xef\xbb\xbf", b"")),
        ("UTF-16LE", utf16(u16::to_le_bytes)),
        ("UTF-16BE", utf16(u16::to_be_bytes)),
        ("blanks", with(b"\r\n  ", b"\r\n\0\0")),
        ("encoded twice", json!(plain).to_string().into_bytes()),
        (
            "Latin-1 in a field nobody reads",
            plain
                .replacen('{', "{\"op_policy_uri\":\"~\",", 1)
                .into_bytes()
                .into_iter()
                .map(|b| if b == b'~' { 0xe9 } else { b })
                .collect(),
        ),
        // The last of two equal keys counts, as in every common reader of JSON.
        (
            "equal keys",
            plain
                .replacen(
                    '{',
                    "{\"token_endpoint\":\"https://first.example.com/\",",
                    1,
                )
                .into_bytes(),
        ),
    ] {
        let found = read(ISSUER, &body, None).unwrap_or_else(|why| panic!("{name}: {why:?}"));
        assert_eq!(found.url.as_str(), "https://t.example.com/token/", "{name}");
    }
}

#[test]
fn a_body_that_is_no_document_is_named_without_being_shown() {
    #[rustfmt::skip]
    let cases = [
        (&b""[..], "is empty"),
        (b"[]", "list"),
        (b"null", "null"),
        (b"<!doctype html><title>C4NARY</title>", "web page"),
        (b"<html>C4NARY</html>", "web page"),
        (b"<?xml version='1.0'?><Error>C4NARY</Error>", "XML"),
        (b"\xff\xfe", "is empty"),
        (b"\x1f\x8b\x08C4NARY", "compressed with gzip"),
        (b"{\"issuer\":", "is truncated JSON"),
        (b"Not Found", "is text"),
    ];
    for (body, expected) in cases {
        let token_error = read_as(ISSUER, body, None).unwrap_err();
        assert_eq!(token_error.reason.as_str(), "DiscoveryFailed");
        let message = token_error.message();
        assert!(
            message.contains(expected) && message.contains("oauth2.tokenUrl"),
            "{message}"
        );
        assert!(!format!("{token_error:?}").contains("C4NARY"));
    }
}
