//! The results of the checks of issuers by this process. The status may contain the result of another operator: several ones can read the
//! same `ClusterTokenIssuer`, and each has its own proxy and CAs.

use std::{collections::HashMap, sync::Mutex};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{cache::index::IssuerName, locks::lock};
use crate::{ConditionType, api::IssuerStatus};

/// Whether an issuer is ready, and the reason.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::controller) struct Readiness {
    /// `None` if it is neither ready nor not ready.
    pub(in crate::controller) ready: Option<bool>,
    pub(in crate::controller) reason: String,
}

impl Readiness {
    /// `None` before the first check.
    fn of(status: &IssuerStatus) -> Option<Self> {
        let ready: &Condition = ConditionType::Ready.find(&status.conditions)?;
        Some(Self {
            ready: match ready.status.as_str() {
                "True" => Some(true),
                "False" => Some(false),
                _ => None,
            },
            reason: ready.reason.clone(),
        })
    }
}

/// The last result of each issuer.
#[derive(Default)]
pub(in crate::controller) struct IssuerChecks(Mutex<HashMap<IssuerName, Readiness>>);

impl IssuerChecks {
    /// Records the status that this process found.
    pub(in crate::controller) fn checked(&self, name: &IssuerName, status: &IssuerStatus) {
        if let Some(readiness) = Readiness::of(status) {
            lock(&self.0).insert(name.clone(), readiness);
        }
    }

    /// Removes an issuer that was deleted or whose spec is not known.
    pub(in crate::controller) fn forget(&self, name: &IssuerName) {
        lock(&self.0).remove(name);
    }

    /// The last result of this process. Before its first check: the result in the status.
    pub(in crate::controller) fn readiness(
        &self,
        name: &IssuerName,
        status: Option<&IssuerStatus>,
    ) -> Option<Readiness> {
        let own = lock(&self.0).get(name).cloned();
        own.or_else(|| Readiness::of(status?))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::IssuerKind;

    fn status(ready: &str, reason: &str) -> IssuerStatus {
        serde_json::from_value(json!({ "conditions": [{
            "type": "Ready", "status": ready, "reason": reason, "message": "",
            "lastTransitionTime": "2026-07-27T10:00:00Z",
        }] }))
        .unwrap()
    }

    #[test]
    fn the_result_of_another_operator_in_the_status_does_not_replace_the_own_one() {
        let checks = IssuerChecks::default();
        let name = |name: &str| {
            let kind = IssuerKind::ClusterTokenIssuer;
            (kind, String::new(), name.to_owned())
        };
        let seen = |issuer: &str, status: Option<&IssuerStatus>| {
            let readiness = checks.readiness(&name(issuer), status)?;
            Some((readiness.ready, readiness.reason))
        };
        let works = (Some(true), "EndpointKnown".to_owned());
        let fails = (Some(false), "TlsFailed".to_owned());
        let [other, own] = [("False", "TlsFailed"), ("True", "EndpointKnown")]
            .map(|(ready, reason)| status(ready, reason));
        assert_eq!(seen("a", None), None);
        assert_eq!(seen("a", Some(&IssuerStatus::default())), None);
        assert_eq!(seen("a", Some(&other)), Some(fails.clone()));
        checks.checked(&name("a"), &own);
        assert_eq!(seen("a", Some(&other)), Some(works.clone()));
        assert_eq!(seen("a", None), Some(works));
        // Another issuer is not affected, and the next check counts.
        let waits = (None, "Pending".to_owned());
        assert_eq!(seen("b", Some(&status("Unknown", "Pending"))), Some(waits));
        checks.checked(&name("a"), &other);
        assert_eq!(seen("a", Some(&own)), Some(fails));
        checks.forget(&name("a"));
        assert_eq!(seen("a", None), None);
        assert!(lock(&checks.0).is_empty());
    }
}
