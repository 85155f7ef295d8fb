//! What clients sign: assertions with certificates and keys, and with the key file of Google.

use super::*;
use crate::oauth::{signing_key::Curve, tests::client_key::ec_jwk};

/// Header and claims of a JWT, after its signature was checked.
fn opened(
    jwt: &str,
    algorithm: &'static dyn VerificationAlgorithm,
    public: &[u8],
) -> (Value, Value) {
    let (message, signature) = jwt.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(algorithm, public)
        .verify(message.as_bytes(), &signature)
        .unwrap();
    let (header, claims) = message.split_once('.').unwrap();
    let part = |text: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
    (part(header), part(claims))
}

/// Issuer, client, key, the algorithm and the public key for the check, the header, the audience.
type SignedCase<'a> = (
    Value,
    Value,
    &'a Material,
    &'static dyn VerificationAlgorithm,
    &'a [u8],
    Value,
    &'a str,
);

#[test]
fn client_assertions_have_exactly_these_claims() {
    let (rsa, rsa_public) = identity(true);
    let (s256, sha1) = (rsa.thumbprint_s256(), rsa.thumbprint_sha1());
    let rsa = Material::Signer(Box::new(rsa), 0);
    let (ec, ec_public) = identity(false);
    let ec = Material::Signer(Box::new(ec), 0);
    let v2 = "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token";
    let v1 = "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/token";
    let elsewhere = "https://as.example.com/token";
    #[rustfmt::skip]
    let cases: [SignedCase<'_>; 8] = [
        (entra(), json!({ "certificates": [{ "secretName": "t" }] }), &rsa, &RSA_PSS_2048_8192_SHA256, &rsa_public,
            json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": s256 }), v2),
        (entra(), json!({ "certificates": [{ "secretName": "t", "algorithm": "RS256" }] }), &rsa, &RSA_PKCS1_2048_8192_SHA256, &rsa_public,
            json!({ "alg": "RS256", "typ": "JWT", "x5t": sha1 }), v1),
        (oauth2(&NONE), json!({ "certificates": [{ "secretName": "t", "keyId": "k1" }] }), &rsa, &RSA_PKCS1_2048_8192_SHA256, &rsa_public,
            json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }), elsewhere),
        (oauth2(&NONE), json!({ "certificates": [{ "secretName": "t", "algorithm": "PS256" }] }), &rsa, &RSA_PSS_2048_8192_SHA256, &rsa_public,
            json!({ "alg": "PS256", "typ": "JWT" }), elsewhere),
        (oauth2(&NONE), json!({ "certificates": [{ "secretName": "t", "keyId": "16" }] }), &ec, &ECDSA_P256_SHA256_FIXED, &ec_public,
            json!({ "alg": "ES256", "typ": "JWT", "kid": "16" }), elsewhere),
        (oauth2(&NONE), json!({ "certificates": [{ "secretName": "t", "thumbprint": "Sha256" }] }), &rsa, &RSA_PKCS1_2048_8192_SHA256, &rsa_public,
            json!({ "alg": "RS256", "typ": "JWT", "x5t#S256": s256 }), elsewhere),
        (oauth2(&NONE), json!({ "certificates": [{ "secretName": "t", "thumbprint": "Sha1" }] }), &rsa, &RSA_PKCS1_2048_8192_SHA256, &rsa_public,
            json!({ "alg": "RS256", "typ": "JWT", "x5t": sha1 }), elsewhere),
        (entra(), json!({ "certificates": [{ "secretName": "t", "thumbprint": "Sha1" }] }), &rsa, &RSA_PSS_2048_8192_SHA256, &rsa_public,
            json!({ "alg": "PS256", "typ": "JWT", "x5t": sha1 }), v2),
    ];
    for (issuer, client, material, algorithm, public, header, audience) in cases {
        let mut change = json!({ "client": { "secrets": NONE } });
        crate::fixtures::merge(&mut change["client"], &client);
        change["client"]["secrets"] = NONE;
        if audience == v1 {
            change["scopes"] = NONE;
            change["resources"] = json!(["api://x"]);
        }
        let request = made(&credential(&issuer, &change), material, &[]);
        let sent = pairs(&request);
        let names: Vec<&str> = sent.iter().map(|(k, _)| k.as_str()).collect();
        assert_eq!(
            names[..4],
            [
                "grant_type",
                "client_id",
                "client_assertion_type",
                "client_assertion"
            ]
        );
        assert_eq!(
            sent[2].1,
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        );
        let (seen, claims) = opened(&sent[3].1, algorithm, public);
        assert_eq!(seen, header);
        // A little in the past, so that a clock that is ahead does no harm. Elsewhere than at Entra ID there are limits: 120
        // s from `iat`, and 60 s from now.
        let lifetime = if audience == elsewhere { 60 } else { 300 };
        let span = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert!(audience != elsewhere || span <= 120, "{span}");
        assert_eq!(
            claims,
            json!({
                "iss": "client-1", "sub": "client-1", "aud": audience, "jti": "assertion-id",
                "iat": NOW - 30, "nbf": NOW - 30, "exp": NOW + lifetime,
            })
        );
        assert_eq!(request.url.as_str(), audience);
    }
}

#[test]
fn each_request_has_a_new_signature() {
    let (identity, _) = identity(true);
    let material = Material::Signer(Box::new(identity), 0);
    let change = json!({ "client": { "secrets": NONE, "certificates": [{ "secretName": "t" }] } });
    let credential = credential(&entra(), &change);
    let (a, b) = (
        made(&credential, &material, &[]),
        made(&credential, &material, &[]),
    );
    // PSS is salted: even with the same jti, two signatures differ.
    assert_ne!(a.body.expose_secret(), b.body.expose_secret());
}

#[test]
fn keys_come_in_three_forms_and_what_does_not_fit_is_reported() {
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let certificate = CertificateParams::new(Vec::new())
        .unwrap()
        .self_signed(&rsa)
        .unwrap();
    let (pem, key) = (certificate.pem(), rsa.serialize_pem());
    assert!(Identity::from_pem(&pem, &key).is_ok(), "PKCS#8");
    // A PKCS#8 key of these kinds ends with the older form, which cert-manager writes by default.
    let old = |der: &[u8], begin: usize, label: &str| {
        let text = STANDARD.encode(&der[begin..]);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    };
    let pkcs1 = old(rsa.serialized_der(), 26, "RSA PRIVATE KEY");
    assert!(Identity::from_pem(&pem, &pkcs1).is_ok(), "PKCS#1");
    let ec = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let own = CertificateParams::new(Vec::new())
        .unwrap()
        .self_signed(&ec)
        .unwrap();
    let der = ec.serialized_der();
    let begin = der
        .windows(3)
        .position(|w| w == [0x02, 0x01, 0x01])
        .unwrap()
        - 2;
    let sec1 = old(der, begin, "EC PRIVATE KEY");
    let read = Identity::from_pem(&own.pem(), &sec1);
    assert!(read.is_ok(), "SEC 1: {:?}", read.err());
    let other = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    #[rustfmt::skip]
    let cases = [
        (pem.as_str(), other.serialize_pem(), "does not belong"),
        ("nothing", key.clone(), "not PEM"),
        (pem.as_str(), "nothing".to_owned(), "no private key"),
        (pem.as_str(), encrypted.to_owned(), "pass phrase"),
    ];
    for (certificate, key, expected_part) in cases {
        let problem = Identity::from_pem(certificate, &key).err().unwrap();
        assert!(problem.contains(expected_part), "{problem}");
        assert!(!problem.contains("BEGIN"), "{problem}");
    }
    // An RSA key cannot sign ES256, and Entra ID accepts no EC key.
    let change = json!({ "client": { "secrets": NONE, "certificates": [{ "secretName": "t", "algorithm": "ES256" }] } });
    let (identity, _) = identity(true);
    let token_error = build(
        &credential(&entra(), &change),
        &Material::Signer(Box::new(identity), 0),
        &[],
    );
    assert!(
        token_error
            .err()
            .unwrap()
            .next_step
            .to_string()
            .contains("set algorithm to PS256 or RS256")
    );
}

#[test]
fn a_google_key_file_is_signed_for_as_google_wants_it() {
    let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let file = json!({
        "type": "service_account", "private_key_id": "kid-1", "private_key": pair.serialize_pem(),
        "client_email": "a@p.iam.gserviceaccount.com", "token_uri": "https://evil.example.com/",
    })
    .to_string();
    let signed = json!({ "keyRef": { "name": "g", "key": "key.json" } });
    let change = json!({ "client": NONE, "scopes": ["s1", "s2"], "grant": { "jwtBearer": { "signed": signed } } });
    let request = made(
        &credential(&oauth2(&NONE), &change),
        &Material::None,
        &[&file],
    );
    let sent = pairs(&request);
    assert_eq!(sent.len(), 2, "{sent:?}");
    let (header, claims) = opened(
        &sent[1].1,
        &RSA_PKCS1_2048_8192_SHA256,
        pair.public_key_raw(),
    );
    assert_eq!(
        header,
        json!({ "alg": "RS256", "typ": "JWT", "kid": "kid-1" })
    );
    assert_eq!(
        claims,
        json!({
            "iss": "a@p.iam.gserviceaccount.com", "aud": "https://as.example.com/token", "scope": "s1 s2",
            "iat": NOW - 30, "exp": NOW + 60, "jti": "assertion-id-grant",
        })
    );
    // The message about a wrong key file states what it is, and what is missing.
    let key = pair.serialize_pem();
    for (text, reported) in [
        (
            json!({ "type": "service_account", "private_key": key }).to_string(),
            "has no client_email",
        ),
        (
            json!({ "type": "service_account", "client_email": "a@b" }).to_string(),
            "has no private_key",
        ),
        (
            json!({ "type": "authorized_user", "refresh_token": "r" }).to_string(),
            "credentials of a user",
        ),
        (
            json!({ "type": "external_account" }).to_string(),
            "a configuration without a key",
        ),
        (
            r#"{ "type": "service_account", "#.to_owned(),
            "is truncated",
        ),
    ] {
        let problem = build(
            &credential(&oauth2(&NONE), &change),
            &Material::None,
            &[&text],
        );
        let step = problem.err().unwrap().next_step.to_string();
        assert!(
            step.contains(reported) && step.contains("key key.json of Secret g"),
            "{reported}: {step}"
        );
    }
    // A bare key does not contain the issuer of the assertion.
    let bare = pair.serialize_pem();
    let problem = build(
        &credential(&oauth2(&NONE), &change),
        &Material::None,
        &[&bare],
    );
    assert!(
        problem
            .err()
            .unwrap()
            .next_step
            .to_string()
            .contains("signed.issuer")
    );
}

/// A key file that was changed on its way into the Secret.
#[test]
fn a_damaged_key_file_is_named_as_what_it_is() {
    use base64::{Engine, engine::general_purpose::STANDARD};

    let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let pem = pair.serialize_pem();
    let file =
        json!({ "type": "service_account", "private_key": pem, "client_email": "a@p.example" });
    let (file, pretty) = (
        file.to_string(),
        serde_json::to_string_pretty(&file).unwrap(),
    );
    let reference = json!({ "name": "g", "key": "key.json" });
    let of = |issuer: Option<&str>, text: &str| {
        let signed = json!({ "keyRef": reference, "issuer": issuer });
        let change = json!({ "client": NONE, "grant": { "jwtBearer": { "signed": signed } } });
        let built = build(
            &credential(&oauth2(&NONE), &change),
            &Material::None,
            &[text],
        );
        built.map_err(|e| e.next_step.to_string())
    };
    let quoted = json!(file).to_string();
    #[rustfmt::skip]
    let cases = [
        (file.replace("\\n", "\n"), "is not valid JSON (error at line 2, column 0)"),
        (format!("{pretty}\nsecond"), "is not valid JSON (error at line 6, column 1)"),
        (format!("{file},"), "is not valid JSON (error at line 1"),
        (file[..file.len() - 9].to_owned(), "is truncated JSON"),
        (format!("'{file}'"), "is a key file in quotation marks"),
        (format!("\"{file}\""), "is a key file in quotation marks"),
        (quoted, "is a key file in quotation marks"),
        (format!("[{file}]"), "such as brackets"),
        (format!("key: {file}"), "is a key file with other text around it"),
        (STANDARD.encode(&file), "is Base64 of a key file; decode it once"),
        (STANDARD.encode(&pretty), "is Base64 of a key file; decode it once"),
        (STANDARD.encode(&pem), "is base64 of PEM"),
        (pem.clone(), "is a PEM key without an issuer"),
    ];
    for (text, expected) in cases {
        let problem = of(None, &text).err().expect(expected);
        assert!(problem.contains(expected), "{expected}: {problem}");
        assert!(
            problem.starts_with("key key.json of Secret g is "),
            "{problem}"
        );
        assert!(
            !problem.contains("a@p.example") && !problem.contains("MII"),
            "{problem}"
        );
    }
    // With an issuer in the spec, the key is enough, whatever is around it.
    for text in [format!("'{file}'"), format!("[{file}]"), pem] {
        assert!(of(Some("a@p.example"), &text).is_ok());
    }
}

#[test]
fn a_jwk_signs_an_assertion_with_its_own_kid_and_alg() {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut jwk = ec_jwk(&pair, Curve::P256);
    jwk["kid"] = json!("kid-1");
    let reference = json!({ "name": "g", "key": "key.json" });
    let of = |more: Value, text: &str| {
        let mut signed = json!({ "keyRef": reference });
        crate::fixtures::merge(&mut signed, &more);
        let change = json!({ "client": NONE, "scopes": ["s"], "grant": { "jwtBearer": { "signed": signed } } });
        let built = build(
            &credential(&oauth2(&NONE), &change),
            &Material::None,
            &[text],
        );
        built.map_err(|e| e.next_step.to_string())
    };
    let issuer = json!({ "issuer": "me" });
    for text in [
        jwk.to_string(),
        format!("\u{feff} {jwk}"),
        json!({ "keys": [jwk] }).to_string(),
    ] {
        let sent = pairs(&of(issuer.clone(), &text).unwrap());
        let named = |name: &str| sent.iter().find(|(n, _)| n == name).map(|(_, v)| v);
        // Scopes are a claim only with a Google key file.
        assert_eq!(named("scope").map(String::as_str), Some("s"));
        let (header, claims) = opened(
            named("assertion").unwrap(),
            &ECDSA_P256_SHA256_FIXED,
            pair.public_key_raw(),
        );
        assert_eq!(
            header,
            json!({ "alg": "ES256", "typ": "JWT", "kid": "kid-1" })
        );
        assert_eq!(
            (&claims["iss"], &claims["sub"]),
            (&json!("me"), &json!("me"))
        );
    }
    let (mut public, mut other) = (jwk.clone(), jwk.clone());
    public.as_object_mut().unwrap().remove("d");
    other["alg"] = json!("RS256");
    for (text, words) in [
        (public.to_string(), "is a public JWK"),
        (other.to_string(), "is a JWK whose alg is RS256"),
        (
            json!({ "kty": "oct", "k": "c2VjcmV0" }).to_string(),
            "is a symmetric key",
        ),
        (json!({ "a": 1 }).to_string(), "nor a JWK (it has no kty)"),
    ] {
        let problem = of(issuer.clone(), &text).err().expect(words);
        assert!(
            problem.starts_with("key key.json of Secret g is ") && problem.contains(words),
            "{problem}"
        );
    }
    let problem = of(json!({}), &jwk.to_string()).err().unwrap();
    assert!(
        problem.contains("is a JWK without an issuer: set grant.jwtBearer.signed.issuer"),
        "{problem}"
    );
}
