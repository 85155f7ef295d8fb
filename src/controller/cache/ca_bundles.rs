//! CA bundles outside the spec of an issuer: only the keys of `ConfigMaps` and Secrets that issuers name.

use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
};

use tokio::sync::Notify;

use crate::{
    controller::locks::lock,
    credential::{CaSource, Issuer},
};

/// The maximum size of a bundle, the same as in a spec.
const LONGEST: usize = 64 * 1024;

/// The result of reading a place: the text, or why there is none.
type Found = Result<String, String>;

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
            Some(Ok(text)) => issuer.with_ca(Ok(&text)),
            Some(Err(fault)) => issuer.with_ca(Err(&fault)),
            None => issuer,
        }
    }

    /// Whether this place was read.
    pub(in crate::controller) fn knows(&self, source: &CaSource) -> bool {
        lock(&self.known).contains_key(source)
    }

    /// Stores the result of a read. `data` is the value of the key if the object exists and contains the key. Returns true if the result is new.
    pub(in crate::controller) fn put(&self, source: &CaSource, data: Option<&[u8]>) -> bool {
        let found = read(source, data);
        let mut known = lock(&self.known);
        if known.get(source) == Some(&found) {
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
        return Err(format!("{source} does not exist"));
    };
    if bytes.len() > LONGEST {
        return Err(format!("{source} is longer than 64 KiB"));
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| format!("{source} is not text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CaBundleKind;

    #[test]
    fn a_bundle_is_text_of_a_key_of_an_object_and_news_only_once() {
        let source = CaSource {
            namespace: "n".to_owned(),
            kind: CaBundleKind::ConfigMap,
            name: "roots".to_owned(),
            key: "ca.crt".to_owned(),
        };
        let bundles = CaBundles::default();
        assert!(!bundles.knows(&source));
        let long = vec![b'x'; LONGEST + 1];
        for (data, reported) in [
            (
                None,
                Err("key ca.crt of ConfigMap roots in namespace n does not exist"),
            ),
            (Some(&b"PEM"[..]), Ok("PEM")),
            (Some(&[0xff, 0xfe][..]), Err("is not text")),
            (Some(&long[..]), Err("longer than 64 KiB")),
        ] {
            assert!(bundles.put(&source, data), "{data:?}");
            assert!(!bundles.put(&source, data), "it is known");
            let found = lock(&bundles.known).get(&source).cloned();
            match (found, reported) {
                (Some(Ok(text)), Ok(reported)) => assert_eq!(text, reported),
                (Some(Err(fault)), Err(reported)) => assert!(fault.contains(reported), "{fault}"),
                other => unreachable!("{other:?}"),
            }
        }
        bundles.retain(&HashSet::new());
        assert!(!bundles.knows(&source));
    }
}
