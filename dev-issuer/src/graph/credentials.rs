//! The credentials of an application, and the replicas that have them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::handle::ReplicaLag;
use crate::assertion::Certificate;
use crate::config::{Client, Secret};
use crate::ids::stable_guid;

/// A credential of an application.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    pub(crate) key_id: String,
    pub(crate) display_name: Option<String>,
    pub(crate) value: CredentialValue,
    pub(crate) from: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    /// None: it existed from the beginning.
    pub(crate) added: Option<Instant>,
}

#[derive(Clone, Debug)]
pub(crate) enum CredentialValue {
    Secret(Secret),
    /// As PEM.
    Certificate(String),
}

/// The kind of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CredentialKind {
    /// A client secret.
    Secret,
    /// A certificate.
    Certificate,
}

/// A credential as tests see it, whatever the replicas have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CredentialRecord {
    /// Its id.
    pub key_id: String,
    /// Its kind.
    pub kind: CredentialKind,
    /// Its display name.
    pub display_name: Option<String>,
    /// Its expiry.
    pub until: Option<Timestamp>,
}

impl Credential {
    pub(crate) fn kind(&self) -> CredentialKind {
        match self.value {
            CredentialValue::Secret(_) => CredentialKind::Secret,
            CredentialValue::Certificate(_) => CredentialKind::Certificate,
        }
    }

    pub(crate) fn pem(&self) -> Option<&str> {
        match &self.value {
            CredentialValue::Certificate(pem) => Some(pem),
            CredentialValue::Secret(_) => None,
        }
    }

    pub(super) fn record(&self) -> CredentialRecord {
        CredentialRecord {
            key_id: self.key_id.clone(),
            kind: self.kind(),
            display_name: self.display_name.clone(),
            until: self.until,
        }
    }

    /// As Graph lists it: never with its value.
    pub(super) fn shown(&self) -> Value {
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
        let mut shown = json!({
            "keyId": self.key_id,
            "displayName": self.display_name,
            "startDateTime": time(self.from),
            "endDateTime": time(self.until),
        });
        match &self.value {
            CredentialValue::Secret(secret) => {
                let hint: String = secret.value().chars().take(3).collect();
                shown["hint"] = json!(hint);
                shown["secretText"] = Value::Null;
                shown["customKeyIdentifier"] = Value::Null;
            }
            CredentialValue::Certificate(pem) => {
                let thumbprint = Certificate::read(pem).map(|c| STANDARD.encode(c.sha1()));
                shown["customKeyIdentifier"] = json!(thumbprint);
                shown["type"] = json!("AsymmetricX509Cert");
                shown["usage"] = json!("Verify");
                shown["key"] = Value::Null;
            }
        }
        shown
    }
}

impl Client {
    /// All credentials that a replica has.
    pub(crate) fn credentials(&self, view: &View) -> Vec<Credential> {
        let id = |value: &str| {
            let hash = digest(&SHA256, value.as_bytes());
            stable_guid(&format!("{} {}", self.id, STANDARD.encode(hash)))
        };
        let secrets = self.secrets.iter().map(|secret| Credential {
            key_id: id(secret.value()),
            display_name: None,
            value: CredentialValue::Secret(secret.clone()),
            from: None,
            until: secret.end(),
            added: None,
        });
        let certificates = self.certificates.iter().map(|pem| {
            let certificate = Certificate::read(pem);
            Credential {
                key_id: id(pem),
                display_name: certificate.as_ref().and_then(Certificate::subject),
                value: CredentialValue::Certificate(pem.clone()),
                from: certificate.as_ref().and_then(|c| c.validity().map(|v| v.0)),
                until: certificate.as_ref().and_then(|c| c.validity().map(|v| v.1)),
                added: None,
            }
        });
        let gone = |key_id: &str| {
            let removed = self.removed.iter().find(|(id, _)| id == key_id);
            removed.is_some_and(|(_, at)| view.knows(*at))
        };
        secrets
            .chain(certificates)
            .chain(self.added.iter().cloned())
            .filter(|c| c.added.is_none_or(|at| view.knows(at)) && !gone(&c.key_id))
            .collect()
    }

    /// Its secrets and its certificates (PEM) at a token endpoint.
    pub(crate) fn secrets_and_certificates(&self, view: &View) -> (Vec<Secret>, Vec<String>) {
        let (mut secrets, mut certificates) = (Vec::new(), Vec::new());
        for credential in self.credentials(view) {
            match credential.value {
                CredentialValue::Secret(secret) => secrets.push(secret),
                CredentialValue::Certificate(pem) => certificates.push(pem),
            }
        }
        (secrets, certificates)
    }
}

/// Two replicas answer in turn, and the second one lags.
#[derive(Default)]
pub(crate) struct Replicas(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    lag: ReplicaLag,
    reads: u64,
    tokens: u64,
    /// All replicas have everything that happened until then.
    in_step: Option<Instant>,
    last_write: Option<(String, Instant)>,
}

/// The state of one replica.
pub(crate) struct View {
    lag: Duration,
    now: Instant,
    in_step: Option<Instant>,
}

impl View {
    /// The newest state.
    pub(crate) fn now() -> Self {
        Self {
            lag: Duration::ZERO,
            now: Instant::now(),
            in_step: None,
        }
    }

    fn knows(&self, at: Instant) -> bool {
        self.now.saturating_duration_since(at) >= self.lag
            || self.in_step.is_some_and(|until| at <= until)
    }
}

impl Replicas {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The replica for the next read.
    pub(crate) fn read(&self) -> View {
        let mut inner = self.lock();
        inner.reads += 1;
        let lags = inner.reads.is_multiple_of(2);
        inner.view(lags.then_some(inner.lag.reads))
    }

    /// The replica for the next token request.
    pub(crate) fn token(&self) -> View {
        let mut inner = self.lock();
        inner.tokens += 1;
        let lags = inner.tokens.is_multiple_of(2);
        inner.view(lags.then_some(inner.lag.tokens))
    }

    pub(super) fn set(&self, lag: ReplicaLag) {
        let mut inner = self.lock();
        (inner.lag, inner.reads, inner.tokens) = (lag, 0, 0);
    }

    pub(super) fn catch_up(&self) {
        self.lock().in_step = Some(Instant::now());
    }

    /// Records a write to an application; false if the one before it was less than `gap` ago.
    pub(super) fn may_write(&self, client: &str, gap: Duration) -> bool {
        let now = Instant::now();
        let mut inner = self.lock();
        let busy = inner
            .last_write
            .as_ref()
            .is_some_and(|(of, at)| of == client && now.saturating_duration_since(*at) < gap);
        if !busy {
            inner.last_write = Some((client.to_owned(), now));
        }
        !busy
    }
}

impl Inner {
    fn view(&self, lag: Option<Duration>) -> View {
        View {
            lag: lag.unwrap_or_default(),
            now: Instant::now(),
            in_step: self.in_step,
        }
    }
}
