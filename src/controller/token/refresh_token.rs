//! A refresh token in its state Secret, and answers to refreshes that are not stored yet. Makes no calls.

use std::{collections::BTreeMap, sync::Mutex};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use secrecy::SecretString;
use tokio::sync::Notify;

use crate::controller::locks::lock;
use crate::{
    api::SecretKeyRef,
    credential::{Credential, Key},
    oauth::{
        Granted, Token, TokenError,
        renewal::{self, Sent, TokenState},
    },
    publish::{SourceMark, rejection::ServerMessage},
};

/// A state Secret as it was read.
pub(in crate::controller) struct StateSecret {
    pub(in crate::controller) reference: SecretKeyRef,
    pub(in crate::controller) uid: String,
    pub(in crate::controller) version: String,
    pub(in crate::controller) annotations: Option<BTreeMap<String, String>>,
    /// The issuer that receives the request. It is recorded after it has accepted the refresh token; empty before it is known.
    pub(in crate::controller) issuer: String,
    /// The message of the API server about the last failed write of the Secret.
    pub(in crate::controller) server_message: ServerMessage,
}

impl StateSecret {
    /// The current version as a source.
    pub(in crate::controller) fn mark(&self) -> SourceMark {
        SourceMark {
            name: self.reference.name.clone(),
            key: self.reference.key.clone(),
            uid: self.uid.clone(),
            version: self.version.clone(),
        }
    }

    pub(super) fn take(&mut self, meta: ObjectMeta) {
        self.uid = meta.uid.unwrap_or_default();
        self.version = meta.resource_version.unwrap_or_default();
        self.annotations = meta.annotations;
    }
}

/// The result of a request.
pub(in crate::controller) struct RefreshResult {
    /// The change of the refresh token that the response grants, independent of its other content.
    pub(in crate::controller) granted: Granted,
    pub(in crate::controller) result: Result<Token, TokenError>,
}

/// The answer to a refresh, with all data that is needed to store it later.
pub(in crate::controller) struct Answered {
    pub(in crate::controller) state: StateSecret,
    /// The refresh token that was sent.
    pub(in crate::controller) token: SecretString,
    pub(in crate::controller) sent: Sent,
    pub(in crate::controller) came: RefreshResult,
    /// Keyed digest of the new refresh token.
    pub(in crate::controller) new: Option<String>,
    /// The Secret that authenticated the client.
    pub(super) used: Option<SourceMark>,
    /// Keyed digest of the request with the refresh token that is valid from now on.
    pub(super) fingerprint: String,
    /// Digest of the request without its secrets.
    pub(super) request: String,
    /// The credential of the request. No further request is sent during a shutdown of the process.
    pub(in crate::controller) credential: Credential,
}

impl Answered {
    /// An answer with a new refresh token, for tests.
    #[cfg(test)]
    pub(in crate::controller) fn of_a_test(credential: &Credential, sent: &str, new: &str) -> Self {
        use crate::{
            fixtures::{at, token},
            oauth::renewal::Send,
            plan::fingerprint,
        };
        Self {
            state: StateSecret {
                server_message: crate::publish::rejection::ServerMessage::default(),
                reference: crate::api::SecretKeyRef {
                    name: "state".to_owned(),
                    key: "token".to_owned(),
                },
                uid: "state-uid".to_owned(),
                version: "7".to_owned(),
                annotations: None,
                issuer: "https://issuer.example.com".to_owned(),
            },
            token: SecretString::from(sent),
            sent: Sent {
                token: format!("digest of {sent}"),
                request: String::new(),
                at: at(0),
                how: Send::default(),
                spent: Vec::new(),
            },
            came: RefreshResult {
                granted: Granted::New(SecretString::from(new)),
                result: Ok(token("an-access-token")),
            },
            new: Some(format!("digest of {new}")),
            used: None,
            fingerprint: String::new(),
            request: fingerprint::request(credential),
            credential: credential.clone(),
        }
    }

    /// The state of the refresh token after the request.
    pub(in crate::controller) fn token_state(&self) -> TokenState {
        renewal::token_state(&self.came.granted, self.came.result.as_ref().err())
    }

    /// The new refresh token, if there is one.
    pub(in crate::controller) fn new_token(&self) -> Option<&SecretString> {
        match &self.came.granted {
            Granted::New(token) => Some(token),
            Granted::Same | Granted::Nothing => None,
        }
    }
}

/// Answers to refreshes whose credential no longer exists.
#[derive(Default)]
pub(in crate::controller) struct Orphans {
    pub(super) waiting: Mutex<Vec<Answered>>,
    /// The credentials whose new refresh token is being stored, one entry for each answer.
    pub(super) storing: Mutex<Vec<Key>>,
    pub(super) raised: Notify,
}

impl Orphans {
    /// Takes over the answer of a credential that was removed.
    pub(in crate::controller) fn adopt(&self, answered: Option<Box<Answered>>) {
        if let Some(answered) = answered {
            lock(&self.waiting).push(*answered);
            self.raised.notify_one();
        }
    }

    /// Whether a new refresh token of this credential is not stored yet. Until then the refresh token in the state Secret is a used one.
    pub(in crate::controller) fn concern(&self, key: &Key) -> bool {
        lock(&self.storing).contains(key)
            || lock(&self.waiting)
                .iter()
                .any(|a| a.credential.key() == *key)
    }

    /// The number of answers whose storing has not started yet.
    pub(in crate::controller) fn len(&self) -> usize {
        lock(&self.waiting).len()
    }
}
