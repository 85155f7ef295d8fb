//! The content of a token request, before it is checked.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use rustls::pki_types::CertificateDer;

use crate::assertion::Assertion;
use crate::form::{Form, Malformed, decode};
use crate::ids::is_guid;
use crate::log::AuthMethod;

/// The endpoint of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `/{tenant}/oauth2/token`
    EntraV1 { tenant: String },
    /// `/{tenant}/oauth2/v2.0/token`
    EntraV2 { tenant: String },
    /// `/generic/token`
    Generic,
    /// `/{tenant}/oauth2/v2.0/devicecode`
    EntraDevice { tenant: String },
    /// `/generic/device_authorization`
    GenericDevice,
    /// `/generic/revoke`
    GenericRevocation,
}

/// Client id and secret from an `Authorization: Basic` header.
pub(crate) struct Basic {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// A parsed token request.
pub(crate) struct TokenRequest {
    pub(crate) endpoint: Endpoint,
    /// Empty if the body has another type: then every parameter is missing, which Entra reports as well.
    pub(crate) form: Result<Form, Malformed>,
    /// `None` if there is no such header.
    pub(crate) basic: Option<Result<Basic, Malformed>>,
    /// The caller's `client-request-id`, if it is a GUID.
    pub(crate) correlation_id: Option<String>,
    /// The certificate chain of the connection, the client's own first.
    pub(crate) peer: Arc<[CertificateDer<'static>]>,
    /// The issuer that an assertion names, and whether its subject is the same. Not verified.
    signer: Option<(String, bool)>,
}

impl TokenRequest {
    pub(crate) fn read(endpoint: Endpoint, headers: &HeaderMap, body: &[u8]) -> Self {
        let form = if is_form(headers) {
            Form::parse(body)
        } else {
            Ok(Form::default())
        };
        // v1 does not support the header.
        let basic = match endpoint {
            Endpoint::EntraV1 { .. } => None,
            _ => read_basic(headers),
        };
        let correlation_id = headers
            .get("client-request-id")
            .and_then(|value| value.to_str().ok())
            .filter(|id| is_guid(id))
            .map(str::to_owned);
        let signer = form.as_ref().ok().and_then(signer);
        Self {
            endpoint,
            form,
            basic,
            correlation_id,
            peer: Arc::default(),
            signer,
        }
    }

    /// The same with the client's certificates from the handshake.
    pub(crate) fn shown(mut self, peer: &Arc<[CertificateDer<'static>]>) -> Self {
        self.peer = Arc::clone(peer);
        self
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.form.as_ref().ok()?.get(name)
    }

    /// The requested URL at Entra: with the tenant as in the request, and with its ID.
    pub(crate) fn urls(&self, origin: &str, id: &str) -> [String; 2] {
        let of = |tenant: &str, path: &str| format!("{origin}/{tenant}/oauth2/{path}");
        let both = |tenant: &str, path: &str| [of(tenant, path), of(id, path)];
        match &self.endpoint {
            Endpoint::EntraV1 { tenant } => both(tenant, "token"),
            Endpoint::EntraV2 { tenant } => both(tenant, "v2.0/token"),
            Endpoint::EntraDevice { tenant } => both(tenant, "v2.0/devicecode"),
            Endpoint::Generic | Endpoint::GenericDevice | Endpoint::GenericRevocation => {
                [String::new(), String::new()]
            }
        }
    }

    /// The client that sends the request, as far as it is known.
    pub(crate) fn client_id(&self) -> Option<&str> {
        let basic = || match &self.basic {
            Some(Ok(basic)) => Some(basic.id.as_str()),
            _ => None,
        };
        self.parameter("client_id").or_else(basic).or_else(|| {
            // RFC 7523 section 3: the parameter may be missing. Entra requires it.
            let generic = matches!(
                self.endpoint,
                Endpoint::Generic | Endpoint::GenericDevice | Endpoint::GenericRevocation
            );
            let signer = self.signer.as_ref().filter(|_| generic);
            signer.map(|(id, _)| id.as_str())
        })
    }

    /// How the client tries to authenticate.
    pub(crate) fn auth_method(&self) -> AuthMethod {
        if self.basic.is_some() {
            AuthMethod::ClientSecretBasic
        } else if self.parameter("client_secret").is_some() {
            AuthMethod::ClientSecretPost
        } else if self.parameter("client_assertion").is_some() {
            match self.signer {
                Some((_, false)) => AuthMethod::FederatedJwt,
                _ => AuthMethod::PrivateKeyJwt,
            }
        } else {
            AuthMethod::None
        }
    }
}

/// From the client authentication, or from the grant that the client signed.
fn signer(form: &Form) -> Option<(String, bool)> {
    let text = form
        .get("client_assertion")
        .or_else(|| form.get("assertion"))?;
    let assertion = Assertion::read(text).ok()?;
    let issuer = assertion.claim("iss")?;
    let own = assertion.claim("sub") == Some(issuer);
    Some((issuer.to_owned(), own))
}

fn is_form(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| {
            kind.trim()
                .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        })
}

/// RFC 6749 section 2.3.1: id and secret are each form-encoded before they become a Basic pair (RFC 7617).
fn read_basic(headers: &HeaderMap) -> Option<Result<Basic, Malformed>> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = || {
        let bytes = STANDARD.decode(encoded.trim()).map_err(|_| Malformed)?;
        let text = String::from_utf8(bytes).map_err(|_| Malformed)?;
        let (id, secret) = text.split_once(':').ok_or(Malformed)?;
        Ok(Basic {
            id: decode(id)?,
            secret: decode(secret)?,
        })
    };
    Some(pair())
}
