//! The token exchange grant, RFC 8693.

use crate::Reason;
use secrecy::SecretString;

use super::{Classified, Fields, Flow, GrantContext, Refused};
use crate::{
    api::{self, TokenSource},
    credential::{AccountToken, FieldError, Subject},
    oauth::{Class, RequiredInput},
};

/// Token types of RFC 8693 section 3.
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The tokens of an exchange, and the type of the requested one.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    subject: Party,
    actor: Option<Party>,
    requested: Option<String>,
}

/// A token and its type.
#[derive(Clone, Debug, PartialEq)]
struct Party {
    need: RequiredInput,
    token_type: String,
}

impl Party {
    fn parse(spec: &TokenSource, field: &str) -> Result<Self, FieldError> {
        let (need, usual) = match (&spec.secret_ref, &spec.service_account) {
            (Some(reference), None) => (RequiredInput::Line(reference.clone()), ACCESS_TOKEN),
            (None, Some(account)) => (RequiredInput::Account(AccountToken::from(account)), JWT),
            _ => {
                return Err(FieldError::new(
                    field,
                    "name exactly one of secretRef and serviceAccount",
                ));
            }
        };
        Ok(Self {
            need,
            token_type: spec.token_type.clone().unwrap_or_else(|| usual.to_owned()),
        })
    }

    fn fingerprint_parts(&self) -> [String; 2] {
        let from = match &self.need {
            RequiredInput::Account(a) => format!(
                "account {} {}",
                a.name,
                a.audience.as_deref().unwrap_or_default()
            ),
            _ => "secret".to_owned(),
        };
        [from, self.token_type.clone()]
    }
}

impl Exchange {
    pub(super) fn parse(spec: &api::TokenExchange) -> Result<Self, Vec<FieldError>> {
        let subject = Party::parse(&spec.subject, "spec.grant.tokenExchange.subject");
        let actor = spec
            .actor
            .as_ref()
            .map(|a| Party::parse(a, "spec.grant.tokenExchange.actor"))
            .transpose();
        // It would be published where workloads mount it, and is valid longer than every access token.
        if spec
            .requested_token_type
            .as_ref()
            .is_some_and(|r| r.to_ascii_lowercase().contains("refresh"))
        {
            return Err(vec![FieldError::new(
                "spec.grant.tokenExchange.requestedTokenType",
                "must not be a refresh token: the target Secret is mounted into workloads; request an access token",
            )]);
        }
        match (subject, actor) {
            (Ok(subject), Ok(actor)) => Ok(Self {
                subject,
                actor,
                requested: spec.requested_token_type.clone(),
            }),
            (subject, actor) => Err(subject.err().into_iter().chain(actor.err()).collect()),
        }
    }

    fn parties(&self) -> impl Iterator<Item = &Party> {
        std::iter::once(&self.subject).chain(&self.actor)
    }
}

impl Flow for Exchange {
    fn grant_type(&self) -> &'static str {
        "urn:ietf:params:oauth:grant-type:token-exchange"
    }

    fn needs(&self) -> Vec<RequiredInput> {
        self.parties().map(|p| p.need.clone()).collect()
    }

    fn fingerprint_parts(&self) -> Vec<String> {
        self.parties()
            .flat_map(Party::fingerprint_parts)
            .chain(self.requested.clone())
            .collect()
    }

    fn fields(
        &self,
        grant_inputs: &[SecretString],
        _: &GrantContext<'_>,
    ) -> Result<Fields, String> {
        let names = [
            ("subject_token", "subject_token_type"),
            ("actor_token", "actor_token_type"),
        ];
        let mut fields = Fields::new();
        for ((party, token), (name, kind)) in self.parties().zip(grant_inputs).zip(names) {
            fields.push((name, token.clone()));
            fields.push((kind, SecretString::from(party.token_type.as_str())));
        }
        if let Some(requested) = &self.requested {
            fields.push((
                "requested_token_type",
                SecretString::from(requested.as_str()),
            ));
        }
        Ok(fields)
    }

    fn subjects(&self) -> Vec<Subject> {
        let account = |p: &Party| match &p.need {
            RequiredInput::Account(a) => Some(Subject::Account(a.name.clone())),
            _ => None,
        };
        self.parties().filter_map(account).collect()
    }

    fn inputs(&self) -> Vec<(&'static str, String)> {
        let requested = self.requested.iter().cloned();
        requested.map(|r| ("requested_token_type", r)).collect()
    }

    /// RFC 8693 section 2.2.2: a token that is not accepted is an `invalid_request`. Servers also send `invalid_grant` or
    /// `invalid_token`.
    fn refused(&self, refused: &Refused<'_>) -> Option<Classified> {
        // Spring, for a token type that it does not exchange.
        if refused.is(&["unsupported_token_type"]) {
            return Some(Classified {
                class: Class::Invalid,
                reason: Reason::SubjectTokenRefused,
                next_step: "the issuer does not exchange a token of this type: correct tokenType of the subject (or actor), or requestedTokenType".to_owned(),
                until_change: false,
            });
        }
        // Google's STS. It receives no client authentication: the token is the credential.
        if refused.is(&["unauthorized_client"]) && refused.mentions(&["attribute condition"]) {
            return Some(Classified {
                class: Class::Denied,
                reason: Reason::SubjectTokenRefused,
                next_step: "the attribute condition of the workload identity pool provider does not admit the subject token: compare the condition with the claims of the token".to_owned(),
                until_change: false,
            });
        }
        let of_token = (refused.is(&["unauthorized_client"]) && refused.mentions(&["given credential"]))
            || refused.is(&["invalid_grant", "invalid_token", "invalid_subject_token"])
            // Keycloak, for a token whose audience does not include the client.
            || (refused.is(&["access_denied"]) && refused.mentions(&["token audience"]));
        // The same code has other meanings. The text, if there is one, distinguishes them.
        let other = refused.mentions(&[
            "scope",
            "audience",
            "resource",
            "parameter",
            "missing",
            "requested_token_type",
            "client",
        ]);
        let about = refused.mentions(&["subject", "actor", "invalid token", "token is"]);
        let doubtful = refused.is(&["invalid_request"]) && (about || !other);
        (of_token || doubtful).then(|| Classified {
            class: Class::Denied,
            reason: Reason::SubjectTokenRefused,
            next_step: format!(
                "the issuer does not accept the subject (or actor) token: check that it trusts its issuer, its audience and its age{}",
                if doubtful { ", and that the request has all required parameters" } else { "" }
            ),
            until_change: false,
        })
    }
}
