//! Values that a user has stored in the Secret of a client in addition to its value.

use dev_issuer::CredentialKind;
use serde_json::json;

use super::rig::{Rig, SOURCE};
use crate::support::{World, run, unique};

#[test]
fn a_value_stored_beside_a_client_secret_is_neither_tried_nor_replaced() {
    run(async {
        let world = World::own().await;
        for ending in ["-next", "-previous"] {
            let label = format!("beside{ending}");
            let mut rig = Rig::of(&world, &label, CredentialKind::Secret).await;
            let (key, theirs) = (format!("value{ending}"), unique());
            let stored = json!({ "stringData": { (key.as_str()): theirs } });
            rig.place.edit_secret(SOURCE, stored).await;
            let request = rig.request().await;
            rig.run().await;
            rig.place.ready("a").await;
            rig.place.ready("graph-rotator").await;
            let status = rig.until_condition("RotationBlocked", ending).await;
            // Not even its first characters are shown.
            let others = status.keys.iter().any(|key| key.state != "Current");
            assert!(!others, "{status:?}");
            assert_eq!(rig.data().await[&key], theirs.as_bytes());
            let removed = json!({ "data": { (key.as_str()): null } });
            rig.place.edit_secret(SOURCE, removed).await;
            rig.switched(&request).await;
        }
    });
}
