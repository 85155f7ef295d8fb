use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use proptest::prelude::*;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::{
    api::TargetKey,
    fixtures::{at, credential_with, token},
    oauth::{LifetimeSource, Omitted, Token},
    publish::{data, has_fields, recover, template},
};

fn keys(list: &Value) -> Vec<TargetKey> {
    credential_with(&json!({ "target": { "keys": list } }))
        .target
        .keys
}

fn texts(data: &BTreeMap<String, ByteString>) -> BTreeMap<&str, String> {
    data.iter()
        .map(|(k, v)| (k.as_str(), String::from_utf8(v.0.clone()).unwrap()))
        .collect()
}

fn one(token: &Token, key: &Value) -> Result<String, String> {
    let data = data(token, &keys(&json!([key])))?;
    assert_eq!(data.len(), 1, "{key}");
    Ok(texts(&data).into_values().next().unwrap())
}

fn static_key(text: &str) -> Token {
    Token {
        token_type: "Token".to_owned(),
        lifetime_source: LifetimeSource::Static,
        ..token(text)
    }
}

#[test]
fn if_not_set_the_keys_are_these_four_without_a_line_end() {
    let mut token = token("t0ken");
    token.scope = Some("a b".to_owned());
    token.instance_url = Some("https://na1.example.com".to_owned());
    let data = data(&token, &credential_with(&json!({})).target.keys).unwrap();
    let files = texts(&data);
    let names: Vec<&str> = files.keys().copied().collect();
    assert_eq!(names, ["expires_at", "token", "token.json", "token_type"]);
    assert_eq!(files["token"], "t0ken");
    assert_eq!(files["token_type"], "Bearer");
    assert_eq!(files["expires_at"], at(3600).to_string());
    assert!(files.values().all(|f| !f.ends_with(['\n', '\r'])));
    let whole: Value = serde_json::from_str(&files["token.json"]).unwrap();
    assert_eq!(
        whole,
        json!({
            "access_token": "t0ken", "token_type": "Bearer", "issued_at": at(0).to_string(),
            "expires_at": at(3600).to_string(), "scope": "a b", "instance_url": "https://na1.example.com"
        })
    );
}

#[test]
fn each_format_is_these_bytes() {
    let end = at(3600).to_string();
    #[rustfmt::skip]
    let cases = [
        (json!({ "format": "Token" }), "token", "t.0-k_n".to_owned()),
        (json!({ "format": "TokenType" }), "token_type", "Bearer".to_owned()),
        (json!({ "format": "ExpiresAt" }), "expires_at", end.clone()),
        (json!({ "format": "Authorization" }), "authorization", "Bearer t.0-k_n".to_owned()),
        (json!({ "format": "Header" }), "header", "Authorization: Bearer t.0-k_n\n".to_owned()),
        (json!({ "format": "DotEnv" }), ".env", "ACCESS_TOKEN=t.0-k_n\n".to_owned()),
        (json!({ "format": "DotEnv", "variable": "API_TOKEN", "key": "api.env" }), "api.env", "API_TOKEN=t.0-k_n\n".to_owned()),
        (json!({ "format": "Netrc", "host": "git.example.com" }), ".netrc", "machine git.example.com login oauth2 password t.0-k_n\n".to_owned()),
        (json!({ "format": "Netrc", "host": "git.example.com", "username": "bot" }), ".netrc", "machine git.example.com login bot password t.0-k_n\n".to_owned()),
        (json!({ "format": "DockerConfig", "host": "registry.example.com" }), ".dockerconfigjson",
            r#"{"auths":{"registry.example.com":{"auth":"b2F1dGgyOnQuMC1rX24=","password":"t.0-k_n","username":"oauth2"}}}"#.to_owned()),
        (json!({ "format": "CurlConfig" }), "curlrc", "header = \"Authorization: Bearer t.0-k_n\"\n".to_owned()),
        (json!({ "format": "ExecCredential" }), "exec-credential.json",
            format!(r#"{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"expirationTimestamp":"{end}","token":"t.0-k_n"}}}}"#)),
    ];
    for (key, name, expected) in cases {
        let data = data(&token("t.0-k_n"), &keys(&json!([key]))).unwrap();
        assert_eq!(texts(&data), BTreeMap::from([(name, expected)]), "{key}");
    }
}

#[test]
fn a_static_key_has_its_scheme_and_no_end() {
    let usual = credential_with(&json!({})).target.keys;
    let data = data(&static_key("k"), &usual).unwrap();
    let files = texts(&data);
    assert_eq!(
        files.keys().copied().collect::<Vec<_>>(),
        ["token", "token.json", "token_type"]
    );
    assert_eq!(files["token_type"], "Token");
    assert!(!files["token.json"].contains("expires_at"));
    let header = one(&static_key("k"), &json!({ "format": "Header" })).unwrap();
    assert_eq!(header, "Authorization: Token k\n");
    let plugin = one(&static_key("k"), &json!({ "format": "ExecCredential" })).unwrap();
    assert!(!plugin.contains("expirationTimestamp"));
}

#[test]
fn odd_tokens_are_quoted_as_the_readers_want_it_or_refused() {
    let env = json!({ "format": "DotEnv" });
    let net = json!({ "format": "Netrc", "host": "h" });
    let long = "x".repeat(4096);
    #[rustfmt::skip]
    let cases = [
        (&env, "a b", Ok("ACCESS_TOKEN='a b'\n")),
        (&env, "a$b", Ok("ACCESS_TOKEN='a$b'\n")),
        (&env, "a#b", Ok("ACCESS_TOKEN='a#b'\n")),
        (&env, "a\"b", Ok("ACCESS_TOKEN='a\"b'\n")),
        (&env, "a~b", Ok("ACCESS_TOKEN=a~b\n")),
        (&env, "~ab", Ok("ACCESS_TOKEN='~ab'\n")),
        (&env, "a:~b", Ok("ACCESS_TOKEN='a:~b'\n")),
        (&env, " a ", Ok("ACCESS_TOKEN=' a '\n")),
        (&env, "a'b", Err("DotEnv")),
        (&env, "a\\b", Err("DotEnv")),
        (&env, "a${b}", Err("DotEnv")),
        (&net, "a#b", Ok("machine h login oauth2 password a#b\n")),
        (&net, "#ab", Err("Netrc")),
        (&net, "x y", Err("Netrc")),
        (&net, "a\"b", Err("Netrc")),
        (&net, "a\\b", Err("Netrc")),
        (&net, &long, Err("Netrc")),
        (&json!({ "format": "Authorization" }), "odd ", Err("Authorization")),
        (&json!({ "format": "Header" }), " odd", Err("Header")),
        (&json!({ "format": "ExecCredential" }), "odd ", Err("ExecCredential")),
        (&json!({ "format": "CurlConfig" }), "odd ", Err("CurlConfig")),
        (&json!({ "format": "Token" }), " a ", Ok(" a ")),
    ];
    for (key, text, expected) in cases {
        match (one(&token(text), key), expected) {
            (Ok(made), Ok(expected)) => assert_eq!(made, expected),
            (Err(problem), Err(format)) => {
                assert!(
                    problem.contains(format) && problem.contains("spec.target.keys"),
                    "{problem}"
                );
                assert!(!problem.contains(text), "{problem}");
            }
            (made, _) => panic!("{text}: {made:?}"),
        }
    }
    let quoted = one(&token("a\"b\\c"), &json!({ "format": "CurlConfig" })).unwrap();
    assert_eq!(quoted, "header = \"Authorization: Bearer a\\\"b\\\\c\"\n");
}

proptest! {
    #[test]
    fn a_token_is_read_back_from_each_format_that_contains_it(
        text in "[!-~][ -~]{0,60}[!-~]",
        format in prop::sample::select(vec!["Token", "Json", "Authorization", "Header", "ExecCredential", "DockerConfig", "Netrc", "DotEnv", "CurlConfig"]),
    ) {
        let host = matches!(format, "DockerConfig" | "Netrc").then_some("h");
        let text = match format {
            "Netrc" => text.replace([' ', '"', '\\', '#'], "-"),
            "DotEnv" => text.replace(['\'', '\\', '$'], "-"),
            _ => text,
        };
        let credential = credential_with(&json!({ "target": { "keys": [{ "format": "TokenType" }, { "format": format, "key": "a=b.c", "host": host }] } }));
        let template = template(&credential);
        let mut given = token(&text);
        given.secret = SecretString::from(text.as_str());
        let data = data(&given, &template.keys).unwrap();
        let found = recover(&data, &template.keys().data).map(|r| r.secret.expose_secret().to_owned());
        prop_assert_eq!(found, Some(text));
    }
}

#[test]
fn what_does_not_fit_into_a_secret_is_reported_before_it_is_sent() {
    let keys = |count: usize| {
        let key = |i| json!({ "format": "Token", "key": format!("k{i}") });
        keys(&(0..count).map(key).collect())
    };
    let token = token(&"x".repeat(256 * 1024));
    assert_eq!(data(&token, &keys(4)).unwrap().len(), 4);
    let problem = data(&token, &keys(5)).unwrap_err();
    assert!(
        problem.contains("1 MiB") && problem.contains("spec.target.keys"),
        "{problem}"
    );
}

#[test]
fn formats_without_the_token_are_not_read_back() {
    for format in ["TokenType", "ExpiresAt"] {
        let credential = credential_with(&json!({ "target": { "keys": [{ "format": format }] } }));
        let template = template(&credential);
        let data = data(&token("t"), &template.keys).unwrap();
        assert!(recover(&data, &template.keys().data).is_none(), "{format}");
    }
}

#[test]
fn a_field_of_the_answer_is_a_file_and_is_read_back() {
    let list = json!([
        { "format": "Token" }, { "format": "AnswerField", "key": "id", "field": "id_token" },
        { "format": "AnswerField", "key": "place", "field": "instance_url" },
    ]);
    let mut token = token("t0ken");
    for (name, value) in [
        ("id_token", "e30.e30.x"),
        ("instance_url", "https://a.example"),
        ("more", "m"),
    ] {
        let value = SecretString::from(value);
        token.answer.insert(name.to_owned(), value);
    }
    let credential = credential_with(&json!({ "target": { "keys": list } }));
    let keys = &credential.target.keys;
    let written = data(&token, keys).unwrap();
    let files = texts(&written);
    assert_eq!(
        (files["id"].as_str(), files["place"].as_str(), files.len()),
        ("e30.e30.x", "https://a.example", 3)
    );
    let noted = template(&credential).keys().data;
    assert!(
        noted.contains(&"id=AnswerField:id_token".to_owned()),
        "{noted:?}"
    );
    let recovered = recover(&written, &noted).unwrap();
    assert!(has_fields(&recovered.answer, keys));
    assert_eq!(recovered.answer["id_token"].expose_secret(), "e30.e30.x");
    assert!(!recovered.answer.contains_key("more"), "it has no file");
    // Another field of the same file is another format.
    let other =
        json!([{ "format": "Token" }, { "format": "AnswerField", "key": "id", "field": "more" }]);
    let other = credential_with(&json!({ "target": { "keys": other } }));
    assert!(template(&other).has_other_formats(&template(&credential).digest()));
    assert!(!has_fields(&recovered.answer, &other.target.keys));
    token.answer.clear();
    let reported = data(&token, keys).unwrap_err();
    assert!(
        reported.contains("the issuer's answer has no field id_token"),
        "{reported}"
    );
    for (why, expected, step) in [
        (
            Omitted::RefreshToken,
            "is the refresh token",
            "select another field",
        ),
        (Omitted::Boolean, "is true or false", "select another field"),
        (Omitted::Object, "is an object", "select another field"),
        (Omitted::List, "is a list", "select another field"),
        (Omitted::Null, "is null", "configure the issuer"),
        (Omitted::Empty, "is an empty text", "configure the issuer"),
        (Omitted::Long, "is longer than 32 KiB", "request less"),
        (
            Omitted::Many,
            "is not among the first 64",
            "select another field",
        ),
    ] {
        token.omitted.insert("id_token".to_owned(), why);
        let reported = data(&token, keys).unwrap_err();
        assert!(
            reported.contains("the field id_token of the issuer's answer"),
            "{reported}"
        );
        assert!(
            reported.contains(expected) && reported.contains(step),
            "{reported}"
        );
    }
}

#[test]
fn fields_of_the_answer_are_refused_with_a_message() {
    use crate::{
        credential::{IssuerLookup, parse},
        fixtures::{issuer, object},
    };
    let reported = |change: Value| {
        let parsed = parse(&object(&change), |_| IssuerLookup::Found(issuer()));
        let faults = parsed.expect_err("a faulty spec");
        faults[0].to_string()
    };
    for key in [
        json!({ "format": "AnswerField", "key": "f" }),
        json!({ "format": "Token", "field": "id_token" }),
        json!({ "format": "AnswerField", "key": "f", "field": "refresh_token" }),
        json!({ "format": "AnswerField", "key": "f", "field": "Refresh-Token" }),
    ] {
        let reported = reported(json!({ "target": { "keys": [key] } }));
        assert!(
            reported.contains("spec.target.keys[0].field"),
            "{key}: {reported}"
        );
    }
    let fixed = json!({
        "issuerRef": null, "client": null, "scopes": null, "static": { "tokenRef": { "name": "s", "key": "k" } },
        "target": { "keys": [{ "format": "AnswerField", "key": "f", "field": "id_token" }] },
    });
    assert!(reported(fixed).contains("a static key has no answer"));
}

#[test]
fn a_jwt_in_a_field_that_has_expired_is_not_published() {
    let key = json!({ "format": "AnswerField", "field": "id_token", "key": "id" });
    let mut token = token("t");
    token.answer = [("id_token".to_owned(), SecretString::from("a.b.c"))].into();
    for (end, is_published) in [(3599, true), (1, true), (0, false), (-60, false)] {
        token.ends = [("id_token".to_owned(), at(end))].into();
        let written = one(&token, &key);
        assert_eq!(written.is_ok(), is_published, "{end}: {written:?}");
        if let Err(why) = written {
            assert!(why.contains("field id_token"), "{why}");
            assert!(why.contains("has expired (its claim exp)"), "{why}");
        }
    }
    token.answer.clear();
    token.ends.clear();
    let why = one(&token, &key).unwrap_err();
    assert!(why.contains("never with a refresh"), "{why}");
}
