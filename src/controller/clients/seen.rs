//! What a rotation sees: the source Secret with its values, and the credentials that use it.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use secrecy::{ExposeSecret, SecretString};

use crate::controller::{context::Context, locks::lock, requeue::reference};
use crate::{
    api::names,
    credential::{Key, binding::is_named},
    oauth::{Identity, Material, file, word},
    plan::fingerprint::DigestKey,
    rotation::{
        Kind, Rotating, Slot, Slots, User,
        graph::{hint, thumbprints},
        values::{NEXT, PREVIOUS},
    },
};

/// Labels and annotations of tools that put the content of a Secret back.
const TOOLS: [(&str, &str); 5] = [
    ("cert-manager.io/certificate-name", "cert-manager"),
    ("argocd.argoproj.io/tracking-id", "Argo CD"),
    ("argocd.argoproj.io/instance", "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/name", "Flux"),
    ("helm.toolkit.fluxcd.io/name", "Flux"),
];

/// A value of the Secret.
pub(super) enum ClientValue {
    Secret(SecretString),
    Certificate(Box<Identity>, [SecretString; 2]),
}

impl ClientValue {
    /// The one under these keys with an ending; none if it is not whole or cannot be read.
    pub(super) fn read(
        rotating: &Rotating,
        data: &BTreeMap<String, ByteString>,
        ending: &str,
    ) -> Option<Self> {
        let bytes = |at: usize| {
            let key = format!("{}{ending}", rotating.keys.get(at)?);
            data.get(&key).map(|b| b.0.as_slice())
        };
        match rotating.settings.kind {
            Kind::Secret => word(bytes(0)?).ok().map(Self::Secret),
            Kind::Certificate => {
                let (certificate, key) = (file(bytes(0)?).ok()?, file(bytes(1)?).ok()?);
                let identity =
                    Identity::from_pem(certificate.expose_secret(), key.expose_secret()).ok()?;
                Some(Self::Certificate(Box::new(identity), [certificate, key]))
            }
        }
    }

    pub(super) fn slot(&self, digests: &DigestKey) -> Option<Slot> {
        let texts: Vec<&str> = match self {
            Self::Secret(value) => vec![value.expose_secret()],
            Self::Certificate(_, texts) => texts.iter().map(ExposeSecret::expose_secret).collect(),
        };
        let (mark, validity) = match self {
            Self::Secret(value) => (hint(value), None),
            Self::Certificate(identity, _) => {
                let validity = identity.validity();
                let validity = validity.map(|validity| (validity.from, validity.until));
                (thumbprints(identity)?, validity)
            }
        };
        Some(Slot {
            digest: digests.fingerprint("rotation", &texts),
            mark,
            validity,
        })
    }

    pub(super) fn material(self) -> Material {
        match self {
            Self::Secret(value) => Material::Secret(value),
            Self::Certificate(identity, _) => Material::Signer(identity, 0),
        }
    }
}

/// All values of the Secret.
pub(super) fn slots(
    rotating: &Rotating,
    data: &BTreeMap<String, ByteString>,
    digests: &DigestKey,
) -> Slots {
    let slot = |ending| ClientValue::read(rotating, data, ending)?.slot(digests);
    Slots {
        current: slot(""),
        next: slot(NEXT),
        previous: slot(PREVIOUS),
    }
}

/// Why the content of this Secret may not be replaced.
pub(super) fn obstacle(secret: &Secret, key: &Key, uid: &str) -> Option<String> {
    let meta = &secret.metadata;
    let name = meta.name.as_deref().unwrap_or_default();
    let annotations = meta.annotations.as_ref();
    let by = annotations.and_then(|a| a.get(names::ROTATE_BY));
    if !by.is_some_and(|by| is_named(by, &key.name, uid)) {
        return Some(format!(
            "Secret {name} may not be changed by this client; its owner must set the annotation {}: {} on it",
            names::ROTATE_BY,
            key.name
        ));
    }
    if secret.immutable == Some(true) {
        return Some(format!(
            "Secret {name} is immutable; create it again without immutable"
        ));
    }
    let mut owners = meta.owner_references.iter().flatten();
    let controller = owners.find(|o| o.controller == Some(true));
    let owner = controller.map(|owner| format!("{} {}", owner.kind, owner.name));
    let has = |key: &str| {
        let maps = [annotations, meta.labels.as_ref()];
        maps.into_iter().flatten().any(|map| map.contains_key(key))
    };
    let tool = || TOOLS.iter().find(|(key, _)| has(key));
    let owner = owner.or_else(|| tool().map(|(_, tool)| (*tool).to_owned()))?;
    Some(format!(
        "Secret {name} belongs to {owner}, which would put the old content back; give the client a Secret of its own, or remove rotation"
    ))
}

/// The credentials that authenticate by this Secret, with what is noted with their tokens.
pub(super) fn users(
    context: &Context,
    namespace: &str,
    rotating: &Rotating,
    uid: &str,
) -> Vec<User> {
    let source = (namespace.to_owned(), rotating.secret.clone());
    let keys = lock(&context.index).of_secret(&source);
    keys.iter()
        .filter_map(|key| user(context, key, rotating, uid))
        .collect()
}

fn user(context: &Context, key: &Key, rotating: &Rotating, uid: &str) -> Option<User> {
    let object = context.credentials.get(&reference(key))?.open()?;
    if object.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let credential = context.parse(&object).ok()?;
    let names_it = credential.alternatives().contains(&rotating.reference);
    if !names_it || credential.suspend {
        return None;
    }
    let target = (key.namespace.clone(), credential.target.name.clone());
    let secrets = lock(&context.secrets);
    let published = secrets.published(&target, &credential.uid);
    let record = published.and_then(|p| p.record.as_ref());
    let used = record.and_then(|r| r.sources.used.as_ref());
    // Another entry of its list serves it.
    if used.is_some_and(|used| !used.is(&rotating.reference)) {
        return None;
    }
    let version = used
        .filter(|used| used.uid == uid)
        .map(|used| used.version.clone());
    Some(User {
        version,
        issued_at: record.map(|r| r.issued_at).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    #[test]
    fn only_the_owner_lets_a_client_change_a_secret_that_nobody_else_fills() {
        let key = Key::new("secops", "defender");
        let told = |meta: &Json, immutable: bool| {
            let mut all =
                json!({ "name": "s", "annotations": { "apicred.dev/rotate-by": "defender" } });
            for (name, value) in meta.as_object().into_iter().flatten() {
                all[name] = value.clone();
            }
            let secret = json!({ "metadata": all, "immutable": immutable });
            obstacle(&serde_json::from_value(secret).unwrap(), &key, "u")
        };
        let by = |name: &str| json!({ "annotations": { "apicred.dev/rotate-by": name } });
        let with = |key: &str| json!({ "labels": { key: "x" } });
        let owner = json!({ "ownerReferences": [{
            "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "name": "e", "uid": "1", "controller": true,
        }] });
        let follower = json!({ "ownerReferences": [{ "apiVersion": "v1", "kind": "ConfigMap", "name": "e", "uid": "1" }] });
        for (meta, immutable, words) in [
            (json!({}), false, None),
            (by("defender@u"), false, None),
            (follower, false, None),
            (by("defender@v"), false, Some("rotate-by: defender")),
            (by("other"), false, Some("rotate-by: defender")),
            (
                json!({ "annotations": null }),
                false,
                Some("rotate-by: defender"),
            ),
            (json!({}), true, Some("immutable")),
            (owner, false, Some("ExternalSecret e")),
            (with("argocd.argoproj.io/instance"), false, Some("Argo CD")),
            (
                with("kustomize.toolkit.fluxcd.io/name"),
                false,
                Some("Flux"),
            ),
            (
                with("cert-manager.io/certificate-name"),
                false,
                Some("cert-manager"),
            ),
        ] {
            let said = told(&meta, immutable);
            match words {
                None => assert_eq!(said, None, "{meta}"),
                Some(words) => assert!(
                    said.as_ref().is_some_and(|s| s.contains(words)),
                    "{meta}: {said:?}"
                ),
            }
        }
    }
}
