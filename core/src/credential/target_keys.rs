//! Which labels, annotations and names a target Secret may have.
//!
//! Tools select Secrets by their labels, annotations and names: a label can forge a Helm release, and an annotation can copy a Secret into
//! other namespaces. No list of tools is complete. So everything is refused, except labels that control no tool and keys that an administrator
//! allows.

use std::str::FromStr;

use super::{Credential, binding::Denial};
use crate::api::names;

/// Labels that only describe. `instance` is not included, because Argo CD uses it to track objects, and `managed-by` is not, because apicred
/// sets it.
const DESCRIBE: [&str; 4] = [
    "app.kubernetes.io/name",
    "app.kubernetes.io/component",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/version",
];

/// Domains that are reserved for documentation (RFC 2606): no tool uses them.
const DOCUMENTATION: [&str; 4] = ["example.com", "example.org", "example.net", "example"];

/// Domains whose keys may not be set, even if an administrator lists them. The CRD has the same rule.
const NEVER: [&str; 5] = [
    "kubernetes.io",
    "k8s.io",
    "apicred.dev",
    "argoproj.io",
    "fluxcd.io",
];

/// Names that tools give their own Secrets. The CRD has the same rule.
const NAMES_OF_TOOLS: [&str; 3] = ["sh.helm.release.", "bootstrap-token-", "sealed-secrets-key"];

/// A key that an administrator allows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyPattern(String);

impl FromStr for KeyPattern {
    type Err = String;

    /// `KEY`, or `PREFIX/*` for all keys of a prefix.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let stem = text.strip_suffix("/*").unwrap_or(text);
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        let fits = !stem.is_empty()
            && stem.len() <= 317
            && stem.chars().all(plain)
            && stem.matches('/').count() <= usize::from(stem.len() == text.len());
        if !fits {
            return Err(format!(
                "\"{text}\" is not a label key; write it as team, example.com/team or example.com/*"
            ));
        }
        if is_never(text) {
            return Err(format!(
                "\"{text}\" cannot be allowed: keys of {} belong to their owners",
                NEVER.join(", ")
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl KeyPattern {
    fn allows(&self, key: &str) -> bool {
        match self.0.strip_suffix("/*") {
            Some(prefix) => key
                .split_once('/')
                .is_some_and(|(given, name)| given == prefix && !name.is_empty()),
            None => self.0 == key,
        }
    }
}

/// Whether the prefix of a key is this domain or below it.
fn is_of(key: &str, domain: &str) -> bool {
    key.split_once('/').is_some_and(|(prefix, _)| {
        prefix == domain
            || prefix
                .strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with('.'))
    })
}

fn is_never(key: &str) -> bool {
    NEVER.iter().any(|domain| is_of(key, domain))
}

/// Returns true if this key may not be set on a target. Labels that only describe are an exception.
pub(super) fn is_reserved(key: &str, label: bool) -> bool {
    is_never(key) && !(label && DESCRIBE.contains(&key))
}

/// Whether it is a name that a tool gives its own Secrets.
pub(super) fn is_name_of_tool(name: &str) -> bool {
    NAMES_OF_TOOLS.iter().any(|n| name.starts_with(n))
}

/// Checks whether the target of `credential` may have its labels and annotations. `allowed` is the administrator's list.
///
/// # Errors
/// The first key that is not allowed.
pub fn may_have_metadata(allowed: &[KeyPattern], credential: &Credential) -> Result<(), Denial> {
    let target = &credential.target;
    let is_allowed = |key: &str, label: bool| {
        !is_reserved(key, label)
            && (label && DESCRIBE.contains(&key)
                // apicred sets it by default, and a user may set the other value.
                || !label && key == names::RELOADER_IGNORE
                || DOCUMENTATION.iter().any(|domain| is_of(key, domain))
                || allowed.iter().any(|pattern| pattern.allows(key)))
    };
    let labels = target.labels.keys().map(|k| (k, "label", true));
    let annotations = target.annotations.keys().map(|k| (k, "annotation", false));
    match labels
        .chain(annotations)
        .find(|(key, _, label)| !is_allowed(key, *label))
    {
        None => Ok(()),
        Some((key, what, _)) => Err(Denial::TargetKey(format!(
            "the target may not have the {what} {key:?}: tools act on labels and annotations of Secrets; use app.kubernetes.io/name, component, part-of or version, or ask an administrator to add the key to the chart value targetMetadata.allow"
        ))),
    }
}
