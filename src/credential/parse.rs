//! An `ApiCredential` and its issuer into a [`Credential`], or every fault at once.

use std::time::Duration;

use jiff::SignedDuration;

use super::{Ask, Credential, Endpoint, FieldError, Issuer, IssuerId, TargetSecret};
use crate::api::{ApiCredential, IssuerRef, names};

/// What became of the search for the issuer that a credential names.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "lives for one call")]
pub enum IssuerLookup {
    /// Found and valid.
    Found(Issuer),
    /// There is no such object.
    Missing,
    /// It is there, but its spec is faulty.
    Faulty(Vec<FieldError>),
}

/// Bounds of `minLifetime`.
const MIN_LIFETIME: (Duration, Duration) = (Duration::from_secs(10), Duration::from_hours(24));
/// Form parameters that the spec has fields for. One of them in `parameters` would pass by what the issuer's
/// `allowedScopes` and the Secret's annotation look at.
const PARAMETERS_WITH_FIELDS: [&str; 15] = [
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "scope",
    "resource",
    "audience",
    "code",
    "refresh_token",
    "assertion",
    "username",
    "password",
    "subject_token",
    "actor_token",
];
/// Annotations are cut to this length before they are compared or echoed.
const MAX_RENEW_REQUEST: usize = 128;

/// Parses `object`. `lookup` finds the issuer object that it refers to.
///
/// # Errors
/// Every fault of the spec, with field paths.
pub fn parse(
    object: &ApiCredential,
    lookup: impl FnOnce(&IssuerRef) -> IssuerLookup,
) -> Result<Credential, Vec<FieldError>> {
    let spec = &object.spec;
    let mut errors = Vec::new();

    let issuer = match (&spec.issuer_ref, &spec.entra) {
        (Some(reference), None) => find(reference, lookup),
        (None, Some(entra)) => Issuer::inline(&entra.tenant_id, entra.cloud.unwrap_or_default()),
        _ => Err(vec![FieldError::new(
            "spec",
            "set exactly one of issuerRef and entra",
        )]),
    };
    let issuer = issuer.map_err(|faults| errors.extend(faults)).ok();

    if spec.client.id.is_empty() || spec.client.id.chars().any(char::is_control) {
        errors.push(FieldError::new(
            "spec.client.id",
            "give the client (application) id",
        ));
    }
    if spec.client.id.trim() != spec.client.id {
        errors.push(FieldError::new(
            "spec.client.id",
            "has a space at its start or end; remove it",
        ));
    }
    if spec.client.secret_refs.is_empty() {
        errors.push(FieldError::new(
            "spec.client.secretRefs",
            "name the Secret and key that hold the client secret",
        ));
    }
    for (i, reference) in spec.client.secret_refs.iter().enumerate() {
        if reference.name == spec.target.secret_name {
            errors.push(FieldError::new(
                format!("spec.client.secretRefs[{i}].name"),
                "is the target Secret as well: the token would overwrite the client secret; choose another target",
            ));
        }
    }
    if spec
        .grant
        .as_ref()
        .is_some_and(|g| g.client_credentials.is_none())
    {
        errors.push(FieldError::new(
            "spec.grant",
            "needs one key; this version knows clientCredentials: {}",
        ));
    }
    // The CRD's rules say both as well; here they hold for an object that was stored under older rules, too.
    if spec
        .min_lifetime
        .is_some_and(|d| d < MIN_LIFETIME.0 || d > MIN_LIFETIME.1)
    {
        errors.push(FieldError::new(
            "spec.minLifetime",
            "must be a duration between 10s and 24h, such as 15m",
        ));
    }
    let taken =
        |name: &&String| PARAMETERS_WITH_FIELDS.contains(&name.to_ascii_lowercase().as_str());
    errors.extend(spec.parameters.keys().filter(taken).map(|name| {
        FieldError::new(
            "spec.parameters",
            format!("may not carry \"{name}\"; use the field of the spec for it"),
        )
    }));
    if let Some(issuer) = &issuer {
        errors.extend(ask_faults(object, issuer));
    }
    for (field, map) in [
        ("spec.target.labels", &spec.target.labels),
        ("spec.target.annotations", &spec.target.annotations),
    ] {
        errors.extend(map.keys().filter(|k| reserved(k)).map(|k| {
            FieldError::new(
                field,
                format!("\"{k}\" belongs to another owner; choose a key of your own prefix"),
            )
        }));
    }

    let (Some(issuer), true) = (issuer, errors.is_empty()) else {
        return Err(errors);
    };
    let annotations = object.metadata.annotations.as_ref();
    Ok(Credential {
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        name: object.metadata.name.clone().unwrap_or_default(),
        uid: object.metadata.uid.clone().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        issuer,
        client_id: spec.client.id.clone(),
        secrets: spec.client.secret_refs.clone(),
        ask: Ask {
            scopes: spec.scopes.clone(),
            resource: spec.resource.clone(),
            audience: spec.audience.clone(),
            parameters: spec.parameters.clone(),
        },
        target: TargetSecret {
            name: spec.target.secret_name.clone(),
            type_: spec.target.type_.unwrap_or_default(),
            labels: spec.target.labels.clone(),
            annotations: spec.target.annotations.clone(),
            deletion: spec.deletion_policy.unwrap_or_default(),
        },
        min_lifetime: spec
            .min_lifetime
            .and_then(|d| SignedDuration::try_from(std::time::Duration::from(d)).ok()),
        suspend: spec.suspend.unwrap_or_default(),
        renew_requested: annotations
            .and_then(|a| a.get(names::RENEW_REQUESTED_AT))
            .map(|v| v.chars().take(MAX_RENEW_REQUEST).collect()),
    })
}

fn find(
    reference: &IssuerRef,
    lookup: impl FnOnce(&IssuerRef) -> IssuerLookup,
) -> Result<Issuer, Vec<FieldError>> {
    let name = IssuerId::Object(reference.kind, String::new(), reference.name.clone());
    match lookup(reference) {
        IssuerLookup::Found(issuer) => Ok(issuer),
        IssuerLookup::Missing => {
            let problem = format!("{name} does not exist; create it or correct the name");
            Err(vec![
                FieldError::new("spec.issuerRef", problem).because("IssuerNotFound"),
            ])
        }
        IssuerLookup::Faulty(faults) => Err(vec![
            FieldError::new(
                "spec.issuerRef",
                format!(
                    "{name} is not valid ({}); mend the issuer",
                    FieldError::join(&faults)
                ),
            )
            .because("IssuerNotReady"),
        ]),
    }
}

/// What the issuer's kind says about the request. Entra answers such requests with AADSTS1002012, 28002 or 901002
/// (facts, section 3.1); saying it here costs no request.
fn ask_faults(object: &ApiCredential, issuer: &Issuer) -> Vec<FieldError> {
    let spec = &object.spec;
    let mut errors = Vec::new();
    if matches!(issuer.endpoint, Endpoint::Entra { .. }) {
        if spec.audience.is_some() {
            errors.push(FieldError::new(
                "spec.audience",
                "Entra ID has no audience parameter; put the API into spec.scopes as \"<api>/.default\"",
            ));
        }
        match (&spec.resource, spec.scopes.as_slice()) {
            (None, []) => errors.push(FieldError::new(
                "spec.scopes",
                "Entra ID needs one scope \"<api>/.default\" (v2 endpoint), or spec.resource (v1 endpoint)",
            )),
            (Some(_), [_, ..]) => errors.push(FieldError::new(
                "spec.resource",
                "set either scopes (v2 endpoint) or resource (v1 endpoint), not both",
            )),
            (None, [one]) if !one.ends_with("/.default") => errors.push(FieldError::new(
                "spec.scopes[0]",
                format!("application tokens are asked for with \"<api>/.default\"; did you mean \"{}/.default\"?", one.trim_end_matches('/')),
            )),
            (None, [_, _, ..]) => errors.push(FieldError::new(
                "spec.scopes",
                "Entra ID gives application tokens for one API at a time: one \"<api>/.default\" a credential",
            )),
            _ => {}
        }
    }
    errors
}

/// Keys that other owners watch: a user could steer a GitOps tool, a scheduler or apicred itself with them.
fn reserved(key: &str) -> bool {
    let Some((prefix, _)) = key.split_once('/') else {
        return false;
    };
    [
        "kubernetes.io",
        "k8s.io",
        "apicred.dev",
        "argoproj.io",
        "fluxcd.io",
    ]
    .iter()
    .any(|owner| {
        prefix == *owner
            || prefix
                .strip_suffix(owner)
                .is_some_and(|rest| rest.ends_with('.'))
    })
}
