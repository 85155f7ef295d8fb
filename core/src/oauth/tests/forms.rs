//! Secrets, keys and certificates in each encoding in which they are stored.

mod secrets;

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
    for (case, bytes, expected_part) in keys {
        let problem = identity(certificate.as_bytes(), &bytes)
            .err()
            .unwrap_or_else(|| panic!("{case}"));
        assert!(problem.contains(expected_part), "{case}: {problem}");
        assert!(
            problem.len() < 300 && !problem.contains("AAAA"),
            "{case}: {problem}"
        );
        let signing = read(&bytes).and_then(|text| SigningKey::from_pem(&text).map(|_| ()));
        assert!(
            signing.is_err_and(|p| p.contains(expected_part)),
            "{case}: to sign"
        );
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
    for (case, bytes, expected_part) in certificates {
        let problem = identity(&bytes, key.as_bytes())
            .err()
            .unwrap_or_else(|| panic!("{case}"));
        assert!(problem.contains(expected_part), "{case}: {problem}");
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
