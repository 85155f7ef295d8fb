//! Label selectors: which ones Kubernetes accepts, and what a selector selects.
//!
//! Source: `LabelSelector` in the reference of the Kubernetes API, and "Labels and Selectors" in its documentation. The API server checks
//! selectors only in its own kinds, so apicred rejects here the selectors that the API server would reject.

use std::collections::BTreeMap;

use super::FieldError;
use crate::api::{LabelCondition, LabelOperator};

/// A selector: all labels and all conditions. An empty one selects everything.
#[derive(Clone, Copy)]
pub(super) struct LabelSelector<'a> {
    pub(super) labels: &'a BTreeMap<String, String>,
    pub(super) conditions: &'a [LabelCondition],
}

impl LabelSelector<'_> {
    /// Checks a selector of these objects.
    ///
    /// # Errors
    /// The first invalid part, by its path below `field`.
    pub(super) fn check(self, field: &str, objects: &str) -> Result<(), FieldError> {
        let no_label = format!(
            "has something that is not a label; write keys and values as they are on the {objects}"
        );
        let mut labels = self.labels.iter();
        if labels.any(|(key, value)| !is_key(key) || !is_value(value)) {
            return Err(FieldError::new(format!("{field}.matchLabels"), no_label));
        }
        for (i, condition) in self.conditions.iter().enumerate() {
            let field = |part: &str| format!("{field}.matchExpressions[{i}].{part}");
            if !is_key(&condition.key) {
                return Err(FieldError::new(field("key"), no_label));
            }
            if !condition.values.iter().all(|value| is_value(value)) {
                return Err(FieldError::new(field("values"), no_label));
            }
            let listed = matches!(condition.operator, LabelOperator::In | LabelOperator::NotIn);
            if listed == condition.values.is_empty() {
                return Err(FieldError::new(
                    field("values"),
                    "does not fit the operator; In and NotIn need values, Exists and DoesNotExist have none",
                ));
            }
        }
        Ok(())
    }

    /// Whether it selects an object with these labels. An invalid selector selects nothing.
    pub(super) fn selects(self, labels: &BTreeMap<String, String>) -> bool {
        let equal = self.labels.iter().all(|(k, v)| labels.get(k) == Some(v));
        let fits = self.conditions.iter().all(|condition| {
            let value = labels.get(&condition.key);
            let listed = value.is_some_and(|value| condition.values.contains(value));
            match condition.operator {
                LabelOperator::In => listed,
                LabelOperator::NotIn => !listed,
                LabelOperator::Exists => value.is_some(),
                LabelOperator::DoesNotExist => value.is_none(),
            }
        });
        equal && fits && self.check("", "").is_ok()
    }
}

/// A label's key: a name, with a DNS name before a slash if there is one.
pub(super) fn is_key(key: &str) -> bool {
    let name = |name: &str| !name.is_empty() && is_value(name);
    match key.split_once('/') {
        None => name(key),
        Some((prefix, rest)) => prefix.len() <= 253 && prefix.split('.').all(is_part) && name(rest),
    }
}

/// The name of a namespace, and a part of a DNS name: letters in lower case, digits and `-`, with a letter or digit at both ends.
pub(super) fn is_part(part: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !part.is_empty() && part.chars().all(inner) && !part.starts_with('-') && !part.ends_with('-')
}

/// A label's value: empty, or up to 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends.
pub(super) fn is_value(value: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let edge = |c: char| c.is_ascii_alphanumeric();
    value.len() <= 63
        && value.chars().all(inner)
        && (value.is_empty() || value.starts_with(edge) && value.ends_with(edge))
}
