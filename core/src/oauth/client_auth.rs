//! Client authentication in a token request: RFC 6749 section 2.3, RFC 7523 section 2.2, RFC 8705 section 2.

use secrecy::{ExposeSecret, SecretString};

use super::{
    Class, Material, TokenEndpoint, TokenError, assertion, encode,
    grant::{Fields, GrantContext},
};
use crate::{
    Reason,
    api::{AssertionAudience, SecretAlgorithm},
    credential::{AuthenticationMethod, Endpoint, Issuer, SecretStyle},
};

/// Value of `client_assertion_type` (RFC 7523 section 2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The hash of an assertion that a client secret signs, if neither the issuer nor its document sets one.
const USUAL: SecretAlgorithm = SecretAlgorithm::HS256;

const NOT_LOADED: &str = "internal error: the client credential was not loaded; please report it";

/// The form fields and, for Basic, the header that authenticate the client.
///
/// # Errors
/// A sentence for the user if this client authentication cannot be used.
pub(super) fn authenticate(
    material: &Material,
    around: &GrantContext<'_>,
) -> Result<(Fields, Option<SecretString>), String> {
    let credential = around.credential;
    let id = credential.client_id.as_str();
    Ok(match (&credential.authentication, material) {
        (AuthenticationMethod::Absent, _) => (Vec::new(), None),
        (AuthenticationMethod::Secrets(_), Material::Secret(_))
            if !around.endpoint.takes_secrets =>
        {
            return Err("the discovery document lists no method with a client secret (client_secret_basic, client_secret_post, client_secret_jwt): use certificates or serviceAccount, or set clientAuthentication on the issuer".to_owned());
        }
        (AuthenticationMethod::Secrets(_), Material::Secret(secret)) => {
            with_secret(id, secret, around)
        }
        (AuthenticationMethod::Certificates(_), Material::Signer(..))
        | (AuthenticationMethod::Key(_), Material::Key(_))
            if !around.endpoint.takes_assertions =>
        {
            return Err("the discovery document does not list private_key_jwt, the method for a signed assertion; authenticate the client another way, or use oauth2.tokenUrl if the issuer accepts it".to_owned());
        }
        (AuthenticationMethod::Certificates(_), Material::Signer(..))
        | (AuthenticationMethod::Key(_), Material::Key(_)) => {
            (asserted(id, signed(material, around)?), None)
        }
        (
            AuthenticationMethod::ServiceAccount(_) | AuthenticationMethod::IdentityAssertion(_),
            Material::Assertion(token),
        )
        | (AuthenticationMethod::Assertion(_), Material::Stored(token)) => {
            (asserted(id, token.clone()), None)
        }
        (
            AuthenticationMethod::ManagedIdentity(_),
            Material::Workload {
                assertion,
                client_id,
            },
        ) => {
            let mut fields = asserted(id, assertion.clone());
            if let (true, Some(own)) = (id.is_empty(), client_id) {
                fields[0].1 = SecretString::from(own.as_str());
            }
            (fields, None)
        }
        (AuthenticationMethod::Public, _) | (AuthenticationMethod::Mtls(_), Material::Tls(_)) => {
            (named(id), None)
        }
        _ => {
            return Err(NOT_LOADED.to_owned());
        }
    })
}

fn named(id: &str) -> Fields {
    vec![("client_id", SecretString::from(id))]
}

fn asserted(id: &str, assertion: SecretString) -> Fields {
    let mut fields = named(id);
    fields.push(("client_assertion_type", SecretString::from(JWT_BEARER)));
    fields.push(("client_assertion", assertion));
    fields
}

/// The assertion signed with the key of the client.
fn signed(material: &Material, around: &GrantContext<'_>) -> Result<SecretString, String> {
    let credential = around.credential;
    let (id, issuer) = (credential.client_id.as_str(), &credential.issuer);
    let audience = audience(issuer, around.endpoint);
    let listed = around.endpoint.algorithms.as_deref();
    let moment = (around.now, around.assertion_id);
    let assertion = match (&credential.authentication, material) {
        (AuthenticationMethod::Certificates(certificates), Material::Signer(identity, place)) => {
            let certificate = certificates.get(*place).ok_or(NOT_LOADED)?;
            let at = (issuer, listed);
            assertion::of_client((id, &audience), at, certificate, identity, moment)?
        }
        (AuthenticationMethod::Key(settings), Material::Key(key)) => {
            assertion::of_key((id, &audience), listed, settings, key, moment)?
        }
        _ => return Err(NOT_LOADED.to_owned()),
    };
    Ok(SecretString::from(assertion))
}

/// Why a client secret cannot sign. A user who reads an assertion can test guesses of its key without limit, so the key must be as
/// long as the hash (RFC 7518 section 3.2). Another secret of the list may work.
pub(super) fn too_short(material: &Material, style: SecretStyle) -> Option<TokenError> {
    let (Material::Secret(secret), SecretStyle::Jwt(algorithm)) = (material, style) else {
        return None;
    };
    let (name, least) = match algorithm.unwrap_or(USUAL) {
        SecretAlgorithm::HS256 => ("HS256", 32),
        SecretAlgorithm::HS384 => ("HS384", 48),
        SecretAlgorithm::HS512 => ("HS512", 64),
    };
    // The length is not reported: a user who may name a Secret may not be allowed to read it.
    (secret.expose_secret().len() < least).then(|| TokenError {
        about_client: true,
        ..TokenError::local(
            Class::Invalid,
            Reason::ClientSecretInvalid,
            format!(
                "the client secret is shorter than the {least} bytes that {name} needs to sign with it (RFC 7518 section 3.2); have the issuer create a longer one, or, if it accepts client secrets in another way, set clientAuthentication on the issuer to basic or post"
            ),
        )
    })
}

fn with_secret(
    id: &str,
    secret: &SecretString,
    around: &GrantContext<'_>,
) -> (Fields, Option<SecretString>) {
    let header = |id: &str, secret: &str| Some(SecretString::from(encode::basic(id, secret)));
    match around.endpoint.style {
        SecretStyle::Post => (
            vec![
                ("client_id", SecretString::from(id)),
                ("client_secret", secret.clone()),
            ],
            None,
        ),
        SecretStyle::BasicForm => {
            let secret = encode::component(secret.expose_secret());
            (Vec::new(), header(&encode::component(id), &secret))
        }
        SecretStyle::BasicRaw => (Vec::new(), header(id, secret.expose_secret())),
        // The secret signs and is not sent.
        SecretStyle::Jwt(algorithm) => {
            let audience = audience(&around.credential.issuer, around.endpoint);
            let claims = (id, audience.as_str());
            let algorithm = algorithm.unwrap_or(USUAL);
            let moment = (around.now, around.assertion_id);
            let assertion = assertion::of_secret(claims, secret, algorithm, moment);
            (asserted(id, SecretString::from(assertion)), None)
        }
    }
}

/// `aud` of a client assertion. Entra ID requires the token endpoint. If the issuer's identifier is known, it is the safer
/// value, because no other issuer can request it (CVE-2025-27370, draft-ietf-oauth-rfc7523bis).
pub(super) fn audience(issuer: &Issuer, endpoint: &TokenEndpoint) -> String {
    let token_endpoint = || endpoint.url.to_string();
    let wanted = issuer.assertion_audience.unwrap_or(match issuer.endpoint {
        Endpoint::Discover(_) => AssertionAudience::Issuer,
        Endpoint::Fixed(_) if endpoint.issuer.is_some() => AssertionAudience::Issuer,
        _ => AssertionAudience::TokenEndpoint,
    });
    match wanted {
        AssertionAudience::TokenEndpoint => token_endpoint(),
        AssertionAudience::Issuer => endpoint.issuer.clone().unwrap_or_else(token_endpoint),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::cluster_issuer;

    fn issuer(spec: &serde_json::Value) -> Issuer {
        Issuer::cluster(&cluster_issuer(spec)).unwrap()
    }

    #[test]
    fn an_assertion_names_the_issuer_where_its_identifier_is_known() {
        const URL: &str = "https://t.example.com/token";
        const ID: &str = "https://i.example.com";
        let at_url = json!({ "oauth2": { "tokenUrl": URL } });
        let named = json!({ "oauth2": { "tokenUrl": URL, "issuer": ID } });
        let oidc = json!({ "oidc": { "issuerUrl": ID } });
        let entra = json!({ "entra": { "tenantId": "t.example" } });
        let chosen = json!({ "oauth2": { "tokenUrl": URL, "issuer": ID }, "assertionAudience": "TokenEndpoint" });
        for (spec, id, expected) in [
            (at_url, None, URL),
            (named, Some(ID), ID),
            (oidc, Some(ID), ID),
            (entra, Some(ID), URL),
            (chosen, Some(ID), URL),
        ] {
            let endpoint = TokenEndpoint {
                issuer: id.map(str::to_owned),
                ..TokenEndpoint::bare(URL.parse().unwrap(), SecretStyle::Post)
            };
            assert_eq!(audience(&issuer(&spec), &endpoint), expected, "{spec}");
        }
    }
}
