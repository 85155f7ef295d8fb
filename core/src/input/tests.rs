use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;

/// UTF-16 with or without a byte order mark.
fn utf16(text: &str, little: bool) -> Vec<u8> {
    let unit = |u: u16| {
        if little {
            u.to_le_bytes()
        } else {
            u.to_be_bytes()
        }
    };
    text.encode_utf16().flat_map(unit).collect()
}

#[test]
fn text_is_read_in_each_encoding_that_is_clear() {
    for (bytes, read) in [
        (b"".to_vec(), ""),
        (b"a\nb".to_vec(), "a\nb"),
        ("Zoë".as_bytes().to_vec(), "Zoë"),
        (b"\xef\xbb\xbfa".to_vec(), "a"),
        (b"\xef\xbb\xbf\xef\xbb\xbfa".to_vec(), "a"),
        (b"\xef\xbb\xbf".to_vec(), ""),
        (utf16("\u{feff}Zoë", true), "Zoë"),
        (utf16("\u{feff}Zoë", false), "Zoë"),
        (utf16("\u{feff}", true), ""),
        (utf16("{\"a\":1}", true), "{\"a\":1}"),
        (utf16("{\"a\":1}", false), "{\"a\":1}"),
    ] {
        assert_eq!(text(&bytes).as_deref(), Ok(read), "{bytes:?}");
        assert_eq!(lossy(&bytes).as_deref(), Ok(read), "{bytes:?}");
    }
}

#[test]
fn what_is_no_text_is_named() {
    let half = [utf16("\u{feff}ab", true), vec![0x20]].concat();
    let lone = [utf16("\u{feff}a", true), 0xd800_u16.to_le_bytes().to_vec()].concat();
    for (bytes, named) in [
        (b"\x1f\x8b\x08\0\0".to_vec(), "compressed with gzip"),
        (b"\x28\xb5\x2f\xfd\0".to_vec(), "compressed with zstd"),
        (b"x\x9c\x03\0".to_vec(), "compressed with zlib"),
        (b"BZh91AY&SY".to_vec(), "compressed with bzip2"),
        (b"\xfd7zXZ\0".to_vec(), "compressed with xz"),
        (b"PK\x03\x04".to_vec(), "compressed with ZIP"),
        (
            b"\x30\x82\x09\x01\x02\x01\x03\x30".to_vec(),
            "binary (PKCS#12)",
        ),
        (b"\x30\x82\x03\x01\x30\x82".to_vec(), "binary (DER)"),
        (b"\xfe\xed\xfe\xed\0\0\0\x02".to_vec(), "JKS"),
        (b"\xff\xfe\0\0a\0\0\0".to_vec(), "UTF-32"),
        (half, "UTF-16 with half a character"),
        (lone, "UTF-16 with half a character"),
    ] {
        let reported = text(&bytes).expect_err(named);
        assert!(reported.to_string().contains(named), "{reported}");
        assert_eq!(lossy(&bytes), Err(reported));
    }
    let latin = b"first\nn\xe9e\n";
    assert_eq!(
        text(latin).unwrap_err().to_string(),
        "is not UTF-8: line 2 has another character encoding (byte 7)"
    );
    assert_eq!(lossy(latin).as_deref(), Ok("first\nn\u{fffd}e\n"));
    assert!(is_exact("née") && !is_exact("n\u{fffd}e"));
}

#[test]
fn an_object_is_read_through_all_that_is_around_it() {
    let plain = r#"{"a":"b"}"#;
    for bytes in [
        plain.as_bytes().to_vec(),
        format!("\u{feff} \r\n{plain}\n\0\0").into_bytes(),
        utf16(plain, true),
        utf16(&format!("\u{feff}{plain}"), false),
        json!(plain).to_string().into_bytes(),
    ] {
        let read = object(&bytes).unwrap_or_else(|e| panic!("{bytes:?} {e}"));
        assert_eq!(Value::Object(read), json!({ "a": "b" }));
    }
    // A wrong charset in a field that is not read affects only that field.
    let latin = b"{\"name\":\"Jos\xe9\",\"a\":\"b\"}";
    let read = object(latin).unwrap();
    assert_eq!(text_of(&read, "a").as_deref(), Some("b"));
    assert_eq!(text_of(&read, "name"), None, "not exact");
}

#[test]
fn what_is_no_object_is_named() {
    for (body, named) in [
        ("", NotObject::Empty),
        (" \r\n\0", NotObject::Empty),
        ("\u{feff}", NotObject::Empty),
        ("<!DOCTYPE html><p>", NotObject::WebPage),
        ("\n<HTML><body>Sign in</body>", NotObject::WebPage),
        ("<!-- x --><html>", NotObject::WebPage),
        ("<?xml version=\"1.0\"?><html/>", NotObject::WebPage),
        ("<?xml version=\"1.0\"?><fault/>", NotObject::Xml),
        ("<soap:Envelope>", NotObject::Xml),
        ("eyJhbGciOiJub25lIn0.e30.c2ln", NotObject::Jwt),
        ("[{}]", NotObject::Other("list")),
        ("\"text\"", NotObject::Other("string")),
        ("\"{\"", NotObject::Short),
        ("7", NotObject::Other("number")),
        ("true", NotObject::Other("boolean")),
        ("null", NotObject::Other("null")),
        ("{\"a\":", NotObject::Short),
        ("{\"a\":\"b", NotObject::Short),
        ("{'a':1}", NotObject::Syntax { line: 1, column: 2 }),
        ("{\"a\":NaN}", NotObject::Syntax { line: 1, column: 6 }),
        ("{\n\"a\":1,\n}", NotObject::Syntax { line: 3, column: 1 }),
        ("no healthy upstream", NotObject::Text),
        ("access_token=a&b=c", NotObject::Text),
    ] {
        assert_eq!(object(body.as_bytes()), Err(named), "{body}");
    }
    let gzip = object(b"\x1f\x8b\x08").unwrap_err();
    assert_eq!(gzip.to_string(), "is compressed with gzip");
}

#[test]
fn an_object_of_many_parts_is_not_taken_apart() {
    let of = |n: usize| format!(r#"{{"a":[{}0]}}"#, "0,".repeat(n)).into_bytes();
    assert!(object(&of(8 * 1024 - 1)).is_ok());
    assert_eq!(object(&of(8 * 1024)), Err(NotObject::TooLarge));
    // The same inside a string.
    let inner = json!(String::from_utf8(of(8 * 1024)).unwrap()).to_string();
    assert_eq!(object(inner.as_bytes()), Err(NotObject::TooLarge));
}

#[test]
fn a_field_has_one_value_in_any_spelling_and_an_empty_one_is_absent() {
    let fields = json!({
        "access_token": "t", "expiresIn": 7, "Token-Type": " Bearer ", "error": "", "scope": null, "id": " ",
        "SCOPE": "read", "accessToken": "other",
    });
    let fields = fields.as_object().unwrap();
    for (name, value) in [
        ("access_token", Some("t")),
        ("expires_in", Some("7")),
        ("token_type", Some("Bearer")),
        ("error", None),
        ("id", None),
        ("scope", Some("read")),
        ("other", None),
    ] {
        assert_eq!(text_of(fields, name).as_deref(), value, "{name}");
    }
}

#[test]
fn an_error_that_states_nothing_is_none() {
    let error = |value: Value| {
        let fields = json!({ "error": value });
        stated(fields.as_object().unwrap(), "error").is_some()
    };
    for none in [
        json!(null),
        json!(""),
        json!(" "),
        json!(false),
        json!(0),
        json!("0"),
        json!([]),
        json!({}),
        json!("null"),
        json!("None"),
        json!("false"),
    ] {
        assert!(!error(none.clone()), "{none}");
    }
    for one in [
        json!("invalid_scope"),
        json!(true),
        json!(1),
        json!(["x"]),
        json!({ "code": 1 }),
    ] {
        assert!(error(one.clone()), "{one}");
    }
}

#[test]
fn numbers_flags_and_lists_are_read_as_texts_too() {
    for (value, read) in [
        (json!(3600), Some(3600.0)),
        (json!(" 3600 "), Some(3600.0)),
        (json!("36e2"), Some(3600.0)),
        (json!("inf"), None),
        (json!("NaN"), None),
        (json!("3,600"), None),
        (json!(true), None),
    ] {
        assert_eq!(number(&value), read, "{value}");
    }
    for (value, read) in [
        (json!(true), Some(true)),
        (json!("True"), Some(true)),
        (json!(1), Some(true)),
        (json!("0"), Some(false)),
        (json!("false "), Some(false)),
        (json!("yes"), None),
        (json!([]), None),
    ] {
        assert_eq!(flag(&value), read, "{value}");
    }
    for (value, read) in [
        (json!(["a", " b ", "", 7]), vec!["a", "b"]),
        (json!("a b"), vec!["a", "b"]),
        (json!("a, b"), vec!["a", "b"]),
        (json!("a"), vec!["a"]),
        (json!(7), vec![]),
    ] {
        assert_eq!(list(&value), read, "{value}");
    }
}

#[test]
fn durations_are_read_in_each_form_that_is_clear() {
    for (text, seconds) in [
        ("3600", Some(3600)),
        (" 3600 ", Some(3600)),
        ("3600.9", Some(3600)),
        ("-1", Some(-1)),
        ("3600s", Some(3600)),
        ("3600 s", Some(3600)),
        ("3600 sec", Some(3600)),
        ("3600 seconds", Some(3600)),
        ("3600 Seconds", Some(3600)),
        ("3600000ms", Some(3600)),
        ("60m", Some(3600)),
        ("60 min", Some(3600)),
        ("1h", Some(3600)),
        ("1H", Some(3600)),
        ("1h30m", Some(5400)),
        ("1h0m0s", Some(3600)),
        ("1 hour", Some(3600)),
        ("1d", Some(86_400)),
        ("2 weeks", Some(14 * 86_400)),
        ("PT1H", Some(3600)),
        ("P1DT1H", Some(90_000)),
        ("01:00:00", Some(3600)),
        ("6M", None),
        ("1 month", None),
        ("P1Y", None),
        ("3,600", None),
        ("soon", None),
        ("NaN", None),
        ("", None),
    ] {
        let read = duration(text);
        assert_eq!(read, seconds.map(SignedDuration::from_secs), "{text:?}");
    }
    assert_eq!(
        seconds(&json!(1e300)),
        Some(SignedDuration::from_secs(1_000_000_000_000))
    );
}

#[test]
fn times_are_read_in_each_form_that_is_clear() {
    let at = "2027-06-30T12:00:00Z".parse().unwrap();
    for text in [
        "2027-06-30T12:00:00Z",
        "2027-06-30T14:00:00+02:00",
        "2027-06-30T12:00:00.000+0000",
        "2027-06-30 12:00:00Z",
        "2027-06-30 12:00:00 UTC",
        "2027-06-30 12:00:00 +00:00",
        "06/30/2027 12:00:00 +00:00",
        "Wed, 30 Jun 2027 12:00:00 GMT",
        "Wednesday, 30-Jun-27 12:00:00 GMT",
        "Wed Jun 30 12:00:00 UTC 2027",
        "1814356800",
        " 1814356800 ",
        "1814356800000",
        "1814356800000000",
        "/Date(1814356800000)/",
    ] {
        assert_eq!(instant(text), Some(at), "{text:?}");
        assert_eq!(instant_in_utc(text), Some(at), "{text:?}");
    }
    for text in [
        "2027-06-30T12:00:00",
        "2027-06-30 12:00:00",
        "06/30/2027 12:00:00",
        "06/30/2027 12:00:00 PM",
        "Wed Jun 30 12:00:00 2027",
    ] {
        assert_eq!(instant(text), None, "no zone: {text:?}");
        assert_eq!(instant_in_utc(text), Some(at), "{text:?}");
    }
    for never in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.9999999"] {
        assert_eq!(instant(never), Some(jiff::Timestamp::MAX), "{never}");
    }
    let day = "2027-06-30T00:00:00Z".parse().unwrap();
    for text in [
        "2027-06-30",
        "2027/06/30",
        "20270630",
        "30.06.2027",
        "30 Jun 2027",
        "June 30, 2027",
    ] {
        assert_eq!(instant_in_utc(text), Some(day), "{text:?}");
        assert_eq!(instant(text), None, "{text:?}");
    }
    for text in [
        "",
        "tomorrow",
        "next year",
        "3600",
        "06/07/2027",
        "99/99/9999 99:99:99",
        "-1",
        "1e30",
    ] {
        assert_eq!(instant_in_utc(text), None, "{text:?}");
    }
}

#[test]
fn a_number_that_64_bits_do_not_hold_is_its_text_and_costs_no_other_field() {
    let read = object(br#"{"a":"x","n":1e400,"o":{"m":-1e999},"l":[1e400],"b":2}"#).unwrap();
    assert_eq!(
        Value::Object(read),
        json!({ "a": "x", "n": "1e400", "o": null, "l": null, "b": 2 })
    );
    let written = super::written_fields(br#"{"n":1e400,"b":2.50}"#).unwrap();
    assert_eq!((written["n"].get(), written["b"].get()), ("1e400", "2.50"));
    // A text that is not JSON is still refused.
    for text in [
        r#"{"n":1e400"#,
        r#"{"n":1e400,}"#,
        r#"{"n":1e}"#,
        r#"{"n":01}"#,
        r#"{"n":1e400}x"#,
    ] {
        assert!(object(text.as_bytes()).is_err(), "{text}");
        assert!(super::written_fields(text.as_bytes()).is_none(), "{text}");
    }
}
