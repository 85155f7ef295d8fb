//! Entra ID's on-behalf-of flow: a user's token for this client is exchanged for a user's token for another API.
//! Source: learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow.

use crate::Reason;
use secrecy::SecretString;

use super::{Classified, Fields, Flow, GrantContext, REQUIRES_USER, Refused, User, alone};
use crate::{
    api::{self, SecretKeyRef},
    oauth::{Class, RequiredInput},
};

/// The Secret of the user's token.
#[derive(Clone, Debug, PartialEq)]
pub struct OnBehalfOf {
    assertion: SecretKeyRef,
}

impl OnBehalfOf {
    pub(super) fn new(spec: &api::OnBehalfOf) -> Self {
        Self {
            assertion: spec.assertion_ref.clone(),
        }
    }
}

impl Flow for OnBehalfOf {
    fn grant_type(&self) -> &'static str {
        "urn:ietf:params:oauth:grant-type:jwt-bearer"
    }

    fn needs(&self) -> Vec<RequiredInput> {
        vec![RequiredInput::Line(self.assertion.clone())]
    }

    fn fingerprint_parts(&self) -> Vec<String> {
        vec!["on_behalf_of".to_owned()]
    }

    fn fields(
        &self,
        grant_inputs: &[SecretString],
        _: &GrantContext<'_>,
    ) -> Result<Fields, String> {
        let assertion = grant_inputs.first().ok_or("there is no user token")?;
        Ok(vec![
            ("requested_token_use", SecretString::from("on_behalf_of")),
            ("assertion", alone(assertion, &self.assertion)?),
        ])
    }

    fn for_user(&self) -> bool {
        true
    }

    fn user(&self) -> User {
        User::BringsToken
    }

    fn refused(&self, refused: &Refused<'_>) -> Option<Classified> {
        refused.is(&REQUIRES_USER).then(|| Classified {
            class: Class::NeedsUser,
            reason: Reason::AssertionRefused,
            next_step: format!(
                "store a new access token of the user, issued for this client, in key {} of Secret {}",
                self.assertion.key, self.assertion.name
            ),
            until_change: false,
        })
    }
}
