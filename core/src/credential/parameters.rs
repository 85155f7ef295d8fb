//! The form parameters that a spec names: those of `spec.parameters`, and those of an extension grant.

use super::{FieldError, binding::plain_name, fit};
use crate::{
    api::{
        ApiCredentialSpec, Parameter,
        parameter::{OF_EXTENSIONS, WITH_FIELDS, is_of_authorization},
    },
    oauth::is_public,
};

/// Where an extension grant has its parameters.
const EXTENSION: &str = "spec.grant.extension.parameters";

/// All parameters of a spec.
pub(super) fn all(spec: &ApiCredentialSpec) -> Vec<Parameter> {
    let mut all = of_extension(spec);
    all.extend(spec.parameters.iter().cloned());
    all
}

fn of_extension(spec: &ApiCredentialSpec) -> Vec<Parameter> {
    let extension = spec.grant.as_ref().and_then(|g| g.extension.as_ref());
    let parameters = extension.into_iter().flat_map(|e| &e.parameters);
    parameters.map(Parameter::from).collect()
}

/// Errors in the parameters. The CEL rules of the CRD reject most of them earlier.
pub(super) fn faults(spec: &ApiCredentialSpec) -> Vec<FieldError> {
    let target = &spec.target.secret_name;
    let of_extension = of_extension(spec);
    let mut errors = faults_of(&of_extension, EXTENSION, target);
    errors.extend(faults_of(&spec.parameters, "spec.parameters", target));
    errors.extend(secret_in_browser(spec));
    for (i, parameter) in of_extension.iter().enumerate() {
        let name = plain_name(&parameter.name);
        if spec.parameters.iter().any(|p| plain_name(&p.name) == name) {
            errors.push(FieldError::new(
                format!("{EXTENSION}[{i}].name"),
                format!(
                    "\"{}\" is in spec.parameters as well; remove it from one of them",
                    parameter.name
                ),
            ));
        }
    }
    errors
}

/// A secret value for a parameter that only the authorization request has: it would be sent nowhere.
fn secret_in_browser(spec: &ApiCredentialSpec) -> Vec<FieldError> {
    let grant = spec.grant.as_ref();
    let signs_in = grant.is_some_and(|g| g.refresh_token.is_some());
    let parameters = spec.parameters.iter().enumerate();
    let hidden = parameters
        .filter(|(_, p)| signs_in && p.secret_ref.is_some() && is_of_authorization(&p.name));
    hidden
        .map(|(i, p)| {
            FieldError::new(
                format!("spec.parameters[{i}].secretRef"),
                format!(
                    "cannot be used, because \"{}\" is sent only with a sign-in, in an address that is not secret; use value",
                    p.name
                ),
            )
        })
        .collect()
}

fn faults_of(parameters: &[Parameter], field: &str, target: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (i, parameter) in parameters.iter().enumerate() {
        let name = &parameter.name;
        let plain = plain_name(name);
        let mut report = |part: &str, problem: String| {
            errors.push(FieldError::new(format!("{field}[{i}].{part}"), problem));
        };
        let of_grant = field == EXTENSION && OF_EXTENSIONS.contains(&plain.as_str());
        if WITH_FIELDS.contains(&plain.as_str()) && !of_grant {
            report(
                "name",
                format!("may not be \"{name}\"; use the field of the spec for it"),
            );
        }
        if parameters[..i].iter().any(|other| other.name == *name) {
            report("name", format!("is a second \"{name}\"; remove it"));
        }
        let Some(reference) = &parameter.secret_ref else {
            if parameter.value.is_none() {
                report("value", "is missing; set value or secretRef".to_owned());
            }
            continue;
        };
        if parameter.value.is_some() {
            report(
                "secretRef",
                "is set together with value; remove one".to_owned(),
            );
        }
        if is_public(name) {
            report(
                "secretRef",
                format!("cannot be used, because \"{name}\" is not a secret; use value"),
            );
        }
        if reference.name == target {
            report(
                "secretRef.name",
                "is the target Secret as well: the token would overwrite it; create this credential again with another target.secretName, or name another source".to_owned(),
            );
        } else if !fit::is_object_name(&reference.name) {
            report("secretRef.name", fit::NOT_A_SECRET.to_owned());
        }
    }
    errors
}
