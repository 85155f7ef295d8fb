//! `renew --wait`: reads from the object whether the operator has served a request.

use std::time::{Duration, Instant};

use apicred::{
    ConditionType,
    api::{ApiCredential, LastAttempt, names},
};

use crate::{
    any_version,
    cluster::{ApiErrorKind, Cluster},
    renew::{lasting_fault, obstacle},
    terminal,
};

/// Time between two reads of the object.
const PERIOD: Duration = Duration::from_millis(500);
/// How long an older fault is not treated as final: the operator needs time to see the request, and
/// writes no status if the fault is the same as before.
pub(crate) const OLD_FAULT: Duration = Duration::from_secs(5);
/// How long to wait if the user does not set a timeout.
pub(crate) const USUAL: Duration = Duration::from_mins(1);

/// Why the plugin ends without the requested result.
#[derive(Debug, PartialEq)]
pub(crate) enum Failure {
    /// The result is not possible.
    Failed(String),
    /// The timeout has passed; the result is still possible.
    TimedOut(String),
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

/// The request that is waited for.
pub(crate) struct Request {
    /// The value of the annotation.
    pub(crate) value: String,
    /// The last attempt in the status at the time of the request.
    pub(crate) before: Option<Box<LastAttempt>>,
}

/// What the object shows about the request.
#[derive(Debug, PartialEq)]
pub(crate) enum Progress {
    /// A new token is in the Secret; the message of `Ready`.
    Served(String),
    /// A user must change something first.
    Failed(String),
    /// Not yet, with the obstacle if it is known.
    Waits(Option<String>),
}

/// Waits for the new token.
pub(crate) async fn until_served(
    cluster: &Cluster,
    name: &str,
    request: &Request,
    timeout: Duration,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let place = format!("{}/{name}", cluster.namespace);
    loop {
        let read = any_version::get(cluster, name).await;
        let why = match read {
            Ok(object) => match progress(&object, request, begun.elapsed()) {
                Progress::Served(message) => {
                    terminal::out(&format!("{place} renewed: {message}"));
                    return Ok(());
                }
                Progress::Failed(why) => {
                    return Err(Failure::Failed(format!("{place} was not renewed: {why}")));
                }
                Progress::Waits(why) => why,
            },
            // The cluster may become available again in time.
            Err(failed) if failed.error_kind == ApiErrorKind::Unavailable => {
                Some(failed.about(&format!("reading ApiCredential {place}")))
            }
            Err(failed) => {
                let why = failed.about(&format!("reading ApiCredential {place}"));
                return Err(Failure::Failed(why));
            }
        };
        if begun.elapsed() + PERIOD > timeout {
            let why = why.unwrap_or_else(|| {
                "the operator has not reported on the request; is it running? See its log"
                    .to_owned()
            });
            return Err(Failure::TimedOut(format!(
                "{place} was not renewed within {} s: {why}",
                timeout.as_secs()
            )));
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// What the object shows after `waited`.
pub(crate) fn progress(object: &ApiCredential, request: &Request, waited: Duration) -> Progress {
    let status = object.status.as_ref();
    let wanted = annotation(object);
    let handled = status.and_then(|s| s.last_handled_renew_request.as_deref());
    // A later request of another user replaces this one.
    let served = handled == Some(request.value.as_str()) || handled.is_some() && handled == wanted;
    let condition = |kind: ConditionType, value: &str| {
        let found = kind.find(&status?.conditions);
        found.filter(|c| c.status == value)
    };
    if served {
        let message = condition(ConditionType::Ready, "True").map(|c| c.message.clone());
        return Progress::Served(message.unwrap_or_else(|| "a new token is published".to_owned()));
    }
    if wanted.is_none() {
        return Progress::Failed(format!(
            "the annotation {} was removed before it was served; exclude it from the tool that applies the manifest",
            names::RENEW_REQUESTED_AT
        ));
    }
    if object.metadata.deletion_timestamp.is_some() || object.spec.suspend == Some(true) {
        return Progress::Failed(obstacle(object).unwrap_or_default());
    }
    let attempted = status.and_then(|s| s.last_attempt.as_ref()) != request.before.as_ref();
    if let Some(fault) = status.and_then(lasting_fault)
        && (attempted || waited >= OLD_FAULT)
    {
        return Progress::Failed(format!("{}: {}", fault.reason, fault.message));
    }
    let fault = condition(ConditionType::Ready, "False")
        .or_else(|| condition(ConditionType::RenewalFailing, "True"));
    Progress::Waits(match fault {
        Some(fault) => Some(format!("{}: {}", fault.reason, fault.message)),
        None => obstacle(object),
    })
}

fn annotation(object: &ApiCredential) -> Option<&str> {
    let all = object.metadata.annotations.as_ref()?;
    all.get(names::RENEW_REQUESTED_AT).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(annotation: Option<&str>, spec: &Value, status: &Value) -> ApiCredential {
        let mut object = json!({
            "apiVersion": "apicred.dev/v1alpha1", "kind": "ApiCredential",
            "metadata": { "name": "c", "namespace": "team", "generation": 2,
                "annotations": { "apicred.dev/renew-requested-at": annotation } },
            "spec": { "target": { "secretName": "t" } }, "status": status,
        });
        if annotation.is_none() {
            object["metadata"]["annotations"] = json!({});
        }
        for (key, value) in spec.as_object().into_iter().flatten() {
            object["spec"][key] = value.clone();
        }
        serde_json::from_value(object).expect("a credential")
    }

    fn condition(kind: &str, status: &str, reason: &str) -> Value {
        json!({ "type": kind, "status": status, "reason": reason, "message": format!("{reason} in words"),
            "lastTransitionTime": "2026-01-01T00:00:00Z" })
    }

    #[test]
    fn a_request_is_served_refused_or_waits() {
        let none = json!({});
        let ready = || condition("Ready", "True", "TokenPublished");
        let late = |reason| condition("RenewalFailing", "True", reason);
        let stalled = |reason| condition("Stalled", "True", reason);
        let attempt = json!({ "time": "2026-01-01T00:00:00Z", "result": "Failed", "reason": "ClientSecretRefused" });
        let status = |conditions: Value, more: Value| {
            let mut status = json!({ "observedGeneration": 2, "conditions": conditions });
            for (key, value) in more.as_object().into_iter().flatten() {
                status[key] = value.clone();
            }
            status
        };
        let before: LastAttempt = serde_json::from_value(attempt.clone()).expect("an attempt");
        let again = json!({ "time": "2026-01-01T00:00:00Z", "result": "Failed", "reason": "IssuerUnavailable", "inputs": "other" });
        let soon = json!({ "lastAttempt": again, "nextAttempt": "2026-01-01T00:00:05Z" });
        let hour = json!({ "lastAttempt": again, "nextAttempt": "2026-01-01T01:00:00Z" });
        let mine = Some("mine");
        #[rustfmt::skip]
        let cases = [
            // Served, by this request or by a later one.
            (mine, &none, status(json!([ready()]), json!({ "lastHandledRenewRequest": "mine" })), 0, "served TokenPublished in words"),
            (Some("later"), &none, status(json!([ready()]), json!({ "lastHandledRenewRequest": "later" })), 0, "served TokenPublished in words"),
            (None, &none, status(json!([ready()]), json!({ "lastHandledRenewRequest": "mine" })), 0, "served TokenPublished in words"),
            // An older request was served.
            (mine, &none, status(json!([ready()]), json!({ "lastHandledRenewRequest": "older" })), 0, "waits"),
            (mine, &none, status(json!([ready()]), none.clone()), 0, "waits"),
            // A fault that is temporary, or may be.
            (mine, &none, status(json!([ready(), late("IssuerUnavailable")]), soon.clone()), 60, "waits IssuerUnavailable: IssuerUnavailable in words"),
            (mine, &none, status(json!([condition("Ready", "False", "IssuerTimeout"), late("IssuerTimeout")]), none.clone()), 0, "waits IssuerTimeout: IssuerTimeout in words"),
            (mine, &none, status(json!([ready(), late("IssuerPaused")]), none.clone()), 60, "waits IssuerPaused: IssuerPaused in words"),
            // With a valid token there is no Stalled.
            (mine, &none, status(json!([ready(), late("ClientSecretRefused")]), hour), 1, "failed ClientSecretRefused: ClientSecretRefused in words"),
            (mine, &none, status(json!([ready(), late("SourceMissing")]), json!({ "lastAttempt": attempt })), 10, "failed SourceMissing: SourceMissing in words"),
            // The next attempt after the last failure is near, but another fault prevents it now.
            (mine, &none, status(json!([ready(), late("ScopeNotAllowed")]), soon), 1, "failed ScopeNotAllowed: ScopeNotAllowed in words"),
            // A lasting fault: from before the request, or from an attempt after it.
            (mine, &none, status(json!([ready(), stalled("ScopeNotAllowed")]), json!({ "lastAttempt": attempt })), 1, "waits it gets no token now (ScopeNotAllowed)"),
            (mine, &none, status(json!([ready(), stalled("ScopeNotAllowed")]), json!({ "lastAttempt": attempt })), 10, "failed ScopeNotAllowed: ScopeNotAllowed in words"),
            (mine, &none, status(json!([ready(), stalled("ClientSecretRefused")]), json!({ "lastAttempt": again })), 1, "failed ClientSecretRefused: ClientSecretRefused in words"),
            // No operator will serve it.
            (None, &none, status(json!([ready()]), none.clone()), 0, "failed the annotation apicred.dev/renew-requested-at was removed"),
            (mine, &json!({ "suspend": true }), status(json!([ready()]), none.clone()), 0, "failed it is suspended"),
            (mine, &none, Value::Null, 0, "waits no operator has reported"),
        ];
        for (annotation, spec, status, waited, expected) in cases {
            let request = Request {
                value: "mine".to_owned(),
                before: Some(Box::new(before.clone())),
            };
            let object = object(annotation, spec, &status);
            let found = match progress(&object, &request, Duration::from_secs(waited)) {
                Progress::Served(message) => format!("served {message}"),
                Progress::Failed(why) => format!("failed {why}"),
                Progress::Waits(why) => format!("waits {}", why.unwrap_or_default()),
            };
            assert!(found.starts_with(expected), "{status}: {found}");
        }
    }
}
