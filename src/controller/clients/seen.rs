//! The observations of a rotation: the source Secret with its values, and the credentials that use it.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use secrecy::{ExposeSecret, SecretString};

use crate::controller::{context::Context, locks::lock, requeue::reference};
use crate::{
    credential::{Issuer, Key},
    oauth::{
        ClientKey, Identity, MAX_KEYS_SEARCHED, Material, file, secret_text, with_private_keys,
    },
    plan::fingerprint::{self, DigestKey},
    rotation::{
        InOther, Kind, Mark, Rotating, Slot, Slots, User,
        graph::{hint, thumbprints, thumbprints_of},
        value_digest,
        values::{NEXT, PREVIOUS},
    },
};

/// A value of the Secret.
pub(super) enum ClientValue {
    Secret(SecretString),
    Certificate(Box<Identity>),
    Key(Box<ClientKey>, SecretString),
}

impl ClientValue {
    /// The value under these keys with an ending; `None` if it is incomplete or cannot be read.
    pub(super) fn read(
        rotating: &Rotating,
        data: &BTreeMap<String, ByteString>,
        ending: &str,
    ) -> Option<Self> {
        let bytes = |at: usize| {
            // One file may contain both.
            let key = rotating.keys.get(at).or(rotating.keys.last())?;
            let key = format!("{key}{ending}");
            data.get(&key).map(|b| b.0.as_slice())
        };
        match rotating.settings.kind {
            Kind::Secret => secret_text(bytes(0)?).ok().map(Self::Secret),
            Kind::Key => {
                let text = file(bytes(0)?).ok()?;
                let key = ClientKey::read(text.expose_secret()).ok()?;
                Some(Self::Key(Box::new(key), text))
            }
            Kind::Certificate => {
                let (certificate, key) = (file(bytes(0)?).ok()?, file(bytes(1)?).ok()?);
                let identity =
                    Identity::from_pem(certificate.expose_secret(), key.expose_secret()).ok()?;
                Some(Self::Certificate(Box::new(identity)))
            }
        }
    }

    /// What is known of the value. Its digest is for the value as a client credential of this client: if `spec.id` changes to
    /// another application, or the issuer changes, recorded results are not valid. The value must then get a token before another one is added.
    pub(super) fn slot(&self, rotating: &Rotating, digests: &DigestKey) -> Option<Slot> {
        let (mark, name, validity) = match self {
            Self::Secret(value) => (hint(value), None, None),
            Self::Key(key, _) => (Mark::Key(key.thumbprint()), None, None),
            Self::Certificate(identity) => {
                let validity = identity.validity();
                let validity = validity.map(|validity| (validity.from, validity.until));
                let name = identity.name().map(str::to_owned);
                (thumbprints(identity)?, name, validity)
            }
        };
        let text = match self {
            Self::Secret(value) | Self::Key(_, value) => value.expose_secret(),
            Self::Certificate(_) => mark.digested()?,
        };
        Some(Slot {
            digest: value_digest(digests, &rotating.client(), &[text]),
            mark,
            name,
            validity,
        })
    }

    pub(super) fn material(self) -> Material {
        match self {
            Self::Secret(value) => Material::Secret(value),
            Self::Certificate(identity) => Material::Signer(identity, 0),
            Self::Key(key, _) => Material::Key(key),
        }
    }
}

/// All values of the Secret.
pub(super) fn slots(
    rotating: &Rotating,
    data: &BTreeMap<String, ByteString>,
    digests: &DigestKey,
) -> Slots {
    let slot = |ending| ClientValue::read(rotating, data, ending)?.slot(rotating, digests);
    let other_keys = under_other_keys(rotating.settings.kind, &rotating.keys, data);
    Slots {
        current: slot(""),
        next: slot(NEXT),
        previous: slot(PREVIOUS),
        beside: beside(&rotating.keys, data),
        has_unread_keys: other_keys.is_none(),
        other_keys: other_keys.unwrap_or_default(),
    }
}

/// What identifies the values under all other keys: the client may have named these before, and other programs may use them. `None`: there are
/// too many private keys to read all of them.
fn under_other_keys(
    kind: Kind,
    keys: &[String],
    data: &BTreeMap<String, ByteString>,
) -> Option<Vec<Mark>> {
    let is_own = |key: &String| {
        let mut endings = keys.iter().map(|own| key.strip_prefix(own.as_str()));
        endings.any(|ending| ending.is_some_and(|ending| ["", NEXT, PREVIOUS].contains(&ending)))
    };
    let others = data.iter().filter(|(key, _)| !is_own(key));
    let others = others.map(|(_, value)| value.0.as_slice());
    if kind == Kind::Secret {
        let values = others.filter_map(|value| secret_text(value).ok());
        return Some(values.map(|value| hint(&value)).collect());
    }
    let texts: Vec<SecretString> = others.filter_map(|value| file(value).ok()).collect();
    let texts: Vec<&str> = texts.iter().map(ExposeSecret::expose_secret).collect();
    if kind == Kind::Certificate {
        let found = with_private_keys(&texts)?;
        return Some(found.iter().map(|der| thumbprints_of(der)).collect());
    }
    // A JWK has the member kty.
    let is_key = |text: &&&str| text.contains("PRIVATE KEY") || text.contains("kty");
    let keys: Vec<&&str> = texts.iter().filter(is_key).collect();
    let keys = (keys.len() <= MAX_KEYS_SEARCHED)
        .then_some(keys)?
        .into_iter();
    let keys = keys.filter_map(|text| ClientKey::read(text).ok());
    Some(keys.map(|key| Mark::Key(key.thumbprint())).collect())
}

/// The keys with the ending of another value than the current one that contain a value. Such a value must not be lost because it cannot be read.
fn beside(keys: &[String], data: &BTreeMap<String, ByteString>) -> Vec<String> {
    let endings = [NEXT, PREVIOUS].into_iter();
    let all = endings.flat_map(|ending| keys.iter().map(move |key| format!("{key}{ending}")));
    all.filter(|key| data.get(key).is_some_and(|value| !value.0.is_empty()))
        .collect()
}

/// The values of other Secrets for the client.
pub(super) fn in_others(context: &Context, namespace: &str, rotating: &Rotating) -> Vec<InOther> {
    let source = (namespace.to_owned(), rotating.secret.clone());
    lock(&context.secrets).in_others(&source, &rotating.client())
}

/// The credentials that authenticate with this Secret, with what is recorded with their tokens.
pub(super) fn users(
    context: &Context,
    namespace: &str,
    rotating: &Rotating,
    issuer: &Issuer,
    uid: &str,
) -> Vec<User> {
    let source = (namespace.to_owned(), rotating.secret.clone());
    let keys = lock(&context.index).of_secret(&source);
    keys.iter()
        .filter_map(|key| user(context, key, rotating, issuer, uid))
        .collect()
}

/// Whether a token of one issuer proves a value at the other one. They are one object, or an administrator vouches for both and the same root
/// certificates apply: with root certificates of their own, any server could have answered.
fn is_as_trusted(one: &Issuer, other: &Issuer) -> bool {
    let vouched = one.vouched && other.vouched;
    let same_roots = one.ca_bundle == other.ca_bundle && one.ca_source == other.ca_source;
    one.id == other.id || vouched && same_roots
}

pub(super) fn user(
    context: &Context,
    key: &Key,
    rotating: &Rotating,
    issuer: &Issuer,
    uid: &str,
) -> Option<User> {
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
    // The credential uses another entry of its list.
    if used.is_some_and(|used| !used.is(&rotating.reference)) {
        return None;
    }
    let version = used
        .filter(|used| used.uid == uid)
        .map(|used| used.version.clone());
    let (endpoint, id) = (&credential.issuer.endpoint, &credential.client_id);
    let same = *endpoint == rotating.endpoint
        && id.eq_ignore_ascii_case(&rotating.client_id)
        && is_as_trusted(&credential.issuer, issuer);
    let request = record.map(|record| record.request.as_str());
    // The spec may have been changed after the token was issued.
    let is_of_client = same && request == Some(fingerprint::request(&credential).as_str());
    let now = context.clock.now();
    Some(User {
        name: key.name.clone(),
        is_valid: record.is_some_and(|record| record.expires_at > now),
        is_of_client,
        version,
        issued_at: record.map(|r| r.issued_at).unwrap_or_default(),
        renews_at: record.map(|r| r.renew_at).unwrap_or_default(),
    })
}

/// Whether everything in a namespace is listed that a rotation depends on. With an incomplete list, it would look as if no
/// credential used the previous value any more, and as if the object in `managementRef` did not exist.
pub(super) fn is_listed(context: &Context, namespace: &str) -> bool {
    let everywhere = !context.health.unlisted().contains(&"credentials");
    let here = !context.unsynced.credentials(namespace);
    everywhere && here && context.unsynced.first(namespace).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_beside_the_current_value_is_seen() {
        let keys = ["tls.crt".to_owned(), "tls.key".to_owned()];
        let data = [
            ("tls.crt", "x"),
            ("tls.key", "x"),
            ("tls.crt-next", ""),
            ("tls.key-next", "two\nlines"),
            ("tls.key-previous", "x"),
            ("other-next", "x"),
        ];
        let data = data.map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec())));
        let data = BTreeMap::from(data);
        assert_eq!(beside(&keys, &data), ["tls.key-next", "tls.key-previous"]);
        assert_eq!(beside(&keys[..1], &data), Vec::<String>::new());
    }

    #[test]
    fn a_certificate_in_another_text_is_the_same_value() {
        let pair = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
        let rotating = Rotating {
            settings: crate::rotation::RotationSettings::of(Kind::Certificate),
            secret: "s".to_owned(),
            keys: vec!["tls.crt".to_owned(), "tls.key".to_owned()],
            reference: crate::api::SecretKeyRef {
                name: "s".to_owned(),
                key: "tls.key".to_owned(),
            },
            endpoint: crate::credential::Endpoint::Nowhere,
            client_id: "c".to_owned(),
            object_id: None,
            manager: None,
            registry: crate::rotation::Registry::Graph(
                url::Url::parse("https://graph.example").unwrap(),
            ),
            bits: None,
        };
        let digests = DigestKey::new(&[7; 32]);
        let digest = |certificate: String, key: String| {
            let data = [("tls.crt", certificate), ("tls.key", key)];
            let data = data.map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes())));
            let value = ClientValue::read(&rotating, &BTreeMap::from(data), "").unwrap();
            value.slot(&rotating, &digests).unwrap().digest
        };
        let recorded = digest(certificate.clone(), key.clone());
        let own = [
            (format!("subject=CN = a\n{certificate}"), key.clone()),
            (certificate.clone(), format!("Bag Attributes\n{key}\n")),
            (certificate.replace('\n', "\r\n"), key.clone()),
        ];
        for (certificate, key) in own {
            assert_eq!(digest(certificate, key), recorded);
        }
        let other = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let other = digest(other.cert.pem(), other.signing_key.serialize_pem());
        assert_ne!(other, recorded);
    }

    #[test]
    fn a_value_that_the_client_named_before_is_seen_under_its_key() {
        let keys = ["other".to_owned()];
        let data = [
            ("other", "current"),
            ("other-next", "next"),
            ("value", "old"),
            ("value-previous", "before"),
            ("note", "two\nlines"),
        ];
        let data = data.map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec())));
        let mut data = BTreeMap::from(data);
        let hints = ["old", "bef"].map(|hint| Mark::Hint(hint.to_owned()));
        assert_eq!(under_other_keys(Kind::Secret, &keys, &data).unwrap(), hints);

        let pair = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let stored = [
            ("tls.crt", pair.cert.pem()),
            ("tls.key", pair.signing_key.serialize_pem()),
        ];
        data.extend(stored.map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes()))));
        let keys = ["new.crt".to_owned(), "new.key".to_owned()];
        let marks = under_other_keys(Kind::Certificate, &keys, &data).unwrap();
        assert!(matches!(marks[..], [Mark::Certificate { .. }]), "{marks:?}");
        let keys = ["tls.crt".to_owned(), "tls.key".to_owned()];
        assert_eq!(
            under_other_keys(Kind::Certificate, &keys, &data),
            Some(Vec::new())
        );
    }

    #[test]
    fn the_number_of_private_keys_under_other_keys_is_limited() {
        let pair = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let key = || rcgen::KeyPair::generate().unwrap().serialize_pem();
        let own = ["own.crt".to_owned(), "own.key".to_owned()];
        let value = |text: String| ByteString(text.into_bytes());
        for per_file in [1, MAX_KEYS_SEARCHED] {
            let mut data = BTreeMap::new();
            data.insert("a.crt".to_owned(), value(pair.cert.pem()));
            data.insert("a.key".to_owned(), value(pair.signing_key.serialize_pem()));
            // The same key in several places is read once.
            data.insert("copy".to_owned(), value(pair.signing_key.serialize_pem()));
            for n in 1..MAX_KEYS_SEARCHED / per_file {
                data.insert(format!("more-{n}"), value(key()));
            }
            let found = under_other_keys(Kind::Certificate, &own, &data);
            assert_eq!(found.map(|marks| marks.len()), Some(1));
            let more: String = (0..per_file).map(|_| key()).collect();
            data.insert("last".to_owned(), value(more));
            assert_eq!(under_other_keys(Kind::Certificate, &own, &data), None);
            // Without a certificate no key is read.
            data.remove("a.crt");
            assert_eq!(
                under_other_keys(Kind::Certificate, &own, &data),
                Some(Vec::new())
            );
        }
        let mut data = BTreeMap::new();
        for n in 0..MAX_KEYS_SEARCHED {
            data.insert(format!("key-{n}"), value(key()));
        }
        let found = under_other_keys(Kind::Key, &own[..1], &data);
        assert_eq!(found.map(|marks| marks.len()), Some(MAX_KEYS_SEARCHED));
        data.insert("last".to_owned(), value(key()));
        assert_eq!(under_other_keys(Kind::Key, &own[..1], &data), None);
    }
}
