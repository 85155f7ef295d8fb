//! Which contents of a Secret are accepted as a static key, and how faults are reported.

use secrecy::ExposeSecret;

use crate::credential::StaticKey;

#[test]
fn a_static_key_is_published_as_it_works_or_refused() {
    for (stored, key) in [
        (&b"demo-key-1"[..], "demo-key-1"),
        (b"demo-key-1\n", "demo-key-1"),
        (b"demo-key-1\r\n\r\n", "demo-key-1"),
        (b" \t demo-key-1 \n", "demo-key-1"),
        (b"\xef\xbb\xbfdemo-key-1\n", "demo-key-1"),
        (b"\xff\xfed\0e\0m\0o\0\n\0", "demo"),
        (b"demo-key-1\0", "demo-key-1"),
        (b"\xc2\xa0demo-key-1\xe2\x80\xa8", "demo-key-1"),
        (
            b"6f1c8f0e-8a3d-4b7e-9c55-0d2f1e6a7b8c",
            "6f1c8f0e-8a3d-4b7e-9c55-0d2f1e6a7b8c",
        ),
        (b"ZGVtb35zZWNyZXQuMQ==", "ZGVtb35zZWNyZXQuMQ=="),
        (b"a=b", "a=b"),
    ] {
        let read = StaticKey::from_secret_bytes(stored)
            .unwrap_or_else(|problem| panic!("{stored:?}: {problem}"));
        assert_eq!(read.expose_secret(), key, "{stored:?}");
    }
    for (stored, reported) in [
        (&b""[..], "is empty"),
        (b" \n", "is empty"),
        (b"demo key", "blank inside"),
        (b"demo\nkey", "line break"),
        (b"demo\xc2\xa0key", "blank inside"),
        (
            b"demo\xe2\x80\x8bkey",
            "invisible character (U+200B) inside",
        ),
        (b"demo\xe2\x80\x93key", "typographic"),
        (
            "d\u{e9}mo-key".as_bytes(),
            "an HTTP header cannot contain (U+00E9)",
        ),
        (b"changeme", "placeholder"),
        (b"<api-key>", "placeholder"),
        (b"${DEMO_KEY}", "placeholder"),
        (b"Bearer demo-key", "Authorization header"),
        (b"\"demo-key\"", "quotation marks"),
        (b"API_KEY=demo-key", "whole line"),
        (b"{\"token\":\"demo-key\"}", "JSON object"),
        (b"-----BEGIN CERTIFICATE-----", "PEM"),
        (b"op://demo/demo", "reference"),
        (b"\x1f\x8b\x08\0", "gzip"),
    ] {
        let problem = StaticKey::from_secret_bytes(stored)
            .map(|_| ())
            .expect_err(reported);
        assert!(problem.contains(reported), "{stored:?}: {problem}");
        assert!(!problem.contains("demo"), "{stored:?}: {problem}");
    }
}
