//! The API server refuses to write the Secret of a client.

use kube::api::{Patch, PatchParams};
use serde_json::json;
use testenv::eventually;

use super::{Rig, rig::SOURCE, soon};
use crate::{
    renew::Policy,
    support::{LATER, World, run},
};

fn dry() -> PatchParams {
    PatchParams {
        dry_run: true,
        ..PatchParams::default()
    }
}

#[test]
fn a_secret_that_an_admission_policy_protects_is_named_with_the_policy() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::with_secret(&world, "refused", soon()).await;
        rig.start(None, &rig.place.namespace.clone()).await;
        rig.place.ready("a").await;
        rig.place.ready("graph-rotator").await;
        rig.until("the first reconciliation", |s| s.rotation_state.is_some())
            .await;
        let rule = json!({ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"], "operations": ["UPDATE"] });
        let unless = format!("object.metadata.name != '{SOURCE}'");
        let policy = Policy::put(&rig.place, rule, (&unless, "frozen")).await;
        let (params, secrets) = (dry(), rig.place.secrets());
        let another = Patch::Merge(json!({ "stringData": { "other": "value" } }));
        eventually(LATER, "a policy in force", async || {
            secrets.patch(SOURCE, &params, &another).await.is_err()
        })
        .await;
        let request = rig.request().await;
        let expected = format!("Secret {SOURCE} could not be written");
        let status = rig.until_condition("RotationBlocked", &expected).await;
        let mut all = status.conditions.iter();
        let blocked = all.find(|c| c.type_ == "RotationBlocked");
        let message = blocked.map(|c| c.message.as_str()).expect("a message");
        let named = format!("the admission policy {} denies it", rig.place.namespace);
        assert!(message.contains(&named), "{message}");
        policy.lift().await;
        // A user made the first credential, so it stays.
        rig.switched(&request).await;
        rig.until("the refusal has ended", |s| {
            let mut all = s.conditions.iter();
            !all.any(|c| c.message.contains(&expected))
        })
        .await;
    });
}
