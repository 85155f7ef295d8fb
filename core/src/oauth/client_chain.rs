//! The chain of a client certificate: each certificate certifies the one before it (RFC 7515 section 4.1.6, RFC 8446 section 4.4.2).

use rustls::pki_types::CertificateDer;

use super::card::Card;

/// Longest chain that is sent.
const MAX_CHAIN: usize = 10;

/// How well a certificate fits in the place of an issuer.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
enum Fit {
    /// It has the issuer's name and, by its identifier, another key: there are CAs that write a wrong identifier.
    OtherKey,
    /// It has the issuer's name.
    Name,
    /// It has the issuer's key, by its identifier.
    Key,
}

/// Is it the issuer of the certificate below, as far as names and identifiers show?
fn fit(above: &Card, below: &Card) -> Option<Fit> {
    // A name may be encoded in two ways (RFC 5280 section 7.1).
    let named =
        above.subject_raw == below.issuer_raw || above.subject.eq_ignore_ascii_case(&below.issuer);
    match (&above.key, &below.signer) {
        (Some(key), Some(signer)) if key == signer => Some(Fit::Key),
        (Some(_), Some(_)) => named.then_some(Fit::OtherKey),
        _ => named.then_some(Fit::Name),
    }
}

/// Has nobody else certified it?
fn is_root(card: &Card) -> bool {
    card.self_issued && (card.signer.is_none() || card.signer == card.key)
}

/// The way up from the certificate at `leaf`, in the order of the way: without copies, and without what is not on it.
pub(super) fn of(
    mut stored: Vec<CertificateDer<'static>>,
    leaf: usize,
) -> Vec<CertificateDer<'static>> {
    let leaf = stored.remove(leaf);
    let mut below = Card::of(&leaf);
    let mut chain = vec![leaf];
    stored.retain(|other| *other != chain[0]);
    let mut others: Vec<(CertificateDer<'static>, Card)> = stored
        .into_iter()
        .filter_map(|der| Card::of(&der).map(|card| (der, card)))
        .collect();
    while let Some(card) = below.take().filter(|card| !is_root(card)) {
        let fits = others.iter().enumerate();
        let fits = fits.filter_map(|(at, (_, other))| Some((fit(other, &card)?, at)));
        // Of several that fit as well, the first of the text.
        let best = fits.max_by(|(one, at), (other, behind)| one.cmp(other).then(behind.cmp(at)));
        let Some((_, at)) = best.filter(|_| chain.len() < MAX_CHAIN) else {
            break;
        };
        let (der, card) = others.remove(at);
        others.retain(|(other, _)| *other != der);
        chain.push(der);
        below = Some(card);
    }
    chain
}
