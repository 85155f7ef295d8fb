//! The chain of a client certificate: each certificate certifies the one before it (RFC 7515 section 4.1.6, RFC 8446 section 4.4.2).

use rustls::pki_types::CertificateDer;

use super::certificate_summary::CertificateSummary;

/// Longest chain that is sent.
const MAX_CHAIN: usize = 10;

/// How well a certificate fits as the issuer of another.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
enum Fit {
    /// It has the issuer's name, but its identifier is that of another key: some CAs write a wrong identifier.
    OtherKey,
    /// It has the issuer's name.
    Name,
    /// It has the issuer's key, by its identifier.
    Key,
}

/// How well `above` fits as the issuer of `below`, as far as names and identifiers show it.
fn fit(above: &CertificateSummary, below: &CertificateSummary) -> Option<Fit> {
    // A name may be encoded in two ways (RFC 5280 section 7.1).
    let named =
        above.subject_raw == below.issuer_raw || above.subject.eq_ignore_ascii_case(&below.issuer);
    match (&above.key, &below.signer) {
        (Some(key), Some(signer)) if key == signer => Some(Fit::Key),
        (Some(_), Some(_)) => named.then_some(Fit::OtherKey),
        _ => named.then_some(Fit::Name),
    }
}

/// True if no other certificate certifies it.
fn is_root(summary: &CertificateSummary) -> bool {
    summary.self_issued && (summary.signer.is_none() || summary.signer == summary.key)
}

/// The chain from the certificate at `leaf` upwards, in its order: without duplicates and without other certificates.
pub(super) fn of(
    mut stored: Vec<CertificateDer<'static>>,
    leaf: usize,
) -> Vec<CertificateDer<'static>> {
    let leaf = stored.remove(leaf);
    let mut below = CertificateSummary::of(&leaf);
    let mut chain = vec![leaf];
    stored.retain(|other| *other != chain[0]);
    let mut others: Vec<(CertificateDer<'static>, CertificateSummary)> = stored
        .into_iter()
        .filter_map(|der| CertificateSummary::of(&der).map(|summary| (der, summary)))
        .collect();
    while let Some(summary) = below.take().filter(|summary| !is_root(summary)) {
        let fits = others.iter().enumerate();
        let fits = fits.filter_map(|(at, (_, other))| Some((fit(other, &summary)?, at)));
        // Of several that fit equally well, the first one of the text.
        let best = fits.max_by(|(one, at), (other, behind)| one.cmp(other).then(behind.cmp(at)));
        let Some((_, at)) = best.filter(|_| chain.len() < MAX_CHAIN) else {
            break;
        };
        let (der, summary) = others.remove(at);
        others.retain(|(other, _)| *other != der);
        chain.push(der);
        below = Some(summary);
    }
    chain
}
