//! Explains requests that failed before an answer arrived, from the errors of the HTTP and TLS libraries. Their texts are never shown. The requested
//! host and the content of a server's certificate are shown, bounded and printable.

use crate::Reason;
use std::{error::Error, io};

use rustls::AlertDescription;

use super::{
    target::RequestTarget,
    tls_failure::{refuses_certificate, tls_error, tls_failure},
    tunnel::Tunnel,
};
use crate::{
    bounded,
    credential::addresses::{AddressNotAllowed, NameNotFound},
    oauth::{Class, NextStep, Stage, Then, TokenError},
};

/// Maximum depth to which causes are followed.
const DEPTH: usize = 16;

/// A failure that is more specific than "no connection".
pub(super) fn token_error(
    error: &(dyn Error + 'static),
    target: &RequestTarget,
) -> Option<TokenError> {
    let mut tunnel = None;
    for this in causes(error) {
        if let Some(refused) = this.downcast_ref::<AddressNotAllowed>() {
            return Some(refused.clone().into());
        }
        if let (Some(missing), None) = (this.downcast_ref::<NameNotFound>(), target.proxy) {
            return Some(not_found(*missing, target));
        }
        if target.proxy.is_some() && tunnel.is_none() {
            tunnel = Tunnel::of(this);
        }
        if let Some(hyper) = this.downcast_ref::<hyper::Error>()
            && hyper.is_parse()
        {
            return Some(no_http(hyper, target));
        }
        if let Some(tls) = tls_error(this) {
            return Some(if tunnel.is_some() {
                TokenError::local(
                    Class::Transient,
                    Reason::ProxyUnreachable,
                    "the TLS handshake with the proxy for issuers failed; an administrator must check its URL (a proxy without TLS has http://), and that its CA is in the system's trust store",
                )
                .at(Stage::Proxy)
            } else {
                tls_failure(tls, target)
            });
        }
    }
    tunnel.map(|tunnel| tunnel.token_error(error, target.proxy))
}

pub(super) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |this: &&'a (dyn Error + 'static)| {
        (**this).source()
    })
    .take(DEPTH)
}

/// Returns true if it is certain that the issuer did not process the request. `no_connection`: the connection was never set up.
///
/// Only evidence counts: a connection that closes without an answer may close after the request was read.
pub(super) fn not_processed(error: &(dyn Error + 'static), no_connection: bool) -> bool {
    if no_connection {
        return true;
    }
    for this in causes(error).skip(1) {
        if let Some(h2) = this.downcast_ref::<h2::Error>() {
            // RFC 9113 section 8.7: REFUSED_STREAM, and a GOAWAY, which ends the streams above its last one only.
            let refused = h2.is_reset() && h2.reason() == Some(h2::Reason::REFUSED_STREAM);
            return h2.is_remote() && (refused || h2.is_go_away());
        }
        if let Some(rustls::Error::AlertReceived(alert)) = tls_error(this) {
            return refuses_certificate(*alert) || *alert == AlertDescription::HandshakeFailure;
        }
    }
    false
}

/// Returns true if the server was reached over TLS, and its certificate accepted, although the request failed. Such a server requires a
/// client certificate, which a credential with `client.mtls` sends, or it closed the connection after it had requested one: TLS 1.2 has no alert
/// for a missing certificate, and some servers send none.
pub(super) const fn is_reached(token_error: &TokenError, target: &RequestTarget) -> bool {
    match token_error.stage {
        Stage::ClientCertificate => true,
        Stage::Connect | Stage::BrokenOff => target.seen.certificate_requested > 0,
        Stage::Own
        | Stage::Proxy
        | Stage::Tunnel
        | Stage::Name
        | Stage::Tls
        | Stage::Timeout
        | Stage::Foreign
        | Stage::Answered => false,
    }
}

/// The server sent something over TLS that is not valid HTTP. It may have processed the request.
fn no_http(error: &hyper::Error, target: &RequestTarget) -> TokenError {
    let place = target.place();
    let (reason, text) = if error.is_parse_too_large() {
        (
            Reason::AnswerTooLarge,
            format!(
                "the header of the answer of {place} is too large, or has more than 100 fields; see at the issuer, or at the gateway before it, what sets these fields (cookies, as a rule)"
            ),
        )
    } else {
        (
            Reason::MalformedAnswer,
            format!(
                "the answer of {place} is not valid HTTP; check that the port in the URL is that of an HTTPS server, and that nothing between changes answers (two different lengths, for example)"
            ),
        )
    };
    TokenError::local(Class::Transient, reason, text).at(Stage::BrokenOff)
}

fn not_found(missing: NameNotFound, target: &RequestTarget) -> TokenError {
    let host = bounded(&target.host, 253);
    let text = match missing {
        NameNotFound::Unknown if target.built_in => format!(
            "DNS has no address for {host}, a host of Microsoft Entra ID; make public names known to the cluster's DNS, or have an administrator set a proxy for issuers"
        ),
        NameNotFound::Unknown => format!(
            "DNS has no address for {host}; correct the host in the issuer's URLs, or make it known to the cluster's DNS"
        ),
        NameNotFound::Silent => format!(
            "DNS did not answer for {host}; check the cluster's DNS and the network policies for port 53"
        ),
    };
    TokenError::local(Class::Transient, Reason::IssuerUnreachable, text).at(Stage::Name)
}

/// The error of a connection, as the operating system reports it.
pub(super) fn system_error(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    // An error inside another `io::Error` is not its source.
    fn inner(error: &io::Error) -> Option<&io::Error> {
        error.get_ref()?.downcast_ref()
    }
    causes(error)
        .filter_map(|this| this.downcast_ref::<io::Error>())
        .flat_map(|this| std::iter::successors(Some(this), |error| inner(error)).take(DEPTH))
        .map(io::Error::kind)
        .find(|kind| *kind != io::ErrorKind::Other)
}

/// No answer, or not the whole answer, arrived in time.
pub(super) fn late(target: &RequestTarget) -> TokenError {
    let text = format!("{} did not answer in time", target.place());
    let text = NextStep::new(text, Then::TryAgain);
    TokenError::local(Class::Transient, Reason::IssuerTimeout, text).at(Stage::Timeout)
}

/// A failure about which the libraries report few details.
pub(super) fn plain(
    error: &(dyn Error + 'static),
    (connecting, timed_out): (bool, bool),
    target: &RequestTarget,
) -> TokenError {
    let place = target.place();
    let stage = match (connecting, timed_out) {
        (_, true) => Stage::Timeout,
        (true, false) => Stage::Connect,
        (false, false) => Stage::BrokenOff,
    };
    let (reason, text) = match (connecting, timed_out, target.proxy.is_some()) {
        (true, true, true) => (
            Reason::ProxyTimeout,
            NextStep::new(
                format!("the proxy for issuers opened no connection to {place} in time: it is not reached, or does not reach this host and port"),
                Then::TryAgain,
            ),
        ),
        (true, true, false) if target.seen.begun > 0 => (
            Reason::IssuerTimeout,
            format!(
                "{place} accepts connections and does not finish the TLS handshake in time; check that this port uses TLS, and check devices between"
            )
            .into(),
        ),
        (true, true, false) => (
            Reason::IssuerTimeout,
            format!(
                "no connection to {place} in time: nothing answers; check the address, the port, the network policies and firewalls between"
            )
            .into(),
        ),
        (false, true, _) => return late(target),
        (true, false, true) => (
            Reason::IssuerUnreachable,
            format!(
                "the proxy for issuers opened a connection to {place}, and it broke before the TLS handshake was complete; check the issuer's port and the rules of the proxy"
            )
            .into(),
        ),
        (true, false, false) => (Reason::IssuerUnreachable, not_connected(error, target).into()),
        (false, false, _) => (
            Reason::IssuerUnreachable,
            NextStep::new(
                format!(
                    "the connection to {place} {}{}",
                    match system_error(error) {
                        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) =>
                            "was reset before the whole answer arrived",
                        _ => "ended before the whole answer arrived",
                    },
                    target.maybe_certificate()
                ),
                Then::TryAgain,
            ),
        ),
    };
    TokenError::local(Class::Transient, reason, text).at(stage)
}

fn not_connected(error: &(dyn Error + 'static), target: &RequestTarget) -> String {
    use io::ErrorKind as K;
    let place = target.place();
    let kind = system_error(error);
    if target.seen.begun > 0 {
        let what = match kind {
            Some(K::ConnectionReset | K::BrokenPipe) => "reset",
            _ => "closed",
        };
        return format!(
            "{place} {what} the connection in the TLS handshake{}; check that this port uses TLS, and check the rules of firewalls and gateways between",
            target.maybe_certificate()
        );
    }
    match kind {
        Some(K::ConnectionRefused) => format!(
            "no connection to {place}: connection refused; nothing listens there, so check the address and port, or start the issuer"
        ),
        Some(K::NetworkUnreachable | K::HostUnreachable) => format!(
            "no connection to {place}: there is no route to its address; check the network, and whether it has only an IPv6 address"
        ),
        Some(K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe) => format!(
            "no connection to {place}: connection reset; check the network policies and firewalls between"
        ),
        Some(K::TimedOut) => format!(
            "no connection to {place} in time: nothing answers; check the address, the port, the network policies and firewalls between"
        ),
        Some(K::PermissionDenied) => {
            format!("no connection to {place}: not permitted; check the network policies")
        }
        _ => format!("no connection to {place}; check its address, DNS and the network policies"),
    }
}
