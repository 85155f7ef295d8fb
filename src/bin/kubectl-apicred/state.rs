//! The state Secret, which stores the refresh token, and the checks before it is written.

use std::{collections::BTreeMap, time::Duration};

use apicred::{
    api::{SecretKeyRef, names},
    credential::{Credential, Issuer, binding},
};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::cluster::{ApiErrorKind, Cluster, Failed, call, call_with};

/// Owner of the fields that this module writes.
const MANAGER: &str = "kubectl-apicred";
/// Number of tries of a write: the refresh token exists nowhere else.
const TRIES: u32 = 6;

/// The Secret of one credential.
pub(crate) struct State<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) credential: &'a Credential,
    pub(crate) reference: &'a SecretKeyRef,
    /// Origins to which the operator sends the refresh token.
    pub(crate) origins: Vec<String>,
    /// The issuer of the refresh token, as the operator records it.
    pub(crate) issuer: String,
    /// Take over a Secret that names another credential, or none.
    pub(crate) force: bool,
}

impl State<'_> {
    /// Checks that the refresh token can be stored, before the sign-in, so that no sign-in is wasted.
    pub(crate) async fn check(&self) -> Result<(), String> {
        let name = self.reference.name.as_str();
        let missing = |verb: &str| {
            format!(
                "you may not {verb} {}, in which the refresh token is stored; docs/sign-in.md has a Role that allows it",
                self.place()
            )
        };
        if !self.cluster.may("get", "secrets", Some(name)).await {
            return Err(missing("get"));
        }
        let there = call(self.cluster.api::<Secret>().get_opt(name))
            .await
            .map_err(|failed| failed.about(&format!("reading {}", self.place())))?;
        if let Some(secret) = there {
            self.check_state(&secret)?;
            if !self.cluster.may("patch", "secrets", Some(name)).await {
                return Err(missing("patch"));
            }
        } else if !self.cluster.may("create", "secrets", None).await {
            return Err(missing("create"));
        }
        Ok(())
    }

    /// Stores the refresh token and removes the annotations about the previous one.
    /// `scopes` are those that the sign-in requested.
    pub(crate) async fn store(
        &self,
        token: &SecretString,
        scopes: &[String],
    ) -> Result<(), String> {
        let scopes = scopes.join(" ");
        let api = self.cluster.api::<Secret>();
        let name = self.reference.name.as_str();
        let mut last = Failed::from(ApiErrorKind::Unavailable);
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
            }
            let written = match call(api.get_opt(name)).await {
                Ok(None) => {
                    let secret = self.fresh(token, &scopes)?;
                    call_with(Some(token), api.create(&PostParams::default(), &secret)).await
                }
                Ok(Some(there)) => {
                    self.check_state(&there)?;
                    let change = self.change(&there, token, &scopes);
                    let params = PatchParams {
                        field_manager: Some(MANAGER.to_owned()),
                        ..PatchParams::default()
                    };
                    call_with(
                        Some(token),
                        api.patch(name, &params, &Patch::Merge(&change)),
                    )
                    .await
                }
                Err(failed) => Err(failed),
            };
            match written {
                Ok(_) => return Ok(()),
                // The operator sometimes writes an annotation on it, and another client may have just created it.
                Err(failed) => last = failed,
            }
            if !matches!(
                last.error_kind,
                ApiErrorKind::Conflict | ApiErrorKind::NotFound | ApiErrorKind::Unavailable
            ) {
                break;
            }
        }
        let doing = format!("storing the refresh token in {}", self.place());
        Err(format!("{}. Nothing was stored", last.about(&doing)))
    }

    /// Its name in messages.
    pub(crate) fn place(&self) -> String {
        format!("Secret {}/{}", self.cluster.namespace, self.reference.name)
    }

    fn check_state(&self, secret: &Secret) -> Result<(), String> {
        check_state(secret, self.credential, self.force)
            .and_then(|()| may_hold(secret, &self.credential.issuer, &self.origins))
            .map_err(|why| format!("{} {why}", self.place()))
    }

    fn fresh(&self, token: &SecretString, scopes: &str) -> Result<Secret, String> {
        let secret = json!({
            "metadata": {
                "name": self.reference.name,
                "labels": { (names::MANAGED_BY): names::MANAGER },
                "annotations": {
                    (names::STATE_OF): self.credential.name,
                    (names::ALLOWED_ISSUERS): self.origins.join(","),
                    (names::ISSUED_BY): self.issuer,
                    (names::SIGN_IN_SCOPES): scopes,
                },
            },
            "type": "Opaque",
            "stringData": { (self.reference.key.as_str()): token.expose_secret() },
        });
        serde_json::from_value(secret).map_err(|_| "the Secret cannot be made".to_owned())
    }

    fn change(&self, there: &Secret, token: &SecretString, scopes: &str) -> Value {
        let mut notes = json!({
            (names::ISSUED_BY): self.issuer,
            (names::SIGN_IN_SCOPES): scopes,
        });
        let named = |note: &str| {
            let all = there.metadata.annotations.as_ref();
            all.is_some_and(|a| a.contains_key(note))
        };
        // `state-of` may be narrower than a name, and only the owner decides on `allowed-issuers`: existing values stay.
        if !is_state_of(there, self.credential) {
            notes[names::STATE_OF] = json!(self.credential.name);
        }
        if !named(names::ALLOWED_ISSUERS) {
            notes[names::ALLOWED_ISSUERS] = json!(self.origins.join(","));
        }
        for mark in [
            names::IN_FLIGHT_SINCE,
            names::SIGN_IN_REQUIRED,
            names::ROTATES,
            names::TOKEN_EXPIRES_AT,
        ] {
            notes[mark] = Value::Null;
        }
        json!({
            "metadata": {
                "resourceVersion": there.metadata.resource_version,
                "labels": { (names::MANAGED_BY): names::MANAGER },
                "annotations": notes,
            },
            "stringData": { (self.reference.key.as_str()): token.expose_secret() },
        })
    }
}

/// Whether the Secret is dedicated to this credential. It is the check of the operator.
fn is_state_of(secret: &Secret, credential: &Credential) -> bool {
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    binding::may_serve(credential, name, secret.metadata.annotations.as_ref()).is_ok()
}

/// Checks that a refresh token of `credential` may be stored in this Secret. The error contains the reason and the fix.
pub(crate) fn check_state(
    secret: &Secret,
    credential: &Credential,
    force: bool,
) -> Result<(), String> {
    let empty = BTreeMap::new();
    let notes = secret.metadata.annotations.as_ref().unwrap_or(&empty);
    if let Some(owner) = notes.get(names::CREDENTIAL) {
        return Err(format!(
            "holds the token of ApiCredential {owner}; name another Secret in spec.grant.refreshToken.secretRef"
        ));
    }
    if binding::is_published(&secret.metadata) {
        return Err(
            "is owned by an ApiCredential and is deleted with it; name another Secret in spec.grant.refreshToken.secretRef"
                .to_owned(),
        );
    }
    if secret.metadata.deletion_timestamp.is_some() {
        return Err("is being deleted; run the command again when it is gone".to_owned());
    }
    if secret.immutable == Some(true) {
        return Err(
            "is immutable; delete it, or name another in spec.grant.refreshToken.secretRef"
                .to_owned(),
        );
    }
    if force || is_state_of(secret, credential) {
        return Ok(());
    }
    match notes.get(names::STATE_OF) {
        Some(owner) => Err(format!(
            "contains the refresh token of ApiCredential {}; one Secret serves one credential. Name another in spec.grant.refreshToken.secretRef, or take it over with --force",
            owner.trim()
        )),
        None => Err(format!(
            "is there already and is not marked as a state Secret; set the annotation {}: {} on it, or take it over with --force",
            names::STATE_OF,
            credential.name
        )),
    }
}

/// Checks that a refresh token for these origins may be stored in this Secret. Only its owner decides on an existing
/// `allowed-issuers`, which is never changed, not even with --force.
pub(crate) fn may_hold(secret: &Secret, issuer: &Issuer, origins: &[String]) -> Result<(), String> {
    let annotations = secret.metadata.annotations.as_ref();
    let Some(list) = annotations.and_then(|a| a.get(names::ALLOWED_ISSUERS)) else {
        return Ok(());
    };
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    let missing: Vec<&str> = origins
        .iter()
        .filter(|origin| binding::may_post(issuer, origin, name, annotations).is_err())
        .map(String::as_str)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "has the annotation {}: {list:?}, which lacks {}, where this refresh token would be sent; nothing is changed. If it may go there, the owner of the Secret adds {} to the annotation",
        names::ALLOWED_ISSUERS,
        missing.join(", "),
        missing.join(",")
    ))
}
