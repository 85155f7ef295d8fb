//! Parses and checks the URLs of an issuer.

use url::Url;

use super::{Endpoint, FieldError, OptionalEndpoints, Protocol, SecretStyle, preset};
use crate::api::{
    ApiPreset, BasicEncoding, ClientAuthentication, Cloud, EntraIssuer, GitHubApp, OAuth2Issuer,
    OidcIssuer,
};

/// The API of GitHub (docs.github.com/rest/apps/apps).
const GITHUB: &str = "https://api.github.com";

/// The authority host of a national cloud.
/// Source: learn.microsoft.com/entra/identity-platform/authentication-national-cloud.
pub const fn entra_authority(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::Public => "https://login.microsoftonline.com",
        Cloud::USGov => "https://login.microsoftonline.us",
        Cloud::China => "https://login.partner.microsoftonline.cn",
    }
}

/// The addresses of an issuer.
pub(super) struct IssuerEndpoints {
    pub(super) endpoint: Endpoint,
    pub(super) protocol: Protocol,
    pub(super) style: Option<SecretStyle>,
    pub(super) origin: String,
    pub(super) cloud: Cloud,
    pub(super) places: OptionalEndpoints,
    pub(super) graph: Option<Url>,
}

impl IssuerEndpoints {
    pub(super) fn nowhere() -> Self {
        Self::at(Endpoint::Nowhere, None, String::new())
    }

    fn at(endpoint: Endpoint, style: Option<SecretStyle>, origin: String) -> Self {
        Self {
            endpoint,
            protocol: Protocol::default(),
            style,
            origin,
            cloud: Cloud::Public,
            places: OptionalEndpoints::default(),
            graph: None,
        }
    }

    pub(super) fn of(
        entra: Option<&EntraIssuer>,
        oidc: Option<&OidcIssuer>,
        oauth2: Option<&OAuth2Issuer>,
        github: Option<&GitHubApp>,
    ) -> Result<Self, FieldError> {
        match (entra, oidc, oauth2, github) {
            (Some(entra), None, None, None) => entra_place(entra, "spec.entra"),
            (None, Some(oidc), None, None) => oidc_place(oidc),
            (None, None, Some(oauth2), None) => oauth2_place(oauth2),
            (None, None, None, Some(github)) => github_place(github),
            _ => Err(FieldError::new(
                "spec",
                "set exactly one of entra, oidc, oauth2 and githubApp",
            )),
        }
    }

    pub(super) fn entra(entra: &EntraIssuer, at: &str) -> Result<Self, FieldError> {
        entra_place(entra, at)
    }
}

fn oidc_place(oidc: &OidcIssuer) -> Result<IssuerEndpoints, FieldError> {
    let url = https_url("spec.oidc.issuerUrl", &oidc.issuer_url)?;
    let style = oidc.client_authentication.as_ref().map(style);
    let origin = origin(&url);
    let further = |field: &str, text: &Option<String>| {
        text.as_deref()
            .map(|t| https_url(&format!("spec.oidc.{field}"), t))
            .transpose()
    };
    let places = OptionalEndpoints {
        issuer: Some(oidc.issuer_url.clone()),
        revocation: further("revocationUrl", &oidc.revocation_url)?,
        authorization: further("authorizationUrl", &oidc.authorization_url)?,
        device: further("deviceAuthorizationUrl", &oidc.device_authorization_url)?,
    };
    Ok(IssuerEndpoints {
        places,
        ..IssuerEndpoints::at(Endpoint::Discover(url), style, origin)
    })
}

fn oauth2_place(oauth2: &OAuth2Issuer) -> Result<IssuerEndpoints, FieldError> {
    let url = https_url("spec.oauth2.tokenUrl", &oauth2.token_url)?;
    // RFC 6749 section 2.3.1: every server that issues secrets must support Basic.
    let style = oauth2
        .client_authentication
        .as_ref()
        .map_or(SecretStyle::BasicForm, style);
    let origin = origin(&url);
    let place = IssuerEndpoints::at(Endpoint::Fixed(url), Some(style), origin);
    Ok(IssuerEndpoints {
        places: places(oauth2, &place.origin)?,
        ..place
    })
}

/// GitHub has an endpoint for each installation.
fn github_place(github: &GitHubApp) -> Result<IssuerEndpoints, FieldError> {
    const FIELD: &str = "spec.githubApp.apiUrl";
    let mut url = https_url(FIELD, github.api_url.as_deref().unwrap_or(GITHUB))?;
    if url.query().is_some() {
        return Err(FieldError::new(FIELD, "has a query; remove it"));
    }
    if github.installation_id < 1 {
        return Err(FieldError::new(
            "spec.githubApp.installationId",
            "is the number at the end of the address of the installation's settings; correct it",
        ));
    }
    let path = format!(
        "{}/app/installations/{}/access_tokens",
        url.path().trim_end_matches('/'),
        github.installation_id
    );
    url.set_path(&path);
    let origin = origin(&url);
    Ok(IssuerEndpoints {
        protocol: Protocol::GitHubApp,
        ..IssuerEndpoints::at(Endpoint::Fixed(url), None, origin)
    })
}

fn entra_place(entra: &EntraIssuer, at: &str) -> Result<IssuerEndpoints, FieldError> {
    let tenant = &entra.tenant_id;
    let well_formed = !tenant.is_empty()
        && tenant
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
        && !tenant.starts_with(['-', '.'])
        && !tenant.ends_with(['-', '.']);
    let shared = ["common", "organizations", "consumers"]
        .iter()
        .any(|s| tenant.eq_ignore_ascii_case(s));
    if !well_formed || shared {
        return Err(FieldError::new(
            format!("{at}.tenantId"),
            "must be one tenant, also for users: its GUID or a verified domain",
        ));
    }
    let host = match &entra.authority_host {
        Some(host) => {
            let url = https_url(&format!("{at}.authorityHost"), host)?;
            if url.path() != "/" || url.query().is_some() {
                return Err(FieldError::new(
                    format!("{at}.authorityHost"),
                    "give an origin without a path, such as https://login.example.com",
                ));
            }
            origin(&url)
        }
        None => entra_authority(entra.cloud.unwrap_or_default()).to_owned(),
    };
    let endpoint = Endpoint::Entra {
        authority: format!("{host}/{tenant}"),
    };
    Ok(IssuerEndpoints {
        cloud: entra.cloud.unwrap_or_default(),
        graph: graph(entra, at)?,
        ..IssuerEndpoints::at(endpoint, Some(SecretStyle::Post), host)
    })
}

/// Microsoft Graph, with its version. A token of Microsoft is sent only to Microsoft's own Graph, a token of another authority only to the one
/// that is set for it.
fn graph(entra: &EntraIssuer, at: &str) -> Result<Option<Url>, FieldError> {
    let field = || format!("{at}.graphHost");
    match (&entra.authority_host, &entra.graph_host) {
        (None, None) => {
            let cloud = entra.cloud.unwrap_or_default();
            let known = preset(ApiPreset::MicrosoftGraph, cloud);
            Ok(known.and_then(|graph| Url::parse(graph.base_url).ok()))
        }
        (Some(_), None) => Ok(None),
        (None, Some(_)) => Err(FieldError::new(
            field(),
            "tokens of Entra ID are sent only to its own Microsoft Graph; remove graphHost, or set authorityHost",
        )),
        (Some(_), Some(host)) => {
            let mut url = https_url(&field(), host)?;
            if url.path() != "/" || url.query().is_some() {
                return Err(FieldError::new(
                    field(),
                    "give an origin without a path, such as https://graph.example.com",
                ));
            }
            url.set_path("/v1.0");
            Ok(Some(url))
        }
    }
}

/// The other endpoints that a spec names. The revocation endpoint receives tokens, so it must be on the host that receives secrets.
fn places(spec: &OAuth2Issuer, home: &str) -> Result<OptionalEndpoints, FieldError> {
    let url = |field: &str, text: &Option<String>| {
        text.as_deref()
            .map(|t| https_url(&format!("spec.oauth2.{field}"), t))
            .transpose()
    };
    let revocation = url("revocationUrl", &spec.revocation_url)?;
    if revocation.as_ref().is_some_and(|u| origin(u) != home) {
        return Err(FieldError::new(
            "spec.oauth2.revocationUrl",
            "must be on the host of tokenUrl: tokens are sent to it",
        ));
    }
    Ok(OptionalEndpoints {
        issuer: spec.issuer.clone(),
        revocation,
        authorization: url("authorizationUrl", &spec.authorization_url)?,
        device: url("deviceAuthorizationUrl", &spec.device_authorization_url)?,
    })
}

fn style(auth: &ClientAuthentication) -> SecretStyle {
    match (&auth.basic, &auth.secret_jwt) {
        (Some(basic), _) => match basic.encoding.unwrap_or_default() {
            BasicEncoding::Form => SecretStyle::BasicForm,
            BasicEncoding::Raw => SecretStyle::BasicRaw,
        },
        (None, Some(jwt)) => SecretStyle::Jwt(jwt.algorithm),
        (None, None) => SecretStyle::Post,
    }
}

/// Parses an https URL without user, password or fragment.
pub(super) fn https_url(field: &str, text: &str) -> Result<Url, FieldError> {
    // The URL standard removes line ends and tabs, so the requested URL would differ from the text of the spec.
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(FieldError::new(
            field,
            "has a line end or a blank in it, such as the one that a YAML block (|) adds; remove it",
        ));
    }
    let url = Url::parse(text).map_err(|e| {
        FieldError::new(
            field,
            format!("not a URL ({e}); write it as https://host/path"),
        )
    })?;
    if url.scheme() != "https" {
        return Err(FieldError::new(
            field,
            "must start with https://; apicred never sends a secret without TLS",
        ));
    }
    if !url.username().is_empty()
        || url.password().is_some()
        || url.fragment().is_some()
        || url.host().is_none()
    {
        return Err(FieldError::new(
            field,
            "must have a host, and neither a user nor a fragment",
        ));
    }
    Ok(url)
}

/// `https://host[:port]` in the form of annotations: lower case, without the default port.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}
