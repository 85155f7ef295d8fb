//! The actions that Argo CD offers.

use std::{collections::BTreeMap, time::Duration};

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use testenv::ArgoScript;

use super::argocd::{folder, yaml};
use crate::support::{Place, World, merge, run};

/// The names of the actions, and whether each can be taken.
pub(crate) async fn actions(object: &Value) -> BTreeMap<String, bool> {
    let script = folder("ApiCredential").join("actions/discovery.lua");
    let found = testenv::argo(ArgoScript::Discovery, &script, std::slice::from_ref(object)).await;
    let found = found.expect("actions");
    let all = found[0].as_object().cloned().unwrap_or_default();
    all.into_iter()
        .map(|(name, action)| (name, action["disabled"] == false))
        .collect()
}

/// Takes an action as Argo CD does: the script's change, as a merge patch. Returns the object before and after.
async fn act(place: &Place, action: &str) -> (Value, Value) {
    let before = place.credentials().get("c").await.expect("a credential");
    let before = serde_json::to_value(before).expect("JSON");
    let enabled = actions(&before).await;
    assert_eq!(enabled.get(action), Some(&true), "{enabled:?}");
    let script = folder("ApiCredential").join(format!("actions/{action}/action.lua"));
    let patch = testenv::argo(ArgoScript::Action, &script, std::slice::from_ref(&before)).await;
    let patch = patch.expect("a patch").remove(0);
    let params = PatchParams::default();
    let after = place
        .credentials()
        .patch("c", &params, &Patch::Merge(patch))
        .await;
    let after = serde_json::to_value(after.expect("an action")).expect("JSON");
    (before, after)
}

#[test]
fn the_actions_of_argo_cd_do_what_they_are_called() {
    run(async {
        let world = World::shared().await;
        let place = world.place("argocd-act").await;
        // An empty map must still be a map after Lua has processed it.
        let formats =
            json!({ "target": { "notifyPods": null }, "expect": { "roles": ["Records.Read"] } });
        place.create("c", formats).await;
        let first = place.ready("c").await;

        let (before, after) = act(&place, "renew").await;
        assert_eq!(before["spec"], after["spec"]);
        place.another_token("token", &first).await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        assert_eq!(place.posts(), 2, "one token for one action");

        let (before, after) = act(&place, "suspend").await;
        assert_eq!(
            merge(before["spec"].clone(), json!({ "suspend": true })),
            after["spec"]
        );
        let enabled = actions(&after).await;
        let enabled: Vec<_> = enabled.iter().filter(|(_, on)| **on).collect();
        assert_eq!(enabled.len(), 1, "{enabled:?}");
        place.put_source(&place.secret).await;

        let (_, after) = act(&place, "resume").await;
        assert_eq!(before["spec"], after["spec"], "as it was applied");
        place.ready("c").await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        assert_eq!(place.posts(), 2, "to suspend and to resume costs no token");
    });
}

/// The tests that Argo CD runs over the folder of a kind.
#[test]
fn the_action_tests_of_argo_cd_hold() {
    run(async {
        let actions = folder("ApiCredential").join("actions");
        let tests = yaml(&actions.join("action_test.yaml"));
        let list = |key: &str| tests[key].as_array().cloned().unwrap_or_default();
        let file =
            |test: &Value, key: &str| yaml(&actions.join(test[key].as_str().unwrap_or_default()));
        assert!(!list("discoveryTests").is_empty() && !list("actionTests").is_empty());
        for test in list("discoveryTests") {
            let object = file(&test, "inputPath");
            let script = actions.join("discovery.lua");
            let found = testenv::argo(ArgoScript::Discovery, &script, &[object]).await;
            let found = found.expect("actions").remove(0);
            for expected in test["result"].as_array().into_iter().flatten() {
                let name = expected["name"].as_str().unwrap_or_default();
                assert_eq!(
                    merge(found[name].clone(), json!({ "name": name })),
                    *expected
                );
            }
            assert_eq!(
                found.as_object().map(serde_json::Map::len),
                test["result"].as_array().map(Vec::len)
            );
        }
        for test in list("actionTests") {
            let (object, name) = (
                file(&test, "inputPath"),
                test["action"].as_str().unwrap_or_default(),
            );
            let script = actions.join(name).join("action.lua");
            let patch =
                testenv::argo(ArgoScript::Action, &script, std::slice::from_ref(&object)).await;
            let patched = merge(object, patch.expect("a patch").remove(0));
            assert_eq!(patched, file(&test, "expectedOutputPath"), "{name}");
        }
    });
}
