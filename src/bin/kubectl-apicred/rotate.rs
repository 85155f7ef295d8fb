//! Requests a rotation of a client's own secret, certificate or key from the operator.

use std::time::{Duration, Instant};

use apicred::{
    ConditionType,
    api::{ApiClient, names},
    clock::{Clock, SystemClock},
};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::{
    Rotate, Target,
    cluster::{ApiErrorKind, Cluster, call},
    terminal,
    wait::{Failure, OLD_FAULT},
};

/// Time between two reads of the object.
const PERIOD: Duration = Duration::from_secs(1);
/// How long to wait if the user does not set a timeout. A new credential is tried for at least two minutes.
const USUAL: Duration = Duration::from_mins(15);

pub(crate) async fn run(args: &Rotate) -> Result<(), Failure> {
    let cluster = Cluster::connect(&Target {
        credential: args.client.clone(),
        namespace: args.namespace.clone(),
        context: args.context.clone(),
        kubeconfig: args.kubeconfig.clone(),
    })
    .await?;
    let name = args.client.as_str();
    let place = format!("{}/{name}", cluster.namespace);
    let value = SystemClock.now().to_string();
    let change = json!({ "metadata": { "annotations": { (names::ROTATE_REQUESTED_AT): value } } });
    let (api, params) = (cluster.api::<ApiClient>(), PatchParams::default());
    let present = call(api.get(name))
        .await
        .map_err(|failed| failed.about(&format!("reading ApiClient {place}")))?;
    // The annotation would stay as a request, which would be served as soon as a user sets `spec.rotation`.
    if present.spec.rotation.is_none() {
        return Err(Failure::Failed(format!(
            "ApiClient {place} has no spec.rotation, so nothing is rotated and nothing was changed; set it"
        )));
    }
    call(api.patch(name, &params, &Patch::Merge(&change)))
        .await
        .map_err(|failed| failed.about(&format!("changing ApiClient {place}")))?;
    terminal::out(&format!("rotation of {place} requested"));
    if args.wait {
        return until_rotated(&cluster, name, &value, args.timeout.unwrap_or(USUAL)).await;
    }
    if let Some(why) = reported(&present, ConditionType::RotationBlocked) {
        terminal::err(&format!("note: the rotation is blocked: {why}"));
    }
    Ok(())
}

/// What the object shows about the request.
#[derive(Debug, PartialEq)]
enum Progress {
    Rotated,
    Failed(String),
    /// Not served yet: the current step, and the obstacle.
    Waits(Option<String>, Option<String>),
}

async fn until_rotated(
    cluster: &Cluster,
    name: &str,
    value: &str,
    timeout: Duration,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let place = format!("{}/{name}", cluster.namespace);
    let mut reported = None;
    loop {
        let read = call(cluster.api::<ApiClient>().get(name)).await;
        let about = format!("reading ApiClient {place}");
        let why = match read {
            Ok(object) => match progress(&object, value, begun.elapsed()) {
                Progress::Rotated => {
                    terminal::out(&format!("{place} rotated: credentials use the new one"));
                    return Ok(());
                }
                Progress::Failed(why) => {
                    return Err(Failure::Failed(format!("{place} was not rotated: {why}")));
                }
                Progress::Waits(state, why) => {
                    let now = Some((state, why));
                    if let Some((state, why)) = now.as_ref().filter(|_| reported != now) {
                        let parts = [state.as_deref(), why.as_deref()].into_iter().flatten();
                        let parts: Vec<&str> = parts.collect();
                        if !parts.is_empty() {
                            terminal::out(&format!("{place}: {}", parts.join(": ")));
                        }
                    }
                    reported = now;
                    reported.as_ref().and_then(|(_, why)| why.clone())
                }
            },
            // The cluster may become available again in time.
            Err(failed) if failed.error_kind == ApiErrorKind::Unavailable => {
                Some(failed.about(&about))
            }
            Err(failed) => return Err(Failure::Failed(failed.about(&about))),
        };
        if begun.elapsed() + PERIOD > timeout {
            let why = why.unwrap_or_else(|| {
                "it continues; the status of the client shows its progress".to_owned()
            });
            return Err(Failure::TimedOut(format!(
                "{place} was not rotated within {} s: {why}",
                timeout.as_secs()
            )));
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Whether only another spec can end what blocks a rotation.
fn is_permanent(why: &str) -> bool {
    why.starts_with("spec.rotation")
}

/// The message of a condition that is true.
fn reported(object: &ApiClient, kind: ConditionType) -> Option<&str> {
    let found = kind.find(&object.status.as_ref()?.conditions);
    found
        .filter(|c| c.status == "True")
        .map(|c| c.message.as_str())
}

/// A request is answered when credentials use the new credential. Until then the state shows what is in progress.
fn progress(object: &ApiClient, value: &str, waited: Duration) -> Progress {
    let status = object.status.clone().unwrap_or_default();
    let noted = object.metadata.annotations.as_ref();
    let wanted = noted.and_then(|a| a.get(names::ROTATE_REQUESTED_AT));
    let condition = |kind| reported(object, kind).map(str::to_owned);
    // A later request of another user replaces this one.
    let is_ours = |noted: &Option<String>| {
        noted.as_deref() == Some(value) || noted.is_some() && noted.as_ref() == wanted
    };
    let state = status.rotation_state.clone();
    if is_ours(&status.last_handled_rotate_request) {
        return Progress::Rotated;
    }
    if wanted.is_none() {
        return Progress::Failed(format!(
            "the annotation {} was removed before it was served; exclude it from the tool that applies the manifest",
            names::ROTATE_REQUESTED_AT
        ));
    }
    let failed = is_ours(&status.last_failed_rotate_request);
    if let (true, Some(why)) = (failed, condition(ConditionType::RotationFailed)) {
        let because = condition(ConditionType::RotationBlocked);
        return Progress::Failed(
            because.map_or(why.clone(), |because| format!("{why}: {because}")),
        );
    }
    let why = condition(ConditionType::RotationBlocked);
    // An older status may be about an earlier spec, or an earlier version of the issuer.
    let is_current = status.observed_generation == object.metadata.generation;
    let is_final = |why: &&String| is_current && waited >= OLD_FAULT && is_permanent(why);
    if let Some(why) = why.as_ref().filter(is_final) {
        return Progress::Failed(why.clone());
    }
    let due = || condition(ConditionType::RotationDue);
    Progress::Waits(state, why.or_else(due))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn client(annotation: Option<&str>, status: &Value) -> ApiClient {
        let noted = annotation.map(|value| json!({ names::ROTATE_REQUESTED_AT: value }));
        let object = json!({
            "apiVersion": "apicred.dev/v1alpha1", "kind": "ApiClient",
            "metadata": { "name": "c", "namespace": "team", "generation": 2, "annotations": noted },
            "spec": { "id": "c", "rotation": {} }, "status": status,
        });
        serde_json::from_value(object).expect("a client")
    }

    #[test]
    fn a_rotation_has_ended_when_credentials_use_the_new_one() {
        let status = |state: &str, handled: Option<&str>, condition: Option<&str>| {
            let conditions: Vec<Value> = condition
                .map(|kind| {
                    json!({ "type": kind, "status": "True", "reason": kind, "message": "why",
                        "lastTransitionTime": "2026-01-01T00:00:00Z" })
                })
                .into_iter()
                .collect();
            json!({ "rotationState": state, "lastHandledRotateRequest": handled, "conditions": conditions })
        };
        let waits = |state: &str, why: Option<&str>| {
            Progress::Waits(Some(state.to_owned()), why.map(str::to_owned))
        };
        let failed = |request: &str| {
            let mut status = status("Steady", None, Some("RotationFailed"));
            status["lastFailedRotateRequest"] = json!(request);
            status
        };
        let blocked_by_spec = |generation: Option<i64>| {
            json!({ "observedGeneration": generation, "conditions": [{
                "type": "RotationBlocked", "status": "True", "reason": "SpecInvalid",
                "message": "spec.rotation: needs Entra ID", "lastTransitionTime": "2026-01-01T00:00:00Z",
            }] })
        };
        for (wanted, status, expected) in [
            ("now", status("Steady", None, None), waits("Steady", None)),
            (
                "now",
                status("Steady", Some("before"), None),
                waits("Steady", None),
            ),
            (
                "now",
                status("Steady", None, Some("RotationBlocked")),
                waits("Steady", Some("why")),
            ),
            // It was requested while the old credential of the previous rotation is still retained.
            (
                "now",
                status("Overlap", Some("before"), Some("RotationDue")),
                waits("Overlap", Some("why")),
            ),
            (
                "now",
                status("Steady", Some("before"), Some("RotationDue")),
                waits("Steady", Some("why")),
            ),
            (
                "now",
                status("Adding", Some("before"), None),
                waits("Adding", None),
            ),
            (
                "now",
                status("Proving", Some("before"), None),
                waits("Proving", None),
            ),
            (
                "now",
                status("Overlap", Some("now"), None),
                Progress::Rotated,
            ),
            (
                "now",
                status("Steady", Some("now"), None),
                Progress::Rotated,
            ),
            (
                "later",
                status("Overlap", Some("later"), None),
                Progress::Rotated,
            ),
            // Only another spec can end this.
            (
                "now",
                blocked_by_spec(Some(2)),
                Progress::Failed("spec.rotation: needs Entra ID".to_owned()),
            ),
            (
                "now",
                blocked_by_spec(Some(1)),
                Progress::Waits(None, Some("spec.rotation: needs Entra ID".to_owned())),
            ),
            // A failure from before the request is not its result.
            (
                "now",
                status("Steady", None, Some("RotationFailed")),
                waits("Steady", None),
            ),
            ("now", failed("now"), Progress::Failed("why".to_owned())),
            ("later", failed("later"), Progress::Failed("why".to_owned())),
            ("now", failed("before"), waits("Steady", None)),
        ] {
            let reported = progress(&client(Some(wanted), &status), "now", OLD_FAULT);
            assert_eq!(reported, expected, "{status}");
        }
        // The owner of the issuer may have corrected it a moment ago.
        let early = progress(
            &client(Some("now"), &blocked_by_spec(Some(2))),
            "now",
            OLD_FAULT / 2,
        );
        assert!(matches!(early, Progress::Waits(None, Some(_))), "{early:?}");
        let gone = progress(
            &client(None, &status("Steady", None, None)),
            "now",
            Duration::ZERO,
        );
        assert!(matches!(gone, Progress::Failed(why) if why.contains("was removed")));
    }
}
