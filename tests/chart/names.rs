//! The names of values: each is in values.yaml, in the schema and in the copy from which templates take defaults.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{file, refused, run};

/// Former names, which a template refuses with a message.
const RENAMED: [&str; 1] = ["metricsPerCredential"];
/// Maps whose keys belong to Kubernetes or to the user.
const OPEN: [&str; 5] = [
    "issuers",
    "podSecurityContext",
    "resources",
    "securityContext",
    "strategy",
];

/// The names below a value of values.yaml, with dots.
fn names_of_values(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    let Some(map) = value.as_object() else { return };
    for (key, value) in map {
        let path = join(path, key);
        if !OPEN.contains(&path.as_str()) {
            names_of_values(value, &path, into);
        }
        into.insert(path);
    }
}

/// The names below a part of the schema.
fn names_of_schema(root: &Value, part: &Value, path: &str, into: &mut BTreeSet<String>) {
    if let Some(reference) = part["$ref"].as_str() {
        let name = reference.trim_start_matches("#/definitions/");
        return names_of_schema(root, &root["definitions"][name], path, into);
    }
    for (key, part) in part["properties"].as_object().into_iter().flatten() {
        let path = join(path, key);
        if !OPEN.contains(&path.as_str()) {
            names_of_schema(root, part, &path, into);
        }
        into.insert(path);
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

#[test]
fn each_value_is_in_the_schema_and_each_name_of_the_schema_is_a_value() {
    let values: Value = serde_saphyr::from_str(&file("values.yaml")).expect("YAML");
    let schema: Value = serde_json::from_str(&file("values.schema.json")).expect("JSON");
    let (mut here, mut there) = (BTreeSet::new(), BTreeSet::new());
    names_of_values(&values, "", &mut here);
    names_of_schema(&schema, &schema, "", &mut there);
    for name in RENAMED {
        assert!(there.remove(name), "{name} is not in the schema");
    }
    assert!(here.contains("issuerProxy.existingSecret.name"));
    let (unchecked, unknown): (Vec<_>, Vec<_>) = (
        here.difference(&there).collect(),
        there.difference(&here).collect(),
    );
    assert!(unchecked.is_empty(), "not in the schema: {unchecked:?}");
    assert!(unknown.is_empty(), "not in values.yaml: {unknown:?}");
}

#[test]
fn the_copy_for_templates_is_values_yaml() {
    assert!(
        file("values.yaml") == file("files/values.yaml"),
        "run `make chart-docs` and commit what it changes"
    );
}

#[test]
fn an_old_name_is_refused_with_the_new_one() {
    run(async {
        let reported = refused(&["--set", "metricsPerCredential=true"]).await;
        assert!(reported.contains("metrics.perCredential"), "{reported}");
    });
}
