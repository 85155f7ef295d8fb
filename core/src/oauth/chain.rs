//! Explains why the certificate of a server was refused. Never changes the decision of the TLS library.
//!
//! All names come from outside, so they are shown bounded and printable.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use rustls::{
    CertificateError,
    pki_types::{CertificateDer, UnixTime},
};

pub use super::certificate_summary::CertificateSummary;
use super::redaction::Net;
use crate::input::at_second;

/// Most host names of a certificate that are shown.
const MAX_NAMES: usize = 5;

/// A server's certificates that were refused, and why.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Why rustls refused them.
    pub cause: CertificateError,
    /// The certificates that the server sent.
    pub shown: Shown,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server's certificate is refused")
    }
}

impl std::error::Error for Refused {}

impl Refused {
    /// The same without secrets that the server repeats. The names in `caBundle` come from the administrator and stay.
    #[must_use]
    pub fn without(&self, net: &Net) -> Self {
        let cut = |summary: &CertificateSummary| CertificateSummary {
            subject: net.cut(&summary.subject),
            issuer: net.cut(&summary.issuer),
            names: summary.names.iter().map(|name| net.cut(name)).collect(),
            ..summary.clone()
        };
        Self {
            cause: self.cause.clone(),
            shown: Shown {
                leaf: self.shown.leaf.as_ref().map(cut),
                above: self.shown.above.iter().map(cut).collect(),
                ..self.shown.clone()
            },
        }
    }

    /// As an error of rustls, with this as its source.
    pub fn into_error(self) -> rustls::Error {
        let own = rustls::OtherError(Arc::new(self));
        rustls::Error::InvalidCertificate(CertificateError::Other(own))
    }
}

/// The certificates that a server sent, and those that they were compared with.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Their number.
    sent: usize,
    leaf: Option<CertificateSummary>,
    /// The others that can be read.
    above: Vec<CertificateSummary>,
    /// Subjects of `caBundle`; `None` if it is not set.
    anchors: Option<Vec<CertificateSummary>>,
}

impl Shown {
    /// `leaf` and the certificates `above` it, compared with `anchors`: the CAs of the issuer, if it has its own.
    pub fn new(
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        anchors: Option<&[CertificateSummary]>,
    ) -> Self {
        Self {
            sent: 1 + above.len(),
            leaf: CertificateSummary::of(leaf),
            above: above
                .iter()
                .take(16)
                .filter_map(|c| CertificateSummary::of(c))
                .collect(),
            anchors: anchors.map(<[CertificateSummary]>::to_vec),
        }
    }

    /// The last certificate of the chain: its issuer was not sent, or it is self-issued.
    fn top(&self) -> Option<&CertificateSummary> {
        let mut top = self.leaf.as_ref()?;
        for _ in 0..=self.above.len() {
            let next = (self.above.iter()).find(|c| c.subject_raw == top.issuer_raw);
            match next {
                Some(next) if !top.self_issued => top = next,
                _ => break,
            }
        }
        Some(top)
    }

    /// A certificate that was sent instead of the signing one: with the same name, but with another key according to their
    /// identifiers.
    fn stale(&self) -> Option<&CertificateSummary> {
        let mut below = self.leaf.as_ref()?;
        for _ in 0..=self.above.len() {
            let of_name = |c: &&CertificateSummary| c.subject_raw == below.issuer_raw;
            let above = self.above.iter().find(of_name)?;
            let fits =
                |c: &&CertificateSummary| of_name(c) && (c.key.is_none() || c.key == below.signer);
            if below.signer.is_some() && !self.above.iter().any(|c| fits(&c)) {
                return Some(above);
            }
            if above.self_issued {
                return None;
            }
            below = above;
        }
        None
    }

    fn anchors_named(&self, raw: &[u8]) -> bool {
        let anchors = self.anchors.iter().flatten();
        anchors.into_iter().any(|a| a.subject_raw == raw)
    }

    /// A description of the certificate that expired at this time.
    fn expired_certificate(&self, at: Option<i64>) -> String {
        let of = |c: &&CertificateSummary| at.is_none_or(|at| c.until == at);
        if self.leaf.as_ref().is_none_or(|leaf| of(&leaf)) {
            return "the server's certificate".to_owned();
        }
        match self.above.iter().find(of) {
            Some(ca) => format!("the CA certificate {} that the server sends", ca.subject),
            None => "a CA certificate".to_owned(),
        }
    }

    fn unknown(&self, by_proxy: bool) -> String {
        let proxy = if by_proxy {
            " (the proxy's own CA, if it inspects TLS)"
        } else {
            ""
        };
        let Some(top) = self.top() else {
            return format!(
                "the server's certificate is signed by a CA that is not trusted; put that CA into caBundle{proxy}"
            );
        };
        let leaf_alone = self.leaf.as_ref() == Some(top);
        if top.self_issued && leaf_alone {
            return format!(
                "the server's certificate {} is self-signed and not in caBundle; put it there if it is the right one",
                top.subject
            );
        }
        if top.self_issued {
            return format!(
                "the server's certificate is signed by the CA {}, which is not trusted; put that CA into caBundle{proxy}",
                top.subject
            );
        }
        let sends = match self.sent {
            1 => "only its own certificate".to_owned(),
            n => format!("{n} certificates"),
        };
        match &self.anchors {
            Some(anchors) => format!(
                "the server sends {sends}, signed by {}, which is neither sent nor in caBundle (it has {}): have the server send its intermediate certificates, or put that CA into caBundle{proxy}",
                top.issuer,
                listed(anchors.iter().map(|a| a.subject.as_str()), 3)
            ),
            None => format!(
                "the server sends {sends}, signed by {}, which is not trusted: put that CA into caBundle{proxy}; if it is an intermediate certificate of a public CA, have the server send it",
                top.issuer
            ),
        }
    }

    fn bad_signature(&self) -> String {
        let Some(top) = self.top() else {
            return "a signature in the server's certificates is wrong; the server sends certificates that do not belong together".to_owned();
        };
        if let Some(stale) = self.stale().filter(|c| !c.self_issued) {
            return format!(
                "the server's certificate names the CA {}, but the certificate of that name that the server sends has another key: was the CA renewed? Have the server send the present one",
                stale.subject
            );
        }
        let between = self.above.iter().find(|c| !c.self_issued);
        if let Some(between) = between.filter(|_| self.anchors_named(&top.issuer_raw)) {
            return format!(
                "a CA of the server's certificate was renewed with another key: either {}, then have the server send its present certificate, or {}, then put its present certificate into caBundle",
                between.subject, top.issuer
            );
        }
        let issuer = if top.self_issued {
            &top.subject
        } else {
            &top.issuer
        };
        if self.anchors_named(&top.issuer_raw) {
            format!(
                "the server's certificate names the CA {issuer}, but the CA of that name in caBundle has another key: was the CA renewed? Put its present certificate into caBundle"
            )
        } else {
            format!(
                "the server's certificate names the CA {issuer}, but is not signed with the key of that CA; have the server send the certificates that belong to it"
            )
        }
    }

    fn other_name(&self, host: &str) -> String {
        let names = self.leaf.as_ref().map_or(&[][..], |l| &l.names);
        if names.is_empty() {
            let subject = self.leaf.as_ref().map_or("", |l| &l.subject);
            return format!(
                "the server's certificate ({subject}) has no subjectAltName, and TLS clients do not read the common name; have it issued with {host} as subjectAltName"
            );
        }
        format!(
            "the server's certificate is for {} and not for {host}; correct the host in the issuer's URLs, or have it issued for this name",
            listed(names.iter().map(String::as_str), MAX_NAMES)
        )
    }
}

/// The first ones of several texts.
fn listed<'a>(texts: impl ExactSizeIterator<Item = &'a str>, most: usize) -> String {
    let more = texts.len().saturating_sub(most);
    let first: Vec<&str> = texts.take(most).collect();
    match more {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

fn at(time: UnixTime) -> Option<Timestamp> {
    Some(at_second(i64::try_from(time.as_secs()).ok()?))
}

fn when(time: UnixTime) -> String {
    at(time).map_or_else(|| "a time out of range".to_owned(), |t| t.to_string())
}

/// Why a server's certificate is refused: a sentence without a full stop. `host`: the requested host name.
pub fn sentence(refused: &Refused, host: &str, by_proxy: bool) -> String {
    use CertificateError as C;
    let shown = &refused.shown;
    if let Some(leaf) = shown.leaf.as_ref().filter(|l| l.version < 3) {
        return format!(
            "the server's certificate ({}) is X.509 version {}, which TLS clients do not accept; have it issued as version 3 with subjectAltName",
            leaf.subject, leaf.version
        );
    }
    match &refused.cause {
        C::UnknownIssuer => shown.unknown(by_proxy),
        C::BadSignature => shown.bad_signature(),
        C::ExpiredContext { time, not_after } => format!(
            "{} expired at {}, and this machine's clock says {}; have it renewed",
            shown.expired_certificate(i64::try_from(not_after.as_secs()).ok()),
            when(*not_after),
            when(*time)
        ),
        C::Expired => "the server's certificate has expired; have it renewed".to_owned(),
        C::NotValidYetContext { time, not_before } => format!(
            "a certificate of the server is not valid before {}, and this machine's clock says {}; check the clocks",
            when(*not_before),
            when(*time)
        ),
        C::NotValidYet => "the server's certificate is not valid yet; check the clocks".to_owned(),
        C::NotValidForName | C::NotValidForNameContext { .. } => shown.other_name(host),
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => {
            "a certificate of the server may not be used for TLS servers by its extendedKeyUsage; have it issued with serverAuth".to_owned()
        }
        C::Revoked => "the server's certificate is revoked; have it replaced".to_owned(),
        C::BadEncoding => "a certificate of the server is damaged; have it replaced".to_owned(),
        #[allow(deprecated, reason = "older versions of the verifier say it so")]
        C::UnsupportedSignatureAlgorithm
        | C::UnsupportedSignatureAlgorithmContext { .. }
        | C::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "a certificate of the server is signed by an algorithm that is not accepted (SHA-1, MD5, or RSA of less than 2048 bits); have it issued with SHA-256".to_owned()
        }
        C::UnhandledCriticalExtension => {
            "a certificate of the server has a critical extension that is not known; have it issued without it".to_owned()
        }
        C::Other(other) => by_rule(other.0.downcast_ref::<webpki::Error>(), shown),
        _ => "the server's certificate is not acceptable; have it replaced".to_owned(),
    }
}

/// The rules of RFC 5280 for which rustls has no error of its own.
fn by_rule(error: Option<&webpki::Error>, shown: &Shown) -> String {
    use webpki::Error as W;
    let subject = shown.leaf.as_ref().map_or("", |l| &l.subject);
    match error {
        Some(W::CaUsedAsEndEntity) => format!(
            "the server's certificate ({subject}) is marked as a CA (basicConstraints CA:TRUE), and a server must not use a CA certificate; issue one with CA:FALSE, signed by itself or by that CA"
        ),
        Some(W::EndEntityUsedAsCa) => {
            "a certificate that signed the server's is not marked as a CA (basicConstraints CA:TRUE); have the CA's certificate issued as one".to_owned()
        }
        Some(W::NameConstraintViolation) => {
            "a CA of the server's certificate may not sign for this name (nameConstraints); have it issued by another CA".to_owned()
        }
        Some(W::PathLenConstraintViolated) => {
            "a CA of the server's certificate may have no CA below it (pathLenConstraint); have it issued by another CA".to_owned()
        }
        Some(W::UnsupportedCertVersion) => {
            "a certificate of the server is not X.509 version 3; reissue it".to_owned()
        }
        Some(W::UnsupportedCriticalExtension) => {
            "a certificate of the server has a critical extension that is not known; have it issued without it".to_owned()
        }
        Some(W::SignatureAlgorithmMismatch | W::ExtensionValueInvalid | W::MalformedExtensions) => {
            "a certificate of the server contradicts itself; reissue it".to_owned()
        }
        _ => "the server's certificate is not acceptable by RFC 5280; reissue it".to_owned(),
    }
}
