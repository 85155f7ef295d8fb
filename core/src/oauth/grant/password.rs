//! The resource owner password credentials grant, RFC 6749 section 4.3.
//!
//! A timer never sends a refused password again, because a few attempts lock the user out (facts, section 1.10).

use crate::Reason;
use secrecy::SecretString;

use super::{Classified, Fields, Flow, GrantContext, Refused, User};
use crate::{
    api::{self, SecretKeyRef},
    credential::Subject,
    oauth::{Class, RequiredInput},
};

/// A user and the Secret of the password.
#[derive(Clone, Debug, PartialEq)]
pub struct Password {
    username: String,
    password: SecretKeyRef,
}

impl Password {
    pub(super) fn new(spec: &api::Password) -> Self {
        Self {
            username: spec.username.clone(),
            password: spec.password_ref.clone(),
        }
    }
}

impl Flow for Password {
    fn grant_type(&self) -> &'static str {
        "password"
    }

    fn needs(&self) -> Vec<RequiredInput> {
        vec![RequiredInput::Line(self.password.clone())]
    }

    fn fingerprint_parts(&self) -> Vec<String> {
        vec![self.username.clone()]
    }

    fn fields(
        &self,
        grant_inputs: &[SecretString],
        _: &GrantContext<'_>,
    ) -> Result<Fields, String> {
        let password = grant_inputs.first().ok_or("there is no password")?;
        Ok(vec![
            ("username", SecretString::from(self.username.as_str())),
            ("password", password.clone()),
        ])
    }

    fn subjects(&self) -> Vec<Subject> {
        vec![Subject::Name(self.username.clone())]
    }

    fn for_user(&self) -> bool {
        true
    }

    fn user(&self) -> User {
        User::Password
    }

    /// RFC 6749 section 5.2 has `invalid_grant` for a wrong password. Servers also send `invalid_request` and
    /// `access_denied`.
    fn refused(&self, refused: &Refused<'_>) -> Option<Classified> {
        let wrong = refused.is(&["invalid_grant", "access_denied"])
            || (refused.is(&["invalid_credentials"])
                && refused.mentions(&["password", "username", "user name", "user credentials"]));
        let of_user = [
            "password",
            "username",
            "user name",
            "user",
            "credential",
            "account",
        ];
        let doubtful = refused.is(&["invalid_request"])
            && (refused.text.is_empty() || refused.mentions(&of_user));
        (wrong || doubtful).then(|| Classified {
            class: Class::Denied,
            reason: Reason::PasswordRefused,
            next_step: format!(
                "the user name or password is wrong or locked{}; correct key {} of Secret {}; apicred does not send the refused one again, because repeated attempts lock the user out",
                if doubtful { ", or a parameter is not accepted" } else { "" },
                self.password.key,
                self.password.name
            ),
            until_change: true,
        })
    }
}
