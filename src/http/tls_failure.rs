//! Explains TLS handshakes that failed: alerts of the server, its certificate, and what it does not support.

use crate::Reason;
use std::{error::Error, io};

use rustls::{AlertDescription, CertificateError};

use super::target::RequestTarget;
use crate::{
    bounded,
    oauth::{
        Class, Stage, TokenError,
        chain::{self, Refused},
    },
};

/// TLS 1.3 reports a refused client certificate after the request was sent, but then the server has not read the request
/// (RFC 8446 section 6.2).
pub(super) const fn refuses_certificate(alert: AlertDescription) -> bool {
    use AlertDescription as A;
    matches!(
        alert,
        A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied
            | A::CertificateRequired
    )
}

/// rustls returns its error inside an `io::Error`, and the connector wraps that in another one.
pub(crate) fn tls_error<'a>(mut cause: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    loop {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        cause = cause.downcast_ref::<io::Error>()?.get_ref()?;
    }
}

pub(super) fn tls_failure(error: &rustls::Error, target: &RequestTarget) -> TokenError {
    let failed = |what: String| {
        TokenError::local(
            Class::Transient,
            Reason::TlsFailed,
            format!("{}: {what}", target.place()),
        )
        .at(Stage::Tls)
    };
    match error {
        rustls::Error::AlertReceived(alert) => {
            let (what, about_certificate) = alerted(*alert, target);
            let token_error = failed(what);
            if about_certificate {
                // The result stays the same until the configuration changes, here or at the issuer.
                return TokenError {
                    class: Class::Denied,
                    reason: Reason::ClientCertificateRefused,
                    stage: Stage::ClientCertificate,
                    about_client: target.shows,
                    ..token_error
                };
            }
            token_error
        }
        rustls::Error::InvalidCertificate(cause) => {
            let refused = match cause {
                CertificateError::Other(other) => other.0.downcast_ref::<Refused>(),
                _ => None,
            };
            failed(match (refused, cause) {
                (Some(refused), _) => {
                    let refused = match &target.hide {
                        Some(net) => refused.without(net),
                        None => refused.clone(),
                    };
                    chain::sentence(&refused, &target.host, target.proxy.is_some())
                }
                (None, CertificateError::BadSignature) => {
                    "the server's signature does not fit its certificate; its certificate and private key do not belong together".to_owned()
                }
                (None, _) => "the server's certificate is not acceptable; have it replaced".to_owned(),
            })
        }
        error => failed(handshake(error).to_owned()),
    }
}

/// Failures of the handshake itself.
fn handshake(error: &rustls::Error) -> &'static str {
    use rustls::{Error as E, PeerIncompatible as P};
    const NOTHING_COMMON: &str = "the server has no TLS version or cipher in common with apicred, which takes TLS 1.2 and 1.3 with ECDHE and AES-GCM or ChaCha20-Poly1305; enable one of them at the server";
    match error {
        E::PeerIncompatible(
            P::NoCipherSuitesInCommon
            | P::NoKxGroupsInCommon
            | P::NoSignatureSchemesInCommon
            | P::NoEcPointFormatsInCommon
            | P::ServerDoesNotSupportTls12Or13
            | P::ServerTlsVersionIsDisabledByOurConfig
            | P::Tls12NotOffered
            | P::Tls12NotOfferedOrEnabled,
        )
        | E::PeerMisbehaved(
            rustls::PeerMisbehaved::SelectedUnofferedCipherSuite
            | rustls::PeerMisbehaved::SelectedUnofferedKxGroup,
        ) => NOTHING_COMMON,
        E::PeerIncompatible(P::NoCertificateRequestSignatureSchemesInCommon) => {
            "the server requests a client certificate with signatures that apicred does not support; allow ECDSA or RSA with SHA-256 there"
        }
        E::PeerIncompatible(P::ExtendedMasterSecretExtensionRequired) => {
            "the server's TLS 1.2 lacks the extended master secret (RFC 7627); update the server"
        }
        E::NoCertificatesPresented => "the server shows no certificate; configure one there",
        E::NoApplicationProtocol => NO_HTTP,
        E::PeerSentOversizedRecord | E::InvalidMessage(_) | E::InappropriateMessage { .. } => {
            "the server does not speak TLS at this port: is it one for plain HTTP, or for something else?"
        }
        E::DecryptError => {
            "the data of the server cannot be decrypted; find what changes it on the way"
        }
        _ => "the TLS handshake failed, because the server breaks the protocol",
    }
}

const NO_HTTP: &str = "the server supports neither HTTP/2 nor HTTP/1.1 at this port (ALPN); correct the port or the server";

/// What an alert of the server means, and whether it is about the client's certificate.
fn alerted(alert: AlertDescription, target: &RequestTarget) -> (String, bool) {
    use AlertDescription as A;
    let name = alert
        .as_str()
        .map_or_else(|| u8::from(alert).to_string(), |name| bounded(name, 40));
    if let Some(why) = certificate_refused(alert, target) {
        let text = if target.shows {
            format!("the server refuses the client certificate (alert {name}): {why}")
        } else {
            format!(
                "the server requires a client certificate (alert {name}) and gets none; use client.mtls"
            )
        };
        return (text, true);
    }
    let text = match alert {
        A::HandshakeFailure | A::InsufficientSecurity | A::ProtocolVersion => format!(
            "the server has no TLS version or cipher in common with apicred (alert {name}), which takes TLS 1.2 and 1.3 with ECDHE and AES-GCM or ChaCha20-Poly1305; enable one of them at the server"
        ),
        A::UnrecognisedName => format!(
            "the server has no certificate for this host (alert {name}); correct the host in the issuer's URLs, or the server"
        ),
        A::NoApplicationProtocol => NO_HTTP.to_owned(),
        A::InternalError => {
            format!("the server failed in the TLS handshake (alert {name}); see its log")
        }
        _ => format!("the server ended the TLS handshake (alert {name}); see its log"),
    };
    (text, false)
}

/// Why the server refuses the client's certificate, if the alert is about that.
fn certificate_refused(alert: AlertDescription, target: &RequestTarget) -> Option<&'static str> {
    use AlertDescription as A;
    let certificate_requested = target.seen.certificate_requested > 0;
    let why = match alert {
        _ if refuses_certificate(alert) && target.seen.unfit > 0 => {
            "it accepts no signature that the client's key can make; use another kind of key, such as RSA or EC on P-256"
        }
        A::UnknownCA => {
            "it does not know the CA; have that CA added there, or put the intermediate certificates after the client's own"
        }
        A::CertificateExpired => "it has expired by the server's clock; renew it",
        A::CertificateRevoked => "it is revoked; have a new one issued",
        A::UnsupportedCertificate | A::BadCertificate => {
            "check that it is X.509 version 3, has clientAuth in extendedKeyUsage, and is of the kind that the issuer demands"
        }
        A::AccessDenied => "it is valid and not allowed; have it registered for this client",
        A::CertificateUnknown => {
            "register this certificate for the client, or check its chain and dates"
        }
        A::CertificateRequired => {
            "the server did not get one that it can use; check which CAs it accepts"
        }
        // TLS 1.2 has no other alert for a missing client certificate.
        A::HandshakeFailure if certificate_requested => {
            "check that its CA is known there, and that its intermediate certificates come after the client's own"
        }
        A::DecryptError if certificate_requested && target.shows => {
            "its key does not fit; check the certificate and the key"
        }
        _ => return None,
    };
    Some(why)
}
