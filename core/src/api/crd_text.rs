//! The texts of a CRD: only what a reader needs and the API server does not assume by default.

use serde_json::{Value, json};

/// Removes what the API server would write back into objects (`default`), what allows two spellings of one value (`nullable`), and what it does
/// not know (the integer formats of Rust).
pub(super) fn plain(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.contains_key("type") {
                map.remove("default");
                map.remove("nullable");
            }
            if let Some(format) = map.get("format").and_then(Value::as_str)
                && (format.starts_with("uint")
                    || format.starts_with("int") && format != "int32" && format != "int64")
            {
                map.remove("format");
            }
            map.values_mut().for_each(plain);
        }
        Value::Array(items) => items.iter_mut().for_each(plain),
        _ => {}
    }
}

/// Removes the reason of a rule if it is the default of the API server (`x-kubernetes-validations` in the reference of its API).
pub(super) fn without_usual_reasons(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.contains_key("rule") && map.get("reason") == Some(&json!("FieldValueInvalid")) {
                map.remove("reason");
            }
            map.values_mut().for_each(without_usual_reasons);
        }
        Value::Array(items) => items.iter_mut().for_each(without_usual_reasons),
        _ => {}
    }
}

/// Describes each field of a condition in one line. The texts of Kubernetes are written for authors of controllers, and are a tenth as long as
/// all other texts.
pub(super) fn describe_conditions(fields: &mut Value) {
    for (name, text) in [
        ("type", "Name of the condition."),
        ("status", "`True`, `False` or `Unknown`."),
        ("reason", "Why, as one stable word."),
        ("message", "Why, and the next step."),
        ("lastTransitionTime", "When `status` changed last."),
        (
            "observedGeneration",
            "The `metadata.generation` that it is about.",
        ),
    ] {
        if fields[name].is_object() {
            fields[name]["description"] = json!(text);
        }
    }
}

/// Joins each paragraph of a description into one line, because line ends of the source have no meaning. `kubectl explain` wraps the lines.
pub(super) fn one_line(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(text)) = map.get_mut("description") {
                let paragraphs: Vec<String> = text
                    .split("\n\n")
                    .map(|paragraph| paragraph.replace('\n', " "))
                    .collect();
                *text = paragraphs.join("\n\n");
            }
            map.values_mut().for_each(one_line);
        }
        Value::Array(items) => items.iter_mut().for_each(one_line),
        _ => {}
    }
}
