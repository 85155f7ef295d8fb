//! Requests a renewal from the operator.

use apicred::{
    ConditionType, Reason,
    api::{ApiCredential, ApiCredentialStatus, names},
    clock::{Clock, SystemClock},
};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::{
    Renew, any_version,
    cluster::{Cluster, call},
    terminal,
    wait::{Failure, Request, USUAL, until_served},
};

/// If the next attempt follows the last one within this time, it is worth waiting for.
const SOON: SignedDuration = SignedDuration::from_mins(1);

pub(crate) async fn run(args: &Renew) -> Result<(), Failure> {
    let cluster = Cluster::connect(&args.target).await?;
    let name = args.target.credential.as_str();
    let doing = |what: &str| format!("{what} ApiCredential {}/{name}", cluster.namespace);
    let value = SystemClock.now().to_string();
    let change = json!({ "metadata": { "annotations": { (names::RENEW_REQUESTED_AT): value } } });
    let (api, params) = (any_version::credentials(&cluster), PatchParams::default());
    let changed = call(api.patch(name, &params, &Patch::Merge(&change)))
        .await
        .map_err(|failed| failed.about(&doing("changing")))?;
    terminal::out(&format!(
        "renewal of {}/{name} requested",
        cluster.namespace
    ));
    // The request was made, whatever the answer contains.
    let changed =
        any_version::credential(&changed).map_err(|failed| failed.about(&doing("reading")))?;
    if args.wait {
        let before = changed.status.and_then(|s| s.last_attempt);
        let request = Request { value, before };
        return until_served(&cluster, name, &request, args.timeout.unwrap_or(USUAL)).await;
    }
    if let Some(why) = obstacle(&changed) {
        terminal::err(&format!("note: {why}"));
    }
    Ok(())
}

/// Why the request will not be served soon, according to the object.
pub(crate) fn obstacle(object: &ApiCredential) -> Option<String> {
    if object.metadata.deletion_timestamp.is_some() {
        return Some("it is being deleted, and gets no more tokens".to_owned());
    }
    if object.spec.suspend == Some(true) {
        return Some("it is suspended, and gets a token after spec.suspend is removed".to_owned());
    }
    let status = object.status.as_ref();
    // The API server shows -1 until an operator has written a status.
    let seen = |s: &&ApiCredentialStatus| s.observed_generation.is_some_and(|g| g >= 0);
    let Some(status) = status.filter(seen) else {
        return Some(
            "no operator has reported on it yet; is one running, and does it watch this namespace?"
                .to_owned(),
        );
    };
    if status.observed_generation != object.metadata.generation {
        return Some(
            "the operator has not reported on its last change yet; its status follows".to_owned(),
        );
    }
    lasting_fault(status).map(|c| format!("it gets no token now ({}): {}", c.reason, c.message))
}

/// A fault that lasts until a user changes something: `Stalled`, or, while a valid token hides that condition, a fault that
/// apicred does not try again soon.
pub(crate) fn lasting_fault(status: &ApiCredentialStatus) -> Option<&Condition> {
    let condition = |kind: ConditionType| {
        let found = kind.find(&status.conditions);
        found.filter(|c| c.status == "True")
    };
    // Whether the last attempt failed for this reason and the next one is near.
    let soon = |reason: &str| {
        let last = status.last_attempt.as_ref();
        let last = last.filter(|last| last.reason.as_deref() == Some(reason));
        let both = status.next_attempt.as_ref().zip(last);
        both.is_some_and(|(next, last)| next.0.duration_since(last.time.0) < SOON)
    };
    let failing = || {
        condition(ConditionType::Ready)?;
        condition(ConditionType::RenewalFailing).filter(|c| {
            let waits = Reason::parse(&c.reason).is_some_and(Reason::is_wait);
            !waits && !soon(&c.reason)
        })
    };
    condition(ConditionType::Stalled).or_else(failing)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn reported(meta: &Value, spec: &Value, status: &Value) -> Option<String> {
        let mut object = json!({
            "apiVersion": "apicred.dev/v1alpha1", "kind": "ApiCredential",
            "metadata": { "name": "c", "namespace": "team", "generation": 2 },
            "spec": { "target": { "secretName": "t" } }, "status": status,
        });
        for (part, change) in [("metadata", meta), ("spec", spec)] {
            for (key, value) in change.as_object().into_iter().flatten() {
                object[part][key] = value.clone();
            }
        }
        obstacle(&serde_json::from_value(object).expect("a credential"))
    }

    #[test]
    fn a_renewal_request_that_will_not_be_served_is_reported() {
        let none = json!({});
        let seen = json!({ "observedGeneration": 2 });
        let stalled = json!({ "observedGeneration": 2, "conditions": [{
            "type": "Stalled", "status": "True", "reason": "ScopeNotAllowed", "message": "add it",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }] });
        let gone = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" });
        for (meta, spec, status, what) in [
            (&none, &none, &seen, None),
            (&none, &json!({ "suspend": false }), &seen, None),
            (&gone, &none, &seen, Some("being deleted")),
            (&none, &json!({ "suspend": true }), &seen, Some("suspended")),
            (&none, &none, &Value::Null, Some("no operator")),
            (&none, &none, &json!({}), Some("no operator")),
            (
                &none,
                &none,
                &json!({ "observedGeneration": 1 }),
                Some("last change"),
            ),
            (&none, &none, &stalled, Some("(ScopeNotAllowed): add it")),
        ] {
            let reported = reported(meta, spec, status);
            match what {
                None => assert_eq!(reported, None),
                Some(what) => assert!(
                    reported.as_ref().is_some_and(|t| t.contains(what)),
                    "{reported:?}"
                ),
            }
        }
    }
}
