//! Fields of a status that the CRD in this cluster does not have, because the operator is newer than its CRDs. The API server
//! rejects the whole status for one such field, so a failed renewal would not be visible. The rest is written without the field.

use std::{collections::BTreeSet, sync::Mutex};

use serde_json::Value;

use crate::controller::locks::lock;

/// The end of a line of the API server about such a field. Source: `structured-merge-diff`, `typed/validate.go`.
const END: &str = ": field not declared in schema";

/// The reported fields. A process reports each field once.
#[derive(Default)]
pub(in crate::controller) struct Undeclared(Mutex<BTreeSet<String>>);

impl Undeclared {
    pub(super) fn report(&self, kind: &str, paths: &[String]) {
        for path in paths {
            if lock(&self.0).insert(format!("{kind}{path}")) {
                tracing::warn!(
                    kind,
                    field = path,
                    "the CustomResourceDefinition is older than the operator and does not have this field, so it is not written; upgrade the CRDs"
                );
            }
        }
    }
}

/// Removes the fields that an error names from an object. Returns their paths, such as `.status.client.expiresAt`; empty if it
/// names no field that the object contains.
pub(super) fn take_out(object: &mut Value, error: &str) -> Vec<String> {
    let named = |line: &str| {
        let line = line.trim_end().strip_suffix(END)?;
        let path = line.rsplit(' ').next()?;
        path.starts_with(".status.").then(|| path.to_owned())
    };
    let mut paths: Vec<String> = error.lines().filter_map(named).collect();
    paths.retain(|path| {
        let steps: Vec<&str> = path.split('.').skip(1).collect();
        remove(object, &steps)
    });
    paths
}

/// Removes a field at this path, in each item of a list on the path. Returns whether it existed.
fn remove(value: &mut Value, steps: &[&str]) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        return false;
    };
    // `conditions[type="Ready"]` is an item of a list.
    let name = step.split('[').next().unwrap_or_default();
    let Value::Object(fields) = value else {
        return false;
    };
    if rest.is_empty() {
        return fields.remove(name).is_some();
    }
    match fields.get_mut(name) {
        // In all items, not only in the first one that has the field.
        Some(Value::Array(items)) => {
            let mut found = false;
            for item in items {
                found |= remove(item, rest);
            }
            found
        }
        Some(below) => remove(below, rest),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_server_does_not_know_is_taken_out_and_nothing_else() {
        let about = "failed to create typed patch object (ns/a; apicred.dev/v1alpha1, Kind=ApiCredential): ";
        let status = json!({
            "metadata": { "name": "a" },
            "status": { "new": 1, "client": { "new": 1, "old": 2 }, "keys": [{ "new": 1, "state": "Current" }, { "state": "Next" }] },
        });
        let cases = [
            (
                ".status.new: field not declared in schema",
                vec![".status.new"],
            ),
            (
                "errors:\n  .status.client.new: field not declared in schema\n  .status.keys[0].new: field not declared in schema",
                vec![".status.client.new", ".status.keys[0].new"],
            ),
            (
                ".status.keys[type=\"x\"].new: field not declared in schema",
                vec![".status.keys[type=\"x\"].new"],
            ),
            // The field does not exist, the field is not in the status, and another error.
            (".status.none: field not declared in schema", vec![]),
            (".metadata.name: field not declared in schema", vec![]),
            (".status.new: expected string, got 1", vec![]),
        ];
        for (warning, expected) in cases {
            let mut object = status.clone();
            assert_eq!(
                take_out(&mut object, &format!("{about}{warning}")),
                expected,
                "{warning}"
            );
            let text = object.to_string();
            let left = text.matches("\"new\"").count();
            assert_eq!(left, 3 - expected.len(), "{warning}: {text}");
            assert!(text.contains("Current") && text.contains("\"old\":2"));
        }
    }
}
