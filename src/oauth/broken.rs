//! What broke before an answer came, read off the errors of the libraries below. Their texts name hosts and more, so
//! nothing of them is handed on.

use std::error::Error;

use super::{Class, Refusal};
use crate::issuer::addresses::AddressNotAllowed;

/// A failure that tells more than that there is no connection.
///
/// `proxy`: was a proxy asked, and with a user and password?
pub(super) fn refusal(error: &(dyn Error + 'static), proxy: Option<WithUser>) -> Option<Refusal> {
    let mut cause = Some(error);
    let mut tunnel = None;
    for _ in 0..16 {
        let Some(this) = cause else { break };
        if let Some(refused) = this.downcast_ref::<AddressNotAllowed>() {
            return Some(refused.clone().into());
        }
        if proxy.is_some() && tunnel.is_none() {
            tunnel = Tunnel::of(this);
        }
        if let Some(tls) = tls_error(this) {
            return Some(if tunnel.is_some() {
                Refusal::local(
                    Class::Transient,
                    "ProxyUnreachable",
                    "the TLS handshake with the proxy for issuers failed; an administrator checks its URL and whether its CA is one of the system's",
                )
            } else {
                Refusal::local(
                    Class::Transient,
                    "TlsFailed",
                    tls_step(tls, proxy.is_some()),
                )
            });
        }
        cause = this.source();
    }
    tunnel.map(|tunnel| tunnel.refusal(proxy))
}

/// Is it certain that the issuer did not process the request? `no_connection`: the connection was never set up.
///
/// Only evidence counts: a connection that breaks without a word may break after the request was read.
pub(super) fn not_processed(error: &(dyn Error + 'static), no_connection: bool) -> bool {
    if no_connection {
        return true;
    }
    let mut cause = error.source();
    for _ in 0..16 {
        let Some(this) = cause else { break };
        if let Some(h2) = this.downcast_ref::<h2::Error>() {
            // RFC 9113 section 8.7: REFUSED_STREAM, and a GOAWAY, which ends the streams above its last one only.
            let refused = h2.is_reset() && h2.reason() == Some(h2::Reason::REFUSED_STREAM);
            return h2.is_remote() && (refused || h2.is_go_away());
        }
        if let Some(rustls::Error::AlertReceived(alert)) = tls_error(this) {
            return refuses_certificate(*alert);
        }
        cause = this.source();
    }
    false
}

/// TLS 1.3 reports a refused client certificate after the request has left, but nobody has read the request then
/// (RFC 8446 section 6.2).
const fn refuses_certificate(alert: rustls::AlertDescription) -> bool {
    use rustls::AlertDescription as A;
    matches!(
        alert,
        A::HandshakeFailure
            | A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied
            | A::CertificateRequired
    )
}

/// Was the proxy given a user and password?
#[derive(Clone, Copy)]
pub(super) struct WithUser(pub(super) bool);

/// How a proxy failed to open a connection.
enum Tunnel {
    /// It was not reached.
    Unreachable,
    /// It went away in the middle.
    Broken,
    /// It wants a user and password, or others.
    Credentials,
    /// It said no, by whatever status.
    Refused,
}

impl Tunnel {
    /// hyper-util keeps the type of these errors to itself, so they are known by their words. Words that change in a later
    /// version are no connection to the issuer, and `oauth::tests::proxied` fails.
    fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let text = error.to_string();
        Some(match text.strip_prefix("tunnel error: ")? {
            "failed to create underlying connection" => Self::Unreachable,
            "proxy authorization required" => Self::Credentials,
            "unsuccessful" | "proxy response headers too long" => Self::Refused,
            _ => Self::Broken,
        })
    }

    fn refusal(self, proxy: Option<WithUser>) -> Refusal {
        match (self, proxy) {
            (Self::Unreachable, _) => Refusal::local(
                Class::Transient,
                "ProxyUnreachable",
                "no connection to the proxy for issuers; check its address, DNS and the network policies",
            ),
            (Self::Broken, _) => Refusal::local(
                Class::Transient,
                "ProxyUnreachable",
                "the proxy for issuers closed the connection without a word; apicred tries again",
            ),
            (Self::Credentials, Some(WithUser(true))) => Refusal::local(
                Class::Transient,
                "ProxyCredentialsRefused",
                "the proxy for issuers refuses the user and password that it is given; an administrator corrects them",
            ),
            (Self::Credentials, _) => Refusal::local(
                Class::Transient,
                "ProxyCredentialsRefused",
                "the proxy for issuers wants a user and password and is given none; an administrator adds them",
            ),
            (Self::Refused, _) => Refusal::local(
                Class::Transient,
                "ProxyRefused",
                "the proxy for issuers opens no connection to this issuer; have the issuer's host and port allowed there, or see there why it cannot be reached",
            ),
        }
    }
}

/// rustls hands its error up inside an `io::Error`, and the connector puts that into another one.
fn tls_error<'a>(mut cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    loop {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        cause = cause.downcast_ref::<std::io::Error>()?.get_ref()?;
    }
}

fn tls_step(error: &rustls::Error, by_proxy: bool) -> &'static str {
    use rustls::CertificateError as C;
    match error {
        rustls::Error::InvalidCertificate(C::UnknownIssuer) if by_proxy => {
            "the issuer's certificate is signed by a CA that is not trusted; put that CA into caBundle, or the proxy's own if it looks into TLS"
        }
        rustls::Error::InvalidCertificate(C::UnknownIssuer) => {
            "the issuer's certificate is signed by a CA that is not trusted; put that CA into caBundle"
        }
        rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
            "the issuer's certificate has expired"
        }
        rustls::Error::InvalidCertificate(C::NotValidYet | C::NotValidYetContext { .. }) => {
            "the issuer's certificate is not valid yet; check the clocks"
        }
        rustls::Error::InvalidCertificate(
            C::NotValidForName | C::NotValidForNameContext { .. },
        ) => "the issuer's certificate is for another name; check the URL",
        rustls::Error::InvalidCertificate(_) => {
            "the issuer's certificate is not acceptable; if it signed itself, it must not be marked as a CA (basicConstraints CA:FALSE)"
        }
        rustls::Error::AlertReceived(_) => {
            "the issuer ended the TLS handshake: does it want a client certificate, know its CA, and get the whole chain?"
        }
        _ => "the TLS handshake with the issuer failed",
    }
}
