//! CA bundles outside the spec of an issuer: only the keys of `ConfigMaps` and Secrets that issuers name.

use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
};

use tokio::sync::Notify;

use crate::{
    controller::locks::lock,
    credential::{CaFault, CaSource, Issuer},
};

/// The maximum size of a bundle, the same as in a spec.
const LONGEST: usize = 64 * 1024;

/// The result of reading a place.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Found {
    /// The text.
    Text(String),
    /// The read shows that there is no text, and why.
    Fault(String),
    /// It could not be read.
    Failed(String),
    /// It is not read, because of a limit.
    Refused(String),
}

/// The bundles that issuers name.
#[derive(Debug, Default)]
pub(in crate::controller) struct CaBundles {
    known: Mutex<HashMap<CaSource, Found>>,
    /// Notified when an issuer is created, changed or deleted.
    pub(in crate::controller) changed: Notify,
}

impl CaBundles {
    /// Returns the issuer with its CAs.
    pub(in crate::controller) fn fill(&self, issuer: Issuer) -> Issuer {
        let Some(source) = &issuer.ca_source else {
            return issuer;
        };
        let found = lock(&self.known).get(source).cloned();
        match found {
            Some(Found::Text(text)) => issuer.with_ca(Ok(&text)),
            Some(Found::Fault(fault) | Found::Failed(fault) | Found::Refused(fault)) => {
                issuer.with_ca(Err(CaFault::Unusable(fault)))
            }
            None => issuer,
        }
    }

    /// Whether the result of the first read of this place is known.
    pub(in crate::controller) fn knows(&self, source: &CaSource) -> bool {
        lock(&self.known).contains_key(source)
    }

    /// Stores the result of a read. `data` is the value of the key if the object exists and contains the key. Returns true if the result is new.
    pub(in crate::controller) fn put(&self, source: &CaSource, data: Option<&[u8]>) -> bool {
        self.set(source, read(source, data))
    }

    /// Records that a read failed. What was read before stays in use. Returns true if the result is new.
    pub(in crate::controller) fn failed(&self, source: &CaSource, why: &str) -> bool {
        let known = lock(&self.known).get(source).cloned();
        if matches!(known, Some(Found::Text(_) | Found::Fault(_))) {
            return false;
        }
        let fault = format!("the operator cannot read {source}: {why}");
        self.set(source, Found::Failed(fault))
    }

    /// Records that a place is not read, because of a limit. Returns true if this is new.
    pub(in crate::controller) fn refuse(&self, source: &CaSource, fault: String) -> bool {
        self.set(source, Found::Refused(fault))
    }

    /// Records that a place will be read.
    pub(in crate::controller) fn admit(&self, source: &CaSource) {
        lock(&self.known).remove(source);
    }

    fn set(&self, source: &CaSource, found: Found) -> bool {
        let mut known = lock(&self.known);
        let before = known.get(source);
        // A watch that was stopped may still deliver.
        let late = matches!(before, Some(Found::Refused(_)));
        if late || before == Some(&found) {
            return false;
        }
        known.insert(source.clone(), found);
        true
    }

    /// Removes the places that no issuer names.
    pub(in crate::controller) fn retain(&self, wanted: &HashSet<CaSource>) {
        lock(&self.known).retain(|source, _| wanted.contains(source));
    }
}

fn read(source: &CaSource, data: Option<&[u8]>) -> Found {
    let Some(bytes) = data else {
        return Found::Fault(format!(
            "{source} does not exist; create it with PEM certificates, or correct caBundleRef"
        ));
    };
    if bytes.len() > LONGEST {
        return Found::Fault(format!(
            "{source} is longer than 64 KiB; remove the certificates that this issuer does not need"
        ));
    }
    String::from_utf8(bytes.to_vec()).map_or_else(
        |_| {
            Found::Fault(format!(
                "{source} is not text; write PEM certificates into it"
            ))
        },
        Found::Text,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CaBundleKind;

    fn source() -> CaSource {
        CaSource {
            namespace: "n".to_owned(),
            kind: CaBundleKind::ConfigMap,
            name: "roots".to_owned(),
            key: "ca.crt".to_owned(),
        }
    }

    /// The CAs of an issuer that names the place, or why it has none.
    fn filled(bundles: &CaBundles) -> Result<String, CaFault> {
        let mut issuer = crate::fixtures::issuer();
        issuer.ca_source = Some(source());
        issuer.ca_fault = Some(CaFault::Unread("it is being read".to_owned()));
        let issuer = bundles.fill(issuer);
        issuer
            .ca_fault
            .map_or_else(|| Ok(issuer.ca_bundle.unwrap_or_default()), Err)
    }

    fn fault(bundles: &CaBundles) -> String {
        match filled(bundles) {
            Err(CaFault::Unusable(fault)) => fault,
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn a_bundle_is_text_of_a_key_of_an_object_and_news_only_once() {
        let (bundles, source) = (CaBundles::default(), source());
        assert!(!bundles.knows(&source));
        let long = vec![b'x'; LONGEST + 1];
        for (data, reported) in [
            (
                None,
                Err("key ca.crt of ConfigMap roots in namespace n does not exist; create it"),
            ),
            (Some(&b"PEM"[..]), Ok("PEM")),
            (Some(&[0xff, 0xfe][..]), Err("is not text")),
            (Some(&long[..]), Err("longer than 64 KiB")),
        ] {
            assert!(bundles.put(&source, data), "{data:?}");
            assert!(!bundles.put(&source, data), "it is known");
            match reported {
                Ok(text) => assert_eq!(filled(&bundles).as_deref(), Ok(text)),
                Err(part) => assert!(fault(&bundles).contains(part), "{}", fault(&bundles)),
            }
        }
        bundles.retain(&HashSet::new());
        assert!(!bundles.knows(&source));
    }

    #[test]
    fn what_is_not_read_yet_is_a_wait_until_the_read_has_a_result() {
        let (bundles, source) = (CaBundles::default(), source());
        assert!(matches!(filled(&bundles), Err(CaFault::Unread(_))));
        // The operator may not list ConfigMaps: the cause is reported, and once.
        assert!(bundles.failed(&source, "forbidden") && bundles.knows(&source));
        assert!(!bundles.failed(&source, "forbidden"));
        assert!(fault(&bundles).contains("cannot read key ca.crt of ConfigMap roots"));
        assert!(fault(&bundles).ends_with("forbidden"));
        assert!(bundles.put(&source, Some(b"PEM")));
        // What was read stays in use while the API server is not available.
        assert!(!bundles.failed(&source, "the server refused"));
        assert_eq!(filled(&bundles).as_deref(), Ok("PEM"));
    }

    #[test]
    fn a_place_beyond_a_limit_is_refused_until_it_is_admitted() {
        let (bundles, source) = (CaBundles::default(), source());
        assert!(bundles.refuse(&source, "too many".to_owned()));
        assert!(!bundles.refuse(&source, "too many".to_owned()));
        assert_eq!(fault(&bundles), "too many");
        assert!(!bundles.put(&source, Some(b"PEM")), "its watch has stopped");
        assert_eq!(fault(&bundles), "too many");
        assert!(bundles.knows(&source), "the start does not wait for it");
        bundles.admit(&source);
        assert!(matches!(filled(&bundles), Err(CaFault::Unread(_))));
    }
}
