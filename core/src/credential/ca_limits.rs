//! Limits the number of objects with CAs that are watched: each one costs a connection to the API server.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::CaSource;
use crate::api::CaBundleRef;

/// The maximum number of places that the `TokenIssuer`s of one namespace may name. A team needs one or two: several issuers may name one place.
pub const IN_A_NAMESPACE: usize = 16;
/// The maximum number of places that the `TokenIssuer`s of all namespaces may name. Each watch has a connection of its own, and a process may often
/// open only 1024 files; the rest is for issuers, probes and the other watches.
pub const OF_NAMESPACES: usize = 256;
/// The maximum number of places that `ClusterTokenIssuer`s may name. No `TokenIssuer` can use up these.
pub const OF_THE_CLUSTER: usize = 64;

/// Why a place is not watched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CaLimit {
    /// Its namespace names too many places.
    Namespace,
    /// All namespaces together name too many places.
    Namespaces,
    /// The `ClusterTokenIssuer`s name too many places.
    Cluster,
}

impl CaLimit {
    /// The fault of an issuer that names this place, with the next step.
    #[must_use]
    pub fn message(self, source: &CaSource) -> String {
        let (whose, most, step) = match self {
            Self::Namespace => (
                "the TokenIssuers of this namespace name",
                IN_A_NAMESPACE,
                "let several issuers name one object and key, set caBundle instead, or delete issuers",
            ),
            Self::Namespaces => (
                "the TokenIssuers of all namespaces name",
                OF_NAMESPACES,
                "set caBundle instead, or ask an administrator for a ClusterTokenIssuer",
            ),
            Self::Cluster => (
                "the ClusterTokenIssuers name",
                OF_THE_CLUSTER,
                "let several issuers name one object and key, or set caBundle instead",
            ),
        };
        format!(
            "{source} is not read, because {whose} more than {most} objects or keys with CAs; {step}"
        )
    }
}

/// The places to watch, and the others.
#[derive(Debug, Default)]
pub struct Admitted {
    /// These are watched.
    pub watched: Vec<CaSource>,
    /// These are not.
    pub refused: Vec<(CaSource, CaLimit)>,
}

/// Selects the places that are watched. `named` are the places with the creation time of an issuer that names them. In a namespace, the place of
/// the oldest issuer is first, so that a new issuer stops no other one. Each namespace gets its first place before any namespace gets its second one.
#[must_use]
pub fn admit(named: impl IntoIterator<Item = (CaSource, Option<Timestamp>)>) -> Admitted {
    let mut oldest: BTreeMap<CaSource, Option<Timestamp>> = BTreeMap::new();
    for (source, created) in named {
        let known = oldest.entry(source).or_insert(created);
        *known = (*known).min(created);
    }
    let mut homes: BTreeMap<String, Vec<(Option<Timestamp>, CaSource)>> = BTreeMap::new();
    for (source, created) in oldest {
        let home = homes.entry(source.namespace.clone()).or_default();
        home.push((created, source));
    }
    let mut admitted = Admitted::default();
    let mut ranked = Vec::new();
    for (namespace, mut places) in homes {
        places.sort();
        let (most, limit) = if namespace.is_empty() {
            (OF_THE_CLUSTER, CaLimit::Cluster)
        } else {
            (IN_A_NAMESPACE, CaLimit::Namespace)
        };
        for (rank, (created, source)) in places.into_iter().enumerate() {
            if rank >= most {
                admitted.refused.push((source, limit));
            } else if namespace.is_empty() {
                admitted.watched.push(source);
            } else {
                ranked.push((rank, created, source));
            }
        }
    }
    ranked.sort();
    for (nth, (.., source)) in ranked.into_iter().enumerate() {
        if nth < OF_NAMESPACES {
            admitted.watched.push(source);
        } else {
            admitted.refused.push((source, CaLimit::Namespaces));
        }
    }
    admitted
}

impl CaSource {
    /// The place that an issuer names. The namespace of a `ClusterTokenIssuer` is empty.
    #[must_use]
    pub fn named(reference: &CaBundleRef, issuer: &ObjectMeta) -> Self {
        Self {
            namespace: issuer.namespace.clone().unwrap_or_default(),
            kind: reference.kind,
            name: reference.name.clone(),
            key: reference.key.clone().unwrap_or_else(|| "ca.crt".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::CaBundleKind, fixtures::at};

    fn place(namespace: &str, n: usize) -> CaSource {
        CaSource {
            namespace: namespace.to_owned(),
            kind: CaBundleKind::ConfigMap,
            name: format!("roots-{n}"),
            key: "ca.crt".to_owned(),
        }
    }

    fn of(admitted: &Admitted, namespace: &str) -> usize {
        let watched = admitted.watched.iter();
        watched.filter(|s| s.namespace == namespace).count()
    }

    #[test]
    fn a_namespace_with_many_places_leaves_the_others_theirs() {
        let many = (0..1600).map(|n| (place("attacker", n), Some(at(0))));
        let cluster = (0..3).map(|n| (place("", n), Some(at(900))));
        let named = many
            .chain(cluster)
            .chain([(place("team", 0), Some(at(900)))]);
        let admitted = admit(named);
        assert_eq!(of(&admitted, "attacker"), IN_A_NAMESPACE);
        assert_eq!((of(&admitted, ""), of(&admitted, "team")), (3, 1));
        assert_eq!(admitted.refused.len(), 1600 - IN_A_NAMESPACE);
        let (source, limit) = &admitted.refused[0];
        assert_eq!(*limit, CaLimit::Namespace);
        let message = limit.message(source);
        for part in ["namespace attacker", "more than 16", "set caBundle"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn many_namespaces_share_what_there_is_and_the_cluster_has_its_own() {
        let names: Vec<String> = (0..200).map(|n| format!("n{n:03}")).collect();
        let all = names
            .iter()
            .flat_map(|name| (0..2).map(|n| (place(name, n), Some(at(0)))));
        let cluster = (0..100).map(|n| (place("", n), Some(at(5))));
        let admitted = admit(all.chain(cluster));
        assert_eq!(admitted.watched.len(), OF_NAMESPACES + OF_THE_CLUSTER);
        assert!(names.iter().all(|name| of(&admitted, name) >= 1));
        let of_limit = |limit| admitted.refused.iter().filter(|(_, l)| *l == limit).count();
        assert_eq!(of_limit(CaLimit::Namespaces), 400 - OF_NAMESPACES);
        assert_eq!(of_limit(CaLimit::Cluster), 100 - OF_THE_CLUSTER);
    }

    #[test]
    fn a_new_issuer_stops_no_older_one_and_a_place_counts_once() {
        let old = (0..IN_A_NAMESPACE).map(|n| (place("team", n + 1), Some(at(0))));
        let again = (0..IN_A_NAMESPACE).map(|n| (place("team", n + 1), Some(at(60))));
        let new = (place("team", 0), Some(at(30)));
        let admitted = admit(again.chain([new.clone()]).chain(old));
        assert_eq!(admitted.watched.len(), IN_A_NAMESPACE);
        assert_eq!(admitted.refused, [(new.0, CaLimit::Namespace)]);
    }
}
