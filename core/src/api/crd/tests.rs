use super::*;

/// Parts of a schema without a bound.
fn unbounded(path: &str, schema: &Value, is_spec: bool, out: &mut Vec<String>) {
    let has = |key: &str| schema.get(key).is_some();
    let mut fault = |what: &str| out.push(format!("{path}: {what}"));
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => {
            if !has("maxLength") && !has("enum") {
                fault("no maxLength");
            }
            let printable = has("pattern")
                || has("enum")
                || path.ends_with(".caBundle")
                || schema.as_object().is_some_and(names_an_object);
            if is_spec && !printable {
                fault("no pattern");
            }
        }
        Some("array") => {
            if !has("maxItems") {
                fault("no maxItems");
            }
            unbounded(&format!("{path}[]"), &schema["items"], is_spec, out);
        }
        Some("object") => {
            if schema.get("x-kubernetes-preserve-unknown-fields").is_some() {
                fault("takes unknown fields");
            }
            if has("additionalProperties") {
                if !has("maxProperties") {
                    fault("no maxProperties");
                }
                let rules = schema["x-kubernetes-validations"].as_array();
                let bounds = |r: &Value| {
                    r["rule"]
                        .as_str()
                        .is_some_and(|r| r.starts_with("self.all(k, size(k) <= "))
                };
                if !rules.is_some_and(|r| r.iter().any(bounds)) {
                    fault("no bound of its keys");
                }
                unbounded(
                    &format!("{path}{{}}"),
                    &schema["additionalProperties"],
                    is_spec,
                    out,
                );
            }
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                unbounded(&format!("{path}.{name}"), property, is_spec, out);
            }
        }
        Some("integer" | "boolean" | "number") => {}
        other => fault(&format!("type {other:?}")),
    }
}

#[test]
fn every_text_list_and_map_key_of_every_kind_has_a_bound() {
    for (name, text) in files().unwrap() {
        assert!(text.len() < 100_000, "{name} has {} bytes", text.len());
        let crd: Value = serde_saphyr::from_str(&text).unwrap();
        for version in crd["spec"]["versions"].as_array().unwrap() {
            let schema = &version["schema"]["openAPIV3Schema"]["properties"];
            let mut out = Vec::new();
            unbounded("spec", &schema["spec"], true, &mut out);
            unbounded("status", &schema["status"], false, &mut out);
            assert_eq!(out, Vec::<String>::new(), "{name}");
        }
    }
}

/// What a schema lacks in addition to limits: descriptions with defaults, kinds of lists, and the path and reason of each rule.
fn undeclared(path: &str, schema: &Value, required: bool, out: &mut Vec<String>) {
    let mut fault = |what: String| out.push(format!("{path}: {what}"));
    let text = |key: &str| schema[key].as_str().unwrap_or_default();
    let is_spec = path.starts_with("spec");
    // Kubernetes' own types have the texts of Kubernetes.
    let own = !path.contains(".selector.") && !path.contains(".conditions[]");
    if text("description").is_empty() && !path.ends_with("[]") && !path.ends_with("{}") {
        fault("no description".to_owned());
    }
    let leaf = text("type") != "object" || schema.get("additionalProperties").is_some();
    let words: Vec<&str> = text("description").split_whitespace().collect();
    let default = words.join(" ").to_lowercase().contains("not set");
    if is_spec && own && leaf && !required && !default {
        fault("the description does not say what holds if it is not set".to_owned());
    }
    for rule in schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let rule_field = |key: &str| rule[key].as_str().unwrap_or_default();
        if rule_field("reason").is_empty()
            || rule_field("message").is_empty() && rule_field("messageExpression").is_empty()
        {
            fault(format!(
                "a rule without reason or message: {}",
                rule_field("rule")
            ));
        }
        // A rule of a single value needs no path: the API server shows the path of the value.
        let first = rule_field("fieldPath")
            .split('.')
            .nth(1)
            .unwrap_or_default();
        if schema.get("properties").is_some() && schema["properties"].get(first).is_none() {
            fault(format!(
                "a rule without a path to a field: {}",
                rule_field("rule")
            ));
        }
    }
    if text("type") == "array" {
        let items = &schema["items"];
        let scalar = items["type"] != "object";
        let keys = schema["x-kubernetes-list-map-keys"].as_array();
        let all_required = |keys: &Vec<Value>| {
            let required = items["required"].as_array();
            keys.iter().all(|k| required.is_some_and(|r| r.contains(k)))
        };
        match (text("x-kubernetes-list-type"), keys) {
            ("atomic", None) => {}
            ("set", None) if scalar => {}
            ("map", Some(keys)) if all_required(keys) => {}
            other => fault(format!("list type {other:?}")),
        }
        undeclared(&format!("{path}[]"), items, true, out);
    }
    let needed = schema["required"].as_array();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let required = needed.is_some_and(|n| n.contains(&Value::from(name.as_str())));
        undeclared(&format!("{path}.{name}"), property, required, out);
    }
}

#[test]
fn every_field_list_and_rule_of_every_kind_is_described() {
    for (name, crd) in values().unwrap() {
        for version in crd["spec"]["versions"].as_array().unwrap() {
            let schema = &version["schema"]["openAPIV3Schema"]["properties"];
            let mut out = Vec::new();
            undeclared("spec", &schema["spec"], true, &mut out);
            undeclared("status", &schema["status"], true, &mut out);
            assert_eq!(out, Vec::<String>::new(), "{name}");
        }
    }
}

#[test]
fn the_walk_sees_what_has_no_description() {
    let rule = |more: Value| {
        let mut rule = serde_json::json!({ "rule": "has(self.a)", "message": "m" });
        crate::fixtures::merge(&mut rule, &more);
        serde_json::json!([rule])
    };
    let text = serde_json::json!({ "type": "string", "description": "x" });
    let schema = |rules: Value| {
        serde_json::json!({ "type": "object", "description": "x", "x-kubernetes-validations": rules, "properties": {
            "a": { "type": "string", "description": "None if not set." },
        } })
    };
    let rule_field = |field: Value| {
        let mut out = Vec::new();
        undeclared("spec.x", &field, false, &mut out);
        out.len()
    };
    for (field, faults) in [
        (text.clone(), 1),
        (serde_json::json!({ "type": "string" }), 2),
        (
            serde_json::json!({ "type": "array", "description": "not set", "items": text }),
            1,
        ),
        (
            serde_json::json!({ "type": "array", "description": "not set", "x-kubernetes-list-type": "set", "items": { "type": "object" } }),
            1,
        ),
        (
            serde_json::json!({ "type": "array", "description": "not set", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": { "type": "object" } }),
            1,
        ),
        (schema(rule(serde_json::json!({}))), 2),
        (
            schema(rule(
                serde_json::json!({ "reason": "FieldValueInvalid", "fieldPath": ".b" }),
            )),
            1,
        ),
        (
            schema(rule(
                serde_json::json!({ "reason": "FieldValueInvalid", "fieldPath": ".a" }),
            )),
            0,
        ),
    ] {
        assert_eq!(rule_field(field.clone()), faults, "{field}");
    }
}

/// Values of enums, with their paths.
fn enums(path: &str, schema: &Value, out: &mut Vec<(String, String)>) {
    match schema {
        Value::Object(map) => {
            let values = map.get("enum").and_then(Value::as_array);
            for value in values.into_iter().flatten() {
                out.push((
                    path.to_owned(),
                    value.as_str().unwrap_or_default().to_owned(),
                ));
            }
            for (name, inner) in map {
                enums(&format!("{path}.{name}"), inner, out);
            }
        }
        Value::Array(items) => items.iter().for_each(|inner| enums(path, inner, out)),
        _ => {}
    }
}

/// `kubectl get` prints a date as its age, and a date in the future as `<invalid>`.
#[test]
fn no_column_is_an_age_but_the_age() {
    let mut columns = 0;
    for (name, crd) in values().unwrap() {
        for version in crd["spec"]["versions"].as_array().unwrap() {
            for column in version["additionalPrinterColumns"].as_array().unwrap() {
                let is_age = column["name"] == "Age";
                assert_eq!(column["type"] == "date", is_age, "{name}: {column}");
                columns += 1;
            }
        }
    }
    assert!(columns > 20, "{columns}");
}

#[test]
fn values_of_enums_are_pascal_case() {
    let mut out = Vec::new();
    for (name, text) in files().unwrap() {
        enums(&name, &serde_saphyr::from_str(&text).unwrap(), &mut out);
    }
    assert!(out.len() > 40, "{out:?}");
    // Types of Secrets have the names that Kubernetes gives them.
    let types = ["apicred.dev/token", "kubernetes.io/dockerconfigjson"];
    out.retain(|(_, value)| {
        let pascal = value.starts_with(|c: char| c.is_ascii_uppercase())
            && value.chars().all(|c| c.is_ascii_alphanumeric());
        !pascal && !types.contains(&value.as_str())
    });
    assert_eq!(out, Vec::new());
}

#[test]
fn the_walk_sees_what_has_no_bound() {
    let schema = serde_json::json!({ "type": "object", "properties": {
        "text": { "type": "string" },
        "list": { "type": "array", "items": { "type": "string", "maxLength": 1 } },
        "map": { "type": "object", "additionalProperties": { "type": "string" } },
        "any": { "x-kubernetes-preserve-unknown-fields": true },
    } });
    let mut out = Vec::new();
    unbounded("spec", &schema, false, &mut out);
    assert_eq!(out.len(), 6, "{out:?}");
}
