//! The JWT bearer grant, RFC 7523 section 2.1. The assertion is read from a Secret, or a key signs a new one for each request.
//!
//! Google's service accounts use the second form; their key file contains issuer and key ID.

use crate::Reason;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::{
    Classified, Fields, Flow, GrantContext, Refused, alone,
    assertion_key::{AssertionKey, is_key_file},
};
use crate::{
    api::{self, ScopePlace, SecretKeyRef, SigningAlgorithm},
    credential::{FieldError, Subject},
    oauth::{
        Class, RequiredInput,
        assertion::{self, BACKDATED, Header, LIFETIME},
        hop,
    },
};

/// The assertion.
#[derive(Clone, Debug, PartialEq)]
pub enum JwtBearer {
    /// Stored in a Secret.
    Ready(SecretKeyRef),
    /// Signed for each request.
    Signed(Box<Signed>),
}

/// The claims and the key of a signed assertion.
#[derive(Clone, Debug, PartialEq)]
pub struct Signed {
    key: SecretKeyRef,
    issuer: Option<String>,
    subject: Option<String>,
    audience: Option<String>,
    key_id: Option<String>,
    algorithm: Option<SigningAlgorithm>,
    scopes_in: Option<ScopePlace>,
    claims: Vec<(String, String)>,
}

impl JwtBearer {
    pub(super) fn parse(spec: &api::JwtBearer) -> Result<Self, Vec<FieldError>> {
        match (&spec.assertion_ref, &spec.signed) {
            (Some(reference), None) => Ok(Self::Ready(reference.clone())),
            (None, Some(s)) => {
                let taken = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope"];
                if let Some(name) = s.claims.keys().find(|k| taken.contains(&k.as_str())) {
                    return Err(vec![FieldError::new(
                        "spec.grant.jwtBearer.signed.claims",
                        format!("may not carry \"{name}\"; apicred sets it"),
                    )]);
                }
                Ok(Self::Signed(Box::new(Signed {
                    key: s.key_ref.clone(),
                    issuer: s.issuer.clone(),
                    subject: s.subject.clone(),
                    audience: s.audience.clone(),
                    key_id: s.key_id.clone(),
                    algorithm: s.algorithm,
                    scopes_in: s.scopes_in,
                    claims: s.claims.clone().into_iter().collect(),
                })))
            }
            _ => Err(vec![FieldError::new(
                "spec.grant.jwtBearer",
                "set exactly one of assertionRef and signed",
            )]),
        }
    }
}

impl Signed {
    fn scopes_claimed(&self, is_key_file: bool) -> bool {
        match self.scopes_in {
            Some(place) => place == ScopePlace::Claim,
            None => is_key_file,
        }
    }

    fn sign(
        &self,
        grant_input: &SecretString,
        around: &GrantContext<'_>,
    ) -> Result<String, String> {
        let of = |problem: String| {
            let reference = &self.key;
            format!(
                "key {} of Secret {} {problem}",
                reference.key, reference.name
            )
        };
        let text = grant_input.expose_secret();
        let source = AssertionKey::read(text, self.issuer.is_some()).map_err(of)?;
        let key = &source.key;
        let algorithm = key
            .algorithm(self.algorithm.or(source.algorithm), SigningAlgorithm::RS256)
            .map_err(|problem| of(problem.to_owned()))?;
        let issuer = self.issuer.as_deref().or(source.issuer.as_deref());
        let issuer = issuer.ok_or_else(|| {
            let form = source.form;
            of(format!(
                "is a {form} without an issuer: set grant.jwtBearer.signed.issuer"
            ))
        })?;
        let mut claims = Map::new();
        for (name, value) in &self.claims {
            claims.insert(name.clone(), json!(value));
        }
        claims.insert("iss".to_owned(), json!(issuer));
        // RFC 7523 section 3 requires a subject. Google accepts one only for delegation.
        let is_file = source.is_key_file();
        let subject = self.subject.as_deref().or((!is_file).then_some(issuer));
        if let Some(subject) = subject {
            claims.insert("sub".to_owned(), json!(subject));
        }
        let audience = self
            .audience
            .as_deref()
            .unwrap_or(around.endpoint.url.as_str());
        claims.insert("aud".to_owned(), json!(audience));
        let now = around.now.as_second();
        claims.insert("iat".to_owned(), json!(now - BACKDATED));
        claims.insert("exp".to_owned(), json!(now + LIFETIME));
        // The client's own assertion in the same request uses the id without the suffix, and an id must be unique (RFC 7519 section 4.1.7).
        let id = format!("{}-grant", around.assertion_id);
        claims.insert("jti".to_owned(), json!(id));
        let first = hop::first_scope(around.credential).map(str::to_owned);
        let scope = first.unwrap_or_else(|| around.credential.request.scopes.join(" "));
        if self.scopes_claimed(is_file) && !scope.is_empty() {
            claims.insert("scope".to_owned(), json!(scope));
        }
        let header = Header {
            key_id: self.key_id.clone().or_else(|| source.key_id.clone()),
            ..Header::default()
        };
        assertion::sign(key, algorithm, &header, &Value::Object(claims))
            .map_err(|problem| of(problem.to_owned()))
    }
}

impl Flow for JwtBearer {
    fn grant_type(&self) -> &'static str {
        "urn:ietf:params:oauth:grant-type:jwt-bearer"
    }

    fn needs(&self) -> Vec<RequiredInput> {
        vec![match self {
            Self::Ready(reference) => RequiredInput::Line(reference.clone()),
            Self::Signed(signed) => RequiredInput::File(signed.key.clone()),
        }]
    }

    fn fingerprint_parts(&self) -> Vec<String> {
        match self {
            Self::Ready(_) => vec!["ready".to_owned()],
            Self::Signed(s) => {
                let mut inputs = vec!["signed".to_owned()];
                inputs.extend(
                    [&s.issuer, &s.subject, &s.audience].map(|w| w.clone().unwrap_or_default()),
                );
                inputs.extend(s.claims.iter().flat_map(|(k, v)| [k.clone(), v.clone()]));
                // Claims are pairs, so a single text is none of them.
                inputs.extend(s.scopes_in.map(|place| format!("scopes in {place:?}")));
                inputs
            }
        }
    }

    fn fields(
        &self,
        grant_inputs: &[SecretString],
        around: &GrantContext<'_>,
    ) -> Result<Fields, String> {
        let grant_input = grant_inputs.first().ok_or("there is no assertion")?;
        let assertion = match self {
            Self::Ready(reference) => alone(grant_input, reference)?,
            Self::Signed(signed) => SecretString::from(signed.sign(grant_input, around)?),
        };
        Ok(vec![("assertion", assertion)])
    }

    fn subjects(&self) -> Vec<Subject> {
        match self {
            Self::Ready(_) => Vec::new(),
            Self::Signed(s) => s.subject.iter().cloned().map(Subject::Name).collect(),
        }
    }

    fn inputs(&self) -> Vec<(&'static str, String)> {
        let Self::Signed(s) = self else {
            return Vec::new();
        };
        [("iss", &s.issuer), ("aud", &s.audience)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)))
            .collect()
    }

    fn scopes_in_form(&self, grant_inputs: &[SecretString]) -> bool {
        let Self::Signed(signed) = self else {
            return true;
        };
        let is_file = grant_inputs
            .first()
            .is_some_and(|s| is_key_file(s.expose_secret()));
        !signed.scopes_claimed(is_file)
    }

    /// RFC 7523 section 3.1: `invalid_grant`. Google's text shows which of its causes it is.
    fn refused(&self, refused: &Refused<'_>) -> Option<Classified> {
        // An assertion from a Secret does not change between requests.
        let spent = matches!(self, Self::Ready(_))
            && refused.is(&["jti_known", "jti_already_used", "assertion_replayed"]);
        let doubtful = refused.is(&["invalid_request"])
            && refused.mentions(&["assertion", "jwt", "signature", "\"sub\"", "\"iss\""]);
        if !refused.is(&["invalid_grant", "invalid_assertion", "invalid_token"])
            && !doubtful
            && !spent
        {
            return None;
        }
        let (reference, signed) = match self {
            Self::Ready(r) => (r, false),
            Self::Signed(s) => (&s.key, true),
        };
        let place = format!("key {} of Secret {}", reference.key, reference.name);
        let times = [
            "short-lived",
            "timeframe",
            "expired",
            "not yet valid",
            "not active",
            "future",
            "clock",
        ];
        if signed && refused.mentions(&times) {
            return Some(Classified {
                class: Class::Transient,
                reason: Reason::AssertionTimeRefused,
                next_step: "the assertion was outside of the time that the issuer accepts; check the clocks (apicred makes a new one for each attempt)".to_owned(),
                until_change: false,
            });
        }
        let next_step = if refused.mentions(&[
            "account not found",
            "invalid email",
            "user not found",
            "unknown user",
            "user id",
        ]) {
            "the issuer does not know the account that the assertion names: the service account was deleted, or the subject is not one of its users".to_owned()
        } else if signed {
            format!(
                "the issuer does not accept what {place} signed: check that the key is registered, grant.jwtBearer.signed (issuer, subject, audience), and the clock"
            )
        } else {
            format!("the issuer does not accept the assertion under {place}; put a fresh one there")
        };
        Some(Classified {
            class: Class::Denied,
            reason: Reason::AssertionRefused,
            next_step,
            until_change: false,
        })
    }
}
