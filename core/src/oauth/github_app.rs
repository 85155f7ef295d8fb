//! Installation access tokens of a GitHub App: a JWT signed with the app's key is the only authentication, and the request is
//! JSON (docs.github.com/rest/apps/apps, "Create an installation access token for an app").
//!
//! `scopes` of a credential are permissions (`contents:read`), `resources` are names of repositories.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Map, Value, json, value::to_raw_value};

use super::{
    AnswerContext, Class, Material, Method, NextStep, RawAnswer, RequestContext, Stage, Then,
    Token, TokenEndpoint, TokenError, TokenRequest, assertion,
    error_kind::{Kind, meaning},
    gateway,
    response::{self, AnswerForm},
};
use crate::{
    Reason,
    credential::{AuthenticationMethod, Credential},
    input::{get, object, written_fields},
};

/// The API version of the request and the answer.
const API_VERSION: &str = "2022-11-28";
/// The field with the URL of the API.
const API_URL: &str =
    "githubApp.apiUrl of the issuer (https://HOST/api/v3 for an Enterprise Server)";
/// How far `iat` is in the past, as GitHub recommends for clocks that differ.
const BACKDATED: i64 = 60;
/// Lifetime of the assertion in seconds. GitHub accepts at most 600 from now, which leaves a margin for a clock that is minutes ahead.
const LIFETIME: i64 = 300;

/// The word for an installation that an owner has suspended.
const SUSPENDED: &str = "suspended";

/// The token in an answer is named `token`.
const FORM: AnswerForm = AnswerForm {
    token: "token",
    check: "check githubApp.apiUrl of the issuer (https://HOST/api/v3 for an Enterprise Server)",
    renamed: Some(renamed),
};

/// Fields that would be read with their meaning in OAuth, and the token, which is renamed. `expires_at` is GitHub's own.
const OF_OAUTH: [&str; 11] = [
    "token",
    "access_token",
    "token_type",
    "scope",
    "refresh_token",
    "refresh_token_expires_in",
    "id_token",
    "expires_in",
    "expires_on",
    "refresh_in",
    "error",
];

/// The levels of a permission. Each includes those before it.
pub(crate) const LEVELS: [&str; 3] = ["read", "write", "admin"];

/// Splits a scope into a permission and its level.
pub(crate) fn permission(scope: &str) -> Option<(&str, &str)> {
    let (name, level) = scope.split_once(':')?;
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let fits = !name.is_empty() && name.chars().all(is_name);
    (fits && LEVELS.contains(&level)).then_some((name, level))
}

/// The request of an installation access token.
///
/// # Errors
/// When the key cannot sign with RS256, the only algorithm that GitHub accepts.
pub(super) fn request(
    credential: &Credential,
    endpoint: &TokenEndpoint,
    material: &Material,
    moment: RequestContext<'_>,
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
        "exp": now + LIFETIME,
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

/// If repositories or permissions are not set, the token has all those of the installation.
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
/// A classified token error.
pub(super) fn answer(
    credential: &Credential,
    raw: &RawAnswer,
    context: AnswerContext,
) -> Result<Token, TokenError> {
    let read = response::read(raw, context, Some(credential), &FORM);
    read.map_err(|token_error| classified(token_error, raw, credential, context.now))
}

/// The answer with the field names of OAuth, and without the repositories: each is an object with about 90 fields, of which none can be
/// published, and an answer may list hundreds of them.
fn renamed(raw: &RawAnswer) -> Option<RawAnswer> {
    let mut written = written_fields(&raw.body)?;
    if let Some(repositories) = written.get_mut("repositories") {
        *repositories = to_raw_value(&json!([])).ok()?;
    }
    let fields = object(&serde_json::to_vec(&written).ok()?).ok()?;
    let token = fields.get("token")?.clone();
    let level = |(name, level): (&String, &Value)| Some(format!("{name}:{}", level.as_str()?));
    let permissions = get(&fields, "permissions").and_then(Value::as_object);
    let scopes: Vec<String> = permissions
        .into_iter()
        .flatten()
        .filter_map(level)
        .collect();
    // Other fields that have a meaning in OAuth have none here. The rest can be published (`format: AnswerField`).
    let mut fields = written;
    fields.retain(|name, _| !OF_OAUTH.contains(&name.as_str()));
    for (name, value) in [
        ("access_token", token),
        ("token_type", json!("bearer")),
        ("scope", json!(scopes.join(" "))),
    ] {
        fields.insert(name.to_owned(), to_raw_value(&value).ok()?);
    }
    Some(RawAnswer {
        content_type: raw.content_type.clone(),
        date: raw.date.clone(),
        age: raw.age.clone(),
        ..RawAnswer::new(raw.status, serde_json::to_vec(&fields).ok()?)
    })
}

/// The meaning of GitHub's statuses: it answers with a sentence and without a code. An answer of a gateway or proxy keeps its meaning.
fn classified(
    token_error: TokenError,
    raw: &RawAnswer,
    credential: &Credential,
    now: Timestamp,
) -> TokenError {
    let fields = object(&raw.body).unwrap_or_default();
    let field = |name: &str| get(&fields, name).and_then(Value::as_str);
    let text = field("message").map(str::to_lowercase);
    let is_from_github = |message: &String| {
        let answered = token_error.stage == Stage::Answered && !gateway::is_of_either(message);
        answered || field("documentation_url").is_some()
    };
    let Some(text) = text.filter(is_from_github) else {
        return elsewhere(token_error);
    };
    let end = response::limit_ends_after(raw, now);
    let is_limit =
        raw.retry_after.is_some() || raw.limit_reset.is_some() || text.contains("rate limit");
    let is_suspended = text.contains(SUSPENDED);
    let (class, reason, next_step) = match raw.status {
        403 | 429 if is_limit && !is_suspended => return limited(token_error, end),
        403 => (Class::Denied, Reason::AccessDenied, forbidden(&text).into()),
        // "'Expiration time' claim ('exp') …", "'Issued at' claim ('iat') …"
        401 if text.contains("('exp')") || text.contains("('iat')") => {
            let time = meaning(Kind::Time);
            (time.class, time.reason, time.next_step)
        }
        401 => (
            Class::Denied,
            Reason::ClientRefused,
            format!(
                "GitHub does not accept the assertion: client.id ({}) must be the app's client ID or App ID, and client.key a private key of the same app (its settings list the keys by their SHA-256)",
                credential.client_id
            ).into(),
        ),
        404 => (
            Class::Denied,
            Reason::AccessDenied,
            format!("GitHub knows no such installation of this app: correct githubApp.installationId of the issuer (the number at the end of the address of the installation's settings), client.id, or {API_URL}").into(),
        ),
        422 => (
            Class::Invalid,
            Reason::InvalidScope,
            "the installation lacks a requested permission or repository: correct spec.scopes (PERMISSION:LEVEL) and spec.resources (names of repositories, without their owner), or have an owner of the account grant them".into(),
        ),
        _ => return token_error,
    };
    TokenError {
        class,
        reason,
        next_step,
        about_client: reason == Reason::ClientRefused,
        ..token_error
    }
}

/// GitHub forbids the request for a reason that only its text has. The key was accepted.
fn forbidden(text: &str) -> &'static str {
    if text.contains(SUSPENDED) {
        "the installation is suspended: an owner of the account unsuspends it in the settings of the app's installation"
    } else if text.contains("ip allow list") || text.contains("ip address") {
        "the account of the installation has an IP allow list: an owner of the account must allow the operator's egress address (with a proxy, the address of the proxy)"
    } else {
        "GitHub forbids this request: check the permissions of the app, and the policies of the account that installed it"
    }
}

/// GitHub limits the requests, for this time if it reports one.
fn limited(token_error: TokenError, end: Option<Duration>) -> TokenError {
    let retry_after = token_error.retry_after.or(end);
    let text = match retry_after {
        Some(_) => "GitHub limits the requests of this app until the time that its answer names",
        None => "GitHub limits the requests of this app and does not name the end of the limit",
    };
    TokenError {
        class: Class::Throttled,
        reason: Reason::Throttled,
        next_step: NextStep::new(text, Then::Pause),
        about_client: false,
        retry_after,
        ..token_error
    }
}

/// Something else answered, or GitHub at a path that its API does not have. The issuer has no field `tokenUrl`.
fn elsewhere(mut token_error: TokenError) -> TokenError {
    // GitHub gives a reason if it refuses a key.
    if token_error.reason == Reason::ClientRefused {
        token_error.reason = Reason::GatewayRefused;
        token_error.about_client = false;
        let text = "the answer does not have the form of GitHub's: a gateway or proxy answers for its API; check the network between, and what the gateway requires";
        token_error.next_step = text.into();
    }
    if token_error.reason == Reason::EndpointNotFound {
        let text = format!("GitHub's API does not answer at this URL; correct {API_URL}");
        token_error.next_step = text.into();
    }
    token_error
}

#[cfg(test)]
mod tests;
