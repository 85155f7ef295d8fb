//! Parses an `ApiCredential` and its issuer into a [`Credential`], or returns all errors at once.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{
    AuthenticationMethod, Credential, FieldError, Issuer, IssuerId, RequestParameters, StaticKey,
    TargetSecret, annotations, fit, parameters, pods, request_parameters,
    target_keys::{is_name_of_tool, is_reserved},
};
use crate::{
    Reason,
    api::{
        ApiCredential, ApiCredentialSpec, IssuerKind, IssuerRef, SecretKeyRef, TargetFormat,
        TargetKey, names,
    },
    input,
    oauth::{Grant, may_be_published},
};

/// What became of the search for the issuer that a credential names.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "lives for one call")]
pub enum IssuerLookup {
    /// Found and valid.
    Found(Issuer),
    /// There is no such object.
    Missing,
    /// There is none of this kind, but one of the other kind has the name.
    OtherKind,
    /// It is there, but its spec is faulty.
    Faulty(Vec<FieldError>),
    /// This operator watches only some namespaces, and reads no `ClusterTokenIssuer`s.
    OutOfScope,
}

/// Bounds of `minLifetime`.
const MIN_LIFETIME: (Duration, Duration) = (Duration::from_secs(10), Duration::from_hours(24));
/// Annotations are cut to this length before they are compared or echoed.
pub const MAX_RENEW_REQUEST: usize = 128;

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
    if spec.client_ref.is_some() {
        // Whoever resolves the reference passes an object without it.
        let problem = "is not resolved; this is a fault of apicred, report it";
        errors.push(FieldError::new("spec.clientRef", problem));
    }

    let static_key = spec.static_key.as_deref().map(StaticKey::new);
    let fixed = static_key.is_some();
    let grant = match spec.grant.as_deref() {
        Some(_) if fixed => Err(vec![FieldError::new(
            "spec.grant",
            "a static key has no grant; remove grant, or remove static",
        )]),
        grant => Grant::parse(grant),
    };
    let grant = grant.map_err(|faults| errors.extend(faults)).ok();
    let issuer = match (&spec.issuer_ref, &spec.entra) {
        (Some(reference), None) if !fixed => find(reference, lookup),
        (None, Some(entra)) if !fixed => {
            Issuer::inline(&entra.tenant_id, entra.cloud.unwrap_or_default())
        }
        (None, None) if fixed => Ok(Issuer::nowhere()),
        (Some(_), None) if fixed => Err(no_issuer("spec.issuerRef")),
        _ if fixed => Err(no_issuer("spec.entra")),
        _ => Err(vec![FieldError::new(
            "spec",
            "set exactly one of issuerRef and entra",
        )]),
    };
    let issuer = issuer.map_err(|faults| errors.extend(faults)).ok();
    let authentication = AuthenticationMethod::parse(spec.client.as_ref());
    let authentication = authentication.map_err(|faults| errors.extend(faults)).ok();
    if let (Some(authentication), Some(grant)) = (&authentication, &grant) {
        let inputs = fit::inputs(static_key.as_ref(), grant);
        errors.extend(source_faults(
            authentication,
            &inputs,
            &spec.target.secret_name,
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
    if spec.not_after.is_some() && spec.end().is_none() {
        errors.push(FieldError::new(
            "spec.notAfter",
            "is not a time; write 2027-06-30T18:00:00Z",
        ));
    }
    errors.extend(parameters::faults(spec));
    let mut request = RequestParameters::default();
    if let (Some(issuer), Some(authentication), Some(grant)) = (&issuer, &authentication, &grant) {
        errors.extend(fit::faults(
            spec,
            issuer,
            authentication,
            grant,
            static_key.as_ref(),
        ));
        match request_parameters::of_spec(spec, issuer, grant) {
            Ok(asked) => request = asked,
            Err(faults) => errors.extend(faults),
        }
    }
    let secret_ends = secret_ends(spec, &mut errors);
    let keys = keys(&spec.target.keys).map_err(|e| errors.push(e));
    let pods = pods::selector(spec.target.notify_pods.as_ref());
    let pods = pods.map_err(|e| errors.push(e));
    if !fit::is_object_name(&spec.target.secret_name) {
        errors.push(FieldError::new(
            "spec.target.secretName",
            "is not a valid name; use lower case letters, digits, '-' and '.', and begin and end each part between dots with a letter or digit",
        ));
    }
    if is_name_of_tool(&spec.target.secret_name) {
        errors.push(FieldError::new(
            "spec.target.secretName",
            "is a name that a tool (Helm, kubeadm, Sealed Secrets) uses for its own Secrets; choose another name",
        ));
    }
    for (field, map, label) in [
        ("spec.target.labels", &spec.target.labels, true),
        ("spec.target.annotations", &spec.target.annotations, false),
    ] {
        let taken = |k: &&String| is_reserved(k, label);
        errors.extend(map.keys().filter(taken).map(|k| {
            FieldError::new(
                field,
                format!("\"{k}\" is a key of another owner; use a key with your own prefix"),
            )
        }));
    }

    let (Some(issuer), Some(authentication), Some(grant), Ok(keys), Ok(notify_pods), true) =
        (issuer, authentication, grant, keys, pods, errors.is_empty())
    else {
        return Err(errors);
    };
    let client = spec.client.as_ref();
    let noted = object.metadata.annotations.as_ref();
    Ok(Credential {
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        name: object.metadata.name.clone().unwrap_or_default(),
        uid: object.metadata.uid.clone().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        issuer,
        client_id: client.and_then(|c| c.id.clone()).unwrap_or_default(),
        authentication,
        secret_ends,
        static_key,
        grant,
        request,
        expect: spec.expect.as_deref().cloned(),
        target: TargetSecret {
            name: spec.target.secret_name.clone(),
            type_: spec.target.type_.unwrap_or_default(),
            labels: spec.target.labels.clone(),
            annotations: spec.target.annotations.clone(),
            keys,
            deletion: spec.deletion_policy.unwrap_or_default(),
            notify_pods,
        },
        min_lifetime: spec
            .min_lifetime
            .and_then(|d| SignedDuration::try_from(std::time::Duration::from(d)).ok()),
        end: spec.end(),
        suspend: spec.suspend.unwrap_or_default(),
        renew_requested: noted
            .and_then(|a| a.get(names::RENEW_REQUESTED_AT))
            .map(|v| v.chars().take(MAX_RENEW_REQUEST).collect()),
        unread: annotations::unread(
            noted.into_iter().flat_map(BTreeMap::keys),
            annotations::Place::Credential,
        ),
    })
}

/// When a client secret ends, as people write it into a spec or an annotation: RFC 3339, or a date, which ends as it
/// begins in UTC (the careful reading), or another form that has one meaning. Invisible characters at its ends are none of it.
pub fn end_of_secret(text: &str) -> Option<Timestamp> {
    const INVISIBLE: &str = "\u{feff}\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{2060}\u{ad}";
    let stray = |c: char| c.is_whitespace() || c.is_control() || INVISIBLE.contains(c) || c == '"';
    let text = text.trim_matches(stray);
    // A line of `openssl x509 -enddate`.
    input::instant_in_utc(text.strip_prefix("notAfter=").unwrap_or(text))
}

fn no_issuer(field: &str) -> Vec<FieldError> {
    let problem = "a static key has no issuer; remove it, or remove static";
    vec![FieldError::new(field, problem)]
}

pub(super) fn find(
    reference: &IssuerRef,
    lookup: impl FnOnce(&IssuerRef) -> IssuerLookup,
) -> Result<Issuer, Vec<FieldError>> {
    let name = IssuerId::Object(reference.kind, String::new(), reference.name.clone());
    match lookup(reference) {
        IssuerLookup::Found(issuer) => Ok(issuer),
        IssuerLookup::Missing => {
            let problem = format!("{name} does not exist; create it or correct the name");
            Err(vec![
                FieldError::new("spec.issuerRef", problem).because(Reason::IssuerNotFound),
            ])
        }
        IssuerLookup::OtherKind => {
            let other = match reference.kind {
                IssuerKind::TokenIssuer => IssuerKind::ClusterTokenIssuer,
                IssuerKind::ClusterTokenIssuer => IssuerKind::TokenIssuer,
            };
            let problem = format!(
                "{name} does not exist, but a {other:?} of this name does; set issuerRef.kind to {other:?}, or create it"
            );
            Err(vec![
                FieldError::new("spec.issuerRef", problem).because(Reason::IssuerNotFound),
            ])
        }
        IssuerLookup::OutOfScope => {
            let problem = format!(
                "{name} cannot be used, because the operator runs in namespaced mode and does not read ClusterTokenIssuers; use a TokenIssuer or spec.entra, or ask an administrator to set clusterIssuers"
            );
            Err(vec![
                FieldError::new("spec.issuerRef", problem).because(Reason::IssuerOutOfScope),
            ])
        }
        IssuerLookup::Faulty(faults) => Err(vec![
            FieldError::new(
                "spec.issuerRef",
                format!(
                    "{name} is not valid ({}); fix that issuer",
                    FieldError::join(&faults)
                ),
            )
            .because(Reason::IssuerNotReady),
        ]),
    }
}

/// When the client secrets expire, as far as the spec declares it.
fn secret_ends(
    spec: &ApiCredentialSpec,
    errors: &mut Vec<FieldError>,
) -> BTreeMap<SecretKeyRef, Timestamp> {
    let mut ends = BTreeMap::new();
    let secrets = spec.client.iter().flat_map(|c| &c.secrets);
    for (i, secret) in secrets.enumerate() {
        let Some(declared) = secret.expires_at.as_deref() else {
            continue;
        };
        match end_of_secret(declared) {
            Some(end) => {
                ends.insert(secret.reference(), end);
            }
            None => errors.push(FieldError::new(
                format!("spec.client.secrets[{i}].expiresAt"),
                "is not a time; write 2027-06-30T00:00:00Z, or the date 2027-06-30",
            )),
        }
    }
    ends
}

/// Where an entry of the client's sources is written.
fn source_field(authentication: &AuthenticationMethod, at: usize) -> String {
    match authentication {
        AuthenticationMethod::Certificates(_) => {
            format!("spec.client.certificates[{at}].secretName")
        }
        AuthenticationMethod::Mtls(_) => "spec.client.mtls.secretName".to_owned(),
        AuthenticationMethod::Key(_) => "spec.client.key.secretName".to_owned(),
        AuthenticationMethod::Assertion(_) => "spec.client.assertion.secretName".to_owned(),
        _ => format!("spec.client.secrets[{at}].name"),
    }
}

/// An entry that is listed twice would be tried twice, and a source that is the target as well would be overwritten by
/// the token.
fn source_faults(
    authentication: &AuthenticationMethod,
    inputs: &[fit::Input],
    target: &str,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let sources = authentication.alternatives();
    for (i, reference) in sources.iter().enumerate() {
        if sources[..i].contains(reference) {
            errors.push(FieldError::new(
                source_field(authentication, i),
                "is listed twice with this key; remove one of them",
            ));
        }
        if reference.name == target {
            errors.push(FieldError::new(
                source_field(authentication, i),
                "is the target Secret as well: the token would overwrite the client secret; create this credential again with another target.secretName, or name another source",
            ));
        }
    }
    if let Some((field, _)) = inputs.iter().find(|(_, secret)| secret == target) {
        errors.push(FieldError::new(
            *field,
            "names the target Secret as a source: the token would overwrite it; create this credential again with another target.secretName, or name another source",
        ));
    }
    errors
}

/// The keys of the target with their names filled in; the usual four if none are given.
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
    let mut seen = std::collections::BTreeSet::new();
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
