//! `client.key` and `client.assertion`: each kind of key signs with each of its algorithms, and other input is described.

mod unusable;

use aws_lc_rs::{
    encoding::{AsBigEndian, EcPrivateKeyBin},
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
        EcdsaKeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
        RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
        RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
    },
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519,
    PKCS_RSA_SHA256, RsaKeySize, SignatureAlgorithm,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::{
    api::SigningAlgorithm::{
        self, ES256, ES384, ES512, Ed25519, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512,
    },
    credential::{AuthenticationMethod, PrivateKey, SecretStyle},
    fixtures::{NOW, at, credential_with},
    oauth::{
        ClientKey, Material, RequestContext, TokenEndpoint, expired_assertion, file, request,
        signing_key::{Curve, Public},
        stored_assertion,
    },
};

const NONE: Value = Value::Null;

/// RFC 7517 appendix A.2, with the thumbprint of RFC 7638 section 3.1.
const RSA: &str = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","d":"X4cTteJY_gn4FYPsXB8rdXix5vwsg1FLN5E3EaG6RJoVH-HLLKD9M7dx5oo7GURknchnrRweUkC7hT5fJLM0WbFAKNLWY2vv7B6NqXSzUvxT0_YSfqijwp3RTzlBaCxWp4doFk5N2o8Gy_nHNKroADIkJ46pRUohsXywbReAdYaMwFs9tv8d_cPVY3i07a3t8MN6TNwm0dSawm9v47UiCl3Sk5ZiG7xojPLu4sbg1U2jx4IBTNBznbJSzFHK66jT8bgkuqsk0GjskDJk19Z4qwjwbsnn4j2WBii3RL-Us2lGVkY8fkFzme1z0HbIkfz0Y6mqnOYtqc0X4jfcKoAC8Q","p":"83i-7IvMGXoMXCskv73TKr8637FiO7Z27zv8oj6pbWUQyLPQBQxtPVnwD20R-60eTDmD2ujnMt5PoqMrm8RfmNhVWDtjjMmCMjOpSXicFHj7XOuVIYQyqVWlWEh6dN36GVZYk93N8Bc9vY41xy8B9RzzOGVQzXvNEvn7O0nVbfs","q":"3dfOR9cuYq-0S-mkFLzgItgMEfFzB2q3hWehMuG0oCuqnb3vobLyumqjVZQO1dIrdwgTnCdpYzBcOfW5r370AFXjiWft_NGEiovonizhKpo9VVS78TzFgxkIdrecRezsZ-1kYd_s1qDbxtkDEgfAITAG9LUnADun4vIcb6yelxk","dp":"G4sPXkc6Ya9y8oJW9_ILj4xuppu0lzi_H7VTkS8xj5SdX3coE0oimYwxIi2emTAue0UOa5dpgFGyBJ4c8tQ2VF402XRugKDTP8akYhFo5tAA77Qe_NmtuYZc3C3m3I24G2GvR5sSDxUyAN2zq8Lfn9EUms6rY3Ob8YeiKkTiBj0","dq":"s9lAH9fggBsoFR8Oac2R_E2gw282rT2kGOAhvIllETE1efrA6huUUvMfBcMpn8lqeW6vzznYY5SSQF7pMdC_agI3nG8Ibp1BUb0JUiraRNqUfLhcQb_d9GF4Dh7e74WbRsobRonujTYN1xCaP6TO61jvWrX-L18txXw494Q_cgk","qi":"GyM_p6JrXySiz1toFgKbWV-JdI3jQ4ypu9rbMWx3rQJBfmt0FoYzgUIZEVFEcOqwemRN81zoDAaa-Bk0KWNGDjJHZDdDmFhW3AN7lI-puxk_mHZGJ11rxyR8O55XLSe3SPmRfKwZI6yU24ZxvQKFYItdldUKGzO6Ia6zTKhAVRU","alg":"RS256","kid":"2011-04-29"}"#;
const RSA_THUMBPRINT: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
/// RFC 8037 appendices A.1 and A.3.
const OKP: &str = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const OKP_THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

fn settings(key_id: Option<&str>, algorithm: Option<SigningAlgorithm>) -> PrivateKey {
    let change = json!({ "client": { "secrets": NONE, "key": {
        "secretName": "k", "key": "private.pem", "keyId": key_id, "algorithm": algorithm,
    } } });
    match credential_with(&change).authentication {
        AuthenticationMethod::Key(settings) => settings,
        other => panic!("{other:?}"),
    }
}

fn read(text: &str) -> ClientKey {
    let key = ClientKey::read(text);
    key.unwrap_or_else(|problem| panic!("{problem}"))
}

fn made(of: &'static SignatureAlgorithm) -> KeyPair {
    if *of == PKCS_RSA_SHA256 {
        return KeyPair::generate_rsa_for(of, RsaKeySize::_2048).unwrap();
    }
    KeyPair::generate_for(of).unwrap()
}

/// The same EC key as a private JWK.
pub(super) fn ec_jwk(pem: &KeyPair, curve: Curve) -> Value {
    let key = EcdsaKeyPair::from_pkcs8(curve.signing(), &pem.serialize_der()).unwrap();
    let d: EcPrivateKeyBin<'_> = key.private_key().as_be_bytes().unwrap();
    let (x, y) = key.public_key().as_ref()[1..].split_at(curve.size());
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    json!({ "kty": "EC", "crv": curve.name(), "d": text(d.as_ref()), "x": text(x), "y": text(y) })
}

fn verifier(algorithm: SigningAlgorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        RS256 => &RSA_PKCS1_2048_8192_SHA256,
        RS384 => &RSA_PKCS1_2048_8192_SHA384,
        RS512 => &RSA_PKCS1_2048_8192_SHA512,
        PS256 => &RSA_PSS_2048_8192_SHA256,
        PS384 => &RSA_PSS_2048_8192_SHA384,
        PS512 => &RSA_PSS_2048_8192_SHA512,
        ES256 => &ECDSA_P256_SHA256_FIXED,
        ES384 => &ECDSA_P384_SHA384_FIXED,
        ES512 => &ECDSA_P521_SHA512_FIXED,
        EdDSA | Ed25519 => &ED25519,
    }
}

/// Header and claims of the assertion that a request sends, after its signature was checked.
fn sent(key: ClientKey, change: &Value, endpoint: &TokenEndpoint) -> (Value, Value) {
    let mut spec = json!({ "secretName": "k", "key": "private.pem" });
    crate::fixtures::merge(&mut spec, change);
    let credential = credential_with(&json!({ "client": { "secrets": NONE, "key": spec } }));
    let public = match key.key().public() {
        Public::Rsa(der) => der.to_vec(),
        Public::Ec { point, .. } => point.to_vec(),
        Public::Ed25519(x) => x.to_vec(),
    };
    let material = Material::Key(Box::new(key));
    let moment = RequestContext {
        now: at(0),
        request_id: "r",
        assertion_id: "assertion-id",
    };
    let made = request(&credential, endpoint, &material, &[], moment);
    let made = made.unwrap_or_else(|token_error| panic!("{}", token_error.next_step));
    let pairs = url::form_urlencoded::parse(made.body.expose_secret().as_bytes());
    let pairs: Vec<(String, String)> = pairs.into_owned().collect();
    let of = |name: &str| pairs.iter().find(|(n, _)| n == name).unwrap().1.clone();
    assert_eq!(of("client_id"), "client-1");
    assert_eq!(
        of("client_assertion_type"),
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    );
    let jwt = of("client_assertion");
    let (message, signature) = jwt.rsplit_once('.').unwrap();
    let object = |part: &str| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    let (header, claims) = message.split_once('.').unwrap();
    let header = object(header);
    let algorithm = SigningAlgorithm::ALL
        .into_iter()
        .find(|a| header["alg"] == a.as_str())
        .unwrap();
    UnparsedPublicKey::new(verifier(algorithm), public)
        .verify(
            message.as_bytes(),
            &URL_SAFE_NO_PAD.decode(signature).unwrap(),
        )
        .unwrap_or_else(|_| panic!("the signature of {header}"));
    (header, object(claims))
}

fn endpoint(listed: Option<&[SigningAlgorithm]>) -> TokenEndpoint {
    TokenEndpoint {
        algorithms: listed.map(<[_]>::to_vec),
        ..TokenEndpoint::bare(
            "https://issuer.example.com/token".parse().unwrap(),
            SecretStyle::Post,
        )
    }
}

#[test]
fn each_kind_of_key_signs_with_each_of_its_algorithms_and_names_itself() {
    #[rustfmt::skip]
    let kinds: [(&'static SignatureAlgorithm, Option<Curve>, &[SigningAlgorithm]); 5] = [
        (&PKCS_RSA_SHA256, None, &[RS256, RS384, RS512, PS256, PS384, PS512]),
        (&PKCS_ECDSA_P256_SHA256, Some(Curve::P256), &[ES256]),
        (&PKCS_ECDSA_P384_SHA384, Some(Curve::P384), &[ES384]),
        (&PKCS_ECDSA_P521_SHA512, Some(Curve::P521), &[ES512]),
        (&PKCS_ED25519, None, &[EdDSA, Ed25519]),
    ];
    for (kind, curve, algorithms) in kinds {
        let pem = made(kind);
        let text = pem.serialize_pem();
        let id = read(&text).id(&settings(None, None));
        for algorithm in algorithms {
            let chosen = json!({ "algorithm": algorithm, "keyId": "own" });
            let (header, claims) = sent(read(&text), &chosen, &endpoint(None));
            assert_eq!(
                header,
                json!({ "alg": algorithm.as_str(), "typ": "JWT", "kid": "own" })
            );
            assert_eq!(
                claims,
                json!({
                    "iss": "client-1", "sub": "client-1", "aud": "https://issuer.example.com/token",
                    "jti": "assertion-id", "iat": NOW - 30, "nbf": NOW - 30, "exp": NOW + 60,
                })
            );
        }
        let (header, _) = sent(read(&text), &json!({}), &endpoint(None));
        assert_eq!(header["alg"], algorithms[0].as_str());
        assert_eq!(header["kid"], json!(id));
        // The same key as a JWK, alone and in a set with only this key.
        if let Some(curve) = curve {
            let jwk = ec_jwk(&pem, curve);
            let set = json!({ "keys": [jwk] });
            for text in [
                jwk.to_string(),
                set.to_string(),
                format!("\u{feff}\n{jwk:#}"),
            ] {
                assert_eq!(read(&text).id(&settings(None, None)), id);
                assert_eq!(
                    read(&text).fingerprint_input(),
                    read(&pem.serialize_pem()).fingerprint_input()
                );
            }
        }
    }
}

#[test]
fn the_algorithm_is_one_that_the_issuer_lists_if_the_key_has_one() {
    let (rsa, p384, ed) = (
        made(&PKCS_RSA_SHA256).serialize_pem(),
        made(&PKCS_ECDSA_P384_SHA384).serialize_pem(),
        made(&PKCS_ED25519).serialize_pem(),
    );
    let cases: [(&str, Option<&[SigningAlgorithm]>, SigningAlgorithm); 12] = [
        (&rsa, None, RS256),
        (&rsa, Some(&[]), RS256),
        (&rsa, Some(&[PS256, RS256]), RS256),
        // FAPI 2.0 and SMART on FHIR.
        (&rsa, Some(&[PS256, ES256]), PS256),
        (&rsa, Some(&[RS384, ES384]), RS384),
        (&rsa, Some(&[ES512, PS512]), PS512),
        (&rsa, Some(&[ES256]), RS256),
        (&p384, Some(&[RS384, ES384]), ES384),
        (&p384, Some(&[RS256]), ES384),
        (&ed, None, EdDSA),
        (&ed, Some(&[Ed25519]), Ed25519),
        (&ed, Some(&[Ed25519, EdDSA]), EdDSA),
    ];
    for (text, listed, expected) in cases {
        let (header, _) = sent(read(text), &json!({}), &endpoint(listed));
        assert_eq!(header["alg"], expected.as_str(), "{listed:?}");
        // The user's choice has priority over the listed algorithms.
        let chosen = json!({ "algorithm": expected });
        let (header, _) = sent(read(text), &chosen, &endpoint(Some(&[RS512])));
        assert_eq!(header["alg"], expected.as_str(), "{listed:?}");
    }
    // `alg` of the JWK: the key of RFC 7517 has RS256.
    let (header, _) = sent(read(RSA), &json!({}), &endpoint(Some(&[PS256])));
    assert_eq!(header["alg"], "RS256");
    assert_eq!(header["kid"], "2011-04-29");
}

#[test]
fn a_kid_is_used_as_it_was_registered_or_refused() {
    let with = |kid: Value| {
        let mut jwk: Value = serde_json::from_str(RSA).unwrap();
        jwk["kid"] = kid;
        jwk.to_string()
    };
    let longest = "k".repeat(256);
    for (kid, used) in [
        (json!("a b/ä"), "a b/ä"),
        (json!(longest), longest.as_str()),
        (json!(""), RSA_THUMBPRINT),
        (json!(null), RSA_THUMBPRINT),
    ] {
        assert_eq!(read(&with(kid)).id(&settings(None, None)), used);
    }
    for (kid, seen) in [
        (json!("k".repeat(257)), "kid is longer"),
        (json!("k".repeat(5000)), "kid is longer"),
        (
            json!("a\u{1b}[31mb"),
            "kid has control or invisible characters",
        ),
        (json!("a\nb"), "kid has control or invisible characters"),
        (
            json!("a\u{202e}b"),
            "kid has control or invisible characters",
        ),
        (json!(7), "kid is not a text"),
    ] {
        let problem = ClientKey::read(&with(kid)).err().unwrap();
        assert!(problem.contains(seen), "{problem}");
        assert!(problem.len() < 200, "{problem}");
    }
}

#[test]
fn a_public_set_has_the_thumbprint_and_no_private_part() {
    let okp: Value = serde_json::from_str(OKP).unwrap();
    let rsa: Value = serde_json::from_str(RSA).unwrap();
    let bare = {
        let mut bare = rsa.clone();
        bare.as_object_mut().unwrap().remove("kid");
        bare.as_object_mut().unwrap().remove("alg");
        bare.to_string()
    };
    let of = |text: &str, key_id, algorithm| read(text).public_set(&settings(key_id, algorithm));
    assert_eq!(
        of(OKP, None, None),
        Ok(
            json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": okp["x"], "kid": OKP_THUMBPRINT, "use": "sig" }] })
        )
    );
    assert_eq!(
        of(&bare, None, None),
        Ok(
            json!({ "keys": [{ "kty": "RSA", "n": rsa["n"], "e": "AQAB", "kid": RSA_THUMBPRINT, "use": "sig" }] })
        )
    );
    assert_eq!(
        of(RSA, None, None),
        Ok(
            json!({ "keys": [{ "kty": "RSA", "n": rsa["n"], "e": "AQAB", "kid": "2011-04-29", "use": "sig", "alg": "RS256" }] })
        )
    );
    assert_eq!(
        of(RSA, Some("mine"), Some(PS512)),
        Ok(
            json!({ "keys": [{ "kty": "RSA", "n": rsa["n"], "e": "AQAB", "kid": "mine", "use": "sig", "alg": "PS512" }] })
        )
    );
    let unfit = of(OKP, None, Some(RS256)).unwrap_err();
    assert!(
        unfit.contains("is an Ed25519 key; set algorithm to EdDSA"),
        "{unfit}"
    );
    for private in ["d", "p", "q", "dp", "dq", "qi"] {
        for text in [RSA, OKP] {
            let set = of(text, None, None).unwrap().to_string();
            let stored: Value = serde_json::from_str(text).unwrap();
            let value = stored[private].as_str().unwrap_or("not there");
            assert!(!set.contains(&format!("\"{private}\":")) && !set.contains(value));
        }
    }
    // EC keys whose coordinates begin with zeros have all bytes (RFC 7518 section 6.2.1.2).
    for _ in 0..300 {
        let pem = made(&PKCS_ECDSA_P256_SHA256).serialize_pem();
        let set = of(&pem, None, None).unwrap();
        for name in ["x", "y"] {
            let text = set["keys"][0][name].as_str().unwrap();
            assert_eq!(URL_SAFE_NO_PAD.decode(text).unwrap().len(), 32);
        }
    }
}
