//! Revocations that must wait: for an operator, its rights, or the issuer.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;
use testenv::eventually;

use super::revocation::{
    FINALIZER, finalizers, gone, issuer, no_warning, place, revoke, revoked, warned,
};
use crate::{
    leader,
    support::{LATER, Listener, NAMESPACE, Place, SOON, World, reply, run},
};

/// Waits until the answer of the API server about the right of the operator to patch credentials is this one.
async fn may_patch(world: &World, place: &Place, wanted: bool) {
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:apicred");
    let question = ["auth", "can-i", "patch", "apicredentials.apicred.dev"];
    let question = [question.as_slice(), &["-n", &place.namespace, &account]].concat();
    eventually(SOON, format!("patch: {wanted}"), async || {
        // Its exit code is the answer.
        world.cluster.kubectl(&question).await.is_ok() == wanted
    })
    .await;
}

#[test]
fn an_operator_that_comes_back_revokes_and_one_without_the_right_requests_no_token() {
    run(async {
        let mut world = World::own().await;
        let listener = issuer(|_| "200 OK");
        let place = place(&world, "end-restart", &listener).await;
        world.start_operator().await;
        place.create("c", revoke("token")).await;
        let token = place.ready("c").await.token;
        place.create("kept", revoke("kept")).await;
        place.ready("kept").await;
        place.create("stuck", revoke("stuck")).await;
        let stuck = place.ready("stuck").await.token;
        world.kill_operator().await;
        // Meanwhile only a user can remove the finalizer.
        place.delete("c").await;
        place.delete("kept").await;
        assert_eq!(finalizers(&place, "c").await, [FINALIZER]);
        place
            .edit("kept", json!({ "metadata": { "finalizers": null } }))
            .await;
        gone(&place, "kept", SOON).await;
        world.start_operator().await;
        gone(&place, "c", SOON).await;
        assert!(revoked(&listener, &token));

        let roles: Api<ClusterRole> = Api::all(world.admin.clone());
        let all = roles.get("apicred").await.expect("a role").rules;
        let all = all.unwrap_or_default();
        let less = all.iter().filter(|rule| {
            let list = |items: &Option<Vec<String>>, what: &str| {
                items.iter().flatten().any(|item| item == what)
            };
            !(list(&rule.resources, "apicredentials") && rule.verbs.iter().any(|v| v == "patch"))
        });
        let less: Vec<_> = less.cloned().collect();
        assert_eq!(less.len() + 1, all.len());
        let (params, before) = (PatchParams::default(), listener.requests().len());
        let patch = Patch::Merge(json!({ "rules": less }));
        roles
            .patch("apicred", &params, &patch)
            .await
            .expect("an edit");
        may_patch(&world, &place, false).await;
        place.create("later", revoke("later")).await;
        place.not_ready("later", "FinalizerForbidden").await;
        assert_eq!(
            listener.requests().len(),
            before,
            "no token that cannot be revoked"
        );
        // A finalizer that cannot be removed is reported to the owner of the credential.
        place.delete("stuck").await;
        eventually(SOON, "the event about the finalizer", async || {
            let events = place.events("stuck").await;
            let reported = events.into_iter().find(|e| e.1 == "FinalizerForbidden");
            reported.is_some_and(|(_, _, note)| note.contains("delays the deletion"))
        })
        .await;
        assert!(revoked(&listener, &stuck));
        let patch = Patch::Merge(json!({ "rules": all }));
        roles
            .patch("apicred", &params, &patch)
            .await
            .expect("an edit");
        may_patch(&world, &place, true).await;
        place.request_renewal("later").await;
        place.ready("later").await;
        // Between two attempts there are at most 30 s.
        gone(&place, "stuck", LATER).await;
        let ends = listener.requests();
        let ends = ends.iter().filter(|r| r.contains(&stuck));
        assert_eq!(ends.count(), 1, "it was revoked once");

        // An operator that never had the issuer in its cache cannot revoke there.
        world.kill_operator().await;
        let params = DeleteParams::default();
        let deleted = place.issuers().delete(&place.issuer_name, &params).await;
        deleted.expect("a deletion");
        place.delete("later").await;
        world.start_operator().await;
        gone(&place, "later", SOON).await;
        let note = warned(&place, "later").await;
        let reason = format!(
            "ClusterTokenIssuer {} was deleted before this credential",
            place.issuer_name
        );
        assert!(note.contains(&reason), "{note}");
    });
}

/// A revocation counts towards the limits of its issuer, like a token request: a pause delays both.
#[test]
fn a_429_of_the_revocation_endpoint_pauses_the_client_and_its_revocations() {
    run(async {
        let world = World::shared().await;
        let listener = Listener::replying(|request| {
            if request.starts_with("POST /revoke ") {
                return reply("429 Too Many Requests", "retry-after: 3600\r\n", b"");
            }
            let token =
                json!({ "access_token": "b4sic.Zx81", "token_type": "Bearer", "expires_in": 3600 });
            reply("200 OK", "", token.to_string().as_bytes())
        });
        let place = place(world, "end-limits", &listener).await;
        let spec = |name: &str| {
            let parameters = json!([{ "name": "number", "value": name }]);
            let mut spec = revoke(name);
            spec["parameters"] = parameters;
            spec
        };
        place.create("first", spec("first")).await;
        place.ready("first").await;
        place.delete("first").await;
        let ends = || {
            let requests = listener.requests();
            let ends = requests.iter().filter(|r| r.starts_with("POST /revoke "));
            ends.count()
        };
        eventually(SOON, "the attempt", async || (ends() == 1).then_some(())).await;
        place.create("second", spec("second")).await;
        place.not_ready("second", "IssuerPaused").await;
        gone(&place, "first", LATER).await;
        let note = warned(&place, "first").await;
        assert!(note.contains("not revoked in time"), "{note}");
        assert_eq!(ends(), 1, "no second attempt in the pause");
    });
}

/// The first leader crashes between two attempts.
#[test]
fn the_next_leader_revokes_what_the_last_one_could_not() {
    run(async {
        let world = World::own().await;
        let first = leader::start(&world, "first").await;
        leader::leads(&world, "first", LATER).await;
        let open = Arc::new(AtomicBool::new(false));
        let opened = Arc::clone(&open);
        let listener = issuer(move |_| {
            if opened.load(Ordering::SeqCst) {
                "200 OK"
            } else {
                "503 Service Unavailable"
            }
        });
        let place = place(&world, "end-replicas", &listener).await;
        place.create("c", revoke("token")).await;
        let token = place.ready("c").await.token;
        let _second = leader::start(&world, "second").await;
        place.delete("c").await;
        let attempts = || {
            let requests = listener.requests();
            let ends = requests.iter().filter(|r| r.starts_with("POST /revoke "));
            ends.count()
        };
        eventually(SOON, "an attempt", async || (attempts() > 0).then_some(())).await;
        let object = place.credentials().get("c").await.expect("it waits");
        assert_eq!(
            object.metadata.finalizers.as_deref(),
            Some(&[FINALIZER.to_owned()][..])
        );
        let object = serde_json::to_value(&object).expect("JSON");
        let kstatus = testenv::kstatus(&[object]).await.expect("kstatus");
        assert_eq!(kstatus, ["Terminating"]);
        first.kill().await;
        open.store(true, Ordering::SeqCst);
        leader::leads(&world, "second", LATER).await;
        gone(&place, "c", LATER).await;
        assert!(revoked(&listener, &token));
        no_warning(&place, "c").await;
    });
}
