//! A client is deleted, or its rotation is removed, while the rotation is in progress.

use dev_issuer::{CredentialKind, Fault, Surface};
use futures::future::join_all;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use testenv::eventually;

use super::{Rig, soon};
use crate::support::{LATER, World, run};

/// How long the issuer needs for each answer, in milliseconds.
const SLOW: u64 = 3_000;

/// How the rotation of a client ends.
#[derive(Clone, Copy, Debug)]
enum Way {
    RotationRemoved,
    Deleted,
    Renamed,
}

async fn leaves(world: &World, way: Way) {
    let label = match way {
        Way::RotationRemoved => "no-rotation",
        Way::Deleted => "no-client",
        Way::Renamed => "another-client",
    };
    let mut rig = Rig::with_secret(world, label, soon()).await;
    rig.start(None, &rig.place.namespace.clone()).await;
    rig.place.ready("a").await;
    rig.place.ready("graph-rotator").await;
    rig.until("the first reconciliation", |s| s.rotation_state.is_some())
        .await;
    // The application is read, and a client secret is made.
    let slow = Fault::latency(SLOW).on(Surface::Graph).times(2);
    rig.place.issuer.fault(slow);
    rig.request().await;
    rig.until("a request that is under way", |s| {
        s.rotation_state.as_deref() == Some("Adding")
    })
    .await;
    match way {
        Way::RotationRemoved => rig.point_at(json!({ "rotation": null })).await,
        Way::Renamed => {
            rig.point_at(json!({ "id": rig.other, "objectId": null }))
                .await;
        }
        Way::Deleted => {
            let params = DeleteParams::default();
            let deleted = rig.clients().delete("shared", &params).await;
            deleted.expect("it goes");
        }
    }
    let stored = async || {
        let source = rig.source().await;
        let data = source.data.unwrap_or_default();
        if data.contains_key("value-next") {
            Ok(source.metadata.annotations.unwrap_or_default())
        } else {
            Err(format!("{way:?}: {:?}", data.keys()))
        }
    };
    let noted = eventually(LATER, format!("{way:?}: the client secret"), stored).await;
    let record: Value = serde_json::from_str(&noted["apicred.dev/rotation"]).expect("a record");
    let made = record["next"]["id"].as_str().expect("its ID");
    let all = rig.at_issuer(CredentialKind::Secret);
    assert!(all.iter().any(|id| id == made), "{way:?}: {all:?}");
    if let Way::Renamed = way {
        rig.until_condition("RotationBlocked", made).await;
    }
}

#[test]
fn a_client_secret_that_comes_when_its_client_is_rotated_no_more_is_stored() {
    run(async {
        let world = World::own().await;
        let ways = [Way::RotationRemoved, Way::Deleted, Way::Renamed];
        join_all(ways.map(|way| leaves(&world, way))).await;
    });
}
