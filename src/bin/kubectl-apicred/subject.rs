//! The credential of a sign-in, with its issuer, parsed as in the operator.

use apicred::{
    api::{
        ApiClient, ApiCredential, CaBundleKind, ClusterTokenIssuer, IssuerKind, IssuerRef,
        SecretKeyRef, TokenIssuer,
    },
    credential::{
        ClientLookup, Credential, FieldError, Issuer, IssuerLookup, binding, parse_with_client,
        resolve,
    },
    oauth::{Grant, claims_request},
};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::Api;

use crate::cluster::{ApiErrorKind, Cluster, Failed, call};

/// The credential that the user signs in for, and its details.
pub(crate) struct Subject {
    pub(crate) credential: Credential,
    /// Where the refresh token is stored.
    pub(crate) state: SecretKeyRef,
    /// The claims that the issuer required at the last token request (step-up authentication).
    pub(crate) claims: Option<String>,
}

/// Reads and checks the credential.
pub(crate) async fn find(
    cluster: &Cluster,
    name: &str,
    allowed_cidrs: &[IpNet],
) -> Result<Subject, String> {
    let what = format!("ApiCredential {}/{name}", cluster.namespace);
    let object = call(cluster.api::<ApiCredential>().get(name))
        .await
        .map_err(|failed| match failed.error_kind {
            ApiErrorKind::NotFound => {
                format!("{what} does not exist, or apicred is not installed in this cluster")
            }
            _ => failed.about(&format!("reading {what}")),
        })?;
    let grant = object.spec.grant.as_ref();
    if grant.is_none_or(|g| g.refresh_token.is_none()) {
        return Err(format!(
            "{what} has no spec.grant.refreshToken, so it needs no sign-in; to sign in, set the Secret and key for the refresh token there"
        ));
    }
    let client = match &object.spec.client_ref {
        Some(reference) => client(cluster, &reference.name).await?,
        None => ClientLookup::Missing,
    };
    // Errors of the resolution are reported below, with the other faults.
    let resolved = resolve(&object, |_| client.clone()).ok();
    let reference = resolved.as_ref().and_then(|o| o.spec.issuer_ref.as_ref());
    let found = match reference {
        Some(reference) => issuer(cluster, reference, allowed_cidrs).await?,
        None => IssuerLookup::Missing,
    };
    let credential = parse_with_client(&object, |_| client, |_| found)
        .map_err(|faults| format!("{what} is not valid: {}", FieldError::join(&faults)))?;
    let Grant::RefreshToken(grant) = &credential.grant else {
        return Err(format!("{what} has another grant than refreshToken"));
    };
    let state = grant.state.clone();
    let last = object.status.and_then(|s| s.last_attempt);
    // Users with write access to the status could have set any value.
    let claims = last.and_then(|last| claims_request(last.claims.as_deref()?));
    Ok(Subject {
        credential,
        state,
        claims,
    })
}

pub(crate) async fn client(cluster: &Cluster, name: &str) -> Result<ClientLookup, String> {
    match call(cluster.api::<ApiClient>().get(name)).await {
        Ok(object) => Ok(ClientLookup::Found(Box::new(object.spec))),
        Err(failed) if failed.error_kind == ApiErrorKind::NotFound => Ok(ClientLookup::Missing),
        Err(failed) => Err(failed.about(&format!("reading ApiClient {name}"))),
    }
}

async fn issuer(
    cluster: &Cluster,
    reference: &IssuerRef,
    allowed_cidrs: &[IpNet],
) -> Result<IssuerLookup, String> {
    let name = &reference.name;
    let parsed = match reference.kind {
        IssuerKind::TokenIssuer => call(cluster.api::<TokenIssuer>().get(name))
            .await
            .map(|object| Issuer::namespaced(&object, allowed_cidrs)),
        IssuerKind::ClusterTokenIssuer => {
            let api: Api<ClusterTokenIssuer> = Api::all(cluster.client.clone());
            call(api.get(name))
                .await
                .map(|object| Issuer::cluster(&object))
        }
    };
    match (parsed, reference.kind) {
        (Ok(Ok(issuer)), _) => Ok(IssuerLookup::Found(with_ca(cluster, issuer).await?)),
        (Ok(Err(faults)), _) => Ok(IssuerLookup::Faulty(faults)),
        (Err(failed), _) if failed.error_kind == ApiErrorKind::NotFound => {
            Ok(IssuerLookup::Missing)
        }
        (Err(failed), IssuerKind::ClusterTokenIssuer)
            if failed.error_kind == ApiErrorKind::Forbidden =>
        {
            Err(format!(
                "you may not read ClusterTokenIssuer {name}, which contains the sign-in addresses; ask an administrator for get on clustertokenissuers.apicred.dev (docs/sign-in.md)"
            ))
        }
        (Err(failed), kind) => Err(failed.about(&format!("reading {kind:?} {name}"))),
    }
}

/// The issuer with the CAs of its `caBundleRef`. The user's rights do not include the operator's namespace.
async fn with_ca(cluster: &Cluster, issuer: Issuer) -> Result<Issuer, String> {
    let Some(source) = issuer.ca_source.clone() else {
        return Ok(issuer);
    };
    if source.namespace.is_empty() {
        return Err(format!(
            "{} has a caBundleRef, which is in the operator's namespace and cannot be read here; ask its administrator for caBundle",
            issuer.id
        ));
    }
    let failed = |failed: Failed| failed.about(&format!("reading {source}"));
    let name = &source.name;
    let value = match source.kind {
        CaBundleKind::ConfigMap => {
            let object = call(cluster.api::<ConfigMap>().get(name)).await;
            let data = object.map_err(failed)?.data;
            data.and_then(|mut d| d.remove(&source.key))
        }
        CaBundleKind::Secret => {
            let object = call(cluster.api::<Secret>().get(name)).await;
            let data = object.map_err(failed)?.data;
            let bytes = data.and_then(|mut d| d.remove(&source.key));
            bytes.and_then(|b| String::from_utf8(b.0).ok())
        }
    };
    let text = value.ok_or_else(|| format!("{source} does not exist or is not text"))?;
    Ok(issuer.with_ca(Ok(&text)))
}

/// Checks that this namespace may request this from the issuer. Labels of the namespace are checked only if the user may read it; otherwise
/// the operator decides.
pub(crate) async fn may_request(cluster: &Cluster, credential: &Credential) -> Result<(), String> {
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let selects = credential
        .issuer
        .allowed_namespaces
        .as_ref()
        .is_some_and(|a| a.selector.is_some());
    let labels = if selects {
        match call(namespaces.get(&cluster.namespace)).await {
            Ok(namespace) => Some(namespace.metadata.labels.unwrap_or_default()),
            Err(_) => None,
        }
    } else {
        None
    };
    let unknown = selects && labels.is_none();
    match binding::may_request(
        &credential.issuer,
        &credential.namespace,
        labels.as_ref(),
        &credential.request,
    ) {
        Err(binding::Denial::Namespace(_)) if unknown => Ok(()),
        other => other.map_err(|denial| denial.message().to_owned()),
    }
}
