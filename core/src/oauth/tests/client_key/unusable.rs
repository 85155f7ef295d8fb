//! Input that is not a single private key that can sign, or not an assertion that can be sent.

use super::*;

fn changed(jwk: &str, change: &Value) -> String {
    let mut jwk: Value = serde_json::from_str(jwk).unwrap();
    crate::fixtures::merge(&mut jwk, change);
    jwk.to_string()
}

#[test]
fn what_is_no_single_private_key_that_signs_is_named_with_the_way_out() {
    let block = |label: &str, der: &[u8]| {
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            STANDARD.encode(der)
        )
    };
    let rsa = made(&PKCS_RSA_SHA256);
    let p256 = made(&PKCS_ECDSA_P256_SHA256);
    let certificate = rcgen::CertificateParams::default()
        .self_signed(&p256)
        .unwrap();
    let both = rsa.serialize_pem() + &p256.serialize_pem();
    let ec = ec_jwk(&p256, Curve::P256).to_string();
    let set = |keys: &[&str]| format!("{{\"keys\":[{}]}}", keys.join(","));
    // Short numbers instead of those of 1024 bits, and a key with the OID of secp256k1.
    let short = [
        &[48, 11][..],
        &[2, 1, 0],
        &[2, 2, 0x7f, 0xff],
        &[2, 2, 1, 1],
    ]
    .concat();
    let curve = {
        let oid = [6, 5, 0x2b, 0x81, 4, 0, 0x0a];
        let inner = [
            &[48, 16, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1][..],
            &oid,
        ]
        .concat();
        let key = [48, 6, 2, 1, 1, 4, 1, 1];
        let body = [&[2, 1, 0][..], &inner, &[4, 8], &key].concat();
        [&[48, u8::try_from(body.len()).unwrap()][..], &body].concat()
    };
    #[rustfmt::skip]
    let cases: Vec<(&str, String, &str)> = vec![
        ("encrypted", block("ENCRYPTED PRIVATE KEY", &[48, 0]), "is a private key that is encrypted; store it without a pass phrase"),
        ("public", rsa.public_key_pem(), "is a public key; store the private key that belongs to it, and register this one"),
        ("certificate", certificate.pem(), "store the private key that belongs to it, or use client.certificates"),
        ("short", block("RSA PRIVATE KEY", &short), "an RSA key of less than 2048 bits"),
        ("curve", block("PRIVATE KEY", &curve), "an EC key on secp256k1, which apicred cannot sign assertions with; use RSA of 2048"),
        ("several", both.clone(), "holds 2 private keys; store only the one"),
        ("nothing", "hello".to_owned(), "is neither PEM nor a JWK"),
        ("cut", rsa.serialize_pem()[..200].to_owned(), "is cut off"),
        ("OpenSSH", block("OPENSSH PRIVATE KEY", b"openssh-key-v1\0"), "ssh-keygen -p -m PKCS8"),
        ("base64 of PEM", STANDARD.encode(rsa.serialize_pem()), "decode it once"),
        // JWKs.
        ("public JWK", changed(OKP, &json!({ "d": NONE })), "is a public JWK (it has no d)"),
        ("several JWKs", set(&[OKP, &ec]), "is a JWK set with 2 keys; store only the private JWK"),
        ("no JWK", set(&[]), "is a JWK set without a key"),
        ("symmetric", r#"{"kty":"oct","k":"AAAA"}"#.to_owned(), "use client.secrets"),
        ("X25519", changed(OKP, &json!({ "crv": "X25519" })), "kty: OKP, crv: X25519"),
        ("a new kind", changed(OKP, &json!({ "kty": "AKP" })), "kty: AKP"),
        ("secp256k1", changed(&ec, &json!({ "crv": "secp256k1" })), "an EC key on secp256k1, which apicred cannot"),
        ("another curve", changed(&ec, &json!({ "crv": "P-384" })), "do not belong together"),
        ("no coordinate", changed(&ec, &json!({ "y": NONE })), "whose y is missing or damaged; store the whole private JWK, with d, x and y"),
        ("too long", changed(&ec, &json!({ "d": URL_SAFE_NO_PAD.encode([1; 40]) })), "do not belong together"),
        ("no primes", changed(RSA, &json!({ "p": NONE })), "whose p is missing or damaged; store the whole private JWK, with n, e, d, p, q, dp, dq and qi"),
        ("no base64url", changed(RSA, &json!({ "n": "?" })), "whose n is missing or damaged"),
        ("short JWK", changed(RSA, &json!({ "n": URL_SAFE_NO_PAD.encode([0xc1; 128]) })), "is an RSA key of less than 2048 bits"),
        ("other modulus", changed(RSA, &json!({ "n": URL_SAFE_NO_PAD.encode([0xc1; 256]) })), "do not belong together"),
        ("for encryption", changed(OKP, &json!({ "use": "enc" })), "not for signatures"),
        ("to verify", changed(OKP, &json!({ "key_ops": ["verify"] })), "not for signatures"),
        ("unfit alg", changed(OKP, &json!({ "alg": "ES256" })), "whose alg is ES256, which its key cannot sign with; set alg to EdDSA or Ed25519"),
        ("Google", r#"{"type":"service_account","private_key":"x","client_email":"a@b"}"#.to_owned(), "use grant.jwtBearer.signed"),
        ("other JSON", r#"{"a":1}"#.to_owned(), "is JSON and no JWK"),
        ("broken JSON", RSA[..60].to_owned(), "is truncated JSON"),
        ("a list", "[1]".to_owned(), "is a JSON list"),
    ];
    for (case, text, expected) in cases {
        let problem = file(text.as_bytes())
            .and_then(|text| ClientKey::read(text.expose_secret()).map(|_| ()))
            .expect_err(case);
        assert!(problem.contains(expected), "{case}: {problem}");
        assert!(problem.len() < 300, "{case}: {problem}");
        let reported = settings(None, None).sentence(&problem);
        assert!(
            reported.starts_with("client.key: key private.pem of Secret k "),
            "{reported}"
        );
    }
    // The same key twice counts as one, and a certificate next to it is ignored.
    read(&(rsa.serialize_pem() + &rsa.serialize_pem()));
    read(&(certificate.pem() + &p256.serialize_pem()));
}

#[test]
fn a_stored_assertion_is_a_signed_jwt_and_not_sent_after_its_end() {
    let jwt = |claims: &Value| {
        let part = |v: &Value| URL_SAFE_NO_PAD.encode(v.to_string());
        format!("{}.{}.c2ln", part(&json!({ "alg": "ES256" })), part(claims))
    };
    let change = json!({ "client": { "secrets": NONE, "assertion": { "secretName": "svid", "key": "jwt" } } });
    let credential = credential_with(&change);
    #[rustfmt::skip]
    let cases = [
        (json!({ "exp": NOW + 1 }), false),
        (json!({ "exp": NOW }), true),
        (json!({ "exp": NOW - 86_400 }), true),
        (json!({ "exp": -5 }), true),
        (json!({ "exp": f64::from(1_789_999_999) }), true),
        // The issuer decides about it.
        (json!({}), false),
        (json!({ "exp": "soon" }), false),
    ];
    for (claims, over) in cases {
        let text = stored_assertion(format!(" {}\n", jwt(&claims)).as_bytes());
        let material = Material::Stored(text.unwrap());
        let token_error = expired_assertion(&credential, &material, at(0));
        assert_eq!(token_error.is_some(), over, "{claims}");
        if let Some(token_error) = token_error {
            assert_eq!(token_error.reason, crate::Reason::AssertionExpired);
            assert!(token_error.not_sent);
            let reported = token_error.message();
            assert!(
                reported
                    .contains("client.assertion: the JWT in key jwt of Secret svid expired at 20")
                    || reported.contains("expired at 19"),
                "{reported}"
            );
        }
        // The form contains it unchanged.
        let moment = RequestContext {
            now: at(0),
            request_id: "r",
            assertion_id: "a",
        };
        let made = request(&credential, &endpoint(None), &material, &[], moment);
        let body = made.ok().unwrap().body;
        let sent = url::form_urlencoded::parse(body.expose_secret().as_bytes());
        let sent: Vec<_> = sent.filter(|(n, _)| n == "client_assertion").collect();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].1, jwt(&claims));
    }
    let unsigned = |algorithm: &str, signature: &str| {
        let part = |v: &Value| URL_SAFE_NO_PAD.encode(v.to_string());
        let (header, claims) = (json!({ "alg": algorithm }), json!({ "exp": NOW + 600 }));
        format!("{}.{}.{signature}", part(&header), part(&claims))
    };
    for (text, expected) in [
        (
            format!("Bearer {}", jwt(&json!({}))),
            "is the value of an Authorization header",
        ),
        ("a.b.c.d.e".to_owned(), "is an encrypted JWT"),
        ("opaque".to_owned(), "is no signed JWT"),
        ("a.b.c".to_owned(), "is no signed JWT"),
        (unsigned("none", ""), "is an unsigned JWT"),
        (unsigned("none", "c2ln"), "is an unsigned JWT"),
        (unsigned("nOnE", "c2ln"), "is an unsigned JWT"),
        (unsigned("ES256", ""), "is an unsigned JWT"),
        (String::new(), "is empty"),
        ("a\nb".to_owned(), "line break"),
    ] {
        let problem = stored_assertion(text.as_bytes()).expect_err(&text);
        assert!(problem.contains(expected), "{text}: {problem}");
    }
}
