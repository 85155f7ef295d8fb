//! Issuers that were deleted a short time ago and that credentials still name. If both are deleted together, for example with
//! `kubectl delete -f`, the token of a credential is revoked at the former issuer.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use super::index::IssuerName;
use crate::{controller::locks::lock, credential::Issuer};

/// The maximum time between the deletion of an issuer and the deletion of its credential. If only the issuer is deleted, it is
/// withdrawn: it must not receive any further client secret.
const TOGETHER: Duration = Duration::from_mins(10);
/// How long a deleted issuer is stored. A credential whose deletion was seen at the last moment has its token revoked within this time.
const RETAINED_FOR: Duration = Duration::from_mins(15);

/// The issuers, each with the time at which this process saw its deletion.
#[derive(Default)]
pub(in crate::controller) struct GoneIssuers(Mutex<HashMap<IssuerName, (Instant, Issuer)>>);

impl GoneIssuers {
    /// The former issuer with this name, for a credential whose deletion was seen at `leaving`.
    pub(in crate::controller) fn get(&self, name: &IssuerName, leaving: Instant) -> Option<Issuer> {
        let gone = lock(&self.0);
        let (at, issuer) = gone.get(name)?;
        (leaving.saturating_duration_since(*at) <= TOGETHER).then(|| issuer.clone())
    }

    /// Stores an issuer that was deleted at `at`.
    pub(super) fn put(&self, name: IssuerName, at: Instant, issuer: Issuer) {
        lock(&self.0).insert(name, (at, issuer));
    }

    /// Removes an issuer: one with this name exists again, or exists but is unusable.
    pub(super) fn remove(&self, name: &IssuerName) {
        lock(&self.0).remove(name);
    }

    /// Removes the issuers that no credential names any more, and the issuers that were deleted too long ago. Returns their names.
    pub(in crate::controller) fn forget(
        &self,
        now: Instant,
        named: impl Fn(&IssuerName) -> bool,
    ) -> Vec<IssuerName> {
        let mut gone = lock(&self.0);
        let over = |at: Instant| now.saturating_duration_since(at) > RETAINED_FOR;
        let forgotten = gone.extract_if(|name, (at, _)| over(*at) || !named(name));
        forgotten.map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        api::{ClusterTokenIssuer, IssuerKind},
        credential::Issuer,
        plan::finalizer,
    };

    fn named(name: &str) -> (IssuerName, Issuer) {
        let object: ClusterTokenIssuer = serde_json::from_value(json!({
            "metadata": { "name": name },
            "spec": { "entra": { "tenantId": "contoso.example" }, "allowedNamespaces": { "all": true } },
        }))
        .unwrap();
        let kind = IssuerKind::ClusterTokenIssuer;
        let issuer = Issuer::cluster(&object).unwrap();
        ((kind, String::new(), name.to_owned()), issuer)
    }

    #[test]
    fn an_issuer_that_is_gone_serves_what_is_deleted_with_it() {
        let gone = GoneIssuers::default();
        let at = Instant::now();
        let ((a, issuer), (b, _)) = (named("a"), named("b"));
        assert_eq!(gone.get(&a, at), None);
        gone.put(a.clone(), at, issuer.clone());
        // The deletion of the credential was seen before the deletion of the issuer, at the same time, and much later.
        for (leaving, serves) in [
            (at.checked_sub(Duration::from_secs(1)).unwrap(), true),
            (at, true),
            (at + TOGETHER, true),
            (at + TOGETHER + Duration::from_millis(1), false),
        ] {
            let found = gone.get(&a, leaving);
            assert_eq!(found, serves.then(|| issuer.clone()));
        }
        assert_eq!(gone.get(&b, at), None);
        let named = |name: &IssuerName| *name == a;
        assert!(gone.forget(at, named).is_empty());
        assert!(gone.get(&a, at).is_some());
        assert_eq!(gone.forget(at, |_| false), std::slice::from_ref(&a));
        assert_eq!(gone.get(&a, at), None);
        // An issuer that a credential names permanently is stored as long as a credential that is deleted together with it may need it.
        gone.put(a.clone(), at, issuer.clone());
        let last = at + TOGETHER + finalizer::DEADLINE;
        assert!(gone.forget(last, named).is_empty());
        assert!(gone.get(&a, at + TOGETHER).is_some());
        assert_eq!(
            gone.forget(at + RETAINED_FOR + Duration::from_millis(1), named),
            std::slice::from_ref(&a)
        );
        assert_eq!(gone.get(&a, at), None);
        gone.put(a.clone(), at, issuer);
        gone.remove(&a);
        assert_eq!(gone.get(&a, at), None, "there is another one by now");
    }
}
