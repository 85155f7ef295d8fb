//! Installation access tokens of a GitHub App: a JWT of the app's key is the only authentication, and the request is JSON
//! (docs.github.com/rest/apps/apps, "Create an installation access token for an app").
//!
//! `scopes` of a credential are permissions (`contents:read`), `resources` are names of repositories.

use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::{
    AnswerContext, Class, Material, Method, Moment, RawAnswer, Refusal, Token, TokenEndpoint,
    TokenRequest, assertion, response,
};
use crate::{
    Reason,
    credential::{AuthenticationMethod, Credential},
    input::{get, object, word},
};

/// The version of the API that the request and the answer are of.
const API_VERSION: &str = "2022-11-28";
/// How far `iat` lies in the past, as GitHub advises against clocks that differ.
const BACKDATED: i64 = 60;
/// Life of the assertion in seconds. GitHub takes at most 600 from now; a clock that is ahead by minutes stays below.
const LIFE: i64 = 300;

/// Splits a scope into a permission and its level.
pub(crate) fn permission(scope: &str) -> Option<(&str, &str)> {
    let (name, level) = scope.split_once(':')?;
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let fits = !name.is_empty() && name.chars().all(is_name);
    (fits && ["read", "write", "admin"].contains(&level)).then_some((name, level))
}

/// The request of an installation access token.
///
/// # Errors
/// When the key cannot sign with RS256, the only algorithm that GitHub takes.
pub(super) fn request(
    credential: &Credential,
    endpoint: &TokenEndpoint,
    material: &Material,
    moment: Moment<'_>,
) -> Result<TokenRequest, String> {
    let (AuthenticationMethod::Key(settings), Material::Key(key)) =
        (&credential.authentication, material)
    else {
        return Err(
            "internal error: the key of the app was not loaded; please report it".to_owned(),
        );
    };
    let now = moment.now.as_second();
    let claims = json!({
        "iss": credential.client_id,
        "iat": now - BACKDATED,
        "exp": now + LIFE,
    });
    let jwt = assertion::of_github_app(settings, key, &claims)?;
    let header = |text: &str| SecretString::from(text);
    Ok(TokenRequest {
        method: Method::PostJson,
        url: endpoint.url.clone(),
        headers: vec![
            ("accept", header("application/vnd.github+json")),
            ("authorization", header(&format!("Bearer {jwt}"))),
            ("x-github-api-version", header(API_VERSION)),
        ],
        body: SecretString::from(body(credential).to_string()),
        tls: None,
        local: false,
    })
}

/// What is left out is not limited: all repositories, all permissions of the installation.
fn body(credential: &Credential) -> Value {
    let mut fields = Map::new();
    let request = &credential.request;
    if !request.resources.is_empty() {
        fields.insert("repositories".to_owned(), json!(request.resources));
    }
    let permissions: Map<String, Value> = (request.scopes.iter())
        .filter_map(|scope| permission(scope))
        .map(|(name, level)| (name.to_owned(), json!(level)))
        .collect();
    if !permissions.is_empty() {
        fields.insert("permissions".to_owned(), Value::Object(permissions));
    }
    Value::Object(fields)
}

/// Reads the answer.
///
/// # Errors
/// A classified refusal.
pub(super) fn answer(
    credential: &Credential,
    raw: &RawAnswer,
    context: AnswerContext,
) -> Result<Token, Refusal> {
    let renamed = renamed(raw);
    let read = response::read(renamed.as_ref().unwrap_or(raw), context, Some(credential));
    read.map_err(|refusal| judged(refusal, raw, credential))
}

/// The fields of an answer by their names in OAuth.
fn renamed(raw: &RawAnswer) -> Option<RawAnswer> {
    if !(200..=299).contains(&raw.status) {
        return None;
    }
    let fields = object(&raw.body).ok()?;
    let token = fields.get("token")?.clone();
    let level = |(name, level): (&String, &Value)| Some(format!("{name}:{}", level.as_str()?));
    let permissions = get(&fields, "permissions").and_then(Value::as_object);
    let scopes: Vec<String> = permissions
        .into_iter()
        .flatten()
        .filter_map(level)
        .collect();
    let body = json!({
        "access_token": token,
        "token_type": "bearer",
        "expires_at": fields.get("expires_at"),
        "scope": scopes.join(" "),
    });
    Some(RawAnswer {
        status: raw.status,
        content_type: raw.content_type.clone(),
        content_encoding: None,
        retry_after: None,
        challenge: None,
        date: raw.date.clone(),
        location: None,
        body: body.to_string().into_bytes(),
    })
}

/// What the statuses of GitHub mean: it answers with a sentence, and without a code.
fn judged(refusal: Refusal, raw: &RawAnswer, credential: &Credential) -> Refusal {
    let fields = object(&raw.body).unwrap_or_default();
    let words = word(&fields, "message").unwrap_or_default().to_lowercase();
    let limited = raw.retry_after.is_some() || words.contains("rate limit");
    let client = &credential.client_id;
    let (class, reason, next_step) = match raw.status {
        403 | 429 if limited => (
            Class::Throttled,
            Reason::Throttled,
            "GitHub limits the requests of this app; apicred waits as long as it asks for".to_owned(),
        ),
        401 => (
            Class::Denied,
            Reason::ClientRefused,
            format!(
                "GitHub does not accept the assertion: client.id ({client}) must be the app's client ID or App ID, and client.key a private key of the same app (its settings list the keys by their SHA-256)"
            ),
        ),
        403 if words.contains("suspended") => (
            Class::Denied,
            Reason::AccessDenied,
            "the installation is suspended: an owner of the account unsuspends it in the settings of the app's installation".to_owned(),
        ),
        404 => (
            Class::Denied,
            Reason::AccessDenied,
            "GitHub knows no such installation of this app: correct githubApp.installationId of the issuer (the number at the end of the address of the installation's settings) or client.id".to_owned(),
        ),
        422 => (
            Class::Invalid,
            Reason::InvalidScope,
            "the installation lacks a requested permission or repository: correct spec.scopes (PERMISSION:LEVEL) and spec.resources (names of repositories, without their owner), or have an owner of the account grant them".to_owned(),
        ),
        _ => return refusal,
    };
    Refusal {
        class,
        reason,
        next_step: next_step.into(),
        about_client: reason == Reason::ClientRefused,
        ..refusal
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize, SignatureAlgorithm};
    use secrecy::ExposeSecret;

    use super::*;
    use crate::{
        credential::{Issuer, IssuerLookup, parse},
        fixtures::{NOW, at, cluster_issuer, json_answer, merge, object as credential_object},
        oauth::{ClientKey, known_endpoint},
    };

    fn credential(change: &Value) -> Credential {
        let spec = json!({ "githubApp": { "installationId": 4711 } });
        let issuer = Issuer::cluster(&cluster_issuer(&spec)).unwrap();
        let key = json!({ "secretName": "app", "key": "private-key.pem" });
        let mut spec =
            json!({ "scopes": null, "client": { "id": "Iv23li", "secrets": null, "key": key } });
        merge(&mut spec, change);
        parse(&credential_object(&spec), |_| IssuerLookup::Found(issuer)).unwrap()
    }

    fn made(change: &Value, kind: &'static SignatureAlgorithm) -> Result<TokenRequest, Refusal> {
        let credential = credential(change);
        let pem = if *kind == PKCS_RSA_SHA256 {
            KeyPair::generate_rsa_for(kind, RsaKeySize::_2048)
        } else {
            KeyPair::generate_for(kind)
        };
        let key = ClientKey::read(&pem.unwrap().serialize_pem()).unwrap();
        let moment = Moment {
            now: at(0),
            request_id: "r",
            assertion_id: "a",
        };
        let endpoint = known_endpoint(&credential).unwrap();
        let material = Material::Key(Box::new(key));
        crate::oauth::request(&credential, &endpoint, &material, &[], moment)
    }

    #[test]
    fn the_request_is_json_and_the_jwt_is_its_only_authentication() {
        let limited = json!({ "scopes": ["contents:read", "issues:write"], "resources": ["app"] });
        let limits = json!({
            "permissions": { "contents": "read", "issues": "write" }, "repositories": ["app"],
        });
        for (change, body) in [(limited, limits), (json!({}), json!({}))] {
            let request = made(&change, &PKCS_RSA_SHA256).ok().unwrap();
            assert_eq!(request.method, Method::PostJson);
            assert_eq!(
                request.url.as_str(),
                "https://api.github.com/app/installations/4711/access_tokens"
            );
            let sent: Value = serde_json::from_str(request.body.expose_secret()).unwrap();
            assert_eq!(sent, body);
            let header = |name: &str| {
                let found = request.headers.iter().find(|(n, _)| *n == name);
                found.unwrap().1.expose_secret().to_owned()
            };
            assert_eq!(header("accept"), "application/vnd.github+json");
            assert_eq!(header("x-github-api-version"), "2022-11-28");
            let jwt = header("authorization");
            let parts: Vec<&str> = jwt.strip_prefix("Bearer ").unwrap().split('.').collect();
            let part = |at: usize| -> Value {
                serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[at]).unwrap()).unwrap()
            };
            assert_eq!(part(0), json!({ "alg": "RS256", "typ": "JWT" }));
            let claims = json!({ "iss": "Iv23li", "iat": NOW - 60, "exp": NOW + 300 });
            assert_eq!(part(1), claims);
        }
        let refusal = made(&json!({}), &PKCS_ECDSA_P256_SHA256).err().unwrap();
        assert!(
            refusal.message().contains("RS256") && refusal.message().contains("Secret app"),
            "{refusal:?}"
        );
    }

    fn read(status: u16, body: &Value) -> Result<Token, Refusal> {
        let raw = json_answer(status, body);
        crate::oauth::answer_to(&credential(&json!({})), &raw, at(0), at(1))
    }

    #[test]
    fn the_answer_has_its_end_and_its_permissions() {
        let body = json!({
            "token": "ghs_16C7e42F292c6912E7710c838347Ae178B4a", "expires_at": at(3600).to_string(),
            "permissions": { "contents": "read", "metadata": "read" }, "repositories": [{ "name": "app" }],
        });
        let token = read(201, &body).ok().unwrap();
        assert_eq!(
            token.secret.expose_secret(),
            "ghs_16C7e42F292c6912E7710c838347Ae178B4a"
        );
        assert_eq!(token.expires_at, at(3600));
        assert_eq!(token.scope.as_deref(), Some("contents:read metadata:read"));
        assert!(token.refresh_token.is_none());
        assert!(read(201, &json!({ "expires_at": at(3600).to_string() })).is_err());
    }

    #[test]
    fn each_status_of_github_has_its_next_step() {
        for (status, message, reason, words) in [
            (
                401,
                "A JSON web token could not be decoded",
                Reason::ClientRefused,
                "client.id (Iv23li)",
            ),
            (
                403,
                "This installation has been suspended",
                Reason::AccessDenied,
                "suspended",
            ),
            (403, "API rate limit exceeded", Reason::Throttled, "limits"),
            (404, "Not Found", Reason::AccessDenied, "installationId"),
            (
                422,
                "The permissions requested are not granted to this installation.",
                Reason::InvalidScope,
                "PERMISSION:LEVEL",
            ),
        ] {
            let refusal = read(status, &json!({ "message": message })).err().unwrap();
            assert_eq!(refusal.reason, reason, "{status} {message}");
            assert!(refusal.message().contains(words), "{refusal:?}");
            assert_eq!(refusal.about_client, status == 401);
        }
        let refusal = read(502, &json!({ "message": "Server Error" }))
            .err()
            .unwrap();
        assert_eq!(refusal.class, Class::Transient);
    }
}
