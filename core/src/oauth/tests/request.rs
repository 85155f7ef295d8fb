use aws_lc_rs::hmac;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::{
    Reason,
    credential::{Credential, Issuer, IssuerLookup, SecretStyle, parse},
    fixtures::{at, cluster_issuer, object},
    oauth::{Material, Moment, SentSecrets, TokenEndpoint, TokenRequest, known_endpoint, request},
};

/// A secret with all unusual characters that were seen.
const ODD: &str = "a:b%c+d/e=f\u{e9} &~";

fn credential(issuer: &Value, change: &Value) -> Credential {
    let issuer = Issuer::cluster(&cluster_issuer(issuer)).unwrap();
    parse(&object(change), |_| IssuerLookup::Found(issuer)).unwrap()
}

fn built(credential: &Credential, secret: &str) -> TokenRequest {
    let endpoint = known_endpoint(credential).unwrap();
    made(credential, &endpoint, secret)
}

fn made(credential: &Credential, endpoint: &TokenEndpoint, secret: &str) -> TokenRequest {
    let moment = Moment {
        now: at(0),
        request_id: "0-id",
        assertion_id: "1-id",
    };
    let material = Material::Secret(SecretString::from(secret));
    match request(credential, endpoint, &material, &[], moment) {
        Ok(request) => request,
        Err(token_error) => panic!("{token_error:?}"),
    }
}

fn headers(request: &TokenRequest) -> Vec<(&'static str, String)> {
    request
        .headers
        .iter()
        .map(|(n, v)| (*n, v.expose_secret().to_owned()))
        .collect()
}

fn body(request: &TokenRequest) -> &str {
    request.body.expose_secret()
}

fn oauth2(authentication: &Value) -> Value {
    json!({ "oauth2": { "tokenUrl": "https://i.example.com/t?a=b", "clientAuthentication": authentication } })
}

#[test]
fn the_entra_v2_request_is_these_bytes() {
    let issuer = json!({ "entra": { "tenantId": "contoso.onmicrosoft.com" } });
    let request = built(&credential(&issuer, &json!({})), "s3cret~");
    assert_eq!(
        request.url.as_str(),
        "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token"
    );
    assert_eq!(
        body(&request),
        "grant_type=client_credentials&client_id=client-1&client_secret=s3cret%7E\
         &scope=https%3A%2F%2Fapi.example.com%2F.default"
    );
    assert_eq!(
        headers(&request),
        [
            ("accept", "application/json".to_owned()),
            ("client-request-id", "0-id".to_owned())
        ]
    );
}

#[test]
fn the_entra_v1_request_goes_to_the_other_endpoint_with_a_resource() {
    let issuer =
        json!({ "entra": { "tenantId": "t", "authorityHost": "https://login.example.com:8443" } });
    let change = json!({ "scopes": null, "resources": ["https://api.example.com/"] });
    let request = built(&credential(&issuer, &change), "s");
    assert_eq!(
        request.url.as_str(),
        "https://login.example.com:8443/t/oauth2/token"
    );
    assert_eq!(
        body(&request),
        "grant_type=client_credentials&client_id=client-1&client_secret=s&resource=https%3A%2F%2Fapi.example.com%2F"
    );
}

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
        let moment = Moment {
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
        let said = refused.message();
        for words in [name, &format!("the {least} bytes"), "clientAuthentication"] {
            assert!(said.contains(words), "{said}");
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
fn scopes_resource_audience_and_parameters_are_sent_each_once_and_encoded() {
    let change = json!({
        "scopes": ["read", "write:all"], "resources": ["urn:r", "urn:s"], "audience": "urn:a&b=c",
        "parameters": [{ "name": "claims", "value": "{\"a\":1}" }, { "name": "tenant&x", "value": "y=z" }]
    });
    let request = built(&credential(&oauth2(&json!({ "post": {} })), &change), "s");
    assert_eq!(
        body(&request),
        "grant_type=client_credentials&client_id=client-1&client_secret=s&scope=read+write%3Aall&resource=urn%3Ar&resource=urn%3As\
         &audience=urn%3Aa%26b%3Dc&claims=%7B%22a%22%3A1%7D&tenant%26x=y%3Dz"
    );
}

#[test]
fn values_of_secrets_follow_the_other_parameters_and_what_the_grant_needs() {
    let of =
        |name: &str, key: &str| json!({ "name": name, "secretRef": { "name": "s", "key": key } });
    let reference = json!({ "name": "source", "key": "k" });
    let change = json!({
        "parameters": [of("z&", "1"), { "name": "plain", "value": "p" }, of("a", "2")],
        "scopes": null, "grant": { "jwtBearer": { "assertionRef": reference } },
    });
    let credential = credential(&oauth2(&json!({ "post": {} })), &change);
    let inputs = credential.grant_sources();
    let keys: Vec<&str> = inputs.iter().map(|input| input.key.as_str()).collect();
    assert_eq!(keys, ["k", "2", "1"], "the grant's first, then by name");
    let moment = Moment {
        now: at(0),
        request_id: "0-id",
        assertion_id: "1-id",
    };
    let grant_inputs = ["jwt", "for a", "for&z"].map(SecretString::from);
    let Ok(request) = request(
        &credential,
        &known_endpoint(&credential).unwrap(),
        &Material::Secret(SecretString::from("s")),
        &grant_inputs,
        moment,
    ) else {
        panic!("a request");
    };
    assert_eq!(
        body(&request),
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&client_id=client-1&client_secret=s\
         &assertion=jwt&plain=p&a=for+a&z%26=for%26z"
    );
}

#[test]
fn no_parameter_is_sent_twice() {
    let reference = json!({ "name": "source", "key": "k" });
    let token_type = "urn:ietf:params:oauth:token-type:jwt";
    let subject = json!({ "secretRef": reference, "tokenType": token_type });
    let exchange =
        json!({ "subject": subject, "actor": subject, "requestedTokenType": token_type });
    for grant in [
        json!({ "clientCredentials": {} }),
        json!({ "refreshToken": { "secretRef": reference } }),
        json!({ "jwtBearer": { "assertionRef": reference } }),
        json!({ "tokenExchange": exchange }),
        json!({ "password": { "username": "u", "passwordRef": reference } }),
    ] {
        let spec = json!({ "grant": grant, "audience": "a", "resources": ["urn:r"] });
        let mut credential = credential(&oauth2(&json!({ "post": {} })), &spec);
        let names = |credential: &Credential| -> Vec<String> {
            let endpoint = known_endpoint(credential).unwrap();
            let moment = Moment {
                now: at(0),
                request_id: "0-id",
                assertion_id: "1-id",
            };
            let material = Material::Secret(SecretString::from("s"));
            let grant_inputs = [SecretString::from("one"), SecretString::from("two")];
            let Ok(request) = request(credential, &endpoint, &material, &grant_inputs, moment)
            else {
                panic!("a request");
            };
            let pairs = url::form_urlencoded::parse(body(&request).as_bytes());
            assert!(!body(&request).contains("further"), "a field was replaced");
            pairs.map(|(name, _)| name.into_owned()).collect()
        };
        let own = names(&credential);
        assert!(own.len() > 3, "{own:?}");
        for name in &own {
            let further = (name.clone(), "further".to_owned());
            credential.request.parameters.extend([further]);
        }
        assert_eq!(names(&credential), own, "{grant}");
    }
}

#[test]
fn no_scope_is_sent_as_no_parameter() {
    let request = built(
        &credential(&oauth2(&json!({ "basic": {} })), &json!({ "scopes": null })),
        "s",
    );
    assert_eq!(body(&request), "grant_type=client_credentials");
}

#[test]
fn a_discovered_endpoint_is_used_as_it_was_found() {
    let oidc = json!({ "oidc": { "issuerUrl": "https://i.example.com" } });
    let credential = credential(&oidc, &json!({}));
    assert_eq!(known_endpoint(&credential), None);
    let endpoint = TokenEndpoint::bare(
        "https://t.example.com/x/".parse().unwrap(),
        SecretStyle::Post,
    );
    let request = made(&credential, &endpoint, "s");
    assert_eq!(request.url.as_str(), "https://t.example.com/x/");
    assert!(body(&request).contains("client_secret=s&"));
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
        (b"c2VjcmV0\nc2VjcmV0", Err("store the value alone")),
        (notes.as_bytes(), Err("store the value alone")),
        (blank.as_bytes(), Err("store the value alone")),
        (too_long.as_bytes(), Err("64 KiB")),
    ];
    for (bytes, expected) in cases {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]);
        match (Material::from_secret_bytes(bytes), expected) {
            (Ok(Material::Secret(secret)), Ok(text)) => {
                assert_eq!(secret.expose_secret(), text, "{shown}");
            }
            (Err(problem), Err(word)) => {
                assert!(problem.contains(word), "{shown}: {problem}");
                assert!(
                    !problem.contains("secret\n") && !problem.contains("lines"),
                    "{problem}"
                );
            }
            (Ok(_), Ok(_)) => panic!("{shown} became something else"),
            (Ok(_), Err(word)) => panic!("{shown} passed, though: {word}"),
            (Err(problem), Ok(_)) => panic!("{shown}: {problem}"),
        }
    }
}
