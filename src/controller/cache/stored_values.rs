//! Values of clients that rotations stored in the Secrets of the cluster.

use super::{index::SecretName, secrets::Secrets};
use crate::rotation::{ClientAt, InOther};

impl Secrets {
    /// The values for a client that rotations stored in other Secrets than `own`, according to their annotations.
    pub(in crate::controller) fn in_others(
        &self,
        own: &SecretName,
        client: &ClientAt,
    ) -> Vec<InOther> {
        let others = self.seen.rotated().filter(|(name, _)| *name != own);
        let values = others.flat_map(|((namespace, name), seen)| {
            let noted = seen.facts.rotated_until.iter();
            let values = noted.flat_map(|noted| noted.stored(client));
            values.map(move |value| InOther {
                secret: (*namespace == own.0).then(|| name.clone()),
                value: value.clone(),
            })
        });
        values.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;
    use crate::rotation::{Record, ValueRecord};

    fn client(id: &str) -> ClientAt {
        ClientAt {
            id: id.to_owned(),
            issuer: "https://issuer.example".to_owned(),
        }
    }

    /// A Secret with a value for this client, or without the annotation of a rotation.
    fn secret((namespace, name): (&str, &str), version: &str, id: Option<&str>) -> ObjectMeta {
        let record = id.map(|id| Record {
            client: Some(client(id)),
            current: Some(ValueRecord {
                digest: format!("{namespace}/{name}"),
                ..ValueRecord::default()
            }),
            ..Record::default()
        });
        ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            uid: Some(format!("{namespace}-{name}")),
            resource_version: Some(version.to_owned()),
            annotations: record.map(|record| BTreeMap::from([record.annotation()])),
            ..ObjectMeta::default()
        }
    }

    /// The digests and names of the values that are not in the Secret `own` of the namespace `a`.
    fn found(secrets: &Secrets) -> Vec<(String, Option<String>)> {
        let own = ("a".to_owned(), "own".to_owned());
        let found = secrets.in_others(&own, &client("c-1")).into_iter();
        let mut found: Vec<_> = found
            .map(|other| (other.value.digest, other.secret))
            .collect();
        found.sort();
        found
    }

    fn all() -> Secrets {
        let mut secrets = Secrets::default();
        for (name, id) in [
            (("a", "own"), Some("c-1")),
            (("a", "copy"), Some("c-1")),
            (("b", "own"), Some("c-1")),
            (("a", "of-another"), Some("c-2")),
            (("a", "of-nobody"), None),
        ] {
            secrets.apply(&secret(name, "1", id), Timestamp::UNIX_EPOCH);
        }
        secrets
    }

    #[test]
    fn a_value_is_found_in_each_other_secret_of_the_client() {
        // The name of a Secret of another namespace is not shown.
        let here = ("a/copy".to_owned(), Some("copy".to_owned()));
        assert_eq!(found(&all()), [here, ("b/own".to_owned(), None)]);
    }

    #[test]
    fn a_value_is_found_as_long_as_its_secret_has_the_annotation() {
        let now = Timestamp::UNIX_EPOCH;
        let elsewhere = ("b/own".to_owned(), None);
        let mut secrets = all();
        secrets.apply(&secret(("a", "copy"), "2", None), now);
        assert_eq!(found(&secrets), std::slice::from_ref(&elsewhere));
        secrets.apply(&secret(("a", "copy"), "3", Some("c-1")), now);
        assert_eq!(found(&secrets).len(), 2);
        secrets.delete(&secret(("a", "copy"), "4", None));
        assert_eq!(found(&secrets), [elsewhere]);
        // A list of one namespace, without the Secret and with it.
        let part = Arc::from("b");
        for (listed, count) in [(None, 0), (Some("c-1"), 1), (Some("c-2"), 0)] {
            secrets.begin(&part);
            if listed.is_some() {
                secrets.listed(&part, &secret(("b", "own"), &format!("{count}5"), listed));
            }
            secrets.finish(&part, now);
            assert_eq!(found(&secrets).len(), count, "{listed:?}");
        }
    }
}
