//! The chain of a client certificate: the leaf first, each certificate certified by the next, and no others.

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P256_SHA256,
};
use secrecy::ExposeSecret;

use crate::oauth::keys::Identity;

struct Made {
    certificate: Certificate,
    params: CertificateParams,
    key: KeyPair,
}

fn made(name: &str, ca: bool, by: Option<&Made>) -> Made {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = by.is_some();
    if ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = match by {
        Some(by) => {
            let issuer = Issuer::from_params(&by.params, &by.key);
            params.signed_by(&key, &issuer).unwrap()
        }
        None => params.self_signed(&key).unwrap(),
    };
    Made {
        certificate,
        params,
        key,
    }
}

fn text(all: &[&Made]) -> String {
    all.iter().map(|made| made.certificate.pem()).collect()
}

fn sent(all: &[&Made], leaf: &Made) -> Vec<String> {
    let identity = Identity::from_pem(&text(all), &leaf.key.serialize_pem());
    let identity = identity.unwrap_or_else(|problem| panic!("{problem}"));
    let chain = identity.x5c();
    // TLS shows the same chain.
    let shown = identity.pem().expose_secret();
    let at: Vec<_> = chain.iter().map(|one| shown.find(one.as_str())).collect();
    assert!(at.is_sorted() && at.iter().all(Option::is_some), "{at:?}");
    assert_eq!(shown.matches("BEGIN CERTIFICATE").count(), chain.len());
    chain
}

fn expected(all: &[&Made]) -> Vec<String> {
    let one = |made: &&Made| STANDARD.encode(made.certificate.der());
    all.iter().map(one).collect()
}

#[test]
fn a_chain_is_the_way_from_the_leaf_to_its_root_in_any_order_of_the_text() {
    let root = made("root", true, None);
    let middle = made("intermediate", true, Some(&root));
    let leaf = made("leaf", false, Some(&middle));
    let stranger = made("stranger", false, None);
    // With the same name and another key, as after a renewal of the CA.
    let renewed = made("intermediate", true, Some(&root));
    let whole = [&leaf, &middle, &root];
    let others: Vec<Made> = (0..12)
        .map(|n| made(&format!("other {n}"), false, None))
        .collect();
    let late: Vec<&Made> = others.iter().chain(whole).collect();
    #[rustfmt::skip]
    let cases: [(&[&Made], &[&Made]); 11] = [
        (&whole, &whole),
        (&[&leaf, &root, &middle], &whole),
        (&[&root, &middle, &leaf], &whole),
        (&[&middle, &leaf, &root], &whole),
        (&[&leaf, &stranger, &middle], &[&leaf, &middle]),
        (&[&leaf, &leaf, &middle, &middle, &root, &root], &whole),
        (&[&leaf, &renewed, &middle, &root], &whole),
        // The intermediate is missing: the root alone is no evidence.
        (&[&leaf, &root], &[&leaf]),
        (&[&leaf, &stranger], &[&leaf]),
        (&[&leaf], &[&leaf]),
        (&late, &whole),
    ];
    for (nth, (stored, chain)) in cases.into_iter().enumerate() {
        assert_eq!(sent(stored, &leaf), expected(chain), "case {nth}");
    }
    // A self-signed certificate has no chain, whatever other certificates are stored with it.
    assert_eq!(sent(&[&stranger, &leaf], &stranger), expected(&[&stranger]));
}

#[test]
fn a_chain_is_cut_after_ten_certificates() {
    let mut all = vec![made("ca 0", true, None)];
    for n in 1..14 {
        let next = made(&format!("ca {n}"), true, all.last());
        all.push(next);
    }
    let leaf = made("leaf", false, all.last());
    let mut stored: Vec<&Made> = all.iter().collect();
    stored.push(&leaf);
    let chain: Vec<&Made> = stored.iter().rev().copied().take(10).collect();
    assert_eq!(sent(&stored, &leaf), expected(&chain));
}
