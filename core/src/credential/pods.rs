//! Parses `spec.target.notifyPods` into a label selector as the API server reads it.

use super::FieldError;
use crate::api::NotifyPods;

/// The text of the selector. `None` if no pod is notified.
pub(super) fn selector(pods: Option<&NotifyPods>) -> Result<Option<String>, FieldError> {
    let Some(NotifyPods { selector }) = pods else {
        return Ok(None);
    };
    let labels = &selector.match_labels;
    let problem = if labels.is_empty() {
        "has no label; set labels of the pods that mount the Secret"
    } else if labels
        .iter()
        .any(|(key, value)| !is_key(key) || !is_value(value))
    {
        "has something that is not a label; write keys and values as they are on the pods"
    } else {
        let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        return Ok(Some(labels.join(",")));
    };
    let field = "spec.target.notifyPods.selector.matchLabels";
    Err(FieldError::new(field, problem))
}

/// A label's key: a name, with a DNS prefix before a slash if there is one.
fn is_key(key: &str) -> bool {
    let dns = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    match key.split_once('/') {
        None => !key.is_empty() && is_value(key),
        Some((prefix, name)) => {
            (1..=253).contains(&prefix.len())
                && prefix.chars().all(dns)
                && !name.is_empty()
                && is_value(name)
        }
    }
}

/// A label's value: empty, or up to 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends.
fn is_value(value: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let edge = |c: char| c.is_ascii_alphanumeric();
    value.len() <= 63
        && value.chars().all(inner)
        && (value.is_empty() || value.starts_with(edge) && value.ends_with(edge))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(labels: &Value) -> Result<Option<String>, FieldError> {
        let pods = json!({ "selector": { "matchLabels": labels } });
        selector(Some(&serde_json::from_value(pods).unwrap()))
    }

    #[test]
    fn a_selector_is_written_as_the_api_server_reads_it() {
        for (labels, text) in [
            (json!({ "app": "a" }), "app=a"),
            (
                json!({ "app.kubernetes.io/name": "a_b.c-1", "empty": "" }),
                "app.kubernetes.io/name=a_b.c-1,empty=",
            ),
        ] {
            assert_eq!(read(&labels).unwrap().as_deref(), Some(text), "{labels}");
        }
        assert_eq!(selector(None).unwrap(), None);
    }

    #[test]
    fn a_selector_that_selects_everything_or_is_none_is_reported() {
        for labels in [
            json!({}),
            json!({ "app": "a,b!=c" }),
            json!({ "app": "a)" }),
            json!({ "": "a" }),
            json!({ "a b": "a" }),
            json!({ "!app": "" }),
            json!({ "App.Example/": "a" }),
            json!({ "/app": "a" }),
            json!({ "app": "-a" }),
            json!({ "app": "a".repeat(64) }),
            json!({ "app": "a", "b": "b=" }),
        ] {
            let error = read(&labels).expect_err(&labels.to_string());
            assert!(
                error
                    .to_string()
                    .contains("notifyPods.selector.matchLabels"),
                "{error}"
            );
        }
    }
}
