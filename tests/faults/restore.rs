//! A backup of etcd is restored while the operator runs: versions decrease, and all later changes are lost (F17).

use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use testenv::eventually;

use crate::{
    calls::Call,
    scenario::{Case, Mode},
    servers::{FRAGILE, fragile},
    support::{SOON, run},
};

/// Writes without a relation to apicred: so many versions are between a backup and the day on which it is restored.
const OTHERS: usize = 400;

/// Increases the store's versions, as a busy cluster does.
async fn versions_pass(case: &Case) {
    let maps: Api<ConfigMap> = Api::namespaced(case.place.kube.clone(), &case.place.namespace);
    let write = async |writer: usize| {
        for number in 0..OTHERS / 8 {
            let map = json!({ "data": { "number": number.to_string() } });
            let params = PatchParams::apply("somebody");
            let name = format!("busy-{writer}");
            let map = Patch::Apply(json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": map["data"],
            }));
            maps.patch(&name, &params, &map).await.expect("a write");
        }
    };
    join_all((0..8).map(write)).await;
}

/// At rest, and while a token is being written to the Secret.
#[test]
fn a_backup_of_etcd_that_is_put_back_ends_the_operator_and_the_next_one_goes_on() {
    run(async {
        let mut world = FRAGILE.lock().await;
        let world = fragile(&mut world).await;
        for (mode, in_flight) in [
            (Mode::Cluster, false),
            (Mode::Cluster, true),
            (Mode::Namespaced, true),
        ] {
            let name = if in_flight { "f17-flight" } else { "f17-rest" };
            let mut case = Case::within(world, name, mode).await;
            let name = &case.name.clone();
            case.start();
            case.place.create("c", json!({})).await;
            let early = json!({ "target": { "secretName": "early" } });
            case.place.create("early", early).await;
            let first = case.until_ready(None).await;
            let early = case.place.any_token("early").await;
            case.stays_quiet(Duration::from_millis(300)).await;
            let backup = world.cluster.backup(name).await.expect("a backup");

            // All changes from here on will be lost.
            case.place.request_renewal("c").await;
            case.place.another_token("token", &first).await;
            case.place.delete("early").await;
            let late = json!({ "target": { "secretName": "late" } });
            case.place.create("late", late).await;
            case.place.any_token("late").await;
            versions_pass(&case).await;
            let renewal_id = case.place.request_renewal("c").await;
            case.place
                .until("c", "a renewal", |c| {
                    let handled = c.status.as_ref()?.last_handled_renew_request.as_ref()?;
                    (*handled == renewal_id).then_some(())
                })
                .await;
            case.stays_quiet(Duration::from_millis(300)).await;
            let rotation = |call: &Call| call.text() == "patch secrets token";
            let held = in_flight.then(|| case.wire.hold_first(rotation));
            if let Some((come, _)) = &held {
                case.place.request_renewal("c").await;
                come.notified().await;
            }
            let before = case.place.posts();
            world
                .cluster
                .restore(&backup)
                .await
                .expect("it is put back");
            if let Some((_, go)) = &held {
                go.notify_one();
            }
            let log = case.until_ended().await;
            assert!(log.contains("restored backup"), "{log}");

            // As the kubelet does it. Everything in the backup is valid.
            case.start();
            let view = case.until_ready(None).await;
            let there = case.place.ready("early").await;
            assert_eq!(there.token, early.token, "{name}: it was never deleted");
            // A list that the server refuses while it starts is tried again after seconds, and its changes are written then.
            case.stays_quiet(Duration::from_secs(3)).await;
            // The request before the restore may have been served after it, before the operator noticed.
            let posts = case.place.posts();
            assert!(posts <= before + 1, "{name}: O3: {before}, then {posts}");
            let old = view.token == first.token;
            // A token that was being written during the restore is valid as well, and may have been stored.
            assert!(
                old || in_flight || posts == before + 1,
                "{name}: {:#?}",
                case.journal()
            );
            let status = case.place.call("demo", "whoami", &view.token).await;
            assert_eq!(status, 200, "{name}: O2");
            let renewal_id = case.place.request_renewal("c").await;
            case.until_ready(Some((&view, Some(&renewal_id)))).await;
            assert_eq!(case.place.posts(), posts + 1, "{name}: O3");
            eventually(
                SOON,
                format!("{name}: the end of what never was"),
                async || {
                    let late = case.place.secrets().get_opt("late").await;
                    late.is_ok_and(|late| late.is_none())
                },
            )
            .await;
            case.stop().await;
        }
    });
}
