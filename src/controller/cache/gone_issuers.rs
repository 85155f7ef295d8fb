//! Issuers that were deleted a short time ago and that credentials still name. When both are deleted together, as `kubectl delete -f`
//! does it, the token of a credential is revoked at the issuer as it was.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use super::index::IssuerName;
use crate::{controller::locks::lock, credential::Issuer};

/// How long before a credential its issuer may be deleted. Whoever deletes an issuer and not its credentials withdraws it: it gets no
/// client secret any more.
const TOGETHER: Duration = Duration::from_mins(10);
/// How long one is kept: a credential whose deletion was seen at the last moment has its token revoked until then.
const KEPT: Duration = Duration::from_mins(15);

/// Each with the time at which this process saw its deletion.
#[derive(Default)]
pub(in crate::controller) struct GoneIssuers(Mutex<HashMap<IssuerName, (Instant, Issuer)>>);

impl GoneIssuers {
    /// The issuer of this name as it was, for a credential whose deletion was seen at `leaving`.
    pub(in crate::controller) fn get(&self, name: &IssuerName, leaving: Instant) -> Option<Issuer> {
        let gone = lock(&self.0);
        let (at, issuer) = gone.get(name)?;
        (leaving.saturating_duration_since(*at) <= TOGETHER).then(|| issuer.clone())
    }

    /// It was deleted at `at`.
    pub(super) fn put(&self, name: IssuerName, at: Instant, issuer: Issuer) {
        lock(&self.0).insert(name, (at, issuer));
    }

    /// There is one of this name again, or one that nobody can use.
    pub(super) fn remove(&self, name: &IssuerName) {
        lock(&self.0).remove(name);
    }

    /// Forgets those that no credential names any more, and those that are gone for so long that none is deleted with them. Gives their
    /// names.
    pub(in crate::controller) fn forget(
        &self,
        now: Instant,
        named: impl Fn(&IssuerName) -> bool,
    ) -> Vec<IssuerName> {
        let mut gone = lock(&self.0);
        let over = |at: Instant| now.saturating_duration_since(at) > KEPT;
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
        // A deletion that was seen before that of the issuer, with it, and much later.
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
        // One that a credential names for ever is kept as long as one that is deleted with it may need it.
        gone.put(a.clone(), at, issuer.clone());
        let last = at + TOGETHER + finalizer::DEADLINE;
        assert!(gone.forget(last, named).is_empty());
        assert!(gone.get(&a, at + TOGETHER).is_some());
        assert_eq!(
            gone.forget(at + KEPT + Duration::from_millis(1), named),
            std::slice::from_ref(&a)
        );
        assert_eq!(gone.get(&a, at), None);
        gone.put(a.clone(), at, issuer);
        gone.remove(&a);
        assert_eq!(gone.get(&a, at), None, "there is another one by now");
    }
}
