//! Explains why the API server rejected a write, for users who may read the credential.
//!
//! The message of the API server names the admission policy, webhook, quota or field. It may also repeat the request or the stored data. So the
//! token in any encoding, and every text that looks like a token, is removed before the message is evaluated.

use std::fmt::Write;

use kube::core::Status;
use secrecy::SecretString;

use crate::{
    oauth::redaction::{CUT, Net},
    printable::{bounded, head},
};

/// Maximum number of bytes of a message that are read.
const READ: usize = 4096;
/// Maximum number of characters of another program's message that are shown.
const SHOWN: usize = 300;
/// Words of at least this length are checked for looking like a token or base64.
const TOKEN: usize = 20;
/// An answer of the API server that is not a success.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// HTTP status.
    pub code: u16,
    /// `message` of the `Status` object.
    pub message: &'a str,
    /// `field` and `message` of `details.causes`.
    pub causes: &'a [(String, String)],
}

/// Who rejects a write.
#[derive(Clone, Debug, Eq, PartialEq)]
enum By {
    /// A `ValidatingAdmissionPolicy`, by name.
    Policy(String),
    /// An admission webhook, by name.
    Webhook(String),
    /// A webhook that does not answer.
    WebhookDown(String),
    /// A `ResourceQuota`, by name.
    Quota(String),
    /// RBAC, with the verb that it does not allow.
    Rights(String),
    /// RBAC, via an owner reference.
    OwnerReference,
    /// The Secret is immutable.
    Immutable,
    /// The Secret has another type.
    Type,
    /// A field, by path.
    Field(String),
    /// Unknown.
    Server,
}

/// The message of the API server, without data, bounded and printable.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ServerMessage(Option<(u16, By, String)>);

impl ServerMessage {
    /// Reads the status in the answer of the API server. `token`: the token that was sent.
    pub fn of(status: &Status, token: Option<&SecretString>) -> Self {
        let causes = status.details.iter().flat_map(|d| &d.causes);
        let causes: Vec<(String, String)> = causes
            .map(|c| (c.field.clone(), c.message.clone()))
            .collect();
        let answer = Answer {
            code: status.code,
            message: &status.message,
            causes: &causes,
        };
        Self::read(answer, token)
    }

    /// Reads an answer. `token`: the token that was sent.
    pub fn read(answer: Answer<'_>, token: Option<&SecretString>) -> Self {
        let net = Net::of(token, &[]);
        // Whole words first: the rest of a word that was cut may not look like data any more.
        let clean = |text: &str| net.cut(&without_data(head(text, READ)));
        let message = clean(answer.message);
        let between = |text: &str, start: &str, end: char| {
            let (_, rest) = text.split_once(start)?;
            let (name, rest) = rest.split_once(end)?;
            Some((bounded(name, 253), rest.to_owned()))
        };
        let after = |text: &str, mark: &str| {
            let found = text.split_once(mark).map(|(_, rest)| rest);
            bounded(found.unwrap_or(text).trim_matches([' ', ':']), SHOWN)
        };
        let (by, words) = if let Some((name, rest)) = between(&message, "AdmissionPolicy '", '\'') {
            (By::Policy(name), after(&rest, "denied request: "))
        } else if let Some((name, rest)) = between(&message, "failed calling webhook \"", '"') {
            (
                By::WebhookDown(name),
                bounded(rest.trim_matches([' ', ':']), SHOWN),
            )
        } else if let Some((name, rest)) = between(&message, "admission webhook \"", '"') {
            (By::Webhook(name), after(&rest, "denied the request"))
        } else if let Some((name, rest)) = between(&message, "exceeded quota: ", ',') {
            (By::Quota(name), bounded(rest.trim(), SHOWN))
        } else if message.contains("blockOwnerDeletion") || message.contains("set an ownerRef") {
            (By::OwnerReference, bounded(&message, SHOWN))
        } else if let Some((verb, _)) = between(&message, "cannot ", ' ')
            && answer.code == 403
        {
            (By::Rights(verb), bounded(&message, SHOWN))
        } else if let Some((field, cause)) =
            answer.causes.iter().find(|(field, _)| !field.is_empty())
        {
            let (field, cause) = (bounded(&clean(field), 253), bounded(&clean(cause), SHOWN));
            let by = match field.as_str() {
                _ if cause.contains("immutable` is set") => By::Immutable,
                "type" => By::Type,
                _ => By::Field(field),
            };
            (by, cause)
        } else {
            (By::Server, bounded(&message, SHOWN))
        };
        Self(Some((answer.code, by, words)))
    }

    /// The sentence about a write of Secret `name`: who rejects it, the message, and one next step. `types`: the type of the Secret, if known,
    /// and the wanted type. `None`: there was no answer.
    pub fn sentence(&self, name: &str, types: (Option<&str>, &str)) -> Option<String> {
        let (code, by, words) = self.0.as_ref()?;
        let quoted = if words.is_empty() {
            String::new()
        } else {
            format!(": \"{words}\"")
        };
        Some(match by {
            By::Policy(policy) => format!(
                "the admission policy {policy} denies the write of Secret {name}{quoted}; change what it names in spec.target, or ask the owner of the policy to allow it"
            ),
            By::Webhook(hook) => format!(
                "the admission webhook {hook} denies the write of Secret {name}{quoted}; change what it names in spec.target, or ask the owner of the webhook to allow it"
            ),
            By::WebhookDown(hook) => format!(
                "the API server cannot write Secret {name}, because the admission webhook {hook} does not answer{quoted}; its owner must repair it; apicred tries again"
            ),
            By::Quota(quota) => format!(
                "the quota {quota} of the namespace leaves no room for Secret {name} ({words}); raise it or delete a Secret"
            ),
            By::Rights(verb) => format!(
                "apicred may not {verb} Secret {name}; give its role create and patch on secrets in this namespace"
            ),
            By::OwnerReference => format!(
                "apicred may not set the owner reference of Secret {name}{quoted}; give its role delete on this Secret"
            ),
            By::Immutable => format!(
                "Secret {name} is immutable (immutable: true); delete it, and apicred creates it again"
            ),
            By::Type => return Some(other_type(name, types)),
            By::Field(field) => format!(
                "the API server rejects {field} of Secret {name}{quoted}; correct spec.target"
            ),
            By::Server => format!(
                "the API server rejects the write of Secret {name} with HTTP {code}{quoted}; change what it names, or ask an administrator of the cluster"
            ),
        })
    }

    /// Who rejects a request, without any text of the answer: for a Secret whose content is not known here.
    pub fn rejected_by(&self) -> Option<String> {
        let (code, by, _) = self.0.as_ref()?;
        Some(match by {
            By::Policy(policy) => format!("the admission policy {policy} denies it"),
            By::Webhook(hook) => format!("the admission webhook {hook} denies it"),
            By::WebhookDown(hook) => format!("the admission webhook {hook} does not answer"),
            By::Quota(quota) => format!("the quota {quota} leaves no room"),
            By::Rights(verb) => format!("the operator's role does not allow {verb}"),
            By::Immutable => "it is immutable".to_owned(),
            By::OwnerReference | By::Type | By::Field(_) | By::Server => {
                format!("the API server answers HTTP {code}")
            }
        })
    }

    /// The same with the quoted text in brackets.
    pub fn fault(&self) -> Option<String> {
        let (_, _, words) = self.0.as_ref()?;
        let mut text = self.rejected_by()?;
        if !words.is_empty() {
            let _ = write!(text, ": \"{words}\"");
        }
        Some(text)
    }

    /// The right that RBAC does not grant, such as `patch on secrets`.
    pub fn missing_right(&self) -> Option<String> {
        let Some((_, By::Rights(verb), words)) = &self.0 else {
            return None;
        };
        let (_, named) = words.split_once("resource \"")?;
        let (resource, _) = named.split_once('"')?;
        Some(format!("{verb} on {resource}"))
    }

    /// True for RBAC, false for other rules.
    pub fn is_rights(&self) -> bool {
        matches!(self.0, Some((_, By::Rights(_), _)))
    }

    /// Whether it is a webhook that does not answer.
    pub fn is_webhook_down(&self) -> bool {
        matches!(self.0, Some((_, By::WebhookDown(_), _)))
    }
}

/// The sentence about a Secret of another type.
pub fn other_type(name: &str, (has, wanted): (Option<&str>, &str)) -> String {
    let has = has.map_or_else(
        || "another type".to_owned(),
        |has| format!("the type {has}"),
    );
    format!(
        "Secret {name} has {has} and spec.target.type is {wanted}, but the type of a Secret cannot change; delete the Secret, and apicred creates it again"
    )
}

/// Whether no word of a text looks like a token or like base64.
pub(crate) fn has_no_data(text: &str) -> bool {
    without_data(head(text, READ)) == text
}

/// The text without words that look like data: the earlier content of the Secret is not known here.
fn without_data(text: &str) -> String {
    let part = |c: char| c.is_ascii_alphanumeric() || "+/=_-".contains(c);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (word, next) = rest.split_at(rest.find(|c| !part(c)).unwrap_or(rest.len()));
        let looks = looks_like_data(word.as_bytes());
        out.push_str(if looks { CUT } else { word });
        let between = next.find(part).unwrap_or(next.len());
        out.push_str(&next[..between]);
        rest = &next[between..];
    }
    out
}

/// Whether a word looks like a token or like base64. Names of Kubernetes have no upper case letters, names in camel case have few.
fn looks_like_data(word: &[u8]) -> bool {
    let count = |is: fn(&u8) -> bool| word.iter().filter(|b| is(b)).count();
    let (upper, lower) = (count(u8::is_ascii_uppercase), count(u8::is_ascii_lowercase));
    let digits = count(u8::is_ascii_digit);
    let mixed = upper * 5 >= upper + lower && (lower * 5 >= upper + lower || digits >= 3);
    let one_case = digits >= 4 && !word.iter().any(|b| b"-/".contains(b));
    word.len() >= TOKEN && (upper > 0 && mixed || one_case)
}
