//! Objects as large as the API server accepts them (T7): their authors must not determine the memory of the operator.

use std::time::Duration;

use apicred::api::{ApiCredential, ClusterTokenIssuer, TokenIssuer};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use testenv::eventually;

use crate::support::{LATER, Operator, Place, World, merge, run, typed};

/// Half of the chart's limit. It takes about 50 MiB.
const LIMIT_KIB: u64 = 128 * 1024;
/// Credentials, and objects of each other kind. A page of these credentials once needed 320 MiB of memory.
const MANY: usize = 100;
const SOME: usize = 20;
/// Labels of an object. With the record of the managers that set them they are 1.2 MB: etcd accepts 1.5.
const LABELS: usize = 4_500;
const AT_ONCE: usize = 4;

fn fat() -> Value {
    let label = |n: usize| (format!("{n:0>60}"), json!(format!("{n:0>63}")));
    Value::Object((0..LABELS).map(label).collect())
}

/// Makes so many objects of a kind.
async fn many<K>(kube: &Client, namespace: Option<&str>, count: usize, object: Value)
where
    K: Resource<DynamicType = ()>,
{
    let kind = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(kube.clone(), namespace, &kind),
        None => Api::all_with(kube.clone(), &kind),
    };
    let whole = json!({ "apiVersion": kind.api_version, "kind": kind.kind, "metadata": { "labels": fat() } });
    let whole = merge(whole, object);
    let made = stream::iter(0..count)
        .map(Ok)
        .try_for_each_concurrent(AT_ONCE, async |n| {
            let name = json!({ "metadata": { "name": format!("fat-{n}") } });
            let object = typed(merge(whole.clone(), name));
            api.create(&PostParams::default(), &object).await.map(drop)
        });
    made.await.expect("objects as large as they may be");
}

/// Waits until it is ready; panics if it ends.
async fn until_ready(operator: &mut Operator) {
    let began = std::time::Instant::now();
    while operator
        .get("/readyz")
        .await
        .is_none_or(|(code, _)| code != 200)
    {
        assert_eq!(operator.ended(), None, "the operator lives");
        assert!(began.elapsed() < 2 * LATER, "the operator is not ready");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A change of some large credentials, as an event of the watch that is as large as the object.
async fn touch(place: &Place, note: &str) {
    let note = json!({ "metadata": { "annotations": { "touched": note } } });
    let (api, params) = (place.credentials(), PatchParams::default());
    let touched = stream::iter(0..SOME).for_each_concurrent(AT_ONCE, async |n| {
        let patched = api
            .patch_metadata(&format!("fat-{n}"), &params, &Patch::Merge(&note))
            .await;
        patched.expect("an annotation");
    });
    touched.await;
}

async fn fill(world: &World, place: &Place) {
    let (kube, home) = (&world.admin, Some(place.namespace.as_str()));
    let suspended = json!({ "spec": merge(place.spec(json!({ "target": { "secretName": "fat" } })), json!({ "suspend": true })) });
    many::<ApiCredential>(kube, home, MANY, suspended).await;
    many::<Secret>(kube, home, SOME, json!({ "stringData": { "a": "b" } })).await;
    let issuer = json!({ "spec": { "oauth2": { "tokenUrl": "https://127.0.0.1:1/token" } } });
    many::<TokenIssuer>(kube, home, SOME, issuer.clone()).await;
    many::<ClusterTokenIssuer>(kube, None, SOME, issuer).await;
    many::<Namespace>(kube, None, SOME, json!({})).await;
}

#[test]
fn objects_as_large_as_they_may_be_do_not_end_the_operator() {
    run(async {
        let world = World::own().await;
        let place = world.place("t7-memory").await;
        fill(&world, &place).await;
        // It serves other users.
        place.create("c", json!({})).await;
        let namespaces = ("APICRED_WATCH_NAMESPACES", place.namespace.clone());
        let with_cluster = ("APICRED_CLUSTER_ISSUERS", "true".to_owned());
        for (name, environment) in [
            ("cluster", vec![]),
            ("namespaced", vec![namespaces, with_cluster]),
        ] {
            let log = world.next_log(name);
            let mut operator =
                Operator::launch(world.operator_kubeconfig(), &environment, log).await;
            until_ready(&mut operator).await;
            touch(&place, name).await;
            let renewal_id = place.request_renewal("c").await;
            eventually(2 * LATER, "a token beside them", async || {
                let object = place
                    .credentials()
                    .get("c")
                    .await
                    .map_err(|e| e.to_string())?;
                let status = object.status.unwrap_or_default();
                let served = status.last_handled_renew_request.as_deref() == Some(&renewal_id);
                served.then_some(()).ok_or_else(|| format!("{status:?}"))
            })
            .await;
            assert_eq!(operator.ended(), None);
            let peak = operator.peak_memory();
            println!("{name}: at most {} MiB", peak / 1024);
            assert!(peak < LIMIT_KIB, "{name}: {} MiB", peak / 1024);
            operator.kill().await;
        }
    });
}
