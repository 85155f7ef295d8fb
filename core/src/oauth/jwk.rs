//! JSON Web Keys: reads a private one (RFC 7517, RFC 7518 section 6, RFC 8037 section 2), and writes the public one of a key.

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD},
};
use serde_json::{Map, Value, json};
use x509_parser::{
    asn1_rs::{Integer, Sequence, ToDer},
    prelude::FromDer,
    public_key::RSAPublicKey,
};

use super::{
    private_keys::USABLE,
    signing_key::{Curve, Public, SigningKey},
};
use crate::{
    api::SigningAlgorithm,
    input,
    printable::{bounded, printable},
};

/// Most characters of a name in a JWK that are shown.
const SHOWN: usize = 40;
/// Longest `kid` that is accepted, as in the spec.
const MAX_KEY_ID: usize = 256;
/// Largest modulus in bytes: 8192 bits. Nothing here signs with a longer key.
const MAX_PART: usize = 1024;

/// A private key as its JWK describes it.
pub(super) struct Jwk {
    pub(super) key: SigningKey,
    /// `kid`, as it was registered.
    pub(super) key_id: Option<String>,
    /// `alg`: the algorithm that the key is for.
    pub(super) algorithm: Option<SigningAlgorithm>,
    /// Whether it is the only key of a JWK set.
    pub(super) is_in_set: bool,
}

/// Reads a private JWK, or a JWK set with one.
///
/// # Errors
/// The rest of a sentence that begins with the key's name.
pub(super) fn private(text: &str) -> Result<Jwk, String> {
    let object = input::object(text.as_bytes()).map_err(|problem| problem.to_string())?;
    if let Some(keys) = object.get("keys").and_then(Value::as_array) {
        return match keys.as_slice() {
            [Value::Object(one)] => of(one).map(|jwk| Jwk {
                is_in_set: true,
                ..jwk
            }),
            [_] | [] => Err("is a JWK set without a key; store one private JWK".to_owned()),
            several => Err(format!(
                "is a JWK set with {} keys; store only the private JWK whose public key is registered",
                several.len()
            )),
        };
    }
    of(&object)
}

fn of(jwk: &Map<String, Value>) -> Result<Jwk, String> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let Some(kind) = text("kty") else {
        return Err(no_jwk(jwk));
    };
    if kind == "oct" {
        return Err("is a symmetric key (kty: oct), which is a client secret; use client.secrets, and clientAuthentication.secretJwt on the issuer if it signs".to_owned());
    }
    if text("d").is_none() {
        return Err(
            "is a public JWK (it has no d); store the private JWK of this key, and register this one at the issuer"
                .to_owned(),
        );
    }
    let operations = jwk.get("key_ops").and_then(Value::as_array);
    let signs = operations.is_none_or(|ops| ops.iter().any(|op| op.as_str() == Some("sign")));
    if text("use").is_some_and(|usage| usage != "sig") || !signs {
        return Err(
            "is a JWK that is not for signatures (use, key_ops); make a key with use: sig"
                .to_owned(),
        );
    }
    let key = match kind {
        "RSA" => rsa(jwk)?,
        "EC" => ec(jwk, text("crv").unwrap_or_default())?,
        "OKP" if text("crv") == Some("Ed25519") => ed25519(jwk)?,
        _ => {
            let crv = text("crv")
                .map_or_else(String::new, |crv| format!(", crv: {}", bounded(crv, SHOWN)));
            return Err(format!(
                "is a JWK of a kind (kty: {}{crv}) that apicred cannot sign assertions with; use {USABLE}",
                bounded(kind, SHOWN)
            ));
        }
    };
    let algorithm = match text("alg") {
        Some(name) => Some(algorithm(&key, name)?),
        None => None,
    };
    Ok(Jwk {
        key,
        key_id: key_id(jwk)?,
        algorithm,
        is_in_set: false,
    })
}

/// `kid` of a JWK. The user who stored the JWK has registered it: the issuer would find no key by another `kid`.
fn key_id(jwk: &Map<String, Value>) -> Result<Option<String>, String> {
    let unfit = |seen: &str| {
        Err(format!(
            "is a JWK whose kid {seen}; give the key a kid of at most {MAX_KEY_ID} printable characters, here and at the issuer"
        ))
    };
    match jwk.get("kid") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if id.is_empty() => Ok(None),
        Some(Value::String(id)) if id.chars().count() > MAX_KEY_ID => unfit("is longer"),
        Some(Value::String(id)) if printable(id) != *id => {
            unfit("has control or invisible characters")
        }
        Some(Value::String(id)) => Ok(Some(id.clone())),
        Some(_) => unfit("is not a text"),
    }
}

/// `alg` of a JWK, if the key can sign with it.
fn algorithm(key: &SigningKey, name: &str) -> Result<SigningAlgorithm, String> {
    SigningAlgorithm::ALL
        .into_iter()
        .find(|a| a.as_str() == name && key.algorithms().contains(a))
        .ok_or_else(|| {
            let mine: Vec<&str> = key.algorithms().iter().map(|a| a.as_str()).collect();
            format!(
                "is a JWK whose alg is {}, which its key cannot sign with; set alg to {}, or remove it",
                bounded(name, SHOWN),
                mine.join(" or ")
            )
        })
}

/// The message for JSON that is another kind of key file.
fn no_jwk(file: &Map<String, Value>) -> String {
    if file.contains_key("private_key") && file.contains_key("client_email") {
        "is a key file of a Google service account; use grant.jwtBearer.signed in place of client.key".to_owned()
    } else {
        "is JSON and no JWK (it has no kty); store a private JWK, or the key as PEM".to_owned()
    }
}

/// A number or a string of bytes in a JWK.
fn part(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    let text = jwk.get(name).and_then(Value::as_str).unwrap_or_default();
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .or_else(|_| URL_SAFE.decode(text));
    bytes
        .ok()
        .filter(|bytes| (1..=MAX_PART).contains(&bytes.len()))
        .ok_or_else(|| {
            let them = match jwk.get("kty").and_then(Value::as_str) {
                Some("RSA") => "n, e, d, p, q, dp, dq and qi",
                Some("EC") => "d, x and y",
                _ => "d and x",
            };
            format!("is a JWK whose {name} is missing or damaged; store the whole private JWK, with {them}")
        })
}

const DAMAGED: &str = "is a damaged JWK: its parts do not belong together; store it as it was made";

/// The eight numbers in the form of PKCS#1 (RFC 8017 appendix A.1.2).
fn rsa(jwk: &Map<String, Value>) -> Result<SigningKey, String> {
    let mut numbers = vec![vec![0]];
    for name in ["n", "e", "d", "p", "q", "dp", "dq", "qi"] {
        numbers.push(number(&part(jwk, name)?));
    }
    let short = numbers[1].len() < 256;
    let integers = numbers.iter().map(|bytes| Integer::new(bytes));
    let der = Sequence::from_iter_to_der(integers).and_then(|whole| whole.to_der_vec());
    let key = der.map_err(|_| DAMAGED)?;
    match RsaKeyPair::from_der(&key) {
        Ok(key) => Ok(SigningKey::Rsa(Box::new(key))),
        Err(_) if short => Err(format!(
            "is an RSA key of less than 2048 bits; use {USABLE}"
        )),
        Err(_) => Err(DAMAGED.to_owned()),
    }
}

/// A positive number in DER, with no more leading zeros than the sign requires.
fn number(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
    let mut number = bytes[start..].to_vec();
    if number.first().is_none_or(|first| first & 0x80 != 0) {
        number.insert(0, 0);
    }
    number
}

fn ec(jwk: &Map<String, Value>, name: &str) -> Result<SigningKey, String> {
    let Some(curve) = Curve::ALL.into_iter().find(|c| c.name() == name) else {
        return Err(format!(
            "is an EC key on {}, which apicred cannot sign assertions with; use {USABLE}",
            bounded(name, SHOWN)
        ));
    };
    // RFC 7518 section 6.2 requires the size of the curve. Some writers omit the leading zeros, some add one more.
    let sized = |name: &str| -> Result<Vec<u8>, String> {
        let bytes = part(jwk, name)?;
        let start = bytes.iter().take_while(|b| **b == 0).count();
        let missing = (curve.size() + start).checked_sub(bytes.len());
        Ok([vec![0; missing.ok_or(DAMAGED)?], bytes[start..].to_vec()].concat())
    };
    let (d, x, y) = (sized("d")?, sized("x")?, sized("y")?);
    let point = [vec![4], x, y].concat();
    EcdsaKeyPair::from_private_key_and_public_key(curve.signing(), &d, &point)
        .map(|key| SigningKey::Ec(curve, Box::new(key)))
        .map_err(|_| DAMAGED.to_owned())
}

fn ed25519(jwk: &Map<String, Value>) -> Result<SigningKey, String> {
    Ed25519KeyPair::from_seed_and_public_key(&part(jwk, "d")?, &part(jwk, "x")?)
        .map(|key| SigningKey::Ed25519(Box::new(key)))
        .map_err(|_| DAMAGED.to_owned())
}

/// The members that a public key must have, and no others: those of RFC 7638 section 3.2.
pub(super) fn public(key: &SigningKey) -> Map<String, Value> {
    let text = |bytes: &[u8]| json!(URL_SAFE_NO_PAD.encode(bytes));
    let members = match key.public() {
        Public::Rsa(der) => {
            let (n, e) = rsa_numbers(der);
            vec![("e", text(&e)), ("kty", json!("RSA")), ("n", text(&n))]
        }
        Public::Ec { curve, point } => {
            let (x, y) = point[1..].split_at(curve.size());
            let crv = json!(curve.name());
            vec![
                ("crv", crv),
                ("kty", json!("EC")),
                ("x", text(x)),
                ("y", text(y)),
            ]
        }
        Public::Ed25519(x) => vec![
            ("crv", json!("Ed25519")),
            ("kty", json!("OKP")),
            ("x", text(x)),
        ],
    };
    members
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Modulus and exponent without leading zeros (RFC 7518 section 6.3.1).
fn rsa_numbers(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let Ok((_, key)) = RSAPublicKey::from_der(der) else {
        return Default::default();
    };
    let bare = |number: &[u8]| {
        let start = number.iter().position(|b| *b != 0);
        number[start.unwrap_or_default()..].to_vec()
    };
    (bare(key.modulus), bare(key.exponent))
}

/// The thumbprint of a public JWK from outside (RFC 7638). `None` if its members are not those of a public key.
pub fn thumbprint_of(jwk: &Map<String, Value>) -> Option<String> {
    let names: &[&str] = match jwk.get("kty")?.as_str()? {
        "RSA" => &["e", "kty", "n"],
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        _ => return None,
    };
    let member = |name: &&str| Some(((*name).to_owned(), jwk.get(*name)?.as_str()?.into()));
    let sorted: Option<std::collections::BTreeMap<String, Value>> =
        names.iter().map(member).collect();
    Some(hashed(&sorted?))
}

/// The thumbprint of RFC 7638 section 3: SHA-256 of the required members in lexicographic order, without blanks.
pub(super) fn thumbprint(key: &SigningKey) -> String {
    hashed(&public(key).into_iter().collect())
}

fn hashed(sorted: &std::collections::BTreeMap<String, Value>) -> String {
    let text = json!(sorted).to_string();
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}
