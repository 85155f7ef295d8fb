//! Resolves the reference to an `ApiClient` before anything else is parsed. The result is the same [`Credential`] as with the client inline.
//! PURE.

use std::borrow::Cow;

use super::{
    AuthenticationMethod, Credential, FieldError, Issuer, fit,
    parse::{IssuerLookup, end_of_secret, find, parse},
};
use crate::Reason;
use crate::api::{
    ApiClientSpec, ApiCredential, ApiCredentialSpec, Client, ClientRef, InlineEntra, IssuerRef,
};
use crate::rotation::Cycle;

/// The result of looking up the `ApiClient` that a credential names.
#[derive(Clone, Debug)]
pub enum ClientLookup {
    /// It exists, and its spec can be read.
    Found(Box<ApiClientSpec>),
    /// There is no such object in the namespace.
    Missing,
    /// There was one, and it was deleted while the credential is being deleted.
    Deleted,
    /// It exists, but its spec cannot be read.
    Faulty(Vec<FieldError>),
}

/// The `ApiClient` that rotates its client credential, and the cycle.
#[derive(Clone, Debug, PartialEq)]
pub struct RotatedBy {
    /// Its name.
    pub client: String,
    /// The cycle.
    pub cycle: Cycle,
}

/// Parses `object`. `clients` finds an `ApiClient` of its namespace by name, `issuers` the issuer object.
///
/// # Errors
/// Every fault of the spec, with field paths. A fault of the client is reported at `spec.clientRef`, and names the client.
pub fn parse_with_client(
    object: &ApiCredential,
    clients: impl FnOnce(&str) -> ClientLookup,
    issuers: impl FnOnce(&IssuerRef) -> IssuerLookup,
) -> Result<Credential, Vec<FieldError>> {
    let mut cycle = None;
    let clients = |name: &str| {
        let found = clients(name);
        if let ClientLookup::Found(client) = &found {
            cycle = client.rotation.as_ref().map(Cycle::of);
        }
        found
    };
    let resolved = resolve(object, clients)?;
    let by_client = |mut fault: FieldError| {
        let Some(reference) = &object.spec.client_ref else {
            return fault;
        };
        if let Some(field) = field_of_client(&object.spec, &fault.field) {
            fault.problem = format!("ApiClient {}, {field}: {}", reference.name, fault.problem);
            CLIENT_REF.clone_into(&mut fault.field);
        }
        fault
    };
    let parsed = parse(&resolved, issuers);
    let named = object.spec.client_ref.as_ref();
    let rotated = named.zip(cycle).map(|(named, cycle)| {
        Box::new(RotatedBy {
            client: named.name.clone(),
            cycle,
        })
    });
    let parsed = parsed.map(|credential| Credential {
        rotated,
        ..credential
    });
    parsed.map_err(|faults| faults.into_iter().map(by_client).collect())
}

/// The object with its client inline, and the issuer of this client.
///
/// # Errors
/// The client does not exist or cannot be read, or the credential also sets a client of its own or another issuer.
pub fn resolve(
    object: &ApiCredential,
    clients: impl FnOnce(&str) -> ClientLookup,
) -> Result<Cow<'_, ApiCredential>, Vec<FieldError>> {
    let spec = &object.spec;
    let Some(ClientRef { name }) = &spec.client_ref else {
        return Ok(Cow::Borrowed(object));
    };
    let fault = |problem: String| vec![FieldError::new(CLIENT_REF, problem)];
    let absent = |problem: String| {
        vec![FieldError::new(CLIENT_REF, problem).because(Reason::ClientNotFound)]
    };
    // The CRD has the same rules. These checks also apply to an object that was stored under older rules.
    if spec.static_key.is_some() {
        return Err(fault(
            "a static key has no client; remove clientRef, or remove static".to_owned(),
        ));
    }
    if spec.client.is_some() {
        return Err(fault("is set beside client; remove one of them".to_owned()));
    }
    let client = match clients(name) {
        ClientLookup::Found(client) => client,
        ClientLookup::Missing => {
            return Err(absent(format!(
                "ApiClient {name} does not exist in this namespace; create it or correct the name"
            )));
        }
        ClientLookup::Deleted => {
            return Err(absent(format!(
                "ApiClient {name} was deleted before this credential"
            )));
        }
        ClientLookup::Faulty(faults) => {
            let reason = faults.first().map_or(Reason::InvalidSpec, |f| f.reason);
            let problem = format!(
                "ApiClient {name} is not valid ({}); fix that client",
                FieldError::join(&faults)
            );
            return Err(vec![FieldError::new(CLIENT_REF, problem).because(reason)]);
        }
    };
    if client.issuer_ref.is_some() == client.entra.is_some() {
        return Err(fault(format!(
            "ApiClient {name}, spec: set exactly one of issuerRef and entra"
        )));
    }
    if let Some(field) = other_issuer(spec, &client) {
        return Err(vec![FieldError::new(
            field,
            format!("is not the issuer of ApiClient {name}; remove it, or name another client"),
        )]);
    }
    let mut object = object.clone();
    object.spec.client_ref = None;
    object.spec.client = Some(client.client);
    object.spec.issuer_ref = client.issuer_ref;
    object.spec.entra = client.entra;
    Ok(Cow::Owned(object))
}

/// Checks a client without a credential: its issuer, its authentication, and whether they fit together.
///
/// # Errors
/// Every fault of the spec, with field paths.
pub fn parse_client(
    spec: &ApiClientSpec,
    issuers: impl FnOnce(&IssuerRef) -> IssuerLookup,
) -> Result<(Issuer, AuthenticationMethod), Vec<FieldError>> {
    let mut errors = Vec::new();
    let issuer = match (&spec.issuer_ref, &spec.entra) {
        (Some(reference), None) => find(reference, issuers),
        (None, Some(entra)) => Issuer::inline(&entra.tenant_id, entra.cloud.unwrap_or_default()),
        _ => Err(vec![FieldError::new(
            "spec",
            "set exactly one of issuerRef and entra",
        )]),
    };
    let issuer = issuer.map_err(|faults| errors.extend(faults)).ok();
    let authentication = AuthenticationMethod::parse(Some(&spec.client));
    let authentication = authentication.map_err(|faults| errors.extend(faults)).ok();
    errors.extend(end_faults(&spec.client));
    if let (Some(issuer), Some(authentication)) = (&issuer, &authentication) {
        errors.extend(fit::of_client(issuer, authentication));
        let id = spec.client.id.as_deref().unwrap_or_default();
        errors.extend(fit::of_client_id(issuer, authentication, id));
    }
    for error in &mut errors {
        error.field = of_client(&error.field).unwrap_or_else(|| error.field.clone());
    }
    match (issuer, authentication) {
        (Some(issuer), Some(authentication)) if errors.is_empty() => Ok((issuer, authentication)),
        _ => Err(errors),
    }
}

const CLIENT_REF: &str = "spec.clientRef";

fn end_faults(client: &Client) -> Vec<FieldError> {
    let faulty = |declared: &Option<String>| {
        let declared = declared.as_deref();
        declared.is_some_and(|text| end_of_secret(text).is_none())
    };
    let secrets = client.secrets.iter().enumerate();
    let secrets = secrets.filter(|(_, s)| faulty(&s.expires_at));
    let fault = |(i, _)| {
        FieldError::new(
            format!("spec.secrets[{i}].expiresAt"),
            "is not a time; write 2027-06-30T00:00:00Z, or the date 2027-06-30",
        )
    };
    secrets.map(fault).collect()
}

/// The field of a credential that names another issuer than its client does.
fn other_issuer(spec: &ApiCredentialSpec, client: &ApiClientSpec) -> Option<&'static str> {
    let same_tenant = |a: &InlineEntra, b: &InlineEntra| {
        a.tenant_id.eq_ignore_ascii_case(&b.tenant_id)
            && a.cloud.unwrap_or_default() == b.cloud.unwrap_or_default()
    };
    let (issuer_ref, entra) = (spec.issuer_ref.as_ref(), spec.entra.as_ref());
    if issuer_ref.is_some() && issuer_ref != client.issuer_ref.as_ref() {
        return Some("spec.issuerRef");
    }
    let theirs = client.entra.as_ref();
    let same = |ours| theirs.is_some_and(|theirs| same_tenant(ours, theirs));
    entra
        .is_some_and(|ours| !same(ours))
        .then_some("spec.entra")
}

/// The field of the `ApiClient` from which a field of a resolved object was copied.
fn field_of_client(spec: &ApiCredentialSpec, field: &str) -> Option<String> {
    let of_issuer = |name: &str| {
        let rest = field.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let inherits = spec.issuer_ref.is_none() && spec.entra.is_none();
    if inherits && (of_issuer("spec.issuerRef") || of_issuer("spec.entra")) {
        return Some(field.to_owned());
    }
    of_client(field)
}

/// `spec.client.id` is `spec.id` of an `ApiClient`.
fn of_client(field: &str) -> Option<String> {
    let rest = field.strip_prefix("spec.client")?;
    (rest.is_empty() || rest.starts_with('.')).then(|| format!("spec{rest}"))
}
