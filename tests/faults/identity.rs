//! The operator's own token is replaced, and the old one is not accepted any more (F18).

use std::{path::Path, time::Duration};

use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    core::v1::{Secret, ServiceAccount},
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use testenv::eventually;

use crate::{
    scenario::{Case, in_both_modes, world},
    support::{LATER, NAMESPACE, run, typed},
};

/// A token of the operator's ServiceAccount that is valid for as long as this Secret exists.
async fn bound_token(admin: &Client, name: &str) -> String {
    let secrets: Api<Secret> = Api::namespaced(admin.clone(), NAMESPACE);
    let anchor = typed(json!({ "metadata": { "name": name } }));
    let anchor = secrets.create(&PostParams::default(), &anchor).await;
    let uid = anchor.expect("an anchor").metadata.uid;
    let request: TokenRequest = typed(json!({ "metadata": {}, "spec": {
        "audiences": [], "expirationSeconds": 3600,
        "boundObjectRef": { "apiVersion": "v1", "kind": "Secret", "name": name, "uid": uid },
    } }));
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), NAMESPACE);
    let params = PostParams::default();
    let made = accounts
        .create_token_request("apicred", &params, &request)
        .await;
    made.expect("a token").status.expect("a token").token
}

/// The kubeconfig with this user instead of its own.
fn with_user(kubeconfig: &Path, user: &Value, path: &Path) {
    let text = std::fs::read_to_string(kubeconfig).expect("a kubeconfig");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    config["users"][0]["user"] = user.clone();
    std::fs::write(path, config.to_string()).expect("a kubeconfig");
}

#[test]
fn an_own_token_that_is_not_accepted_any_more_is_read_again_and_costs_nothing() {
    run(in_both_modes(async |mode| {
        let world = world().await;
        let folder = tempfile::tempdir().expect("a folder");
        let (file, kubeconfig) = (folder.path().join("token"), folder.path().join("config"));
        let anchors = ["anchor-old", "anchor-new"].map(|name| mode.name(name));
        let old = bound_token(&world.admin, &anchors[0]).await;
        let new = bound_token(&world.admin, &anchors[1]).await;
        std::fs::write(&file, &old).expect("a file");
        with_user(
            world.operator_kubeconfig(),
            &json!({ "tokenFile": file }),
            &kubeconfig,
        );
        let with_old = folder.path().join("old");
        with_user(
            world.operator_kubeconfig(),
            &json!({ "token": old }),
            &with_old,
        );

        let mut case = Case::within(world, "f18-token", mode).await;
        case.kubeconfig = kubeconfig;
        case.start();
        case.place.create("c", json!({})).await;
        let first = case.until_ready(None).await;
        std::fs::write(&file, new).expect("a file");
        let secrets: Api<Secret> = Api::namespaced(world.admin.clone(), NAMESPACE);
        let params = DeleteParams::default();
        secrets.delete(&anchors[0], &params).await.expect("it goes");
        let read = Kubeconfig::read_from(with_old).expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
        let theirs = Client::try_from(config.expect("a usable kubeconfig")).expect("a client");
        let theirs: Api<Secret> = Api::namespaced(theirs, &case.place.namespace);
        eventually(LATER, "a token that is not taken", async || {
            let list = theirs.list_metadata(&ListParams::default()).await;
            list.is_err_and(|e| matches!(e, kube::Error::Api(s) if s.code == 401))
        })
        .await;

        let renewal_id = case.place.request_renewal("c").await;
        case.until_ready(Some((&first, Some(&renewal_id)))).await;
        assert_eq!(case.place.posts(), 2, "O3");
        let refused = |e: &crate::calls::Entry| e.answered == Some(401);
        assert!(
            case.wire.journal().iter().any(refused),
            "it was never refused"
        );
        // No message reports missing rights that exist.
        let events = case.place.events("c").await;
        assert!(
            events.iter().all(|e| !e.1.contains("Forbidden")),
            "{events:?}"
        );
        case.stays_quiet(Duration::from_millis(500)).await;
        case.stop().await;
    }));
}
