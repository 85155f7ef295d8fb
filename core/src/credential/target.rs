//! Parses `spec.target`: the Secret that gets the token.

use std::collections::BTreeSet;

use super::{
    FieldError, TargetSecret, fit,
    labels::{is_key, is_value},
    last_good, pods,
    target_keys::{is_name_of_tool, is_reserved},
};
use crate::{
    api::{ApiCredentialSpec, TargetFormat, TargetKey},
    oauth::may_be_published,
};

/// What Kubernetes accepts as a label or annotation.
const GRAMMAR: &str = "a key is a name of up to 63 letters, digits, '-', '_' and '.', with a DNS name and '/' before it if you like, and the value of a label is such a name or empty";

/// The target Secret of `spec`, or every fault of it.
pub(super) fn parse(spec: &ApiCredentialSpec) -> Result<TargetSecret, Vec<FieldError>> {
    let target = &spec.target;
    let mut errors = Vec::new();
    let keys = keys(&target.keys).map_err(|e| errors.push(e));
    let pods = pods::selector(target.notify_pods.as_ref()).map_err(|e| errors.push(e));
    errors.extend(name_faults(&target.secret_name));
    for (field, map, label) in [
        ("spec.target.labels", &target.labels, true),
        ("spec.target.annotations", &target.annotations, false),
    ] {
        let taken = |k: &&String| is_reserved(k, label);
        errors.extend(map.keys().filter(taken).map(|k| {
            FieldError::new(
                field,
                format!("\"{k}\" is a key of another owner; use a key with your own prefix"),
            )
        }));
        // The API server reads annotation keys without regard to case.
        let valid = |key: &str, value: &str| {
            if label {
                is_key(key) && is_value(value)
            } else {
                is_key(&key.to_ascii_lowercase())
            }
        };
        errors.extend(map.iter().filter(|(k, v)| !valid(k, v)).map(|(k, _)| {
            FieldError::new(
                field,
                format!("\"{k}\" is not one that Kubernetes accepts; {GRAMMAR}"),
            )
        }));
    }
    let (Ok(keys), Ok(notify_pods), true) = (keys, pods, errors.is_empty()) else {
        return Err(errors);
    };
    Ok(TargetSecret {
        name: target.secret_name.clone(),
        type_: target.type_.unwrap_or_default(),
        labels: target.labels.clone(),
        annotations: target.annotations.clone(),
        keys,
        deletion: spec.deletion_policy.unwrap_or_default(),
        notify_pods,
    })
}

fn name_faults(name: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if !fit::is_object_name(name) {
        errors.push(FieldError::new(
            "spec.target.secretName",
            "is not a valid name; use lower case letters, digits, '-' and '.', and begin and end each part between dots with a letter or digit",
        ));
    }
    if is_name_of_tool(name) {
        errors.push(FieldError::new(
            "spec.target.secretName",
            "is a name that a tool (Helm, kubeadm, Sealed Secrets) uses for its own Secrets; choose another name",
        ));
    }
    if name.ends_with(last_good::SUFFIX) {
        errors.push(FieldError::new(
            "spec.target.secretName",
            "ends in -last-good, the name of apicred's copy of a certificate; choose another name",
        ));
    }
    errors
}

/// The keys of the target with default names filled in; the usual four if none are set.
fn keys(keys: &[TargetKey]) -> Result<Vec<TargetKey>, FieldError> {
    let usual = |format: TargetFormat| TargetKey {
        format,
        key: None,
        host: None,
        username: None,
        variable: None,
        field: None,
    };
    let mut keys = if keys.is_empty() {
        [
            TargetFormat::Token,
            TargetFormat::TokenType,
            TargetFormat::ExpiresAt,
            TargetFormat::Json,
        ]
        .map(usual)
        .to_vec()
    } else {
        keys.to_vec()
    };
    let mut seen = BTreeSet::new();
    for (i, key) in keys.iter_mut().enumerate() {
        let name = key
            .key
            .get_or_insert_with(|| key.format.usual_key().to_owned())
            .clone();
        let hosted = matches!(key.format, TargetFormat::Netrc | TargetFormat::DockerConfig);
        if hosted && key.host.is_none() {
            return Err(FieldError::new(
                format!("spec.target.keys[{i}].host"),
                "is missing: set the host or registry that the token is for",
            ));
        }
        let of_answer = key.format == TargetFormat::AnswerField;
        let field = key.field.as_deref();
        if of_answer != field.is_some() || field.is_some_and(|f| !may_be_published(f)) {
            return Err(FieldError::new(
                format!("spec.target.keys[{i}].field"),
                "is for the format AnswerField, which needs it: the name of a field of the issuer's answer, and never of a refresh token",
            ));
        }
        if !seen.insert(name.clone()) {
            return Err(FieldError::new(
                format!("spec.target.keys[{i}].key"),
                format!("\"{name}\" is used twice; rename one of them"),
            ));
        }
    }
    Ok(keys)
}
