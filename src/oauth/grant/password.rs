//! The resource owner password credentials grant, RFC 6749 section 4.3. A refused password is never tried again by
//! a timer: a few tries lock the user out (facts, section 1.10).

use secrecy::SecretString;

use super::{Circumstances, Fields, Flow, Verdict};
use crate::{
    api::{self, SecretKeyRef},
    credential::Subject,
    oauth::{Class, Need},
};

/// A user and where his password is.
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

    fn needs(&self) -> Vec<Need> {
        vec![Need::Word(self.password.clone())]
    }

    fn words(&self) -> Vec<String> {
        vec![self.username.clone()]
    }

    fn fields(&self, supplies: &[SecretString], _: &Circumstances<'_>) -> Result<Fields, String> {
        let password = supplies.first().ok_or("there is no password")?;
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

    fn refused(&self, error: &str, _: &str) -> Option<Verdict> {
        matches!(error, "invalid_grant" | "access_denied").then(|| Verdict {
            class: Class::Denied,
            reason: "PasswordRefused",
            next_step: format!(
                "the user name or password is wrong or locked; correct key {} of Secret {}; apicred does not try the refused one again, since that locks the user out",
                self.password.key, self.password.name
            ),
            until_change: true,
        })
    }
}
