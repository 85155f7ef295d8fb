//! The refresh token grant, RFC 6749 section 6. What makes it safe against crashes is in [`crate::oauth::renewal`].

use secrecy::SecretString;

use super::{Circumstances, Fields, Flow, Verdict};
use crate::{
    api::{self, SecretKeyRef},
    oauth::{Class, Need},
};

/// Where the refresh token lives.
#[derive(Clone, Debug, PartialEq)]
pub struct RefreshToken {
    /// Key of the state Secret.
    pub state: SecretKeyRef,
}

impl RefreshToken {
    pub(super) fn new(spec: &api::RefreshToken) -> Self {
        Self {
            state: spec.secret_ref.clone(),
        }
    }
}

impl Flow for RefreshToken {
    fn grant_type(&self) -> &'static str {
        "refresh_token"
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::Word(self.state.clone())]
    }

    fn words(&self) -> Vec<String> {
        Vec::new()
    }

    fn fields(&self, supplies: &[SecretString], _: &Circumstances<'_>) -> Result<Fields, String> {
        let token = supplies.first().ok_or("there is no refresh token")?;
        Ok(vec![("refresh_token", token.clone())])
    }

    fn for_user(&self) -> bool {
        true
    }

    /// One refresher, ever: an issuer cannot tell a second one from a thief.
    fn is_shareable(&self) -> bool {
        false
    }

    /// Real servers call a dead refresh token `invalid_grant`, and some `invalid_request` (facts, section 5.4).
    fn refused(&self, error: &str, credential: &str) -> Option<Verdict> {
        let dead = matches!(
            error,
            "invalid_grant" | "login_required" | "interaction_required" | "consent_required"
        );
        // Told apart from a request that misses a parameter by nobody; so it is asked for slowly, and not marked as
        // dead.
        let doubtful = error == "invalid_request";
        let next_step = if doubtful {
            format!(
                "check scopes, resource and parameters; else {}",
                sign_in(credential)
            )
        } else {
            sign_in(credential)
        };
        (dead || doubtful).then_some(Verdict {
            class: Class::NeedsUser,
            reason: if dead {
                "SignInRequired"
            } else {
                "RefreshRefused"
            },
            next_step,
            until_change: false,
        })
    }
}

/// The sentence that tells a person to sign in; `credential` is `namespace/name`.
pub fn sign_in(credential: &str) -> String {
    let (namespace, name) = credential.split_once('/').unwrap_or(("", credential));
    format!("the person has to sign in again: kubectl apicred login {name} --namespace {namespace}")
}
