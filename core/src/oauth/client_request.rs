//! The common parts of all requests that authenticate a client: the fields, the header or the certificate for it.

use secrecy::SecretString;
use url::Url;

use super::{
    Class, Material, Method, RequestContext, TlsIdentity, TokenEndpoint, TokenError, TokenRequest,
    client_auth,
    grant::{Fields, GrantContext},
};
use crate::{
    Reason,
    credential::{Credential, Endpoint},
};

/// The parts of a request that authenticate its client.
pub(super) struct ClientRequest {
    /// Fields of the form.
    pub(super) fields: Fields,
    headers: Vec<(&'static str, SecretString)>,
    tls: Option<TlsIdentity>,
}

impl ClientRequest {
    /// Authenticates the client for a request to this endpoint.
    ///
    /// # Errors
    /// If the client authentication cannot be used.
    pub(super) fn new(
        credential: &Credential,
        endpoint: &TokenEndpoint,
        material: &Material,
        moment: RequestContext<'_>,
    ) -> Result<Self, TokenError> {
        let around = GrantContext {
            credential,
            endpoint,
            now: moment.now,
            assertion_id: moment.assertion_id,
        };
        if let Some(too_short) = client_auth::too_short(material, endpoint.style) {
            return Err(too_short);
        }
        let (fields, authorization) = client_auth::authenticate(material, &around)
            .map_err(|text| TokenError::local(Class::Invalid, Reason::MaterialInvalid, text))?;
        let mut headers = vec![("accept", SecretString::from("application/json"))];
        headers.extend(authorization.map(|a| ("authorization", a)));
        if matches!(credential.issuer.endpoint, Endpoint::Entra { .. }) {
            headers.push(("client-request-id", SecretString::from(moment.request_id)));
        }
        let tls = match material {
            Material::Tls(identity) => Some(TlsIdentity {
                name: identity.digest(),
                pem: identity.pem().clone(),
            }),
            _ => None,
        };
        Ok(Self {
            fields,
            headers,
            tls,
        })
    }

    /// True if it shows a client certificate.
    pub(super) const fn shows_certificate(&self) -> bool {
        self.tls.is_some()
    }

    /// The form to post.
    pub(super) fn post(self, url: &Url, body: SecretString) -> TokenRequest {
        TokenRequest {
            method: Method::Post,
            url: url.clone(),
            headers: self.headers,
            body,
            tls: self.tls,
            local: false,
        }
    }
}
