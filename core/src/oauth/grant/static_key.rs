//! A static key, such as the legacy API tokens of Cloud App Security. Never sends a request.

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;

use super::{Circumstances, Fields, Flow};
use crate::{
    api::{self, SecretKeyRef},
    oauth::Need,
};

/// When a change is urged, if the user does not say: 90 days.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(90 * 24);

/// The key and how it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct StaticKey {
    /// Where it is.
    pub token: SecretKeyRef,
    /// The word before it in the `Authorization` header.
    pub scheme: String,
    /// When it was made, if the user says so.
    pub created_at: Option<Timestamp>,
    /// From which age on a change is urged.
    pub max_age: SignedDuration,
}

impl StaticKey {
    pub(super) fn new(spec: &api::StaticKey) -> Self {
        Self {
            token: spec.token_ref.clone(),
            scheme: spec.scheme.clone().unwrap_or_else(|| "Token".to_owned()),
            created_at: spec.created_at.as_ref().map(|t| t.0),
            max_age: spec
                .max_age
                .and_then(|d| SignedDuration::try_from(std::time::Duration::from(d)).ok())
                .unwrap_or(MAX_AGE),
        }
    }
}

impl Flow for StaticKey {
    fn grant_type(&self) -> &'static str {
        "static"
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::Word(self.token.clone())]
    }

    fn words(&self) -> Vec<String> {
        vec![self.scheme.clone()]
    }

    fn fields(&self, _: &[SecretString], _: &Circumstances<'_>) -> Result<Fields, String> {
        Err("a static key needs no request".to_owned())
    }

    fn is_shareable(&self) -> bool {
        false
    }
}
