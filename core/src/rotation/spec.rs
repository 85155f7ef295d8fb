//! `spec.rotation` of an `ApiClient`, parsed.

use url::Url;

use super::{
    cycle::{Cycle, span},
    registration::{TOKEN_KEY, URL_KEY},
    settings::{Kind, Pace, RotationSettings, Trials},
    state::ClientAt,
    values::{NEXT, PREVIOUS},
};
use crate::{
    Reason,
    api::{ApiClientSpec, Rotation, SecretKeyRef},
    credential::{AuthenticationMethod, Endpoint, FieldError, Issuer},
};

/// What is rotated, where, and by whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotating {
    /// Times, and the credential that may be removed.
    pub settings: RotationSettings,
    /// Name of the Secret.
    pub secret: String,
    /// Keys of its data that contain one value: one, or certificate and private key. One file may contain both.
    pub keys: Vec<String>,
    /// The key by which credentials name it.
    pub reference: SecretKeyRef,
    /// The issuer's endpoint.
    pub endpoint: Endpoint,
    /// Client ID of the application.
    pub client_id: String,
    /// Object ID of the application, if the spec sets it.
    pub object_id: Option<String>,
    /// Name of the `ApiCredential` whose token calls Microsoft Graph. None: the client itself.
    pub manager: Option<String>,
    /// Where the client is changed.
    pub registry: Registry,
    /// Bits of the RSA key of a new certificate. None: the same as those of the current one.
    pub bits: Option<usize>,
}

impl Rotating {
    /// The client to which the credentials belong.
    pub fn client(&self) -> ClientAt {
        ClientAt::of(&self.endpoint, &self.client_id)
    }
}

/// Where a client is changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Registry {
    /// Microsoft Graph, with its version.
    Graph(Url),
    /// The client's own registration (RFC 7592): keys of the Secret.
    Registration {
        /// The key with its address.
        url: String,
        /// The key with the registration access token.
        token: String,
    },
}

fn fault(field: &str, problem: impl Into<String>) -> FieldError {
    FieldError::new(field, problem.into()).because(Reason::InvalidSpec)
}

/// What is to be rotated. None: nothing.
///
/// # Errors
/// Why it cannot be rotated. The client can still be used.
pub fn rotating(
    spec: &ApiClientSpec,
    (issuer, method): (&Issuer, &AuthenticationMethod),
    (trials, pace): (Trials, Pace),
) -> Result<Option<Rotating>, FieldError> {
    let Some(rotation) = &spec.rotation else {
        return Ok(None);
    };
    let registry = registry(rotation, issuer)?;
    let (kind, reference, keys) = value(method, &registry)?;
    let manager = rotation.management_ref.as_ref().map(|m| m.name.clone());
    if kind == Kind::Secret && manager.is_none() {
        return Err(fault(
            "spec.rotation.managementRef",
            "is missing; only another application that owns this one may give it a new client secret",
        ));
    }
    has_room(method, &keys)?;
    if let Registry::Registration { url, token } = &registry {
        may_hold(url, token, &keys)?;
    }
    let usual = RotationSettings::of(kind);
    let Cycle { every, overlap } = Cycle::of(rotation);
    let settings = RotationSettings {
        every,
        validity: span(rotation.validity, usual.validity),
        overlap,
        trials,
        pace,
        adopt: rotation.adopt.as_ref().map(|a| match kind {
            // GUIDs are accepted in upper and lower case; thumbprints are base64url.
            Kind::Key => a.key_id.clone(),
            _ => a.key_id.to_lowercase(),
        }),
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
        registry,
        bits: size.and_then(|s| usize::try_from(s).ok()),
    }))
}

/// Where the client is changed.
fn registry(rotation: &Rotation, issuer: &Issuer) -> Result<Registry, FieldError> {
    let entra = matches!(issuer.endpoint, Endpoint::Entra { .. });
    match (&rotation.registration, entra, &issuer.graph) {
        (Some(_), true, _) => Err(fault(
            "spec.rotation.registration",
            "is for other issuers; Entra ID has Microsoft Graph, so remove registration",
        )),
        (Some(keys), false, _) => {
            let or =
                |key: &Option<String>, usual: &str| key.clone().unwrap_or_else(|| usual.to_owned());
            Ok(Registry::Registration {
                url: or(&keys.url_key, URL_KEY),
                token: or(&keys.token_key, TOKEN_KEY),
            })
        }
        (None, true, Some(graph)) => Ok(Registry::Graph(graph.clone())),
        (None, true, None) => Err(fault(
            "spec.rotation",
            "the issuer has another authority, and does not say where its Microsoft Graph is; set entra.graphHost on the issuer",
        )),
        (None, false, _) => Err(fault(
            "spec.rotation",
            "needs Microsoft Entra ID, or a client that may change its own registration (RFC 7592); set rotation.registration, or remove rotation",
        )),
    }
}

/// Longest key of a Secret, in characters.
const MOST_KEY: usize = 253;

/// Checks that the next and the previous value can be stored next to the current one, under its keys with an ending.
fn has_room(method: &AuthenticationMethod, keys: &[String]) -> Result<(), FieldError> {
    let names: &[&str] = match method {
        AuthenticationMethod::Secrets(_) => &["spec.secrets[0].key"],
        AuthenticationMethod::Certificates(_) => &[
            "spec.certificates[0].certificateKey",
            "spec.certificates[0].privateKeyKey",
        ],
        _ => &["spec.key.key"],
    };
    let most = MOST_KEY - PREVIOUS.len();
    for (key, field) in keys.iter().zip(names) {
        if key.len() > most {
            let problem = format!(
                "has {} characters, and a rotation stores other values under the same key with {NEXT} and {PREVIOUS}; use one of at most {most} characters, or remove rotation",
                key.len()
            );
            return Err(fault(field, problem));
        }
        let beside = |other: &String| {
            [NEXT, PREVIOUS]
                .iter()
                .any(|e| *other == format!("{key}{e}"))
        };
        if let Some(other) = keys.iter().find(|other| beside(other)) {
            let problem = format!(
                "is {key}, and the other key of the pair is {other}, under which a rotation stores another value; rename one of them, or remove rotation"
            );
            return Err(fault(field, problem));
        }
    }
    Ok(())
}

/// Checks that address and token have their own keys: a rotation writes the others.
fn may_hold(url: &str, token: &str, keys: &[String]) -> Result<(), FieldError> {
    let is_value = |name: &str| {
        keys.iter().any(|key| {
            let ending = name.strip_prefix(key.as_str());
            ending.is_some_and(|ending| ["", NEXT, PREVIOUS].contains(&ending))
        })
    };
    if url == token || is_value(url) || is_value(token) {
        return Err(fault(
            "spec.rotation.registration",
            "must name keys of the Secret that contain nothing else; correct urlKey and tokenKey",
        ));
    }
    Ok(())
}

/// What is replaced: its kind, the reference by which credentials name it, and its keys in the Secret.
fn value(
    method: &AuthenticationMethod,
    registry: &Registry,
) -> Result<(Kind, SecretKeyRef, Vec<String>), FieldError> {
    match (method, registry) {
        (AuthenticationMethod::Secrets(all), Registry::Graph(_)) if all.len() == 1 => {
            Ok((Kind::Secret, all[0].clone(), vec![all[0].key.clone()]))
        }
        (AuthenticationMethod::Certificates(all), Registry::Graph(_)) if all.len() == 1 => {
            let pair = &all[0].pair;
            let mut keys = vec![pair.certificate.clone(), pair.private_key.clone()];
            keys.dedup();
            Ok((Kind::Certificate, pair.reference(), keys))
        }
        (AuthenticationMethod::Key(key), Registry::Registration { .. }) if key.key_id.is_none() => {
            let reference = key.reference.clone();
            let keys = vec![reference.key.clone()];
            Ok((Kind::Key, reference, keys))
        }
        (AuthenticationMethod::Key(_), Registry::Registration { .. }) => Err(fault(
            "spec.key.keyId",
            "would name each key alike; remove keyId, so that each has the thumbprint of RFC 7638",
        )),
        (_, Registry::Registration { .. }) => Err(fault(
            "spec.rotation.registration",
            "replaces the key of key; use key, whose old and new public key are registered side by side, or remove rotation",
        )),
        (_, Registry::Graph(_)) => Err(fault(
            "spec.rotation",
            "replaces the one entry of certificates or secrets; keep one entry, or remove rotation",
        )),
    }
}
