//! Which issuer issued a token, and to which issuer it may be sent back. A part of [`super::binding`].
//!
//! The identity of an issuer is more than its host, because all realms of one server have the same origin. It is the identifier if the issuer
//! has a discovery document, the tenant at Entra ID, and otherwise path and query of its token endpoint. If an administrator changes the URL of
//! a `ClusterTokenIssuer` and not its host, it is the same issuer.

use std::collections::BTreeMap;

use url::Url;

use super::{Credential, Endpoint, Issuer, IssuerId, binding::Denial};
use crate::{
    api::{IssuerKind, names},
    oauth::TokenEndpoint,
};

/// The suffix of the mark of a `TokenIssuer` that no administrator vouches for.
const OWN: &str = "TokenIssuer";
/// Prefix of the name of an administrator's issuer.
const OBJECT: &str = "ClusterTokenIssuer/";
/// Prefix of the identifier of an issuer.
const IDENTIFIER: &str = "iss=";
/// Prefix of the origin of the token endpoint for clients that show a certificate (RFC 8705 section 5).
const ALIAS: &str = "mtls=";

/// What issued a token. Recorded when the token arrives, and never derived from a later spec.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IssuedBy {
    /// Digest of the request that obtained it.
    pub request: String,
    /// The issuer as [`issuer_mark`] writes it.
    pub issuer: String,
}

/// The issuer that answers this credential's requests at `endpoint`, as recorded with a token: the tenant at Entra ID, the origin of the token
/// endpoint and the identifier if there is a discovery document, otherwise the token endpoint. The suffix `TokenIssuer` marks an issuer that no
/// administrator vouches for, because the namespace chooses the certificates that are trusted there. For an administrator's issuer the suffix
/// is its name. If the client shows a certificate to another origin of the issuer, that origin is recorded as well: the document may name
/// another one later.
pub fn issuer_mark(credential: &Credential, endpoint: &TokenEndpoint) -> String {
    let issuer = &credential.issuer;
    let place = match &issuer.endpoint {
        Endpoint::Entra { authority } => authority.to_ascii_lowercase(),
        Endpoint::Discover(identifier) => {
            let origin = endpoint.url.origin().ascii_serialization();
            let certificate = credential.authentication.shows_certificate();
            let posted = endpoint.posted(certificate).origin().ascii_serialization();
            let alias = if posted == origin {
                String::new()
            } else {
                format!(" {ALIAS}{posted}")
            };
            format!(
                "{origin}{alias} {IDENTIFIER}{}",
                trimmed(identifier.as_str())
            )
        }
        Endpoint::Fixed(_) | Endpoint::Nowhere => {
            let origin = endpoint.url.origin().ascii_serialization();
            let path = format!("{origin}{}", endpoint.url.path());
            // Some servers select the realm by the query: `?p=POLICY` of Azure AD B2C.
            let query = endpoint.url.query();
            let query = query.map_or_else(String::new, |query| format!("?{query}"));
            format!("{}{query}", trimmed(&path))
        }
    };
    match &issuer.id {
        _ if !issuer.vouched => format!("{place} {OWN}"),
        IssuerId::Object(IssuerKind::ClusterTokenIssuer, _, name) => {
            format!("{place} {OBJECT}{name}")
        }
        _ => place,
    }
}

fn trimmed(url: &str) -> &str {
    url.trim_end_matches('/')
}

/// A parsed mark.
#[derive(Debug, PartialEq)]
struct Mark<'a> {
    /// The token endpoint, its origin, or the tenant.
    place: &'a str,
    identifier: Option<&'a str>,
    /// The origin to which the client shows a certificate, if it is another one.
    alias: Option<&'a str>,
    /// True for a `TokenIssuer` that no administrator vouches for.
    own: bool,
    /// Name of the administrator's issuer.
    object: Option<&'a str>,
}

impl<'a> Mark<'a> {
    /// None: it contains an unknown part.
    fn read(text: &'a str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut mark = Self {
            place: words.next().filter(|place| !place.is_empty())?,
            identifier: None,
            alias: None,
            own: false,
            object: None,
        };
        for word in words {
            if let Some(identifier) = word.strip_prefix(IDENTIFIER) {
                mark.identifier = Some(identifier);
            } else if let Some(alias) = word.strip_prefix(ALIAS) {
                mark.alias = Some(alias);
            } else if let Some(object) = word.strip_prefix(OBJECT) {
                mark.object = Some(object);
            } else if word == OWN {
                mark.own = true;
            } else {
                return None;
            }
        }
        Some(mark)
    }

    fn origin(&self) -> Option<String> {
        let url = Url::parse(self.place).ok()?;
        Some(url.origin().ascii_serialization())
    }

    /// Returns true if this origin is the one of a token endpoint of the issuer.
    fn has(&self, origin: &str) -> bool {
        self.origin().as_deref() == Some(origin) || self.alias == Some(origin)
    }

    /// Returns true if `now` is this issuer, whatever object names it.
    fn is(&self, now: &Mark<'_>) -> bool {
        if (self.place, self.identifier, self.alias) == (now.place, now.identifier, now.alias) {
            return true;
        }
        // An origin without a path means every issuer there: a user who sets the annotation by hand means that.
        self.identifier.is_none() && Some(self.place) == now.origin().as_deref()
    }

    /// Returns true if `now` is the same object of an administrator, on the same hosts.
    fn is_object(&self, now: &Mark<'_>) -> bool {
        self.object.is_some()
            && (self.object, self.alias) == (now.object, now.alias)
            && self.origin() == now.origin()
    }
}

/// Checks whether a token may be sent to `to`: the credential must still use the issuer that issued it, and `to` must be on the origin of a
/// token endpoint that the issuer had when it issued the token. `now` is the present request of the credential. `issued` was recorded with the token; None if nothing is known. A static key was not
/// issued, so nothing is recorded with it.
///
/// # Errors
/// If another issuer or another request obtained the token.
pub fn may_return(issued: Option<&IssuedBy>, now: &IssuedBy, to: &Url) -> Result<(), Denial> {
    let elsewhere = |text: String| Err(Denial::IssuedElsewhere(text));
    let Some(issued) = issued.filter(|i| !i.issuer.is_empty() && !i.request.is_empty()) else {
        return elsewhere("it is not known which issuer issued the token".to_owned());
    };
    let marks = (Mark::read(&issued.issuer), Mark::read(&now.issuer));
    let (Some(there), Some(here)) = marks else {
        return elsewhere("it is not known which issuer issued the token".to_owned());
    };
    if !there.is(&here) || there.own != here.own {
        return elsewhere(format!(
            "the token was issued by {} and is not sent to {}",
            issued.issuer, now.issuer
        ));
    }
    if issued.request != now.request {
        return elsewhere(
            "the token was issued for an earlier spec (another client, grant or scope)".to_owned(),
        );
    }
    let to = to.origin().ascii_serialization();
    if !there.has(&to) || !here.has(&to) {
        return elsewhere(format!(
            "the token was issued by {} and is not sent to {to}",
            issued.issuer
        ));
    }
    Ok(())
}

/// Checks whether tokens of this issuer, and proofs that its clients sign, may be sent to the Microsoft Graph of its spec. For the authorities
/// of Entra ID that is Entra ID's own. For another authority, an administrator must have set it, or it must be on the authority's own origin,
/// because the owner of a client secret allowed only that origin.
///
/// # Errors
/// If it is on another host than an authority that no administrator vouches for, or if there is none.
pub fn may_call_graph(issuer: &Issuer) -> Result<(), Denial> {
    let Some(graph) = &issuer.graph else {
        return Err(Denial::IssuedElsewhere(
            "the issuer does not say where its Microsoft Graph is".to_owned(),
        ));
    };
    let graph = graph.origin().ascii_serialization();
    if issuer.vouched || graph == issuer.origin {
        return Ok(());
    }
    Err(Denial::IssuedElsewhere(format!(
        "{} has its Microsoft Graph on another host ({graph}) than its authority ({}), and no administrator vouches for it; use a ClusterTokenIssuer",
        issuer.id, issuer.origin
    )))
}

/// Checks whether the refresh token of a state Secret with these annotations may be sent to the issuer of `credential`. The annotation
/// `issued-by` names the issuer of the token ([`issuer_mark`]). Without the annotation, only `state-of` and `allowed-issuers` decide. An
/// administrator's issuer may take over the address of a `TokenIssuer`, but not the reverse.
///
/// # Errors
/// If another issuer issued it.
pub fn may_refresh(
    credential: &Credential,
    endpoint: &TokenEndpoint,
    secret: &str,
    annotations: Option<&BTreeMap<String, String>>,
) -> Result<(), Denial> {
    let Some(noted) = annotations.and_then(|a| a.get(names::ISSUED_BY)) else {
        return Ok(());
    };
    let now = issuer_mark(credential, endpoint);
    let same = match (Mark::read(noted), Mark::read(&now)) {
        (Some(there), Some(here)) => {
            (there.own || !here.own) && (there.is(&here) || there.is_object(&here))
        }
        _ => false,
    };
    if same {
        return Ok(());
    }
    Err(Denial::IssuedElsewhere(format!(
        "the refresh token in Secret {secret} was issued by {noted} and is not sent to {now}; sign in again (kubectl apicred login {} --namespace {}), or correct the issuer",
        credential.name, credential.namespace
    )))
}
