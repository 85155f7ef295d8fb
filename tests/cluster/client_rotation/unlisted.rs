//! After a restart, the operator may not list the Secrets of one of its namespaces: one of them may use the credential that is to be removed.

use apicred::api::ApiClientStatus;
use dev_issuer::CredentialKind;
use k8s_openapi::api::{
    core::v1::Secret,
    rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding},
};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    rig::{Rig, SOURCE},
    soon,
};
use crate::support::{NAMESPACE, World, run, typed};

fn of_operator(name: &str, kind: &str, role: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role },
        "subjects": [{ "kind": "ServiceAccount", "name": "apicred", "namespace": NAMESPACE }],
    })
}

/// The operator has its role only in these namespaces.
async fn confine(world: &World, namespaces: &[&str]) {
    let (params, kube) = (PostParams::default(), world.admin.clone());
    let roles: Api<ClusterRole> = Api::all(kube.clone());
    let bindings: Api<ClusterRoleBinding> = Api::all(kube);
    let issuers = json!({ "metadata": { "name": "issuers" }, "rules": [{
        "apiGroups": ["apicred.dev"], "verbs": ["list", "watch", "patch"],
        "resources": ["clustertokenissuers", "clustertokenissuers/status"],
    }] });
    roles
        .create(&params, &typed(issuers))
        .await
        .expect("a role");
    let bound = typed(of_operator("issuers", "ClusterRole", "issuers"));
    bindings.create(&params, &bound).await.expect("a binding");
    for namespace in namespaces {
        admit(world, namespace).await;
    }
    let gone = bindings.delete("apicred", &DeleteParams::default()).await;
    gone.expect("the chart's binding");
}

async fn admit(world: &World, namespace: &str) {
    let bindings: Api<RoleBinding> = Api::namespaced(world.admin.clone(), namespace);
    let bound = typed(of_operator("whole", "ClusterRole", "apicred"));
    let made = bindings.create(&PostParams::default(), &bound).await;
    made.expect("a binding");
}

#[test]
fn nothing_is_removed_that_a_secret_of_an_unlisted_namespace_uses() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::with_secret(&world, "unlisted", soon()).await;
        let own = rig.place.namespace.clone();
        rig.start(None, &own).await;
        rig.place.ready("a").await;
        let request = rig.request().await;
        rig.switched(&request).await;
        rig.place.request_renewal("a").await;
        let steady = |s: &ApiClientStatus| s.rotation_state.as_deref() == Some("Steady");
        let status = rig.until("a rotation", steady).await;
        let used = status.keys[0].key_id.clone().expect("a key ID");
        rig.kill().await;

        // A user of another namespace has a copy with the annotation.
        let theirs = world.place("theirs").await;
        let source = rig.source().await;
        let copy: Secret = typed(json!({
            "metadata": { "name": SOURCE, "annotations": source.metadata.annotations },
            "data": source.data,
        }));
        let params = PostParams::default();
        theirs
            .secrets()
            .create(&params, &copy)
            .await
            .expect("a copy");

        confine(&world, &[&own, NAMESPACE]).await;
        rig.start(None, &format!("{own},{}", theirs.namespace))
            .await;
        let request = rig.request().await;
        rig.switched(&request).await;
        rig.place.request_renewal("a").await;
        let blocked = "could not list the Secrets of every namespace";
        rig.until_condition("RotationBlocked", blocked).await;
        assert!(rig.at_issuer(CredentialKind::Secret).contains(&used));

        admit(&world, &theirs.namespace).await;
        let left = format!("credential {used} is also in a Secret of another namespace");
        rig.until_condition("RotationLeftover", &left).await;
        let settled = |s: &ApiClientStatus| {
            let blocked = s.conditions.iter().any(|c| c.type_ == "RotationBlocked");
            s.rotation_state.as_deref() == Some("Steady") && !blocked
        };
        rig.until("the end of the rotation", settled).await;
        assert!(rig.at_issuer(CredentialKind::Secret).contains(&used));
    });
}
