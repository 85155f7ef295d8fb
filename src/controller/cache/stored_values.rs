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
        let mut found = Vec::new();
        for (namespace, home) in &self.seen.0 {
            let is_here = *namespace == own.0;
            let others = home.iter();
            let others = others.filter(|(name, _)| !is_here || ***name != *own.1);
            for (name, seen) in others {
                let noted = seen.facts.rotated_until.iter();
                let values = noted.flat_map(|noted| noted.stored(client));
                found.extend(values.map(|value| InOther {
                    secret: is_here.then(|| name.to_string()),
                    value: value.clone(),
                }));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;
    use crate::rotation::{Known, Record};

    fn client(id: &str) -> ClientAt {
        ClientAt {
            id: id.to_owned(),
            issuer: "https://issuer.example".to_owned(),
        }
    }

    #[test]
    fn a_value_is_found_in_each_other_secret_of_the_client() {
        let mut secrets = Secrets::default();
        for (namespace, name, id) in [
            ("a", "own", "c-1"),
            ("a", "copy", "c-1"),
            ("b", "own", "c-1"),
            ("a", "of-another", "c-2"),
        ] {
            let record = Record {
                client: Some(client(id)),
                current: Some(Known {
                    digest: format!("{namespace}/{name}"),
                    ..Known::default()
                }),
                ..Record::default()
            };
            let meta = ObjectMeta {
                namespace: Some(namespace.to_owned()),
                name: Some(name.to_owned()),
                uid: Some(format!("{namespace}-{name}")),
                resource_version: Some("1".to_owned()),
                annotations: Some(BTreeMap::from([record.annotation()])),
                ..ObjectMeta::default()
            };
            secrets.apply(&meta, Timestamp::UNIX_EPOCH);
        }
        let own = ("a".to_owned(), "own".to_owned());
        let found = secrets.in_others(&own, &client("c-1"));
        let mut found: Vec<_> = found
            .into_iter()
            .map(|other| (other.value.digest, other.secret))
            .collect();
        found.sort();
        // The name of a Secret of another namespace is not shown.
        let here = ("a/copy".to_owned(), Some("copy".to_owned()));
        assert_eq!(found, [here, ("b/own".to_owned(), None)]);
    }
}
