//! The second request that completes a token: it sends the token of the grant and returns the token that is published. Pure: the shell
//! sends it. Its parameters are in the spec of the issuer, because only issuers contain URLs.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::{
    AnswerContext, Method, RawAnswer, Stage, Token, TokenError, TokenRequest, encode,
    error_body::reported,
    response::{self, AnswerForm},
};
use crate::{
    Reason,
    credential::{Credential, Endpoint, Hop},
    input::object,
    oauth::Class,
};

/// The scope that an STS token needs to impersonate a service account
/// (cloud.google.com/iam/docs/workload-identity-federation).
pub const GOOGLE_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The scope of the first of two requests. It replaces the scopes of the credential, which are those of the second one.
pub(super) const fn first_scope(credential: &Credential) -> Option<&'static str> {
    match &credential.issuer.hop {
        Some(Hop::GoogleServiceAccount { .. }) => Some(GOOGLE_SCOPE),
        _ => None,
    }
}

/// The request that completes `token`, if the issuer of this credential has one.
pub fn second_request(credential: &Credential, token: &Token) -> Option<TokenRequest> {
    let hop = credential.issuer.hop.as_ref()?;
    let mut headers = vec![("accept", SecretString::from("application/json"))];
    let (method, body) = match hop {
        Hop::AzureContainerRegistry { service, .. } => {
            let tenant = match &credential.issuer.endpoint {
                Endpoint::Entra { authority } => authority.rsplit('/').next().unwrap_or_default(),
                _ => "",
            };
            let fields = [
                ("grant_type", "access_token"),
                ("service", service.as_str()),
                ("tenant", tenant),
                ("access_token", token.secret.expose_secret()),
            ];
            (Method::Post, encode::form(fields))
        }
        Hop::GoogleServiceAccount { .. } => {
            let bearer = format!("Bearer {}", token.secret.expose_secret());
            headers.push(("authorization", SecretString::from(bearer)));
            let usual = [GOOGLE_SCOPE.to_owned()];
            let scopes = match credential.request.scopes.as_slice() {
                [] => &usual,
                scopes => scopes,
            };
            (Method::PostJson, json!({ "scope": scopes }).to_string())
        }
    };
    Some(TokenRequest {
        method,
        url: hop.url().clone(),
        headers,
        body: SecretString::from(body),
        tls: None,
        local: false,
    })
}

/// The registry calls the password of a docker client a refresh token. It is valid for three hours, and `docker login` accepts it. The
/// registry's access tokens are for single repositories, and no docker client accepts one as a password.
const REGISTRY: AnswerForm = AnswerForm {
    token: "refresh_token",
    check: "check secondRequest.azureContainerRegistry.registry of the issuer: /oauth2/exchange of an Azure container registry answers with refresh_token",
    renamed: Some(renamed),
};

/// Google's names differ from those of OAuth only in their spelling, which some other servers use as well.
const GOOGLE: AnswerForm = AnswerForm {
    token: "accessToken",
    check: "check secondRequest.googleServiceAccount.endpoint of the issuer",
    renamed: None,
};

/// Reads the answer to the second request.
///
/// # Errors
/// A token error that never blames the client authentication, because the issuer has accepted it. [`Reason::SecondRequestRefused`] only if
/// the server refused the request, not if its answer cannot be used.
pub fn second_answer(
    credential: &Credential,
    raw: &RawAnswer,
    context: AnswerContext,
) -> Result<Token, TokenError> {
    let hop = credential.issuer.hop.as_ref();
    let form = match hop {
        Some(Hop::AzureContainerRegistry { .. }) => &REGISTRY,
        Some(Hop::GoogleServiceAccount { .. }) => &GOOGLE,
        None => &AnswerForm::OAUTH,
    };
    let read = response::read(raw, context, None, form);
    read.map_err(|token_error| {
        let mut token_error = TokenError {
            about_client: false,
            ..token_error
        };
        let Some(hop) = hop else {
            return token_error;
        };
        let origin = hop.url().origin().ascii_serialization();
        token_error.detail.get_or_insert_default().issuer = Some(origin);
        classified(hop, raw, token_error)
    })
}

/// The meaning of a token error of the second request.
fn classified(hop: &Hop, raw: &RawAnswer, token_error: TokenError) -> TokenError {
    let lasting = matches!(
        token_error.class,
        Class::Denied | Class::Invalid | Class::NeedsUser
    );
    let refused =
        lasting && (400..=499).contains(&raw.status) && token_error.stage == Stage::Answered;
    if refused {
        return TokenError {
            class: Class::Denied,
            reason: Reason::SecondRequestRefused,
            next_step: next_step(hop, raw).into(),
            ..token_error
        };
    }
    let field = match hop {
        Hop::AzureContainerRegistry { .. } => "secondRequest.azureContainerRegistry.registry",
        Hop::GoogleServiceAccount { .. } => "secondRequest.googleServiceAccount.endpoint",
    };
    let host = hop.url().host_str().unwrap_or_default();
    let next_step = match token_error.reason {
        Reason::RedirectRefused => format!(
            "{host} redirects the second request, and apicred follows no redirects; correct {field} of the issuer"
        ),
        Reason::EndpointNotFound => {
            format!("{host} has nothing at this path; correct {field} of the issuer")
        }
        _ => return token_error,
    };
    TokenError {
        next_step: next_step.into(),
        ..token_error
    }
}

fn renamed(raw: &RawAnswer) -> Option<RawAnswer> {
    let token = object(&raw.body).ok()?.remove("refresh_token")?;
    let body = Map::from_iter([("access_token".to_owned(), token)]);
    Some(RawAnswer {
        content_type: raw.content_type.clone(),
        date: raw.date.clone(),
        age: raw.age.clone(),
        ..RawAnswer::new(raw.status, Value::Object(body).to_string().into_bytes())
    })
}

/// A cause that the text of the server names, in lower case, and what to do about it. It is more specific than the status.
fn stated_cause(hop: &Hop, text: &str) -> Option<String> {
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    match hop {
        Hop::AzureContainerRegistry { service, .. } => says(&[
            "not allowed access",
            "acr/firewall",
            "public network access",
        ])
        .then(|| {
            format!("the network rules of {service} do not allow the address from which apicred sends: allow this address in the networking settings of the registry, or use its private endpoint")
        }),
        Hop::GoogleServiceAccount { .. }
            if says(&["prohibited by organization", "organization's policy", "organization\u{2019}s policy"]) =>
        {
            Some("a policy of the organization (VPC Service Controls) forbids the request: have an administrator of the organization allow it in the service perimeter for this identity and network".to_owned())
        }
        Hop::GoogleServiceAccount { .. } if says(&["api has not been used", "api is disabled"]) => {
            Some("enable the IAM Service Account Credentials API in the project that the text names".to_owned())
        }
        Hop::GoogleServiceAccount { email, .. }
            if says(&["service account"]) && says(&["is disabled", "has been disabled"]) =>
        {
            Some(format!("the service account {email} is disabled: enable it in Google Cloud, or name another one in secondRequest.googleServiceAccount.email of the issuer"))
        }
        Hop::GoogleServiceAccount { .. } => None,
    }
}

fn next_step(hop: &Hop, raw: &RawAnswer) -> String {
    let text = reported(raw, response::fields(raw).as_ref()).map(|text| text.to_lowercase());
    if let Some(step) = text.and_then(|text| stated_cause(hop, &text)) {
        return step;
    }
    match (hop, raw.status) {
        (Hop::AzureContainerRegistry { service, .. }, 404) => format!(
            "{service} has no /oauth2/exchange: correct secondRequest.azureContainerRegistry.registry of the issuer"
        ),
        (Hop::AzureContainerRegistry { service, .. }, _) => format!(
            "{service} does not accept the token: request the scope https://containerregistry.azure.net/.default (or https://management.azure.com/.default), assign the role AcrPull of this registry to the client, and compare the tenant"
        ),
        (Hop::GoogleServiceAccount { email, .. }, 404) => format!(
            "there is no service account {email}: correct secondRequest.googleServiceAccount.email of the issuer"
        ),
        (Hop::GoogleServiceAccount { email, .. }, 400) => {
            format!("Google does not accept the request for {email}: check spec.scopes")
        }
        (Hop::GoogleServiceAccount { email, .. }, _) => format!(
            "the identity may not impersonate {email}: grant it roles/iam.workloadIdentityUser on this service account, and enable the IAM Service Account Credentials API in its project"
        ),
    }
}

#[cfg(test)]
mod tests;
