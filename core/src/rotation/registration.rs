//! Registration management (RFC 7592): a client's requests about its own registration, and what the answers mean.
//!
//! An update replaces the whole registration, and there is no `ETag`. So the registration is read immediately before each update, and sent back
//! with one key added or removed. Each answer may contain a new registration access token, which invalidates the previous one: [`renewed`]
//! finds it before the rest of the answer is read. An answer may also contain a new address of the registration: [`moved`] finds it.

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use url::Url;

use super::{Application, Class, Fault, Key, KeyMark, graph::GraphRequest};
use crate::{
    input::object,
    oauth::{Method, RawAnswer, compression, error_code, jwk_thumbprint},
};

/// The key of a Secret with the address of a registration, if the spec names no other one: the member of RFC 7592 section 3.
pub const URL_KEY: &str = "registration_client_uri";
/// The same for the registration access token.
pub const TOKEN_KEY: &str = "registration_access_token";

/// Members of an answer that an update must not contain (RFC 7592 section 2.2), and `jwks_uri`, which has no value if `jwks` is sent: they must
/// not both be present (RFC 7591 section 2).
const NOT_SENT: [&str; 5] = [
    TOKEN_KEY,
    URL_KEY,
    "client_secret_expires_at",
    "client_id_issued_at",
    "jwks_uri",
];

/// The address of a registration and the token for it. It has no `Debug`.
pub struct Access {
    /// Its address.
    pub url: Url,
    /// The registration access token.
    pub token: SecretString,
}

impl Access {
    /// Reads the registration.
    pub fn read(&self) -> GraphRequest {
        self.request(Method::Get, None)
    }

    /// Replaces the registration.
    pub fn update(&self, metadata: &Value) -> GraphRequest {
        self.request(Method::PutJson, Some(metadata))
    }

    fn request(&self, method: Method, body: Option<&Value>) -> GraphRequest {
        let bearer = format!("Bearer {}", self.token.expose_secret());
        GraphRequest {
            method,
            url: self.url.clone(),
            headers: vec![
                ("accept", SecretString::from("application/json")),
                ("authorization", SecretString::from(bearer)),
            ],
            body: body.map(|body| SecretString::from(body.to_string())),
        }
    }
}

/// A registration as it was read. It may contain a client secret, so it has no `Debug`.
pub struct Registration(Map<String, Value>);

/// The registration access token of an answer, whatever the rest of the answer is: it invalidates the previous one. None if it is the one that
/// was sent.
pub fn renewed(raw: &RawAnswer, sent: &SecretString) -> Option<SecretString> {
    if !(200..300).contains(&raw.status) {
        return None;
    }
    let fields = object(&raw.body).ok()?;
    let token = fields.get(TOKEN_KEY)?.as_str()?;
    (!token.is_empty() && token != sent.expose_secret()).then(|| SecretString::from(token))
}

/// The address of the registration in an answer, if it differs from that of the request: the next request is sent there. The caller must check
/// whether the token may be sent there.
pub fn moved(raw: &RawAnswer, sent: &Url) -> Option<Url> {
    if !(200..300).contains(&raw.status) {
        return None;
    }
    let fields = object(&raw.body).ok()?;
    let url = Url::parse(fields.get(URL_KEY)?.as_str()?).ok()?;
    (url != *sent).then_some(url)
}

/// That an answer is about another client than this one. Nothing of it is stored: its token is not the one of this client. An answer without a
/// client ID may contain the token of this client, which nothing else has.
pub fn of_another(raw: &RawAnswer, client_id: &str) -> Option<Fault> {
    if !(200..300).contains(&raw.status) {
        return None;
    }
    let fields = object(&raw.body).ok()?;
    let id = fields.get("client_id").filter(|id| !id.is_null())?;
    (id.as_str() != Some(client_id)).then(wrong_client)
}

fn wrong_client() -> Fault {
    useless(
        Class::Invalid,
        "the registration is of another client; correct spec.id, or registration_client_uri in the Secret",
    )
}

/// Reads the answer to [`Access::read`] and [`Access::update`].
///
/// # Errors
/// Why there is none. An update that was answered with a success may have taken effect nevertheless.
pub fn registration(
    raw: &RawAnswer,
    client_id: &str,
    now: Timestamp,
) -> Result<Registration, Fault> {
    if !(200..300).contains(&raw.status) {
        return Err(fault(raw, now));
    }
    let Ok(fields) = object(&raw.body) else {
        if let Some(compressed) = compression(raw) {
            return Err(useless(
                Class::Invalid,
                format!(
                    "the answer of the registration endpoint is {compressed}; turn compression off there, or in the gateway before it"
                ),
            ));
        }
        return Err(useless(
            Class::Transient,
            format!(
                "the registration endpoint answered HTTP {} without a JSON document; check registration_client_uri, and proxies on the way",
                raw.status
            ),
        ));
    };
    if fields.get("client_id").and_then(Value::as_str) != Some(client_id) {
        return Err(wrong_client());
    }
    let jwks_uri = fields.get("jwks_uri").and_then(Value::as_str);
    if jwks_uri.is_some_and(|uri| !uri.trim().is_empty()) {
        return Err(useless(
            Class::Invalid,
            "the client's public keys are registered by their address (jwks_uri), where apicred cannot add one; register them as jwks, or remove rotation",
        ));
    }
    Ok(Registration(fields))
}

impl Registration {
    /// Whether the answer contains the public keys. Without them it shows neither that a key is registered nor that it is not.
    pub fn has_keys(&self) -> bool {
        let set = self.0.get("jwks").and_then(|set| set.get("keys"));
        set.is_some_and(Value::is_array)
    }

    /// The same, if it contains the public keys.
    ///
    /// # Errors
    /// They are missing: it must neither be replaced nor count as a registration without keys.
    pub fn with_keys(self) -> Result<Self, Fault> {
        if self.has_keys() {
            return Ok(self);
        }
        Err(Fault {
            sent: false,
            may_have_happened: false,
            ..useless(
                Class::Invalid,
                "the registration endpoint answers without the public keys of the client (jwks), so that apicred cannot add or remove one of them; have the issuer show jwks, or remove rotation",
            )
        })
    }

    /// Its public keys. Their id is the thumbprint of RFC 7638, because a client may choose any `kid`.
    pub fn application(&self, now: Timestamp) -> Application {
        let keys = self.keys().filter_map(|jwk| {
            let id = jwk_thumbprint(jwk)?;
            Some(Key {
                mark: Some(KeyMark::Thumbprint(id.clone())),
                id,
                name: None,
                from: None,
                until: None,
            })
        });
        Application {
            read_at: now,
            keys: keys.collect(),
        }
    }

    /// The update that adds a public key to the others. A key that is already there is not added twice.
    pub fn with(&self, jwk: &Map<String, Value>) -> Value {
        let id = jwk_thumbprint(jwk);
        let mut keys: Vec<Value> = self.others(id.as_deref());
        keys.push(Value::Object(jwk.clone()));
        self.update(&keys)
    }

    /// The update that removes a public key.
    pub fn without(&self, id: &str) -> Value {
        self.update(&self.others(Some(id)))
    }

    /// Whether it contains a public key.
    pub fn has(&self, id: &str) -> bool {
        self.keys()
            .any(|jwk| jwk_thumbprint(jwk).as_deref() == Some(id))
    }

    fn keys(&self) -> impl Iterator<Item = &Map<String, Value>> {
        let set = self.0.get("jwks").and_then(|set| set.get("keys"));
        let keys = set.and_then(Value::as_array);
        keys.into_iter().flatten().filter_map(Value::as_object)
    }

    /// Unknown keys stay.
    fn others(&self, id: Option<&str>) -> Vec<Value> {
        let other =
            |jwk: &&Map<String, Value>| id.is_none() || jwk_thumbprint(jwk).as_deref() != id;
        self.keys()
            .filter(other)
            .cloned()
            .map(Value::Object)
            .collect()
    }

    fn update(&self, keys: &[Value]) -> Value {
        let mut fields = self.0.clone();
        fields.retain(|name, _| !NOT_SENT.contains(&name.as_str()));
        fields.insert("jwks".to_owned(), json!({ "keys": keys }));
        Value::Object(fields)
    }
}

/// A success without a usable body.
fn useless(class: Class, message: impl Into<String>) -> Fault {
    Fault {
        class,
        sent: true,
        may_have_happened: true,
        retry_after: None,
        message: message.into(),
    }
}

/// What an error means. Its description is not shown, because it is the server's text.
fn fault(raw: &RawAnswer, now: Timestamp) -> Fault {
    let fields = object(&raw.body).unwrap_or_default();
    let code = fields.get("error").and_then(Value::as_str);
    let code = code.and_then(error_code);
    // The code in a compressed answer is not known.
    let known = code.or_else(|| compression(raw));
    let seen = known.map_or_else(
        || format!("HTTP {}", raw.status),
        |known| format!("HTTP {}, {known}", raw.status),
    );
    let (class, next) = match raw.status {
        // Only another token helps.
        401 => (
            Class::Caller,
            "the registration access token was refused: it is wrong, or an answer with a new one was lost; have the issuer give a new one, and store it in the Secret",
        ),
        403 => (
            Class::Invalid,
            "the client may not change its registration; have the issuer allow it, or remove rotation",
        ),
        404 | 405 => (
            Class::NoApplication,
            "there is no registration that can be changed; check registration_client_uri in the Secret",
        ),
        429 => (
            Class::Throttled,
            "too many requests; apicred waits and tries again",
        ),
        500.. => (Class::Transient, "the service failed; apicred tries again"),
        _ => (
            Class::Invalid,
            "the update was refused; check what the issuer demands of registrations",
        ),
    };
    let requested = raw.requested_pause(now);
    Fault {
        class,
        sent: true,
        may_have_happened: raw.status >= 500,
        retry_after: requested.and_then(|d| SignedDuration::try_from(d).ok()),
        message: format!("the registration endpoint answered {seen}: {next}"),
    }
}
