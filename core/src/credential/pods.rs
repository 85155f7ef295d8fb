//! Parses `spec.target.notifyPods` into a label selector as the API server reads it.

use super::{FieldError, labels::LabelSelector};
use crate::api::{LabelCondition, LabelOperator, NotifyPods};

const FIELD: &str = "spec.target.notifyPods.selector";

/// The label selector as text, for the query `labelSelector` of the API server. `None` if `notifyPods` is not set.
pub(super) fn selector(pods: Option<&NotifyPods>) -> Result<Option<String>, FieldError> {
    let Some(NotifyPods { selector }) = pods else {
        return Ok(None);
    };
    let (labels, conditions) = (&selector.match_labels, &selector.match_expressions);
    if labels.is_empty() && conditions.is_empty() {
        return Err(FieldError::new(
            format!("{FIELD}.matchLabels"),
            "has no label; set labels of the pods that mount the Secret",
        ));
    }
    LabelSelector { labels, conditions }.check(FIELD, "pods")?;
    let labels = labels.iter().map(|(k, v)| format!("{k}={v}"));
    let parts: Vec<String> = labels.chain(conditions.iter().map(requirement)).collect();
    Ok(Some(parts.join(",")))
}

/// A condition as the API server reads it
/// (kubernetes.io/docs/concepts/overview/working-with-objects/labels, "Set-based requirement").
fn requirement(
    LabelCondition {
        key,
        operator,
        values,
    }: &LabelCondition,
) -> String {
    let values = values.join(",");
    match operator {
        LabelOperator::In => format!("{key} in ({values})"),
        LabelOperator::NotIn => format!("{key} notin ({values})"),
        LabelOperator::Exists => key.clone(),
        LabelOperator::DoesNotExist => format!("!{key}"),
    }
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
    fn conditions_are_written_as_the_api_server_reads_them_and_faults_name_their_field() {
        let read = |selector: Value| {
            let pods = serde_json::from_value(json!({ "selector": selector }));
            super::selector(Some(&pods.unwrap()))
        };
        let one = |key: &str, operator: &str, values: Value| json!([{ "key": key, "operator": operator, "values": values }]);
        let all = json!({ "matchLabels": { "app": "a" }, "matchExpressions": [
            { "key": "tier", "operator": "In", "values": ["web", "api"] },
            { "key": "track", "operator": "NotIn", "values": ["canary", ""] },
            { "key": "example.com/tokens", "operator": "Exists" },
            { "key": "job", "operator": "DoesNotExist" },
        ] });
        assert_eq!(
            read(all).unwrap().as_deref(),
            Some("app=a,tier in (web,api),track notin (canary,),example.com/tokens,!job")
        );
        for (conditions, field) in [
            (one("a b", "Exists", json!([])), "matchExpressions[0].key"),
            (one("!a", "Exists", json!([])), "matchExpressions[0].key"),
            (one("a", "In", json!([])), "matchExpressions[0].values"),
            (one("a", "In", json!(["b)"])), "matchExpressions[0].values"),
            (
                one("a", "Exists", json!(["b"])),
                "matchExpressions[0].values",
            ),
            (json!([]), "matchLabels"),
        ] {
            let reported = read(json!({ "matchExpressions": conditions }));
            let reported = reported.expect_err(field).to_string();
            assert!(
                reported.contains(&format!("notifyPods.selector.{field}")),
                "{reported}"
            );
        }
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
