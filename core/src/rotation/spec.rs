//! `spec.rotation` of an `ApiClient`, parsed.

use jiff::SignedDuration;
use url::Url;

use super::settings::{Kind, Pace, RotationSettings, Trials};
use crate::{
    Reason,
    api::{ApiClientSpec, SecretKeyRef},
    credential::{AuthenticationMethod, Endpoint, FieldError, Issuer},
};

/// What is rotated, where, and by whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotating {
    /// Times, and what may be removed.
    pub settings: RotationSettings,
    /// Name of the Secret.
    pub secret: String,
    /// Keys of its data that make one value: one, or certificate and private key.
    pub keys: Vec<String>,
    /// The key by which credentials name it.
    pub reference: SecretKeyRef,
    /// The issuer's endpoint.
    pub endpoint: Endpoint,
    /// Client ID of the application.
    pub client_id: String,
    /// Object ID of the application, if the spec has it.
    pub object_id: Option<String>,
    /// Name of the `ApiCredential` whose token calls Microsoft Graph. None: the client itself.
    pub manager: Option<String>,
    /// Microsoft Graph, with its version.
    pub graph: Url,
    /// Bits of a new RSA key.
    pub bits: u32,
}

fn fault(field: &str, problem: impl Into<String>) -> FieldError {
    FieldError::new(field, problem.into()).because(Reason::InvalidSpec)
}

/// What is to be rotated. None: nothing.
///
/// # Errors
/// Why it cannot be rotated. The client can be used all the same.
pub fn rotating(
    spec: &ApiClientSpec,
    (issuer, proof): (&Issuer, &AuthenticationMethod),
    (trials, pace): (Trials, Pace),
) -> Result<Option<Rotating>, FieldError> {
    let Some(rotation) = &spec.rotation else {
        return Ok(None);
    };
    let graph = match (&issuer.endpoint, &issuer.graph) {
        (Endpoint::Entra { .. }, Some(graph)) => graph.clone(),
        (Endpoint::Entra { .. }, None) => {
            return Err(fault(
                "spec.rotation",
                "the issuer has another authority, and does not say where its Microsoft Graph is; set entra.graphHost on the issuer",
            ));
        }
        _ => {
            return Err(fault(
                "spec.rotation",
                "only Microsoft Entra ID is known to rotate credentials of clients; remove rotation",
            ));
        }
    };
    let (kind, reference, keys) = match proof {
        AuthenticationMethod::Secrets(all) if all.len() == 1 => {
            (Kind::Secret, all[0].clone(), vec![all[0].key.clone()])
        }
        AuthenticationMethod::Certificates(all) if all.len() == 1 => {
            let pair = &all[0].pair;
            let keys = vec![pair.certificate.clone(), pair.private_key.clone()];
            (Kind::Certificate, pair.reference(), keys)
        }
        _ => {
            return Err(fault(
                "spec.rotation",
                "replaces the one entry of certificates or secrets; keep one entry, or remove rotation",
            ));
        }
    };
    let manager = rotation.management_ref.as_ref().map(|m| m.name.clone());
    if kind == Kind::Secret && manager.is_none() {
        return Err(fault(
            "spec.rotation.managementRef",
            "is missing; only another application that owns this one may give it a new client secret",
        ));
    }
    let usual = RotationSettings::of(kind);
    let span = |chosen: Option<kube::core::Duration>, usual: SignedDuration| {
        let chosen = chosen.map(|d| SignedDuration::try_from(std::time::Duration::from(d)));
        chosen.map_or(usual, |d| d.unwrap_or(SignedDuration::MAX))
    };
    let settings = RotationSettings {
        every: span(rotation.every, usual.every),
        validity: span(rotation.validity, usual.validity),
        overlap: span(rotation.overlap, usual.overlap),
        trials,
        pace,
        adopt: rotation.adopt.as_ref().map(|a| a.key_id.to_lowercase()),
        ..usual
    };
    settings
        .check()
        .map_err(|(field, problem)| fault(&format!("spec.rotation.{field}"), problem))?;
    let size = rotation.key.as_ref().and_then(|key| key.size);
    Ok(Some(Rotating {
        settings,
        secret: reference.name.clone(),
        keys,
        reference,
        endpoint: issuer.endpoint.clone(),
        client_id: spec.client.id.clone().unwrap_or_default(),
        object_id: spec.object_id.clone(),
        manager,
        graph,
        bits: size.and_then(|s| u32::try_from(s).ok()).unwrap_or(2048),
    }))
}
