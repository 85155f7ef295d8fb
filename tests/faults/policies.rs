//! Restrictions of a cluster: quotas, admission policies, namespaces that are deleted (F18, F19, F20). And clocks that
//! jump (F40).

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::future::join;
use jiff::SignedDuration;
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    core::v1::{Namespace, ResourceQuota, Secret},
};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::json;
use testenv::eventually;

use crate::{
    oracles::check,
    scenario::{Case, in_both_modes, operator, reference, world},
    support::{LATER, NAMESPACE, Place, SOON, condition, run, typed},
};

/// Runs a scenario that cannot write its Secret at first, for this reason and with this message of the API server, until `lift`
/// returns. No output of the scenario contains a secret, see the oracles.
pub(crate) async fn forbidden(
    mut case: Case,
    (reason, text): (&str, &[&str]),
    lift: impl AsyncFnOnce(),
) {
    let usual = reference().await;
    let place = Arc::clone(&case.place);
    let name = case.name.clone();
    let frozen = Arc::clone(&case.frozen);
    frozen.store(true, Ordering::SeqCst);
    let lifted = async {
        eventually(LATER, format!("{name}: {reason}"), async || {
            let credential = place.credentials().get("c").await;
            let credential = credential.map_err(|e| e.to_string())?;
            let ready = condition(&credential, "Ready");
            match ready {
                Some(ready)
                    if ready.status == "False"
                        && ready.reason == reason
                        && text.iter().all(|w| ready.message.contains(w)) =>
                {
                    Ok(())
                }
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        assert_eq!(place.posts(), 1);
        lift().await;
        // The API server needs some time to drop it; each attempt until then would wait longer.
        let allowed = async || may_create(&place).await;
        eventually(LATER, format!("{name}: nothing in the way"), allowed).await;
        frozen.store(false, Ordering::SeqCst);
    };
    let (scenario, ()) = join(case.live(), lifted).await;
    check(&scenario, usual);
    case.end(&scenario).await;
}

#[test]
fn a_quota_that_leaves_no_room_is_reported_and_costs_no_token() {
    run(in_both_modes(async |mode| {
        let mut case = Case::within(world().await, "f18-quota", mode).await;
        case.home = NAMESPACE.to_owned();
        let place = &case.place;
        let quotas: Api<ResourceQuota> = Api::namespaced(place.kube.clone(), &place.namespace);
        // The source and the bystander.
        let quota = typed(json!({
            "metadata": { "name": "few" }, "spec": { "hard": { "count/secrets": "2" } },
        }));
        quotas
            .create(&PostParams::default(), &quota)
            .await
            .expect("a quota");
        eventually(SOON, "a quota that counts", async || {
            let quota = quotas.get("few").await.ok().and_then(|q| q.status);
            quota.is_some_and(|s| s.used.is_some_and(|u| u.contains_key("count/secrets")))
        })
        .await;
        let text = ["the quota few ", "limited: count/secrets=2", "; raise it"];
        forbidden(case, ("TargetQuotaExceeded", &text), async || {
            quotas
                .delete("few", &DeleteParams::default())
                .await
                .expect("it goes");
        })
        .await;
    }));
}

#[test]
fn an_admission_policy_that_refuses_the_secret_is_reported_and_costs_no_token() {
    run(in_both_modes(async |mode| {
        for (answer, reason) in [
            ("Forbidden", "TargetWriteForbidden"),
            ("Invalid", "TargetInvalid"),
        ] {
            let name = format!("f18-vap-{}", answer.to_lowercase());
            let mut case = Case::within(world().await, &name, mode).await;
            let name = case.name.clone();
            case.home = NAMESPACE.to_owned();
            let kube = case.place.kube.clone();
            let policies: Api<ValidatingAdmissionPolicy> = Api::all(kube.clone());
            let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(kube);
            let policy = typed(json!({ "metadata": { "name": name }, "spec": {
                "matchConstraints": { "resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"],
                    "operations": ["CREATE"],
                }] },
                "matchConditions": [{
                    "name": "operator",
                    "expression": "request.userInfo.username.endsWith(':apicred')",
                }],
                "validations": [{
                    "expression": "false", "message": "not here", "reason": answer,
                    // The token itself: it must not be in any other output.
                    "messageExpression": "'not here: ' + string(object.data['token'])",
                }],
            } }));
            let binding = typed(json!({ "metadata": { "name": name }, "spec": {
                "policyName": name, "validationActions": ["Deny"],
                "matchResources": { "namespaceSelector": { "matchLabels": {
                    "kubernetes.io/metadata.name": case.place.namespace,
                } } },
            } }));
            policies
                .create(&PostParams::default(), &policy)
                .await
                .expect("a policy");
            bindings
                .create(&PostParams::default(), &binding)
                .await
                .expect("a binding");
            in_force(&case).await;
            let who = format!("the admission policy {name} denies the write of Secret token");
            let text = [
                who.as_str(),
                "\"not here: […]",
                "ask the owner of the policy to allow it",
            ];
            forbidden(case, (reason, &text), async || {
                let params = DeleteParams::default();
                bindings.delete(&name, &params).await.expect("it goes");
                policies.delete(&name, &params).await.expect("it goes");
            })
            .await;
        }
    }));
}

/// Waits until the policy is in force: the API server needs some time to load it.
pub(crate) async fn in_force(case: &Case) {
    let refused = async || !may_create(&case.place).await;
    eventually(LATER, "a policy in force", refused).await;
}

/// Whether the operator may create a Secret here.
async fn may_create(place: &Place) -> bool {
    let secrets: Api<Secret> = Api::namespaced(operator(world().await).await, &place.namespace);
    let secret = typed(json!({ "metadata": { "name": "probe" }, "stringData": { "a": "b" } }));
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    secrets.create(&params, &secret).await.is_ok()
}

#[test]
fn a_namespace_that_is_deleted_and_made_again_with_the_same_names_gets_a_token_of_its_own() {
    run(in_both_modes(async |mode| {
        let mut case = Case::within(world().await, "f20", mode).await;
        case.home = NAMESPACE.to_owned();
        case.start();
        case.place.create("c", json!({})).await;
        let first = case.until_ready(None).await;
        let namespaces: Api<Namespace> = Api::all(case.place.kube.clone());
        let name = case.place.namespace.clone();
        namespaces
            .delete(&name, &DeleteParams::default())
            .await
            .expect("it goes");
        let gone = async || namespaces.get_opt(&name).await.is_ok_and(|n| n.is_none());
        eventually(LATER, "the end of the namespace", gone).await;
        case.stays_quiet(Duration::from_millis(500)).await;
        assert_eq!(
            case.place.posts(),
            1,
            "F19: no token for a namespace that goes"
        );
        let again = typed(json!({ "metadata": { "name": name } }));
        namespaces
            .create(&PostParams::default(), &again)
            .await
            .expect("a namespace");
        case.place.put_source(&case.place.secret).await;
        let made = case.place.create("c", json!({})).await;
        let second = case.until_ready(None).await;
        assert_ne!(first.token, second.token);
        assert_ne!(first.uid, second.uid);
        let uid = &second.annotations["apicred.dev/credential-uid"];
        assert_eq!(made.metadata.uid.as_ref(), Some(uid));
        assert_eq!(case.place.posts(), 2, "O3");
        case.stays_quiet(Duration::from_secs(1)).await;
        case.stop().await;
    }));
}

#[test]
fn a_clock_that_jumps_costs_one_token_a_jump_and_heals() {
    run(in_both_modes(async |mode| {
        let mut case = Case::within(world().await, "f40", mode).await;
        case.start();
        case.place.create("c", json!({})).await;
        let mut last = case.until_ready(None).await;
        let hour = SignedDuration::from_hours(1);
        let year = SignedDuration::from_hours(365 * 24);
        for (number, jump) in [hour, -hour, -hour, hour, year, -year, -year, year]
            .into_iter()
            .enumerate()
        {
            case.pass(jump).await;
            let after = format!("another token after jump {number} ({jump})");
            last = eventually(SOON, after, async || {
                let view = case.place.view("token").await?;
                let credential = case.place.credentials().get("c").await;
                let status = credential
                    .map_err(|e| e.to_string())?
                    .status
                    .unwrap_or_default();
                let reported = status.token_id.as_deref() == Some(view.token_id());
                if view.token != last.token && reported {
                    Ok(view)
                } else {
                    Err(format!("{status:?}"))
                }
            })
            .await;
            assert_eq!(case.place.call("demo", "whoami", &last.token).await, 200);
            case.stays_quiet(Duration::from_millis(300)).await;
            assert_eq!(case.place.posts(), number + 2, "O3: after {jump}");
        }
        // The clock is correct again, and so is everything that is reported.
        let view = case.place.ready("c").await;
        let exp = view.claims["exp"].as_i64().expect("an end");
        assert!((view.expires_at.as_second() - exp).abs() <= 2);
        case.stop().await;
    }));
}
