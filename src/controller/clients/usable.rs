//! Checks whether a credential can use a client: its spec, its issuer, the rules of the installation, and the Secrets for its
//! authentication. The check does not include which token a credential may request.

use std::{collections::HashSet, sync::Arc, time::Duration};

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Api;

use crate::{
    Reason,
    api::{IssuerRef, names},
    controller::{
        api::calls::{ApiErrorKind, call},
        cache::{
            cached_client::{CachedClient, Opened},
            readable::Flaw,
            service_accounts,
        },
        context::Context,
        locks::lock,
        lookup,
    },
    credential::{
        AuthenticationMethod, FieldError, Issuer, Key,
        binding::{self, Denial},
        parse_client,
    },
};

/// The wait before a check is repeated that could not be completed: the API server did not respond, or the permission to read Secrets is missing.
const AGAIN: Duration = Duration::from_mins(1);

/// Why no credential can use a client.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl Fault {
    fn new(reason: Reason, message: String) -> Self {
        Self { reason, message }
    }
}

impl From<Vec<FieldError>> for Fault {
    fn from(faults: Vec<FieldError>) -> Self {
        let reason = faults.first().map_or(Reason::InvalidSpec, |f| f.reason);
        Self::new(reason, FieldError::join(&faults))
    }
}

impl From<FieldError> for Fault {
    fn from(fault: FieldError) -> Self {
        vec![fault].into()
    }
}

impl From<Denial> for Fault {
    fn from(denial: Denial) -> Self {
        Self::new(denial.reason(), denial.message().to_owned())
    }
}

/// The result of a check.
pub(super) struct Checked {
    /// `None` if this could not be determined.
    pub(super) found: Option<Result<(), Fault>>,
    /// When to check again if there is no change.
    pub(super) again: Option<Duration>,
}

impl Checked {
    fn of(found: Result<(), Fault>) -> Self {
        let forbidden = (found.as_ref()).is_err_and(|f| f.reason == Reason::ClientSecretForbidden);
        Self {
            found: Some(found),
            again: forbidden.then_some(AGAIN),
        }
    }

    const UNKNOWN: Self = Self {
        found: None,
        again: Some(AGAIN),
    };
}

/// Checks a client. Reads a Secret only if it changed since the last check.
pub(super) async fn check(context: &Context, key: &Key, client: &CachedClient) -> Checked {
    let (issuer, authentication) = match permitted(context, key, client) {
        Ok(Some(permitted)) => permitted,
        Ok(None) => {
            return Checked {
                found: None,
                again: None,
            };
        }
        Err(fault) => return Checked::of(Err(fault)),
    };
    let sources = authentication.alternatives();
    lock(&context.clients.opened)
        .entry(key.clone())
        .or_default()
        .retain(|o| {
            sources
                .iter()
                .any(|s| o.meta.name.as_ref() == Some(&s.name))
        });
    let (mut fault, mut unknown) = (None, false);
    for (source, keys) in sources.iter().zip(authentication.keys()) {
        match open(context, key, &source.name).await {
            Ok(Some(opened)) => match allows(&issuer, &authentication, &opened, &keys) {
                Ok(()) => return Checked::of(Ok(())),
                Err(found) => fault = fault.or(Some(found)),
            },
            Ok(None) => {}
            Err(ApiErrorKind::Forbidden) => fault = fault.or(Some(forbidden(&source.name))),
            Err(_) => unknown = true,
        }
    }
    match (sources.first(), fault) {
        (None, _) => Checked::of(Ok(())),
        _ if unknown => Checked::UNKNOWN,
        (_, Some(fault)) => Checked::of(Err(fault)),
        (Some(first), None) => Checked::of(Err(missing(&authentication, &first.name))),
    }
}

/// The result from the spec, the issuer, the installation and the ServiceAccount. `None` while this is unknown.
fn permitted(
    context: &Context,
    key: &Key,
    client: &CachedClient,
) -> Result<Option<(Issuer, AuthenticationMethod)>, Fault> {
    let spec = client.spec.as_ref().map_err(Flaw::error)?;
    let lookup = |reference: &IssuerRef| context.issuer(&key.namespace, reference);
    let (issuer, authentication) = parse_client(spec, lookup)?;
    // If its labels are not known, a namespace would look as if the issuer did not serve it. All clients are checked again after the first list.
    let unlisted = || context.health.unlisted().contains(&"namespaces");
    match lookup::may_use(context, &issuer, &key.namespace) {
        Err(Denial::Namespace(_)) if context.namespace(&key.namespace).is_none() && unlisted() => {
            return Ok(None);
        }
        allowed => allowed?,
    }
    let own = service_accounts::of(&authentication, &[]);
    for name in &own {
        context.accounts.may_go_to(&issuer, &key.namespace, name)?;
    }
    if let Some(name) = context.accounts.missing_of(&key.namespace, own) {
        let problem =
            format!("ServiceAccount {name} does not exist; create it, or correct the name");
        let fault = FieldError::new("spec.serviceAccount.name", problem);
        return Err(fault.because(Reason::ServiceAccountMissing).into());
    }
    Ok(Some((issuer, authentication)))
}

/// Checks that this Secret may authenticate the client, and contains the keys.
fn allows(
    issuer: &Issuer,
    authentication: &AuthenticationMethod,
    opened: &Opened,
    keys: &[&str],
) -> Result<(), Fault> {
    binding::may_authenticate(issuer, authentication, &opened.meta)?;
    match keys.iter().find(|key| !opened.keys.contains(**key)) {
        None => Ok(()),
        Some(key) => {
            let name = opened.meta.name.as_deref().unwrap_or_default();
            let problem = format!("Secret {name} has no key {key}; correct the key or add it");
            let fault = FieldError::new(field(authentication), problem);
            Err(fault.because(authentication.lacking().key).into())
        }
    }
}

/// The current Secret with this name, if it exists.
async fn open(
    context: &Context,
    key: &Key,
    name: &str,
) -> Result<Option<Arc<Opened>>, ApiErrorKind> {
    let seen = {
        let secrets = lock(&context.secrets);
        let seen = secrets.get(&(key.namespace.clone(), name.to_owned()));
        seen.map(|seen| (seen.facts.uid.clone(), seen.facts.version.clone()))
    };
    let Some((uid, version)) = seen else {
        return Ok(None);
    };
    let is_it = |o: &&Arc<Opened>| {
        o.meta.name.as_deref() == Some(name)
            && o.meta.uid.as_ref() == Some(&uid)
            && o.meta.resource_version.as_ref() == Some(&version)
    };
    let known = {
        let opened = lock(&context.clients.opened);
        opened
            .get(key)
            .and_then(|all| all.iter().find(is_it).cloned())
    };
    if known.is_some() {
        return Ok(known);
    }
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &key.namespace);
    let read = call(&context.metrics, "get_secret", || api.get(name)).await;
    let secret = match read {
        Ok(secret) => secret,
        Err(ApiErrorKind::NotFound) => return Ok(None),
        Err(error_kind) => return Err(error_kind),
    };
    let opened = Arc::new(Opened {
        meta: trimmed(secret.metadata),
        keys: secret
            .data
            .unwrap_or_default()
            .into_keys()
            .collect::<HashSet<_>>(),
    });
    let mut all = lock(&context.clients.opened);
    // Nothing is stored for a client that was deleted in the meantime.
    if let Some(all) = all.get_mut(key) {
        all.retain(|o| o.meta.name != opened.meta.name);
        all.push(Arc::clone(&opened));
    }
    Ok(Some(opened))
}

/// The metadata that [`binding`] reads.
fn trimmed(meta: ObjectMeta) -> ObjectMeta {
    let mut annotations = meta.annotations.unwrap_or_default();
    annotations.retain(|name, _| name.starts_with(names::GROUP));
    ObjectMeta {
        name: meta.name,
        uid: meta.uid,
        resource_version: meta.resource_version,
        owner_references: meta.owner_references,
        annotations: Some(annotations),
        ..ObjectMeta::default()
    }
}

fn forbidden(name: &str) -> Fault {
    Fault::new(
        Reason::ClientSecretForbidden,
        format!(
            "apicred may not read Secret {name}; its role lacks get on secrets in this namespace"
        ),
    )
}

fn missing(authentication: &AuthenticationMethod, name: &str) -> Fault {
    let problem = format!("Secret {name} does not exist; create it, or correct the name");
    let fault = FieldError::new(field(authentication), problem);
    fault.because(authentication.lacking().secret).into()
}

const fn field(authentication: &AuthenticationMethod) -> &'static str {
    match authentication {
        AuthenticationMethod::Certificates(_) => "spec.certificates",
        AuthenticationMethod::Mtls(_) => "spec.mtls",
        AuthenticationMethod::Key(_) => "spec.key",
        AuthenticationMethod::Assertion(_) => "spec.assertion",
        _ => "spec.secrets",
    }
}
