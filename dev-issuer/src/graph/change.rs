//! Adding and removing credentials.

use std::time::Instant;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use super::credentials::{Credential, CredentialKind, CredentialValue, View};
use super::errors::ErrorAnswer;
use super::handle::AppPolicy;
use super::{Action, Call, object_id, proof};
use crate::answer::Answer;
use crate::assertion::Certificate;
use crate::config::{Client, Config, Secret};
use crate::ids::guid;
use crate::state::Shared;

/// Lifetime of a secret without an expiry in the request: two years.
const TWO_YEARS: SignedDuration = SignedDuration::from_hours(2 * 365 * 24);

pub(super) fn apply(
    shared: &Shared,
    config: &mut Config,
    id: &str,
    call: &Call<'_>,
) -> Result<Answer, ErrorAnswer> {
    let settings = shared.graph_settings();
    let client = config
        .clients
        .iter_mut()
        .find(|client| client.id == id)
        .ok_or_else(ErrorAnswer::no_application)?;
    let now = Timestamp::now();
    if matches!(call.action, Action::AddKey | Action::RemoveKey) {
        // A new certificate proves nothing before all replicas have it.
        let known: Vec<_> = client.credentials(&shared.replicas.read());
        proof::check(&call.body["proof"], &known, &object_id(id), now.as_second())?;
    }
    let busy = || {
        let free = shared.replicas.may_write(id, settings.write_gap);
        if free {
            Ok(())
        } else {
            Err(ErrorAnswer::concurrent())
        }
    };
    match call.action {
        Action::AddPassword => {
            let added = new_password(&call.body, &settings.policies, now)?;
            busy()?;
            let shown = with_value(&added);
            client.added.push(added);
            Ok(Answer::json(StatusCode::OK, &shown))
        }
        Action::AddKey => {
            let added = new_key(&call.body, &settings.policies, now)?;
            busy()?;
            let mut body = if settings.names_new_keys {
                added.shown()
            } else {
                json!({})
            };
            body["@odata.context"] =
                json!("https://graph.microsoft.com/v1.0/$metadata#microsoft.graph.keyCredential");
            client.added.push(added);
            Ok(Answer::json(StatusCode::OK, &body))
        }
        Action::RemovePassword => remove(shared, client, call, CredentialKind::Secret, busy),
        _ => remove(shared, client, call, CredentialKind::Certificate, busy),
    }
}

fn remove(
    shared: &Shared,
    client: &mut Client,
    call: &Call<'_>,
    kind: CredentialKind,
    busy: impl FnOnce() -> Result<(), ErrorAnswer>,
) -> Result<Answer, ErrorAnswer> {
    let id = call.body["keyId"].as_str().unwrap_or_default();
    let is_it = |c: &Credential| c.kind() == kind && c.key_id.eq_ignore_ascii_case(id);
    let find = |view: &View| client.credentials(view).into_iter().find(is_it);
    let what = match kind {
        CredentialKind::Secret => "password",
        CredentialKind::Certificate => "key",
    };
    let Some(known) = find(&View::now()) else {
        return Err(ErrorAnswer::bad(format!(
            "No {what} credential found with keyId '{id}'."
        )));
    };
    // A replica that does not have it yet fails.
    find(&shared.replicas.read()).ok_or_else(ErrorAnswer::not_yet)?;
    busy()?;
    client.removed.push((known.key_id, Instant::now()));
    Ok(Answer {
        status: StatusCode::NO_CONTENT,
        ..Answer::default()
    })
}

fn new_password(
    body: &Value,
    policies: &[AppPolicy],
    now: Timestamp,
) -> Result<Credential, ErrorAnswer> {
    let wanted = &body["passwordCredential"];
    let end = match &wanted["endDateTime"] {
        Value::Null => None,
        Value::String(text) => Some(text.parse::<Timestamp>().map_err(|_| {
            ErrorAnswer::bad("Cannot convert a value to target type 'Edm.DateTimeOffset'.")
        })?),
        _ => return Err(ErrorAnswer::bad("endDateTime must be a text.")),
    };
    let until = end.unwrap_or_else(|| now.saturating_add(TWO_YEARS).unwrap_or(Timestamp::MAX));
    if until <= now {
        return Err(ErrorAnswer::bad("Password credential end date is invalid."));
    }
    for policy in policies {
        match policy {
            AppPolicy::PasswordAddition => return Err(forbidden_kind()),
            AppPolicy::PasswordLifetime(most) if until.duration_since(now) > *most => {
                return Err(too_long());
            }
            _ => {}
        }
    }
    let mut bytes = [0; 30];
    rand::fill(&mut bytes).expect("the system has random bytes");
    let value = URL_SAFE_NO_PAD.encode(bytes);
    Ok(Credential {
        key_id: guid(),
        display_name: wanted["displayName"].as_str().map(str::to_owned),
        value: CredentialValue::Secret(Secret::new(value).expiring(until)),
        from: Some(now),
        until: Some(until),
        added: Some(Instant::now()),
    })
}

fn forbidden_kind() -> ErrorAnswer {
    let message = "Credential type not allowed as per assigned policy '0f0f0f0f-0000-4000-8000-000000000000'.";
    ErrorAnswer::new(
        StatusCode::FORBIDDEN,
        "CredentialTypeNotAllowedAsPerAppPolicy",
        message,
    )
}

fn too_long() -> ErrorAnswer {
    let message = "Credential lifetime exceeds the max value allowed as per assigned policy '0f0f0f0f-0000-4000-8000-000000000000'.";
    ErrorAnswer::new(
        StatusCode::BAD_REQUEST,
        "CredentialInvalidLifetimeAsPerAppPolicy",
        message,
    )
}

/// Microsoft does not document this answer: code and text have the form of the others.
fn no_authority() -> ErrorAnswer {
    let message = "Certificate is not issued by a trusted certificate authority as per assigned policy '0f0f0f0f-0000-4000-8000-000000000000'.";
    ErrorAnswer::new(
        StatusCode::FORBIDDEN,
        "CertificateIssuerNotTrustedAsPerAppPolicy",
        message,
    )
}

/// The only answer that contains the value.
fn with_value(added: &Credential) -> Value {
    let mut shown = added.shown();
    if let CredentialValue::Secret(secret) = &added.value {
        shown["secretText"] = json!(secret.value());
    }
    shown
}

fn new_key(
    body: &Value,
    policies: &[AppPolicy],
    now: Timestamp,
) -> Result<Credential, ErrorAnswer> {
    let wanted = &body["keyCredential"];
    if wanted["type"] != "AsymmetricX509Cert" || wanted["usage"] != "Verify" {
        return Err(ErrorAnswer::bad(
            "New key credential must be an AsymmetricX509Cert for Verify.",
        ));
    }
    if !body["passwordCredential"].is_null() {
        return Err(ErrorAnswer::bad(
            "passwordCredential must be null for this type.",
        ));
    }
    let der = wanted["key"]
        .as_str()
        .and_then(|text| STANDARD.decode(text).ok());
    let certificate = der.and_then(|der| Certificate::of(CertificateDer::from(der)));
    let certificate = certificate.ok_or_else(|| ErrorAnswer::bad("Key credential is invalid."))?;
    let (from, until) = certificate
        .validity()
        .ok_or_else(|| ErrorAnswer::bad("Key credential is invalid."))?;
    if until <= now {
        return Err(ErrorAnswer::bad("Key credential end date is invalid."));
    }
    for policy in policies {
        match policy {
            AppPolicy::AsymmetricKeyLifetime(most) if until.duration_since(from) > *most => {
                return Err(too_long());
            }
            AppPolicy::TrustedCertificateAuthority if certificate.is_self_issued() => {
                return Err(no_authority());
            }
            _ => {}
        }
    }
    Ok(Credential {
        key_id: guid(),
        display_name: certificate.subject(),
        value: CredentialValue::Certificate(certificate.pem()),
        from: Some(from),
        until: Some(until),
        added: Some(Instant::now()),
    })
}
