//! Parses a discovery document.

use serde_json::{Map, Value};
use url::Url;

use super::{
    failure::{USE_TOKEN_URL, not_https},
    is_plain_https,
};
use crate::{
    api::{SecretAlgorithm, SigningAlgorithm},
    credential::{OptionalEndpoints, SecretStyle},
    input::{self, NotObject},
    oauth::{self, TokenEndpoint, Unused, request::TOKEN_ENDPOINT},
};

/// The client authentication methods of the OAuth parameters registry that apicred knows.
const METHODS: [&str; 7] = [
    "client_secret_basic",
    "client_secret_post",
    "client_secret_jwt",
    "private_key_jwt",
    "tls_client_auth",
    "self_signed_tls_client_auth",
    "none",
];
/// `token_endpoint_auth_methods_supported` of a client with a signed assertion (OpenID Connect Core section 9).
const PRIVATE_KEY_JWT: &str = "private_key_jwt";

/// The endpoints that a document need not have, and the field of the spec that replaces each.
const OPTIONAL: [(&str, &str); 3] = [
    ("revocation_endpoint", "revocationUrl"),
    ("authorization_endpoint", "authorizationUrl"),
    ("device_authorization_endpoint", "deviceAuthorizationUrl"),
];
/// The object with the endpoints for clients that show a certificate (RFC 8705 section 5).
const ALIASES: &str = "mtls_endpoint_aliases";

/// Why a document is not used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unusable {
    /// It is not a JSON object.
    NotDocument(NotObject),
    /// It has this content coding, which the request did not allow.
    Coded(String),
    /// It is for another issuer than the requested one, or for none.
    Issuer(Option<String>),
    /// Its token endpoint is missing or cannot be used.
    TokenEndpoint(Option<String>),
}

/// Parses a document that was read for `issuer`, the identifier in the spec. `style`: the method that the spec requires, if it does.
///
/// # Errors
/// When the document is not a JSON object, is for another issuer, or has no usable token endpoint.
pub fn read(
    issuer: &str,
    body: &[u8],
    style: Option<SecretStyle>,
) -> Result<TokenEndpoint, Unusable> {
    let document = input::object(body).map_err(Unusable::NotDocument)?;
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    let named = text("issuer");
    let Some(named) = named.filter(|named| is_same(issuer, named)) else {
        return Err(Unusable::Issuer(named.map(str::to_owned)));
    };
    let Some(url) = place(&document, TOKEN_ENDPOINT) else {
        let there = document.get(TOKEN_ENDPOINT).filter(|v| !v.is_null());
        let there = there.map(|v| v.as_str().unwrap_or_default().to_owned());
        return Err(Unusable::TokenEndpoint(there));
    };
    let methods = document
        .get("token_endpoint_auth_methods_supported")
        .filter(|v| !v.is_null())
        .map(input::list);
    // RFC 8414 section 2: if not set, client_secret_basic.
    let lists = |method: &str| {
        let same = |m: &&str| m.eq_ignore_ascii_case(method);
        methods.as_ref().map(|list| list.iter().any(same))
    };
    let (basic, post) = (lists("client_secret_basic"), lists("client_secret_post"));
    let signs = lists("client_secret_jwt") == Some(true);
    let offered = match (basic, post) {
        (Some(false), Some(true)) => SecretStyle::Post,
        (Some(false), _) if signs => SecretStyle::Jwt(None),
        _ => SecretStyle::BasicForm,
    };
    let style_used = match style.unwrap_or(offered) {
        SecretStyle::Jwt(None) => SecretStyle::Jwt(secret_algorithm(&document)),
        chosen => chosen,
    };
    // PHP writes an empty object as an empty list.
    let is_empty = |v: &Value| v.is_null() || v.as_array().is_some_and(Vec::is_empty);
    let named_aliases = document.get(ALIASES).filter(|v| !is_empty(v));
    let empty = Map::new();
    let aliases = named_aliases.and_then(Value::as_object).unwrap_or(&empty);
    Ok(TokenEndpoint {
        takes_secrets: style.is_some()
            || basic.is_none_or(|yes| yes)
            || post == Some(true)
            || signs,
        unlisted: style.and_then(|style| unlisted(style, methods.as_deref()?)),
        takes_assertions: lists(PRIVATE_KEY_JWT).is_none_or(|yes| yes),
        algorithms: algorithms(&document),
        unused: unused(&document, named_aliases),
        issuer: Some(named.to_owned()),
        mtls_url: place(aliases, TOKEN_ENDPOINT),
        mtls_revocation: place(aliases, "revocation_endpoint"),
        mtls_device: place(aliases, "device_authorization_endpoint"),
        revocation: place(&document, "revocation_endpoint"),
        authorization: place(&document, "authorization_endpoint"),
        device: place(&document, "device_authorization_endpoint"),
        names_itself: document
            .get("authorization_response_iss_parameter_supported")
            .and_then(input::flag)
            == Some(true),
        scopes: document
            .get("scopes_supported")
            .and_then(Value::as_array)
            .map(|list| known_scopes(list)),
        ..TokenEndpoint::bare(url, style_used)
    })
}

/// A message about a method that the spec selects, if a document lists only others. Documents are wrong about this as well,
/// so the method of the spec is used.
fn unlisted(style: SecretStyle, listed: &[&str]) -> Option<String> {
    let (selected, method) = match style {
        SecretStyle::BasicForm | SecretStyle::BasicRaw => ("basic", "client_secret_basic"),
        SecretStyle::Post => ("post", "client_secret_post"),
        SecretStyle::Jwt(_) => ("secretJwt", "client_secret_jwt"),
    };
    let has = |name: &str| listed.iter().any(|m| m.eq_ignore_ascii_case(name));
    if has(method) {
        return None;
    }
    // Only names of the registry (RFC 8414 section 4.2): a document may contain any text.
    let known = METHODS.into_iter().filter(|name| has(name));
    let known: Vec<&str> = known.collect();
    let others = match known.as_slice() {
        [] => "none that apicred knows".to_owned(),
        known => known.join(", "),
    };
    Some(format!(
        "clientAuthentication.{selected} selects {method}, which the discovery document does not list (it lists {others}): if the issuer refuses client secrets, select one of these, or remove clientAuthentication"
    ))
}

/// RFC 8414 section 3.3: identifiers are compared character by character, as both sides write them. Only one slash at the end
/// may differ, because users add or omit it by mistake: Auth0 has it, Okta and Keycloak do not, and the URLs of the document
/// are the same either way.
fn is_same(written: &str, named: &str) -> bool {
    let bare = |text: &str| text.strip_suffix('/').unwrap_or(text).len();
    written == named || written[..bare(written)] == named[..bare(named)]
}

/// A URL in a document, if it can be used.
fn place(of: &Map<String, Value>, name: &str) -> Option<Url> {
    let text = of.get(name)?.as_str()?;
    Url::parse(text).ok().filter(is_plain_https)
}

/// The endpoints of a document that are not used, with the reason. A proxy that terminates TLS is the usual cause: the server does not
/// know its own https address. Without its usual token endpoint, a document is not used at all.
fn unused(document: &Map<String, Value>, aliases: Option<&Value>) -> Vec<Unused> {
    let fault = |of: &Map<String, Value>, name: &str| {
        let there = of.get(name).filter(|v| !v.is_null())?;
        let text = there.as_str().unwrap_or_default();
        let is_used = place(of, name).is_some();
        // Some servers write an empty text for an endpoint that they do not have.
        let is_missing = there.is_string() && input::is_nothing(text);
        (!is_used && !is_missing).then(|| text.to_owned())
    };
    let alias_fault = |name: &str| match aliases? {
        Value::Object(aliases) => fault(aliases, name),
        // Which endpoints it would name is not known.
        _ => Some(String::new()),
    };
    let set = |setting: &str| format!("set oidc.{setting} of the issuer");
    let optional = OPTIONAL.into_iter().flat_map(|(field, setting)| {
        [
            (field, false, fault(document, field), set(setting)),
            (field, true, alias_fault(field), set(setting)),
        ]
    });
    let token = alias_fault(TOKEN_ENDPOINT);
    let token = (TOKEN_ENDPOINT, true, token, USE_TOKEN_URL.to_owned());
    let all = optional.chain([token]);
    all.filter_map(|(field, is_alias, there, instead)| {
        let name = if is_alias {
            format!("{ALIASES}.{field}")
        } else {
            field.to_owned()
        };
        let message = not_https(("the discovery document", &name), &there?, &instead);
        Some(Unused {
            field,
            is_alias,
            message,
        })
    })
    .collect()
}

/// The scopes of a sign-in that the issuer supports. apicred does not use the others.
fn known_scopes(list: &[Value]) -> Vec<String> {
    let known = |scope: &&str| list.iter().any(|s| s.as_str() == Some(*scope));
    let ours = oauth::sign_in::SCOPES.iter().copied().filter(known);
    ours.map(str::to_owned).collect()
}

/// The algorithms of `private_key_jwt` that apicred supports, in the order of the document.
fn algorithms(document: &Map<String, Value>) -> Option<Vec<SigningAlgorithm>> {
    let listed = document.get("token_endpoint_auth_signing_alg_values_supported")?;
    let known = input::list(listed).into_iter().filter_map(|name| {
        SigningAlgorithm::ALL
            .into_iter()
            .find(|a| a.as_str() == name)
    });
    let mut found: Vec<SigningAlgorithm> = Vec::new();
    for algorithm in known {
        if !found.contains(&algorithm) {
            found.push(algorithm);
        }
    }
    (!listed.is_null()).then_some(found)
}

/// The algorithm of an assertion that a client secret signs: the shortest hash that is listed, since a secret must have as
/// many bytes.
fn secret_algorithm(document: &Map<String, Value>) -> Option<SecretAlgorithm> {
    let listed = document.get("token_endpoint_auth_signing_alg_values_supported")?;
    let listed: Vec<&str> = input::list(listed).into_iter().collect();
    let all = [
        ("HS256", SecretAlgorithm::HS256),
        ("HS384", SecretAlgorithm::HS384),
        ("HS512", SecretAlgorithm::HS512),
    ];
    let known = all.into_iter().find(|(name, _)| listed.contains(name));
    known.map(|(_, algorithm)| algorithm)
}

/// The endpoints of a document. Those of the spec have priority: an administrator knows endpoints that a document does not list.
#[must_use]
pub fn completed(found: TokenEndpoint, places: &OptionalEndpoints) -> TokenEndpoint {
    let with = |own: &Option<Url>, found: Option<Url>| own.clone().or(found);
    // An alias belongs to the endpoint of the document.
    let alias = |own: &Option<Url>, found: Option<Url>| found.filter(|_| own.is_none());
    let is_replaced = |field: &str| match field {
        "revocation_endpoint" => places.revocation.is_some(),
        "authorization_endpoint" => places.authorization.is_some(),
        "device_authorization_endpoint" => places.device.is_some(),
        _ => false,
    };
    let unused = found.unused.into_iter();
    TokenEndpoint {
        unused: unused.filter(|u| !is_replaced(u.field)).collect(),
        mtls_revocation: alias(&places.revocation, found.mtls_revocation),
        mtls_device: alias(&places.device, found.mtls_device),
        revocation: with(&places.revocation, found.revocation),
        authorization: with(&places.authorization, found.authorization),
        device: with(&places.device, found.device),
        ..found
    }
}
