//! The second request of an issuer, parsed. It exchanges a token of the grant for the one that is published.

use url::Url;

use super::{
    Endpoint, FieldError, Protocol,
    place::{IssuerEndpoints, https_url},
};
use crate::api::{AzureContainerRegistry, GoogleServiceAccount, SecondRequest};

/// The hosts of registries in Azure's clouds (learn.microsoft.com/azure/container-registry).
const REGISTRIES: [&str; 3] = [".azurecr.io", ".azurecr.us", ".azurecr.cn"];
/// Where Google issues tokens of service accounts.
const GOOGLE: &str = "https://iamcredentials.googleapis.com";

/// A second request.
#[derive(Clone, Debug, PartialEq)]
pub enum Hop {
    /// Azure Container Registry: exchanges a token of Entra ID for the password of `docker login`.
    AzureContainerRegistry {
        /// `https://REGISTRY/oauth2/exchange`.
        url: Url,
        /// Name of the registry, as a docker client uses it.
        service: String,
    },
    /// Google: exchanges a federated token for a token of a service account.
    GoogleServiceAccount {
        /// The call for this account.
        url: Url,
        /// E-mail address of the account.
        email: String,
    },
}

/// For a host that a user of the namespace must not name.
const OF_ADMIN: &str = "a TokenIssuer sends tokens only to the hosts of the product; ask an administrator for a ClusterTokenIssuer";

impl Hop {
    /// The URL of the request.
    pub const fn url(&self) -> &Url {
        match self {
            Self::AzureContainerRegistry { url, .. } | Self::GoogleServiceAccount { url, .. } => {
                url
            }
        }
    }

    /// Parses the field of an issuer. `own`: a user of the namespace wrote it, not an administrator. The token of the grant is then sent only
    /// to hosts of Microsoft and Google, because it was obtained with Secrets that this user might not be allowed to read.
    pub(super) fn parse(
        spec: Option<&SecondRequest>,
        place: &IssuerEndpoints,
        own: bool,
    ) -> Result<Option<Self>, FieldError> {
        let Some(spec) = spec else {
            return Ok(None);
        };
        if place.protocol == Protocol::GitHubApp {
            return Err(FieldError::new(
                "spec.secondRequest",
                "cannot be combined with githubApp; remove it",
            ));
        }
        let entra = matches!(place.endpoint, Endpoint::Entra { .. });
        match (&spec.azure_container_registry, &spec.google_service_account) {
            (Some(registry), None) => Self::registry(registry, entra, own).map(Some),
            (None, Some(account)) => Self::google(account, entra, own).map(Some),
            _ => Err(FieldError::new(
                "spec.secondRequest",
                "set exactly one of azureContainerRegistry and googleServiceAccount",
            )),
        }
    }

    fn registry(
        registry: &AzureContainerRegistry,
        entra: bool,
        own: bool,
    ) -> Result<Self, FieldError> {
        const REGISTRY: &str = "spec.secondRequest.azureContainerRegistry.registry";
        let url = https_url(REGISTRY, &format!("https://{}", registry.registry))?;
        let service = registry.registry.to_ascii_lowercase();
        if !is_origin(&url) {
            return Err(FieldError::new(
                REGISTRY,
                "must be only the host of the registry, such as contoso.azurecr.io",
            ));
        }
        let host = url.host_str().unwrap_or_default();
        let known = url.port().is_none() && REGISTRIES.iter().any(|r| host.ends_with(r));
        if own && !known {
            return Err(FieldError::new(REGISTRY, OF_ADMIN));
        }
        if !entra {
            return Err(FieldError::new(
                "spec.secondRequest.azureContainerRegistry",
                "takes tokens of Entra ID: it can only be used with entra; correct one of them",
            ));
        }
        Ok(Self::AzureContainerRegistry {
            url: at(url, "/oauth2/exchange"),
            service,
        })
    }

    fn google(account: &GoogleServiceAccount, entra: bool, own: bool) -> Result<Self, FieldError> {
        const SERVICE: &str = "spec.secondRequest.googleServiceAccount";
        if own && account.endpoint.is_some() {
            return Err(FieldError::new(format!("{SERVICE}.endpoint"), OF_ADMIN));
        }
        let endpoint = account.endpoint.as_deref().unwrap_or(GOOGLE);
        let url = https_url(&format!("{SERVICE}.endpoint"), endpoint)?;
        if !is_origin(&url) {
            return Err(FieldError::new(
                format!("{SERVICE}.endpoint"),
                "must be an origin without a path, such as https://iamcredentials.googleapis.com",
            ));
        }
        if entra {
            return Err(FieldError::new(
                SERVICE,
                "takes tokens of Google's STS: use it with oauth2 and tokenUrl https://sts.googleapis.com/v1/token",
            ));
        }
        let email = &account.email;
        if !is_email(email) {
            return Err(FieldError::new(
                format!("{SERVICE}.email"),
                "must be the e-mail address of a service account, such as robot@project.iam.gserviceaccount.com",
            ));
        }
        let path = format!("/v1/projects/-/serviceAccounts/{email}:generateAccessToken");
        Ok(Self::GoogleServiceAccount {
            url: at(url, &path),
            email: email.clone(),
        })
    }

    /// Values that identify the requested token, for its fingerprint.
    pub fn fingerprint_parts(&self) -> [&str; 2] {
        match self {
            Self::AzureContainerRegistry { url, .. } => ["registry", url.as_str()],
            Self::GoogleServiceAccount { url, .. } => ["google", url.as_str()],
        }
    }
}

fn at(mut url: Url, path: &str) -> Url {
    url.set_path(path);
    url
}

fn is_origin(url: &Url) -> bool {
    url.path() == "/" && url.query().is_none()
}

/// The text is part of the path of a URL: no character must redirect that request.
fn is_email(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let part = |part: &str| {
        !part.is_empty() && part.chars().all(fits) && !part.starts_with('.') && !part.contains("..")
    };
    text.split_once('@')
        .is_some_and(|(name, domain)| part(name) && part(domain))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        credential::{Issuer, IssuerLookup, parse},
        fixtures::{cluster_issuer, object, token_issuer},
    };

    fn entra(more: &Value) -> Value {
        json!({ "entra": { "tenantId": "contoso.example" }, "secondRequest": more })
    }

    fn oauth2(more: &Value) -> Value {
        json!({ "oauth2": { "tokenUrl": "https://sts.googleapis.com/v1/token" }, "secondRequest": more })
    }

    #[test]
    fn the_url_is_of_the_registry_or_of_the_account() {
        let registry = json!({ "azureContainerRegistry": { "registry": "Contoso.azurecr.io" } });
        let account =
            json!({ "googleServiceAccount": { "email": "robot@p-1.iam.gserviceaccount.com" } });
        for (spec, url) in [
            (
                entra(&registry),
                "https://contoso.azurecr.io/oauth2/exchange",
            ),
            (
                oauth2(&account),
                "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/robot@p-1.iam.gserviceaccount.com:generateAccessToken",
            ),
        ] {
            for issuer in [
                Issuer::cluster(&cluster_issuer(&spec)),
                Issuer::namespaced(&token_issuer(&spec), &[]),
            ] {
                assert_eq!(issuer.unwrap().hop.unwrap().url().as_str(), url);
            }
        }
    }

    #[test]
    fn a_user_sends_no_token_to_a_host_of_his_own() {
        for spec in [
            entra(
                &json!({ "azureContainerRegistry": { "registry": "registry.attacker.example" } }),
            ),
            entra(
                &json!({ "azureContainerRegistry": { "registry": "azurecr.io.attacker.example" } }),
            ),
            entra(&json!({ "azureContainerRegistry": { "registry": "evil-azurecr.io" } })),
            entra(&json!({ "azureContainerRegistry": { "registry": "contoso.azurecr.io:8443" } })),
            oauth2(
                &json!({ "googleServiceAccount": { "email": "r@p.example", "endpoint": "https://attacker.example" } }),
            ),
        ] {
            let reported = Issuer::namespaced(&token_issuer(&spec), &[]).unwrap_err();
            assert!(
                reported[0].to_string().contains("ClusterTokenIssuer"),
                "{reported:?}"
            );
            assert!(Issuer::cluster(&cluster_issuer(&spec)).is_ok(), "{spec}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_message() {
        let registry = |name: &str| json!({ "azureContainerRegistry": { "registry": name } });
        let account = |email: &str| json!({ "googleServiceAccount": { "email": email } });
        for (spec, words) in [
            (
                entra(&registry("a.azurecr.io/path")),
                "only the host of the registry",
            ),
            (
                entra(&registry("a.azurecr.io?x")),
                "only the host of the registry",
            ),
            (entra(&registry("user@a.azurecr.io")), "neither a user"),
            (entra(&registry("a b")), "a line end or a blank"),
            (oauth2(&registry("a.azurecr.io")), "only be used with entra"),
            (entra(&account("r@p.example")), "with oauth2"),
            (oauth2(&account("r")), "e-mail address"),
            (oauth2(&account("../r@p.example")), "e-mail address"),
            (oauth2(&account("r/x@p.example")), "e-mail address"),
            (oauth2(&account("r@p.example:signJwt?")), "e-mail address"),
            (oauth2(&json!({})), "exactly one"),
            (
                oauth2(
                    &json!({ "googleServiceAccount": { "email": "r@p.example", "endpoint": "https://a.example/x" } }),
                ),
                "without a path",
            ),
        ] {
            let reported = Issuer::cluster(&cluster_issuer(&spec)).unwrap_err();
            assert!(
                reported[0].to_string().contains(words),
                "{spec}: {reported:?}"
            );
        }
    }

    #[test]
    fn no_refresh_and_no_revocation_goes_with_a_second_request() {
        let account = json!({ "googleServiceAccount": { "email": "r@p.example" } });
        let issuer = Issuer::cluster(&cluster_issuer(&oauth2(&account))).unwrap();
        let key = json!({ "name": "s", "key": "k" });
        for (change, field) in [
            (json!({ "deletionPolicy": "Revoke" }), "spec.deletionPolicy"),
            (
                json!({ "grant": { "refreshToken": { "secretRef": key } } }),
                "spec.grant.refreshToken",
            ),
        ] {
            let lookup = |_: &_| IssuerLookup::Found(issuer.clone());
            let faults = parse(&object(&change), lookup).unwrap_err();
            assert!(faults.iter().any(|f| f.field == field), "{faults:?}");
        }
    }
}
