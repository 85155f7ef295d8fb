//! What the answers of Microsoft Graph mean.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use crate::{
    input::{instant, object},
    oauth::{Identity, RawAnswer, compression, hex, is_guid, leaf},
    printable::bounded,
    rotation::{Application, Class, Fault, Key, KeyMark, Kind, Mark, state::in_one_case},
};

/// Number of characters of a secret that Graph shows as its hint.
const HINT: usize = 3;
/// Longest error code of Graph that is shown, in characters.
const MOST_CODE: usize = 64;

/// A new secret. It has no `Debug`.
pub struct NewPassword {
    /// Its id.
    pub id: String,
    /// Its value, which is returned only once.
    pub value: SecretString,
    /// Valid from.
    pub from: Option<Timestamp>,
    /// Valid until.
    pub until: Option<Timestamp>,
}

/// The mark of a client secret: its first characters, as Graph shows them.
pub fn hint(secret: &SecretString) -> Mark {
    Mark::Hint(secret.expose_secret().chars().take(HINT).collect())
}

/// The mark of a certificate: both thumbprints.
pub fn thumbprints(identity: &Identity) -> Option<Mark> {
    leaf(identity).map(|der| thumbprints_of(&der))
}

/// The same for a certificate in DER.
pub fn thumbprints_of(der: &[u8]) -> Mark {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
    Mark::Certificate {
        sha1: hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, der).as_ref()),
        sha256: hex(digest(&SHA256, der).as_ref()),
    }
}

/// Reads the answer to [`super::Graph::read`]: object ID and credentials. `client` is the client ID for which a credential is rotated. The user
/// sets the object ID: with the object ID of another application, a client secret of that application would be stored.
///
/// # Errors
/// Why the answer has no application, or that it is another application.
pub fn application(
    raw: &RawAnswer,
    client: &str,
    kind: Kind,
    now: Timestamp,
) -> Result<(String, Application), Fault> {
    let fields = success(raw, kind, now)?;
    let id = text(&fields, "id").filter(|id| is_guid(id));
    let (list, key) = match kind {
        Kind::Secret => (
            "passwordCredentials",
            password as fn(&Map<String, Value>) -> Option<Key>,
        ),
        Kind::Certificate | Kind::Key => (
            "keyCredentials",
            certificate as fn(&Map<String, Value>) -> Option<Key>,
        ),
    };
    let app = text(&fields, "appId").filter(|id| is_guid(id));
    let (Some(id), Some(app), Some(Value::Array(list))) = (id, app, fields.get(list)) else {
        return Err(foreign(raw, false, now));
    };
    if !app.eq_ignore_ascii_case(client) {
        return Err(another_application(&app));
    }
    let keys = list.iter().filter_map(Value::as_object).filter_map(key);
    let application = Application {
        read_at: now,
        keys: keys.collect(),
    };
    Ok((id, application))
}

fn another_application(app: &str) -> Fault {
    Fault {
        class: Class::NoApplication,
        sent: true,
        may_have_happened: false,
        retry_after: None,
        message: format!(
            "objectId is the object ID of the application with client ID {app}, which is not this client's; correct objectId, or remove it"
        ),
    }
}

/// Reads the answer to [`super::Graph::add_password`].
///
/// # Errors
/// Why there is no new secret. A success that cannot be read may have taken effect.
pub fn new_password(raw: &RawAnswer, now: Timestamp) -> Result<NewPassword, Fault> {
    let fields = success(raw, Kind::Secret, now)?;
    match (key_id(&fields), text(&fields, "secretText")) {
        (Some(id), Some(value)) => Ok(NewPassword {
            id,
            value: SecretString::from(value),
            from: time(&fields, "startDateTime"),
            until: time(&fields, "endDateTime"),
        }),
        _ => Err(foreign(raw, true, now)),
    }
}

/// Reads the answer to [`super::Graph::add_key`]: the id of the certificate, if the answer has it.
///
/// # Errors
/// Why it was not added.
pub fn new_key(raw: &RawAnswer, now: Timestamp) -> Result<Option<String>, Fault> {
    if raw.status == 204 {
        return Ok(None);
    }
    let fields = success(raw, Kind::Certificate, now)?;
    Ok(key_id(&fields).filter(|id| is_guid(id)))
}

/// Reads the answer to [`super::Graph::remove_key`] and [`super::Graph::remove_password`]. A credential that does not exist counts as removed.
///
/// # Errors
/// Why it was not removed.
pub fn removed(raw: &RawAnswer, kind: Kind, now: Timestamp) -> Result<(), Fault> {
    if (200..300).contains(&raw.status) {
        return Ok(());
    }
    let message = error(raw).map(|e| e.message.to_ascii_lowercase());
    // A 404 may be about the application: the object ID is wrong, or a replica lags.
    let gone = message.is_some_and(|message| {
        message.contains("no ") && message.contains("credential") && message.contains("found")
    });
    if gone {
        Ok(())
    } else {
        Err(fault(raw, kind, now))
    }
}

/// Why the application could not be read, if the caller does not know its object ID. A certificate is added under the object ID, which only
/// such a reading or the spec provides.
#[must_use]
pub fn unnamed(fault: Fault, kind: Kind) -> Fault {
    if kind != Kind::Certificate || fault.class != Class::Permission {
        return fault;
    }
    let message = "the object ID of the application is not known, and the client may not read it; set spec.objectId";
    Fault {
        class: Class::Invalid,
        message: message.to_owned(),
        ..fault
    }
}

fn success(raw: &RawAnswer, kind: Kind, now: Timestamp) -> Result<Map<String, Value>, Fault> {
    if !(200..300).contains(&raw.status) {
        return Err(fault(raw, kind, now));
    }
    object(&raw.body).map_err(|_| foreign(raw, true, now))
}

fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    let text = fields.get(name)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// The key ID. Two answers may write the same GUID in upper and lower case.
fn key_id(fields: &Map<String, Value>) -> Option<String> {
    text(fields, "keyId").map(in_one_case)
}

fn time(fields: &Map<String, Value>, name: &str) -> Option<Timestamp> {
    instant(fields.get(name)?.as_str()?)
}

fn password(fields: &Map<String, Value>) -> Option<Key> {
    key(fields, text(fields, "hint").map(KeyMark::Hint))
}

/// Returns only certificates that verify signatures. An application may have others, for SAML and for encryption.
fn certificate(fields: &Map<String, Value>) -> Option<Key> {
    let verifies = |name: &str, wanted: &str| {
        text(fields, name).is_none_or(|value| value.eq_ignore_ascii_case(wanted))
    };
    if !verifies("usage", "Verify") || !verifies("type", "AsymmetricX509Cert") {
        return None;
    }
    let mark = text(fields, "customKeyIdentifier").and_then(|t| thumbprint(&t));
    key(fields, mark.map(KeyMark::Thumbprint))
}

fn key(fields: &Map<String, Value>, mark: Option<KeyMark>) -> Option<Key> {
    Some(Key {
        id: key_id(fields).filter(|id| is_guid(id))?,
        name: text(fields, "displayName"),
        mark,
        from: time(fields, "startDateTime"),
        until: time(fields, "endDateTime"),
    })
}

/// `customKeyIdentifier`: the thumbprint as base64 of its bytes, or as hexadecimal digits. Any other text was chosen by a user and is ignored.
fn thumbprint(text: &str) -> Option<String> {
    let digits = text.bytes().all(|b| b.is_ascii_hexdigit());
    if digits && [40, 64].contains(&text.len()) {
        return Some(text.to_ascii_lowercase());
    }
    let bytes = STANDARD.decode(text).ok()?;
    match bytes.len() {
        20 | 32 => Some(hex(&bytes)),
        // Base64 of the digits.
        40 | 64 if bytes.iter().all(u8::is_ascii_hexdigit) => {
            Some(String::from_utf8(bytes).ok()?.to_ascii_lowercase())
        }
        _ => None,
    }
}

/// `{"error":{"code","message","innerError":{"date","request-id","client-request-id"}}}`.
struct GraphError {
    code: String,
    message: String,
    request_id: Option<String>,
}

fn error(raw: &RawAnswer) -> Option<GraphError> {
    let fields = object(&raw.body).ok()?;
    let error = fields.get("error")?.as_object()?;
    let inner = error.get("innerError").or_else(|| error.get("innererror"));
    let id = inner.and_then(|inner| inner.get("request-id")?.as_str());
    Some(GraphError {
        code: text(error, "code")?,
        message: text(error, "message").unwrap_or_default(),
        request_id: id.filter(|id| is_guid(id)).map(str::to_owned),
    })
}

/// The id that Microsoft Graph gave a request which it refused. For the log.
pub fn request_id(raw: &RawAnswer) -> Option<String> {
    error(raw)?.request_id
}

/// What an error means. Its text is evaluated and never shown.
fn fault(raw: &RawAnswer, kind: Kind, now: Timestamp) -> Fault {
    let Some(error) = error(raw) else {
        return foreign(raw, raw.status >= 500, now);
    };
    let class = class(raw.status, &error, kind);
    let next_step = match class {
        Class::Policy => of_policy(&error, kind),
        class => class.next_step(kind),
    };
    let seen = shown(&error.code).map_or_else(
        || format!("HTTP {}", raw.status),
        |code| format!("HTTP {}, {code}", raw.status),
    );
    Fault {
        class,
        sent: true,
        may_have_happened: raw.status >= 500,
        retry_after: requested_pause(raw, now),
        // Without the id of the request: a message that differs each time would be written and reported each time.
        message: format!("Microsoft Graph answered {seen}: {next_step}"),
    }
}

fn class(status: u16, error: &GraphError, kind: Kind) -> Class {
    let code = error.code.to_ascii_lowercase();
    let message = error.message.to_ascii_lowercase();
    let is = |part: &str| code.contains(part);
    let mentions = |part: &str| message.contains(part);
    if status == 429 || is("toomanyrequests") || is("throttled") {
        Class::Throttled
    } else if is("concurrencyviolation") || status == 409 {
        Class::Conflict
    } else if status >= 500 {
        Class::Transient
    } else if is("toomanyapppasswords") || is("resourcesizeexceeded") {
        Class::Full
    } else if is("apppolicy") || mentions("assigned policy") || mentions("app management policy") {
        Class::Policy
    } else if is("missingormalformed") && kind == Kind::Certificate {
        Class::Proof
    } else if status == 401 {
        Class::Token
    } else if status == 403 || is("requestdenied") || is("accessdenied") {
        Class::Permission
    } else if status == 404 {
        Class::NoApplication
    } else if mentions("proof") {
        Class::Proof
    } else {
        Class::Invalid
    }
}

/// The next step if an app management policy refuses a credential. Policies are about its lifetime, its kind, or who issued a certificate.
/// Another setting of the client helps only against the first.
fn of_policy(error: &GraphError, kind: Kind) -> &'static str {
    let code = error.code.to_ascii_lowercase();
    let message = error.message.to_ascii_lowercase();
    let about = |word: &str| code.contains(word) || message.contains(word);
    if about("lifetime") {
        return "an app management policy of the tenant refuses a credential that is valid for so long; lower rotation.validity, or have the policy exempt this application";
    }
    match kind {
        Kind::Certificate if about("authorit") || about("issuer") || about("trusted") => {
            "an app management policy of the tenant refuses certificates that none of its trusted authorities issued, and apicred makes self-signed ones; have the policy exempt this application, or have cert-manager make the certificate"
        }
        _ => Class::Policy.next_step(kind),
    }
}

/// The pause that the answer requests. A component in front of Graph requests it in the same way.
fn requested_pause(raw: &RawAnswer, now: Timestamp) -> Option<SignedDuration> {
    SignedDuration::try_from(raw.requested_pause(now)?).ok()
}

/// An answer that is not from Graph.
fn foreign(raw: &RawAnswer, may_have_happened: bool, now: Timestamp) -> Fault {
    Fault {
        class: if raw.status == 429 {
            Class::Throttled
        } else {
            Class::Transient
        },
        sent: true,
        may_have_happened,
        retry_after: requested_pause(raw, now),
        message: format!(
            "the host of Microsoft Graph answered HTTP {} {}; check proxies on the way",
            raw.status,
            compression(raw).unwrap_or_else(|| "without a document of Microsoft Graph".to_owned())
        ),
    }
}

/// An error code as it may be shown.
fn shown(code: &str) -> Option<String> {
    let plain = code
        .bytes()
        .all(|b| b.is_ascii_alphabetic() || b == b'_' || b == b'.');
    (plain && code.len() <= MOST_CODE).then(|| bounded(code, MOST_CODE))
}

impl Class {
    /// The next step for the user.
    const fn next_step(self, kind: Kind) -> &'static str {
        match self {
            Self::Permission if matches!(kind, Kind::Certificate) => {
                "the caller may not change this application; check that objectId is the object ID of the application with this client ID. A client rolls its own certificates without a permission; with managementRef, grant Application.ReadWrite.OwnedBy and make that client an owner of the application"
            }
            Self::Throttled => "too many requests; apicred waits and tries again",
            Self::Conflict => {
                "another change of the application is in progress; apicred tries again"
            }
            Self::Policy => {
                "an app management policy of the tenant refuses the new credential; have the policy exempt this application"
            }
            Self::Permission => {
                "the caller may not change this application; grant it Application.ReadWrite.OwnedBy and make it an owner of the application"
            }
            Self::Proof => {
                "the proof of possession was refused; check that objectId is the object ID of the application, and that the certificate in the Secret is uploaded and valid"
            }
            Self::Token => {
                "the caller's token was refused; check that it is for Microsoft Graph (https://graph.microsoft.com/.default)"
            }
            Self::Caller => "there is no token to call it with; check managementRef",
            Self::NoApplication => "there is no such application; check objectId and the client ID",
            Self::Full => {
                "the application has as many credentials as Entra ID allows; remove one that is not in use there, or name the one before this one in rotation.adopt.keyId"
            }
            Self::Invalid => {
                "the request was refused; report it with the request id, which is in the log of the operator"
            }
            Self::Transient => "the service failed; apicred tries again",
        }
    }
}
