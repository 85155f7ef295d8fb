//! The ways to send a client secret, or to sign with it.

use super::*;

#[test]
fn basic_encodes_both_halves_as_a_form_does_but_with_percent_20() {
    let change = json!({ "client": { "id": "client:1 é" } });
    let credential = credential(&oauth2(&json!({ "basic": {} })), &change);
    let request = built(&credential, ODD);
    let expected = "client%3A1%20%C3%A9:a%3Ab%25c%2Bd%2Fe%3Df%C3%A9%20%26%7E";
    assert_eq!(
        headers(&request)[1],
        (
            "authorization",
            format!("Basic {}", STANDARD.encode(expected))
        )
    );
    // Only one method: the secret and the id are not also in the body (RFC 6749 section 2.3.1).
    assert_eq!(
        body(&request),
        "grant_type=client_credentials&scope=https%3A%2F%2Fapi.example.com%2F.default"
    );
    assert_eq!(request.url.as_str(), "https://i.example.com/t?a=b");
}

#[test]
fn raw_basic_leaves_both_halves_as_they_are() {
    let credential = credential(
        &oauth2(&json!({ "basic": { "encoding": "Raw" } })),
        &json!({}),
    );
    let expected = format!("Basic {}", STANDARD.encode(format!("client-1:{ODD}")));
    assert_eq!(
        headers(&built(&credential, ODD))[1],
        ("authorization", expected)
    );
}

#[test]
fn a_secret_that_signs_is_not_sent() {
    let odd = &ODD.repeat(4);
    for (name, hash) in [
        ("HS256", hmac::HMAC_SHA256),
        ("HS384", hmac::HMAC_SHA384),
        ("HS512", hmac::HMAC_SHA512),
    ] {
        let how = json!({ "secretJwt": { "algorithm": name } });
        let request = built(&credential(&oauth2(&how), &json!({})), odd);
        assert!(headers(&request).iter().all(|(n, _)| *n != "authorization"));
        let fields: BTreeMap<String, String> =
            url::form_urlencoded::parse(body(&request).as_bytes())
                .into_owned()
                .collect();
        assert!(!fields.contains_key("client_secret"), "{name}");
        assert_eq!(fields["client_id"], "client-1");
        assert_eq!(
            fields["client_assertion_type"],
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        );
        let (message, signature) = fields["client_assertion"].rsplit_once('.').unwrap();
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        // The key is the text of the secret, byte by byte.
        let key = hmac::Key::new(hash, odd.as_bytes());
        hmac::verify(&key, message.as_bytes(), &decode(signature)).unwrap();
        let (header, claims) = message.split_once('.').unwrap();
        let header: Value = serde_json::from_slice(&decode(header)).unwrap();
        assert_eq!(header, json!({ "alg": name, "typ": "JWT" }));
        let claims: Value = serde_json::from_slice(&decode(claims)).unwrap();
        let now = at(0).as_second();
        assert_eq!(
            claims,
            json!({
                "iss": "client-1", "sub": "client-1", "aud": "https://i.example.com/t?a=b", "jti": "1-id",
                "iat": now - 30, "nbf": now - 30, "exp": now + 60,
            })
        );
        assert_eq!(
            SentSecrets::of(&request).method(),
            Some("client_secret_jwt")
        );
    }
}

#[test]
fn a_secret_that_signs_is_as_long_as_the_hash() {
    let jwt = |algorithm: Value| json!({ "secretJwt": { "algorithm": algorithm } });
    for (how, name, least) in [
        (jwt(Value::Null), "HS256", 32),
        (jwt(json!("HS256")), "HS256", 32),
        (jwt(json!("HS384")), "HS384", 48),
        (jwt(json!("HS512")), "HS512", 64),
        (json!({ "post": {} }), "", 1),
        (json!({ "basic": {} }), "", 1),
    ] {
        let credential = credential(&oauth2(&how), &json!({}));
        built(&credential, &"s".repeat(least));
        // Bytes count, not characters.
        built(&credential, &"\u{e9}".repeat(least.div_ceil(2)));
        if name.is_empty() {
            continue;
        }
        let endpoint = known_endpoint(&credential).unwrap();
        let moment = RequestContext {
            now: at(0),
            request_id: "0-id",
            assertion_id: "1-id",
        };
        let short = Material::Secret(SecretString::from("s".repeat(least - 1)));
        let refused = request(&credential, &endpoint, &short, &[], moment);
        let Err(refused) = refused else {
            panic!("{name} signs with {} bytes", least - 1);
        };
        assert_eq!(refused.reason, Reason::ClientSecretInvalid);
        assert!(refused.about_client, "another one of the list is tried");
        let message = refused.message();
        for expected in [name, &format!("the {least} bytes"), "clientAuthentication"] {
            assert!(message.contains(expected), "{message}");
        }
    }
}

#[test]
fn post_sends_the_secret_in_the_body_and_no_authorization() {
    let request = built(
        &credential(&oauth2(&json!({ "post": {} })), &json!({})),
        ODD,
    );
    assert_eq!(
        body(&request),
        "grant_type=client_credentials&client_id=client-1&client_secret=a%3Ab%25c%2Bd%2Fe%3Df%C3%A9+%26%7E\
         &scope=https%3A%2F%2Fapi.example.com%2F.default"
    );
    assert_eq!(
        headers(&request),
        [("accept", "application/json".to_owned())]
    );
}

#[test]
fn a_client_secret_is_taken_as_it_is_but_for_one_line_end() {
    let max = "x".repeat(64 * 1024);
    let too_long = "x".repeat(64 * 1024 + 1);
    let line = "PHNhbWw+".repeat(9);
    let saml = format!("{line}\n{line}\nPHNhbWw=\n");
    let windows = saml.replace('\n', "\r\n");
    let blank = format!("{line}\n\n{line}");
    let notes = format!("{line}\n{line} and a note\n{line}");
    #[rustfmt::skip]
    let cases: [(&[u8], Result<&str, &str>); 26] = [
        (b"secret", Ok("secret")),
        (b"secret\n", Ok("secret")),
        (b"secret\r\n", Ok("secret")),
        (b" secret ", Ok(" secret ")),
        (ODD.as_bytes(), Ok(ODD)),
        (max.as_bytes(), Ok(&max)),
        (b"", Err("is empty")),
        (b"\n", Err("is empty")),
        (b"\r\n", Err("is empty")),
        (b"secret\n\n", Err("line break")),
        (b"secret\r", Err("line break")),
        (b"two\nlines", Err("line break")),
        (b"tab\there", Err("control character")),
        (b"nul\0", Err("control character")),
        (b"\xff\xfe", Err("UTF-8")),
        (b"p\xe4ss", Err("is not UTF-8: line 1")),
        (b"\xff\xfes\0e\0", Err("is UTF-16, as PowerShell")),
        (b"s\0e\0c\0", Err("is UTF-16, as PowerShell")),
        (b"-----BEGIN PRIVATE KEY-----\nMAA=\n", Err("is PEM")),
        (saml.as_bytes(), Err("one line (base64 -w0 FILE)")),
        (saml.trim_end().as_bytes(), Err("one line (base64 -w0 FILE)")),
        (windows.as_bytes(), Err("one line (base64 -w0 FILE)")),
        // Several values, and a text.
        (b"c2VjcmV0\nc2VjcmV0", Err("store only the value")),
        (notes.as_bytes(), Err("store only the value")),
        (blank.as_bytes(), Err("store only the value")),
        (too_long.as_bytes(), Err("64 KiB")),
    ];
    for (bytes, expected) in cases {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]);
        match (Material::from_secret_bytes(bytes), expected) {
            (Ok(Material::Secret(secret)), Ok(text)) => {
                assert_eq!(secret.expose_secret(), text, "{shown}");
            }
            (Err(problem), Err(expected_part)) => {
                assert!(problem.contains(expected_part), "{shown}: {problem}");
                assert!(
                    !problem.contains("secret\n") && !problem.contains("lines"),
                    "{problem}"
                );
            }
            (Ok(_), Ok(_)) => panic!("{shown} became something else"),
            (Ok(_), Err(expected_part)) => panic!("{shown} passed, though: {expected_part}"),
            (Err(problem), Ok(_)) => panic!("{shown}: {problem}"),
        }
    }
}
