//! Parses an `ApiCredential` and its issuer into a [`Credential`], or returns all errors at once.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{
    AuthenticationMethod, Credential, FieldError, Issuer, IssuerId, StaticKey, annotations, fit,
    parameters, request_parameters, target,
};
use crate::{
    Reason,
    api::{ApiCredential, ApiCredentialSpec, IssuerKind, IssuerRef, SecretKeyRef, names},
    input,
    oauth::Grant,
};

/// The result of looking up the issuer that a credential names.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "lives for one call")]
pub enum IssuerLookup {
    /// Found and valid.
    Found(Issuer),
    /// There is no such object.
    Missing,
    /// There is none of this kind, but one of the other kind with the same name.
    OtherKind,
    /// There was one, and it was deleted while the credential is being deleted.
    Deleted,
    /// It exists, but its spec has faults.
    Faulty(Vec<FieldError>),
    /// This operator watches only some namespaces, and reads no `ClusterTokenIssuer`s.
    OutOfScope,
}

/// Bounds of `minLifetime`.
const MIN_LIFETIME: (Duration, Duration) = (Duration::from_secs(10), Duration::from_hours(24));
/// The value of `renew-requested-at` is cut to this length before it is compared or written to status.
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
    let mut errors: Vec<FieldError> = unresolved(spec).into_iter().collect();
    let static_key = spec.static_key.as_deref().map(StaticKey::new);
    let grant = collect(grant(spec), &mut errors);
    let issuer = collect(issuer(spec, lookup), &mut errors);
    let authentication = AuthenticationMethod::parse(spec.client.as_ref());
    let authentication = collect(authentication, &mut errors);
    if let (Some(authentication), Some(grant)) = (&authentication, &grant) {
        let inputs = fit::inputs(static_key.as_ref(), grant);
        let target = &spec.target.secret_name;
        errors.extend(source_faults(authentication, &inputs, target));
    }
    errors.extend(time_faults(spec));
    errors.extend(parameters::faults(spec));
    let mut request = None;
    if let (Some(issuer), Some(authentication), Some(grant)) = (&issuer, &authentication, &grant) {
        errors.extend(fit::faults(
            spec,
            issuer,
            authentication,
            grant,
            static_key.as_ref(),
        ));
        let parameters = request_parameters::of_spec(spec, issuer, grant);
        request = collect(parameters, &mut errors);
    }
    let secret_expiries = secret_expiries(spec, &mut errors);
    let target = collect(target::parse(spec), &mut errors);

    let (Some(issuer), Some(authentication), Some(grant), Some(request), Some(target), true) = (
        issuer,
        authentication,
        grant,
        request,
        target,
        errors.is_empty(),
    ) else {
        return Err(errors);
    };
    let annotations = object.metadata.annotations.as_ref();
    let keys = annotations.into_iter().flat_map(BTreeMap::keys);
    Ok(Credential {
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        name: object.metadata.name.clone().unwrap_or_default(),
        uid: object.metadata.uid.clone().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        issuer,
        client_generation: None,
        client_id: client_id(spec),
        authentication,
        secret_expiries,
        rotated: None,
        static_key,
        grant,
        request,
        expect: spec.expect.as_deref().cloned(),
        target,
        min_lifetime: min_lifetime(spec),
        end: spec.end(),
        suspend: spec.suspend.unwrap_or_default(),
        renew_requested: annotations.and_then(renew_requested),
        unread: annotations::unread(keys, annotations::AnnotatedKind::Credential),
    })
}

/// The caller must resolve a reference to a client before it passes the object.
fn unresolved(spec: &ApiCredentialSpec) -> Option<FieldError> {
    let problem = "is not resolved; this is a fault of apicred, report it";
    let left = spec.client_ref.as_ref();
    left.map(|_| FieldError::new("spec.clientRef", problem))
}

/// Returns the value, or adds its faults to `errors`.
fn collect<T>(result: Result<T, Vec<FieldError>>, errors: &mut Vec<FieldError>) -> Option<T> {
    result.map_err(|faults| errors.extend(faults)).ok()
}

fn grant(spec: &ApiCredentialSpec) -> Result<Grant, Vec<FieldError>> {
    match spec.grant.as_deref() {
        Some(_) if spec.static_key.is_some() => Err(vec![FieldError::new(
            "spec.grant",
            "a static key has no grant; remove grant, or remove static",
        )]),
        grant => Grant::parse(grant),
    }
}

/// The issuer that the spec names. A static key has none.
fn issuer(
    spec: &ApiCredentialSpec,
    lookup: impl FnOnce(&IssuerRef) -> IssuerLookup,
) -> Result<Issuer, Vec<FieldError>> {
    let fixed = spec.static_key.is_some();
    match (&spec.issuer_ref, &spec.entra) {
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
    }
}

/// The CRD has the same rules. These checks also apply to an object that was stored under older rules.
fn time_faults(spec: &ApiCredentialSpec) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (shortest, longest) = MIN_LIFETIME;
    if spec
        .min_lifetime
        .is_some_and(|d| d < shortest || d > longest)
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
    errors
}

fn client_id(spec: &ApiCredentialSpec) -> String {
    let client = spec.client.as_ref();
    client.and_then(|c| c.id.clone()).unwrap_or_default()
}

fn min_lifetime(spec: &ApiCredentialSpec) -> Option<SignedDuration> {
    let duration = Duration::from(spec.min_lifetime?);
    SignedDuration::try_from(duration).ok()
}

fn renew_requested(annotations: &BTreeMap<String, String>) -> Option<String> {
    let value = annotations.get(names::RENEW_REQUESTED_AT)?;
    Some(value.chars().take(MAX_RENEW_REQUEST).collect())
}

/// Parses the expiry time of a client secret in a spec or an annotation: RFC 3339, a date, or another form with only one meaning. A date is
/// read as its first moment in UTC, the earliest meaning. Invisible characters at both ends are ignored.
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
        IssuerLookup::Deleted => {
            let problem = format!("{name} was deleted before this credential");
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

/// When the client secrets expire, if the spec declares it.
fn secret_expiries(
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

/// The field of an entry of the client's sources.
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

/// An entry that is listed twice would be tried twice, and a source that is also the target would be overwritten by the token.
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
