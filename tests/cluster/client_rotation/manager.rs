//! What `managementRef` names.

use apicred::api::ApiClientStatus;
use serde_json::json;
use testenv::eventually;

use super::{Rig, soon};
use crate::support::{LATER, World, run};

#[test]
fn a_manager_that_does_not_exist_is_reported_before_it_is_needed() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::with_secret(&world, "unmanaged", soon()).await;
        rig.run().await;
        rig.place.ready("a").await;
        rig.place.ready("graph-rotator").await;
        let request = rig.request().await;
        rig.switched(&request).await;
        rig.place.request_renewal("a").await;
        // The first client secret stays, because apicred did not make it.
        let done = |s: &ApiClientStatus| {
            s.last_handled_rotate_request.as_deref() == Some(&*request)
                && s.rotation_state.as_deref() == Some("Steady")
        };
        rig.until("a rotation that has ended", done).await;
        // Nothing is due, and the application was read shortly before.
        let calls = rig.place.issuer.api_calls().len();
        let by = |name: &str| json!({ "rotation": { "managementRef": { "name": name } } });
        rig.point_at(by("nobody")).await;
        let expected = "ApiCredential nobody does not exist in this namespace";
        rig.until_condition("RotationBlocked", expected).await;
        rig.point_at(by("graph-rotator")).await;
        let is_blocked = async || {
            let status = rig.status().await;
            let blocked = status
                .conditions
                .iter()
                .any(|c| c.type_ == "RotationBlocked");
            (!blocked).then_some(())
        };
        eventually(LATER, "what is corrected is reported no more", is_blocked).await;
        // It is deleted later.
        rig.place.delete("graph-rotator").await;
        rig.until_condition(
            "RotationBlocked",
            "ApiCredential graph-rotator does not exist",
        )
        .await;
        assert_eq!(rig.place.issuer.api_calls().len(), calls, "nothing was due");
        // The next process reports it as well, from its first reconciliation on.
        rig.run().await;
        rig.until_condition(
            "RotationBlocked",
            "ApiCredential graph-rotator does not exist",
        )
        .await;
    });
}
