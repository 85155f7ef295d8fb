//! An extension grant, RFC 6749 section 4.5: only the issuer defines it. Its parameters are token request parameters
//! ([`crate::credential::RequestParameters`]), so only one place decides where their Secrets may be sent, and what an issuer allows.

use super::{Classified, Flow, Refused};
use crate::{
    Reason,
    api::{self, parameter::GRANT_TYPES},
    credential::FieldError,
    oauth::Class,
};

const FIELD: &str = "spec.grant.extension.grantType";

/// The grant's name.
#[derive(Clone, Debug, PartialEq)]
pub struct Extension {
    grant_type: String,
}

impl Extension {
    pub(super) fn parse(spec: &api::Extension) -> Result<Self, Vec<FieldError>> {
        let name = &spec.grant_type;
        let own = GRANT_TYPES
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name));
        if let Some((_, instead)) = own {
            let problem = format!("is not an extension; use {instead}");
            return Err(vec![FieldError::new(FIELD, problem)]);
        }
        if !is_name(name) && !is_absolute(name) {
            return Err(vec![FieldError::new(
                FIELD,
                "must be an absolute URI (urn:ibm:params:oauth:grant-type:apikey), or a name of letters, digits, '-', '.' and '_'",
            )]);
        }
        Ok(Self {
            grant_type: name.clone(),
        })
    }
}

/// `grant-name` of RFC 6749, appendix A.10.
fn is_name(text: &str) -> bool {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    !text.is_empty() && text.chars().all(is_of_name)
}

/// True for an absolute URI (RFC 3986 section 4.3), as far as a grant type requires it: a scheme, and printable characters
/// without quotes, backslashes and blanks. Issuers compare it character by character, so it is never normalized.
fn is_absolute(text: &str) -> bool {
    let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    text.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(is_of_scheme)
            && !rest.is_empty()
            && rest
                .chars()
                .all(|c| c.is_ascii_graphic() && c != '"' && c != '\\')
    })
}

impl Flow for Extension {
    fn grant_type(&self) -> &str {
        &self.grant_type
    }

    /// An issuer that limits parameters lists the allowed grants among them.
    fn inputs(&self) -> Vec<(&'static str, String)> {
        vec![("grant_type", self.grant_type.clone())]
    }

    /// No user signs in to such a grant: the sent values are wrong.
    fn refused(&self, refused: &Refused<'_>) -> Option<Classified> {
        refused
            .is(&[
                "invalid_grant",
                "access_denied",
                "interaction_required",
                "login_required",
                "account_selection_required",
            ])
            .then(|| Classified {
                class: Class::Denied,
                reason: Reason::GrantRefused,
                next_step: "the issuer does not accept what this grant sends: check the values of grant.extension.parameters and the Secrets that they name".to_owned(),
                until_change: false,
            })
    }
}
