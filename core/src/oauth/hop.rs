//! The second request that completes a token: it sends the token of the grant and returns the token that is published. Pure: the shell
//! sends it. Its parameters are in the spec of the issuer, because only issuers contain URLs.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::{
    AnswerContext, Method, RawAnswer, Stage, Token, TokenError, TokenRequest, encode,
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
        let token_error = TokenError {
            about_client: false,
            ..token_error
        };
        match hop {
            Some(hop) => classified(hop, raw.status, token_error),
            None => token_error,
        }
    })
}

/// The meaning of a token error of the second request.
fn classified(hop: &Hop, status: u16, token_error: TokenError) -> TokenError {
    let lasting = matches!(
        token_error.class,
        Class::Denied | Class::Invalid | Class::NeedsUser
    );
    let refused = lasting && (400..=499).contains(&status) && token_error.stage == Stage::Answered;
    if refused {
        return TokenError {
            class: Class::Denied,
            reason: Reason::SecondRequestRefused,
            next_step: next_step(hop, status).into(),
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

fn next_step(hop: &Hop, status: u16) -> String {
    match (hop, status) {
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
mod tests {
    use super::*;
    use crate::{
        credential::{Issuer, IssuerLookup, parse},
        fixtures::{at, cluster_issuer, json_answer, object, token},
        oauth::LifetimeSource,
    };

    fn credential(issuer: &Value, change: &Value) -> Credential {
        let issuer = Issuer::cluster(&cluster_issuer(issuer)).unwrap();
        parse(&object(change), |_| IssuerLookup::Found(issuer)).unwrap()
    }

    fn registry() -> Credential {
        let second = json!({ "azureContainerRegistry": { "registry": "Contoso.azurecr.io" } });
        let issuer = json!({ "entra": { "tenantId": "contoso.example" }, "secondRequest": second });
        credential(&issuer, &json!({}))
    }

    fn google(scopes: &Value) -> Credential {
        let second = json!({ "googleServiceAccount": { "email": "robot@p.example" } });
        let sts = json!({ "tokenUrl": "https://sts.googleapis.com/v1/token" });
        let issuer = json!({ "oauth2": sts, "secondRequest": second });
        credential(&issuer, &json!({ "scopes": scopes }))
    }

    fn jwt(claims: &Value) -> String {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    fn read(credential: &Credential, status: u16, body: &Value) -> Result<Token, TokenError> {
        let raw = json_answer(status, body);
        let context = AnswerContext {
            sent: at(0),
            now: at(1),
            assumed_lifetime: None,
        };
        second_answer(credential, &raw, context)
    }

    #[test]
    fn the_registry_gets_a_form_and_google_gets_json() {
        let request = second_request(&registry(), &token("t+1")).unwrap();
        assert_eq!(
            request.url.as_str(),
            "https://contoso.azurecr.io/oauth2/exchange"
        );
        assert_eq!(request.method, Method::Post);
        assert_eq!(
            request.body.expose_secret(),
            "grant_type=access_token&service=contoso.azurecr.io&tenant=contoso.example&access_token=t%2B1"
        );
        let header = |request: &TokenRequest| {
            let mut all = request.headers.iter();
            all.find(|(name, _)| *name == "authorization")
                .map(|(_, value)| value.expose_secret().to_owned())
        };
        assert_eq!(header(&request), None);
        let wanted = json!(["https://www.googleapis.com/auth/devstorage.read_only"]);
        for (scopes, sent) in [
            (wanted.clone(), wanted),
            (json!(null), json!([GOOGLE_SCOPE])),
        ] {
            let request = second_request(&google(&scopes), &token("t+1")).unwrap();
            assert_eq!(request.method, Method::PostJson);
            assert_eq!(header(&request).as_deref(), Some("Bearer t+1"));
            let body: Value = serde_json::from_str(request.body.expose_secret()).unwrap();
            assert_eq!(body, json!({ "scope": sent }));
        }
        let plain = json!({ "entra": { "tenantId": "contoso.example" } });
        assert!(second_request(&credential(&plain, &json!({})), &token("t")).is_none());
    }

    #[test]
    fn the_second_token_has_its_own_lifetime() {
        let answer = json!({ "accessToken": "ya29.x", "expireTime": at(3600).to_string() });
        let read_token = read(&google(&json!(["s"])), 200, &answer).ok().unwrap();
        assert_eq!(read_token.secret.expose_secret(), "ya29.x");
        assert_eq!(read_token.expires_at, at(3600));
        let jwt = jwt(&json!({ "exp": at(10_800).as_second(), "iat": at(0).as_second() }));
        let read_token = read(&registry(), 200, &json!({ "refresh_token": jwt }))
            .ok()
            .unwrap();
        assert_eq!(read_token.secret.expose_secret(), jwt);
        assert_eq!(read_token.expires_at, at(10_800));
        assert_eq!(read_token.lifetime_source, LifetimeSource::Jwt);
        assert!(read_token.refresh_token.is_none() && read_token.answer.len() == 1);
    }

    #[test]
    fn a_token_error_names_what_to_grant_and_blames_no_client_secret() {
        let unauthorized =
            json!({ "errors": [{ "code": "UNAUTHORIZED", "message": "authentication required" }] });
        let denied =
            json!({ "error": { "code": 403, "status": "PERMISSION_DENIED", "message": "denied" } });
        let invalid = json!({ "error": "invalid_client" });
        for (credential, status, body, words) in [
            (registry(), 401, &unauthorized, "AcrPull"),
            (registry(), 401, &invalid, "AcrPull"),
            (registry(), 404, &json!({}), "correct secondRequest"),
            (google(&json!(["s"])), 403, &denied, "workloadIdentityUser"),
            (google(&json!(["s"])), 401, &denied, "workloadIdentityUser"),
            (
                google(&json!(["s"])),
                404,
                &json!({}),
                "there is no service account",
            ),
            (
                google(&json!(["s"])),
                400,
                &json!({ "error": "invalid_scope" }),
                "check spec.scopes",
            ),
        ] {
            let token_error = read(&credential, status, body).err().unwrap();
            assert_eq!(
                token_error.reason,
                Reason::SecondRequestRefused,
                "{status} {body}"
            );
            assert_eq!(token_error.class, Class::Denied);
            assert!(
                !token_error.about_client && token_error.message().contains(words),
                "{token_error:?}"
            );
        }
        for (status, class) in [(503, Class::Transient), (429, Class::Throttled)] {
            let token_error = read(&registry(), status, &json!({})).err().unwrap();
            assert_eq!(token_error.class, class);
            assert!(!token_error.about_client);
        }
    }

    /// The answers of the registry, Google and GitHub are checked in the same way.
    #[test]
    fn an_answer_that_cannot_be_used_is_not_refused() {
        use Reason::{MalformedAnswer, RedirectRefused, TokenExpired, TokenTooLarge};

        let google = google(&json!(["s"]));
        let at_registry = |token: Value| json!({ "refresh_token": token });
        let at_google = |token: Value, end: i64| json!({ "accessToken": token, "expireTime": at(end).to_string() });
        let jwt = |end: i64| json!(jwt(&json!({ "exp": at(end).as_second() })));
        let access = json!({ "access_token": jwt(10_800) });
        let inside = json!({ "result": { "accessToken": "ya29.x" } });
        let long = "x".repeat(300 * 1024);
        #[rustfmt::skip]
        let cases = vec![
            (registry(), 200, at_registry(jwt(-7200)), TokenExpired, "compare the clocks"),
            (google.clone(), 200, at_google(json!("ya29.x"), -7200), TokenExpired, "compare the clocks"),
            (registry(), 200, at_registry(json!("a\nb")), MalformedAnswer, "visible ASCII"),
            (google.clone(), 200, at_google(json!("a\nb"), 3600), MalformedAnswer, "visible ASCII"),
            (registry(), 200, at_registry(json!(long)), TokenTooLarge, "256 KiB"),
            (registry(), 200, at_registry(json!("null")), MalformedAnswer, "instead of its refresh_token"),
            (registry(), 200, at_registry(json!([1])), MalformedAnswer, "field refresh_token that is not a text"),
            (google.clone(), 200, at_google(json!([1]), 3600), MalformedAnswer, "field accessToken that is not a text"),
            // No docker client accepts the registry's access token as a password.
            (registry(), 200, access, MalformedAnswer, "has access_token and no refresh_token"),
            (registry(), 200, json!({}), MalformedAnswer, "without refresh_token; check secondRequest.azureContainerRegistry"),
            (google.clone(), 200, json!({ "id": 1 }), MalformedAnswer, "without accessToken; check secondRequest.googleServiceAccount"),
            (google.clone(), 200, inside, MalformedAnswer, "has its accessToken inside"),
            (registry(), 302, json!({}), RedirectRefused, "contoso.azurecr.io redirects the second request"),
            (google.clone(), 307, json!({}), RedirectRefused, "secondRequest.googleServiceAccount.endpoint"),
        ];
        for (credential, status, body, reason, words) in cases {
            let token_error = read(&credential, status, &body).err().unwrap();
            let message = token_error.message();
            assert_eq!(token_error.reason, reason, "{message}");
            assert!(message.contains(words), "{message}");
            for advice in ["AcrPull", "workloadIdentityUser", "token endpoint"] {
                assert!(!message.contains(advice), "{message}");
            }
            assert!(!token_error.about_client);
        }
        // A page comes from a server in between.
        for (credential, status, reason) in [
            (registry(), 403, Reason::WebPageReceived),
            (registry(), 404, Reason::EndpointNotFound),
            (google.clone(), 404, Reason::EndpointNotFound),
        ] {
            let raw = RawAnswer {
                content_type: Some("text/html".to_owned()),
                ..RawAnswer::new(status, b"<!DOCTYPE html><html>no</html>".to_vec())
            };
            let context = AnswerContext {
                sent: at(0),
                now: at(1),
                assumed_lifetime: None,
            };
            let token_error = second_answer(&credential, &raw, context).err().unwrap();
            let message = token_error.message();
            assert_eq!(token_error.reason, reason, "{message}");
            assert!(!message.contains("AcrPull") && !message.contains("no service account"));
        }
    }

    #[test]
    fn the_first_request_to_google_has_the_scope_of_the_exchange() {
        let endpoint = crate::oauth::known_endpoint(&google(&json!(["s"]))).unwrap();
        let moment = crate::oauth::RequestContext {
            now: at(0),
            request_id: "r",
            assertion_id: "a",
        };
        let material = crate::oauth::Material::Secret(SecretString::from("s"));
        let made = crate::oauth::request(&google(&json!(["s"])), &endpoint, &material, &[], moment);
        let body = made.ok().unwrap().body;
        assert!(
            body.expose_secret()
                .contains("scope=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform")
        );
    }
}
