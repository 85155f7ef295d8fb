//! Secrets, keys and certificates in each encoding in which they are stored.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD},
};
use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize,
};

use secrecy::SecretString;
use serde_json::{Value, json};

use crate::{
    credential::{Issuer, IssuerLookup, parse},
    fixtures::{cluster_issuer, object},
    oauth::{Identity, Material, file, odd_grant_input, signing_key::SigningKey},
};

const SECRET: &str = "demo~secret.1";

#[test]
fn what_a_refused_secret_looks_like_is_reported_and_not_what_it_is() {
    let b64 = |text: &str| STANDARD.encode(text);
    let base64 = Some("base64 of something else");
    let (begin, end, inside) = (
        Some(") at its beginning"),
        Some(") at its end"),
        Some(") inside"),
    );
    let placeholder = Some("placeholder");
    let line = Some("whole line");
    #[rustfmt::skip]
    let cases: Vec<(String, Option<&str>)> = [
        (SECRET, None),
        ("c2hvcnQ=", None),
        ("AAAAAAAAAAAAAAAAAAAAAAAA", None),
        ("'", None),
        ("a=b", None), ("Zm9v=", None), ("abc:def", None), ("x%y", None), ("100%", None),
        ("8d7f2c9e4b1a6f3d8e5c7b9a2d4f6e8c", None),
        ("gR7~Q.x_-9kL2mN4pS6tV8wY0zB3cD5fH", None),
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY", None),
        ("p\u{e4}ssw\u{f6}rt-1", None),
        ("demo~secret.1 ", Some("blank")), (" demo~secret.1", Some("blank")), ("\u{a0}demo~secret.1", Some("blank")),
        ("demo~secret.1\u{3000}", Some("blank")), ("demo~ secret.1", Some("blank inside")), ("demo~\u{a0}secret.1", Some("blank inside")),
        ("demo~secret.1\\n", Some("two characters")),
        ("\u{feff}demo~secret.1", Some("byte order mark")),
        ("demo~secret.1\u{feff}", end), ("\u{200b}demo~secret.1", begin), ("demo~secret.1\u{200b}", end),
        ("demo~secret.1\u{2060}", end), ("\u{ad}demo~secret.1", begin), ("demo~\u{ad}secret.1", inside),
        ("\u{202a}demo~secret.1\u{202c}", begin), ("demo~secret.1\u{200e}", end), ("demo\u{200d}~secret.1", inside),
        ("\u{2066}demo~secret.1", begin), ("demo~secret.1\u{e0020}", end), ("demo~\u{180e}secret.1", inside),
        ("\"demo~secret.1\"", Some("quotation marks")), ("'demo~secret.1'", Some("quotation marks")),
        ("`demo~secret.1`", Some("quotation marks")), ("\u{201c}demo~secret.1\u{201d}", Some("quotation marks")),
        ("\u{201e}demo~secret.1\u{201c}", Some("quotation marks")), ("\u{ab}demo~secret.1\u{bb}", Some("quotation marks")),
        ("\"demo~secret.1\" ", Some("quotation marks")),
        ("demo\u{2013}secret.1", Some("typographic character (U+2013)")), ("demo\u{2026}secret", Some("U+2026")),
        (r#"{"client_secret":"demo~secret.1"}"#, Some("its field client_secret alone")),
        (r#"{"appId":"demo","password":"demo~secret.1"}"#, Some("its field password alone")),
        (r#" {"demo":"demo~secret.1"} "#, Some("JSON object; store the value alone")),
        (r#"["demo~secret.1"]"#, Some("JSON array")),
        ("6f1c8f0e-8a3d-4b7e-9c55-0d2f1e6a7b8c", Some("a GUID")), ("{6F1C8F0E-8A3D-4B7E-9C55-0D2F1E6A7B8C}", Some("a GUID")),
        ("demo%7Esecret.1", Some("URL-encoded")), ("demo%2Bsecret%2F1", Some("URL-encoded")),
        ("-----BEGIN CERTIFICATE----- MAA= -----END CERTIFICATE-----", Some("PEM")),
        ("changeme", placeholder), ("CHANGE_ME", placeholder), ("<client-secret>", placeholder), ("${CLIENT_SECRET}", placeholder),
        ("{{ .Values.secret }}", placeholder), ("$(CLIENT_SECRET)", placeholder), ("%CLIENT_SECRET%", placeholder), ("TODO", placeholder),
        ("your-client-secret", placeholder), ("********", placeholder), ("[redacted]", placeholder), ("REPLACE-ME", placeholder),
        ("$CLIENT_SECRET", placeholder), ("$AZURE_KEY_2", Some("variable")),
        ("CLIENT_SECRET=demo~secret.1", line), ("export AZURE_CLIENT_SECRET=demo~secret.1", line), ("client-secret: demo~secret.1", line),
        ("password=demo~secret.1", line), ("AZURE_KEY=demo~secret.1", line),
        ("Bearer demo~secret.1", Some("Authorization header")), ("Basic ZGVtbzpkZW1v", Some("Authorization header")),
        ("https://demo.vault.azure.net/secrets/demo", Some("reference")), ("@Microsoft.KeyVault(SecretUri=https://demo/)", Some("reference")),
        ("op://demo/demo/demo", Some("reference")), ("https://demo.example/demo", Some("a URL")),
        ("64656d6f7e7365637265742e31", Some("hexadecimal")),
        ("demo-client", Some("the id of the client")), ("DEMO-CLIENT ", Some("the id of the client")), ("demo-client-2", None),
        ("REPLACE_ME", placeholder), ("<secret>", placeholder), ("secret=demo~secret.1", line), ("bearer demo~secret.1", Some("Authorization header")),
    ]
    .into_iter()
    .map(|(text, reported)| (text.to_owned(), reported))
    .chain([
        (b64(SECRET), base64),
        (b64(&format!("{SECRET}\n")), Some("with a line end after it")),
        (b64(&format!("{SECRET}\r\n")), Some("with a line end after it")),
        (b64(SECRET).trim_end_matches('=').to_owned(), base64),
        (URL_SAFE.encode("demo>>secret??1"), base64),
        (URL_SAFE_NO_PAD.encode("demo>>secret??12"), base64),
        (b64(&format!("{{\"client_secret\":\"{SECRET}\"}}")), Some("base64 of a JSON object")),
        (b64("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"), Some("base64 of PEM")),
        (b64(&format!("\u{feff}{SECRET}")), base64),
        (b64(&b64(SECRET)), base64),
    ])
    .collect();
    for (stored, reported) in cases {
        let material = Material::from_secret_bytes(stored.as_bytes())
            .unwrap_or_else(|problem| panic!("{stored}: {problem}"));
        match (material.odd("demo-client"), reported) {
            (None, None) => {}
            (Some(odd), Some(word)) => {
                assert!(odd.contains(word), "{stored}: {odd}");
                assert!(!odd.contains("demo"), "{stored}: {odd}");
                assert_eq!(odd, crate::printable::printable(&odd));
            }
            (odd, _) => panic!("{stored}: {odd:?}"),
        }
    }
    assert_eq!(Material::None.odd(""), None);
}

#[test]
fn what_a_grant_uses_is_checked_as_well() {
    let key = || json!({ "name": "s", "key": "k" });
    let grant = |spec: Value| {
        let issuer = json!({ "oauth2": { "tokenUrl": "https://as.example.com/token" } });
        let issuer = Issuer::cluster(&cluster_issuer(&issuer)).unwrap();
        let change = json!({ "grant": spec });
        let parsed = parse(&object(&change), |_| IssuerLookup::Found(issuer));
        parsed.unwrap().grant
    };
    let refresh = grant(json!({ "refreshToken": { "secretRef": key() } }));
    let password = grant(json!({ "password": { "username": "ada", "passwordRef": key() } }));
    let bearer = grant(json!({ "jwtBearer": { "assertionRef": key() } }));
    let exchange = grant(json!({ "tokenExchange": {
        "subject": { "serviceAccount": { "name": "robot" } }, "actor": { "secretRef": key() },
    } }));
    let rt = "refresh token";
    #[rustfmt::skip]
    let rows = [
        (&refresh, "1//0gDemo-rt", None),
        (&refresh, "ZGVtb35zZWNyZXQuMQ==", None),
        (&refresh, "6f1c8f0e-8a3d-4b7e-9c55-0d2f1e6a7b8c", None),
        (&refresh, "1%2F%2F0gDemo", Some((rt, "URL-encoded"))),
        (&refresh, "\"demo-rt\"", Some((rt, "quotation"))),
        (&refresh, "refresh_token=demo-rt", Some((rt, "whole line"))),
        (&refresh, "{\"refresh_token\":\"demo\"}", Some((rt, "JSON object; store the value of its field refresh_token"))),
        (&refresh, "https://demo.example/cb?code=1", Some((rt, "URL"))),
        (&password, "correct horse battery", None),
        (&password, "demo:secret=1", None),
        (&password, " demo", Some(("password", "blank"))),
        (&password, "changeme", Some(("password", "placeholder"))),
        (&password, "ZGVtb35zZWNyZXQuMQ==", Some(("password", "base64"))),
        (&bearer, "eyJhbGciOiJub25lIn0.e30.c2ln", None),
        (&bearer, "Bearer eyJhbGciOiJub25lIn0.e30.c2ln", Some(("token", "Authorization header"))),
        (&bearer, "ZXlKaGJHY2lPaUp1YjI1bEluMC5lMzAuYzJsbg==", Some(("token", "base64"))),
        (&exchange, "null", Some(("token", "placeholder"))),
    ];
    for (grant, stored, reported) in rows {
        let stored_at = grant.needs().iter().position(|n| n.reference().is_some());
        let mut grant_inputs: Vec<SecretString> = Vec::new();
        grant_inputs.extend((0..stored_at.unwrap()).map(|_| SecretString::from("")));
        grant_inputs.push(SecretString::from(stored));
        let odd = odd_grant_input(grant, &grant_inputs);
        assert_eq!(
            odd.as_ref().map(|o| (o.place, o.noun)),
            reported.map(|t| (0, t.0)),
            "{stored}"
        );
        if let (Some(odd), Some((_, word))) = (odd, reported) {
            assert!(
                odd.form.contains(word) && !odd.form.contains("demo"),
                "{}",
                odd.form
            );
        }
    }
}

/// A key and its certificate.
fn pair() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// The text that is read from a file with these bytes.
fn read(bytes: &[u8]) -> Result<String, String> {
    use secrecy::ExposeSecret;
    file(bytes).map(|text| text.expose_secret().to_owned())
}

fn identity(certificate: &[u8], key: &[u8]) -> Result<Identity, String> {
    Identity::from_pem(&read(certificate)?, &read(key)?)
}

type Encoding = fn(&str) -> Vec<u8>;

#[test]
fn keys_and_certificates_are_read_in_any_encoding() {
    let (certificate, key) = pair();
    #[rustfmt::skip]
    let encodings: [(&str, Encoding); 16] = [
        ("plain", |t| t.into()),
        ("byte order mark", |t| format!("\u{feff}{t}").into()),
        ("UTF-16 LE", |t| [0xff, 0xfe].into_iter().chain(t.encode_utf16().flat_map(u16::to_le_bytes)).collect()),
        ("UTF-16 BE", |t| [0xfe, 0xff].into_iter().chain(t.encode_utf16().flat_map(u16::to_be_bytes)).collect()),
        ("UTF-16 without a mark", |t| t.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("Latin-1 around", |t| [b"Bag Attributes\n    friendlyName: Schl\xfcssel\n", t.as_bytes()].concat()),
        ("Latin-1 after", |t| [t.as_bytes(), b"# Ende, sch\xf6n\n"].concat()),
        ("one line", |t| t.replace('\n', " ").into()),
        ("one line without blanks", |t| t.replace('\n', "").into()),
        ("indented", |t| format!("    {}", t.replace('\n', "\n    ")).into()),
        ("CRLF", |t| t.replace('\n', "\r\n").into()),
        ("CR", |t| t.replace('\n', "\r").into()),
        ("escaped", |t| t.replace('\n', "\\n").into()),
        ("escaped CRLF", |t| t.replace('\n', "\\r\\n").into()),
        ("blanks after", |t| t.replace('\n', "  \t\n").into()),
        ("invisible characters", |t| t.replace('\n', "\u{200b}\n").into()),
    ];
    for (name, encoding) in encodings {
        let read = identity(&encoding(&certificate), &encoding(&key));
        let problem = read.as_ref().err().cloned().unwrap_or_default();
        assert!(read.is_ok_and(|i| i.key().is_ok()), "{name}: {problem}");
        assert!(
            SigningKey::from_pem(&self::read(&encoding(&key)).unwrap()).is_ok(),
            "{name}"
        );
    }
    // One client, whatever its encoding.
    let digests: Vec<String> = encodings
        .iter()
        .map(|(_, encoding)| {
            identity(&encoding(&certificate), &encoding(&key))
                .ok()
                .unwrap()
                .digest()
        })
        .collect();
    assert!(digests.windows(2).all(|w| w[0] == w[1]));
}

#[test]
fn a_pair_is_found_among_more() {
    let ((certificate, key), (other_certificate, other_key)) = (pair(), pair());
    let parameters =
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    for (case, certificates, keys) in [
        (
            "EC PARAMETERS first",
            certificate.clone(),
            format!("{parameters}{key}"),
        ),
        (
            "several keys",
            certificate.clone(),
            format!("{other_key}{key}"),
        ),
        (
            "the certificate is last",
            format!("{other_certificate}{certificate}"),
            key.clone(),
        ),
        (
            "all in one",
            format!("{key}{certificate}"),
            format!("{key}{certificate}"),
        ),
        (
            "old label",
            certificate.replace("CERTIFICATE", "X509 CERTIFICATE"),
            key.clone(),
        ),
    ] {
        let read = identity(certificates.as_bytes(), keys.as_bytes());
        let leaf = identity(certificate.as_bytes(), key.as_bytes())
            .ok()
            .unwrap();
        match read {
            Ok(read) => assert_eq!(read.thumbprint_s256(), leaf.thumbprint_s256(), "{case}"),
            Err(problem) => panic!("{case}: {problem}"),
        }
    }
}

fn der(pem: &str) -> Vec<u8> {
    let text: String = pem.lines().filter(|l| !l.starts_with('-')).collect();
    STANDARD.decode(text).unwrap()
}

fn block(label: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        STANDARD.encode(der)
    )
}

#[test]
fn what_is_no_key_in_pem_is_named_with_what_converts_it() {
    let (certificate, key) = pair();
    let (other_certificate, _) = pair();
    let request = {
        let key = KeyPair::generate().unwrap();
        let request = CertificateParams::default()
            .serialize_request(&key)
            .unwrap();
        request.pem().unwrap()
    };
    let public = KeyPair::generate().unwrap().public_key_pem();
    let pfx = [
        &[0x30, 0x82, 0x01, 0x00, 2, 1, 3, 0x30, 0x81, 0xf7][..],
        &[0; 0xf7],
        &[0; 3],
    ]
    .concat();
    let p7b = [&[
        0x30, 0x0f, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2, 0xa0, 2, 5, 0,
    ][..]]
    .concat();
    let pkcs8 = [&[
        0x30, 0x12, 0x30, 0x0b, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 0x0d, 4, 3, 1, 2, 3,
    ][..]]
    .concat();
    let proc = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let cut = &key[..key.len() / 2];
    #[rustfmt::skip]
    let keys: Vec<(&str, Vec<u8>, &str)> = vec![
        ("PKCS#12", pfx.clone(), "openssl pkcs12"),
        ("JKS", [&[0xfe, 0xed, 0xfe, 0xed][..], &[0; 40]].concat(), "keytool"),
        ("JCEKS", [&[0xce, 0xce, 0xce, 0xce][..], &[0; 40]].concat(), "keytool"),
        ("DER", der(&key), "openssl pkey -inform DER"),
        ("DER of a certificate", der(&certificate), "openssl x509 -inform DER"),
        ("PKCS#7", p7b, "openssl pkcs7"),
        ("encrypted", block("ENCRYPTED PRIVATE KEY", &pkcs8).into(), "pass phrase"),
        ("encrypted DER", pkcs8.clone(), "pass phrase"),
        ("encrypted of old", proc.into(), "pass phrase"),
        ("OpenSSH", block("OPENSSH PRIVATE KEY", b"openssh-key-v1\0").into(), "ssh-keygen"),
        ("a public SSH key", b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me@here".to_vec(), "public SSH key"),
        ("PuTTY", b"PuTTY-User-Key-File-3: ssh-rsa\n".to_vec(), "puttygen"),
        ("PGP", block("PGP PRIVATE KEY BLOCK", b"x").into(), "PGP"),
        ("a public key", public.clone().into(), "a public key"),
        ("a CSR", request.into(), "signing request"),
        ("DSA", block("DSA PRIVATE KEY", &[48, 0]).into(), "DSA"),
        ("a CRL", block("X509 CRL", &[48, 0]).into(), "CRL"),
        ("a JWK", br#"{"kty":"EC","crv":"P-256","d":"x"}"#.to_vec(), "JWK"),
        ("base64 of PEM", STANDARD.encode(&key).into(), "base64 of PEM"),
        ("base64 of DER", STANDARD.encode(der(&key)).into(), "base64 without the lines"),
        ("base64 of PKCS#12", STANDARD.encode(&pfx).into(), "base64 without the lines"),
        ("a path", b"/etc/ssl/private/tls.key\n".to_vec(), "name of a file"),
        ("long dashes", key.replace("-----", "\u{2014}\u{2014}").into(), "dashes"),
        ("a certificate", certificate.clone().into(), "swapped"),
        ("cut", cut.into(), "cut off"),
        ("damaged", key.replace("MI", "M*").into(), "damaged"),
        ("gzip", vec![0x1f, 0x8b, 8, 0, 0], "gzip"),
        ("text", b"hello".to_vec(), "no private key"),
        ("empty", b" \n".to_vec(), "empty"),
    ];
    for (case, bytes, word) in keys {
        let problem = identity(certificate.as_bytes(), &bytes)
            .err()
            .unwrap_or_else(|| panic!("{case}"));
        assert!(problem.contains(word), "{case}: {problem}");
        assert!(
            problem.len() < 300 && !problem.contains("AAAA"),
            "{case}: {problem}"
        );
        let signing = read(&bytes).and_then(|text| SigningKey::from_pem(&text).map(|_| ()));
        assert!(signing.is_err_and(|p| p.contains(word)), "{case}: to sign");
    }
    #[rustfmt::skip]
    let certificates: Vec<(&str, Vec<u8>, &str)> = vec![
        ("PKCS#12", pfx, "openssl pkcs12"),
        ("a key", key.clone().into(), "swapped"),
        ("a public key", public.into(), "a public key"),
        ("PKCS#7", block("PKCS7", &[48, 0]).into(), "openssl pkcs7"),
        ("DER", der(&certificate), "openssl x509 -inform DER"),
        ("cut", certificate[..certificate.len() / 2].into(), "cut off"),
        ("a cut chain", format!("{certificate}{}", &other_certificate[..90]).into(), "at place 2, is cut off"),
        ("no X.509", block("CERTIFICATE", &[48, 3, 2, 1, 1]).into(), "X.509"),
        ("text", b"hello".to_vec(), "not PEM"),
        ("another's", other_certificate.clone().into(), "does not belong"),
    ];
    for (case, bytes, word) in certificates {
        let problem = identity(&bytes, key.as_bytes())
            .err()
            .unwrap_or_else(|| panic!("{case}"));
        assert!(problem.contains(word), "{case}: {problem}");
        assert!(problem.len() < 300, "{case}: {problem}");
    }
}

#[test]
fn each_kind_of_key_that_tls_takes_signs_assertions_too() {
    for key in [
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
        KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512),
        KeyPair::generate_for(&PKCS_ED25519),
    ] {
        let key = key.unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        let identity = Identity::from_pem(&certificate.pem(), &key.serialize_pem());
        let identity = identity.unwrap_or_else(|problem| panic!("{problem}"));
        assert_eq!(identity.fits_tls(), Ok(()));
        assert_eq!(identity.key().err(), None);
    }
}

#[test]
fn a_certificate_that_is_there_twice_is_sent_once() {
    let (leaf, key) = pair();
    let (ca, _) = pair();
    let (alone, chain) = (vec![&leaf], vec![&leaf, &ca]);
    let turned = vec![&ca, &leaf];
    for (file, sent) in [
        (vec![&leaf, &leaf], &alone),
        (vec![&leaf, &leaf, &ca, &ca], &chain),
        (vec![&leaf, &ca, &leaf], &chain),
        // More often than the length of a chain.
        ([vec![&leaf; 12], vec![&ca]].concat(), &chain),
        (vec![&ca, &leaf, &ca, &leaf], &turned),
    ] {
        let text: String = file.into_iter().map(String::as_str).collect();
        let read = identity(text.as_bytes(), key.as_bytes()).unwrap();
        let wanted: String = sent.iter().map(|pem| pem.as_str()).collect();
        let wanted = identity(wanted.as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(read.x5c(), wanted.x5c(), "{text}");
        assert_eq!(read.digest(), wanted.digest(), "what TLS sends: {text}");
    }
}
