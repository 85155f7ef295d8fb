//! An operator that is limited to some namespaces, with the rights that the chart then grants: Roles, and no right on the
//! cluster.

use k8s_openapi::api::{
    core::v1::Secret,
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use testenv::eventually;

use crate::{
    clients::by_client,
    logs::messages,
    support::{LATER, NAMESPACE, Operator, Place, SOON, World, merge, run},
    tenancy::namespaced,
};

/// Name of the target Secret of these tests, unless a test sets another one.
const TARGET: &str = "token";

/// Installs the chart again for these namespaces, and starts the operator as the chart would.
pub(crate) async fn confine(world: &mut World, namespaces: &[&str], cluster_issuers: bool) {
    let watched = format!("watchNamespaces={{{}}}", namespaces.join(","));
    let cluster = format!("clusterIssuers={cluster_issuers}");
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/apicred");
    let args = [
        "upgrade",
        "apicred",
        chart,
        "--namespace",
        NAMESPACE,
        "--set",
        "replicas=0",
        "--set",
        &watched,
        "--set",
        &cluster,
    ];
    world.cluster.helm(&args).await.expect("the chart upgrades");
    world.environment = vec![("APICRED_WATCH_NAMESPACES", namespaces.join(","))];
    if cluster_issuers {
        world
            .environment
            .push(("APICRED_CLUSTER_ISSUERS", "true".to_owned()));
    }
    world.start_operator().await;
}

/// Allows the client secret to be sent to the issuer of the place's own namespace, and creates that issuer.
pub(crate) async fn own_issuer(place: &Place) {
    let origin = place.issuer.origin();
    let note = json!({ "metadata": { "annotations": { "apicred.dev/allowed-issuers": origin } } });
    place.edit_secret("source", note).await;
    let entra = json!({ "tenantId": place.issuer.tenant(), "authorityHost": origin });
    namespaced(
        place,
        json!({ "entra": entra, "caBundle": place.issuer.ca_pem() }),
    )
    .await;
}

pub(crate) fn by_own_issuer() -> Value {
    json!({ "issuerRef": { "kind": "TokenIssuer", "name": "mine" } })
}

#[test]
fn a_namespaced_operator_works_with_roles_alone_and_sees_no_other_namespace() {
    run(async {
        let mut world = World::own().await;
        let (one, two) = (world.place("one").await, world.place("two").await);
        let other = world.place("other").await;
        for place in [&one, &two, &other] {
            own_issuer(place).await;
            place.create("c", by_own_issuer()).await;
        }
        let mark = world.mark();
        confine(&mut world, &[&one.namespace, &two.namespace], false).await;
        let watched = [&one.namespace, &two.namespace].map(String::as_str);
        for place in [&one, &two] {
            place.ready("c").await;
        }
        // A client of the watched namespace is found, and the Role is sufficient to write its status.
        one.put_client("shared", by_own_issuer()).await;
        one.create("by-client", by_client("by-client")).await;
        one.ready("by-client").await;
        one.until_client_reports("shared", "True", "ClientValid")
            .await;
        // A ClusterTokenIssuer is reported as out of scope, with the fix.
        one.create("by-cluster", json!({ "target": { "secretName": "t2" } }))
            .await;
        let message = one.not_ready("by-cluster", "IssuerOutOfScope").await;
        assert!(message.contains("clusterIssuers"), "{message}");
        let lines = || messages(&world, Some(&one.namespace), "by-cluster");
        let began = "began Ready IssuerOutOfScope";
        eventually(SOON, "its line", async || lines() == [began]).await;
        // Its requests are for its namespaces and its own objects, and none for the cluster.
        let tally = world.all_since(mark);
        let elsewhere: Vec<_> = tally
            .0
            .iter()
            .filter(|e| !watched.contains(&e.namespace.as_str()) && e.namespace != NAMESPACE)
            .map(|e| format!("{} {} in {:?}", e.verb, e.resource, e.namespace))
            .collect();
        assert_eq!(elsewhere, Vec::<String>::new());
        let refused: Vec<_> = tally.0.iter().filter(|e| e.code == 403).collect();
        assert!(refused.is_empty(), "{refused:?}");
        one.edit("by-cluster", json!({ "spec": by_own_issuer() }))
            .await;
        let both = [began, "ended Ready IssuerOutOfScope"];
        eventually(SOON, "its end", async || lines() == both).await;
        let secret = other.secrets().get_opt(TARGET).await.expect("an answer");
        assert!(
            secret.is_none(),
            "a token in a namespace that is out of scope"
        );
        // Edits in each are seen, as with an operator of the whole cluster.
        two.secrets()
            .delete(TARGET, &DeleteParams::default())
            .await
            .expect("it goes");
        eventually(SOON, "the target to come back", async || {
            let now: Option<Secret> = two.secrets().get_opt(TARGET).await.expect("an answer");
            now.is_some()
        })
        .await;
        // A restart costs no token here either.
        two.ready("c").await;
        world.take_operator().terminate().await;
        let posts = one.issuer.requests().len();
        let mark = world.mark();
        world.start_operator().await;
        let operator = world.operator();
        eventually(SOON, "a reconciliation of every credential", async || {
            operator.reconciles().await >= 3
        })
        .await;
        assert_eq!(world.all_since(mark).writes(), Vec::<String>::new());
        assert_eq!(one.issuer.requests().len(), posts);
    });
}

#[test]
fn a_namespace_without_its_role_is_reported_stops_no_other_and_is_served_when_it_is_back() {
    run(async {
        let mut world = World::own().await;
        let (good, bare) = (world.place("good").await, world.place("bare").await);
        for place in [&good, &bare] {
            own_issuer(place).await;
            place.create("c", by_own_issuer()).await;
        }
        let names = [good.namespace.clone(), bare.namespace.clone()];
        confine(&mut world, &[&names[0], &names[1]], false).await;
        let held = bare.ready("c").await;
        good.ready("c").await;
        world.take_operator().terminate().await;

        let bindings: Api<RoleBinding> = Api::namespaced(world.admin.clone(), &bare.namespace);
        let mut binding = bindings
            .get("apicred-tokens")
            .await
            .expect("the chart made it");
        bindings
            .delete("apicred-tokens", &DeleteParams::default())
            .await
            .expect("it goes");
        let posts = good.issuer.requests().len();
        world.start_operator().await;
        good.create(
            "later",
            merge(
                by_own_issuer(),
                json!({ "target": { "secretName": "later" } }),
            ),
        )
        .await;
        good.ready("later").await;
        assert_eq!(
            good.issuer.requests().len(),
            posts + 1,
            "one token, for the new one"
        );

        binding.metadata.resource_version = None;
        binding.metadata.uid = None;
        bindings
            .create(&PostParams::default(), &binding)
            .await
            .expect("it is back");
        // Created only now: if the operator had joined without its list, it would never see this one.
        bare.create(
            "new",
            merge(
                by_own_issuer(),
                json!({ "target": { "secretName": "new" } }),
            ),
        )
        .await;
        bare.ready("new").await;
        let now = bare.ready("c").await;
        assert_eq!(
            now.version, held.version,
            "the token that was there is kept"
        );
    });
}

#[test]
fn a_namespaced_operator_may_be_given_the_issuers_of_the_cluster() {
    run(async {
        let mut world = World::own().await;
        let place = world.place("both").await;
        let spec = place.issuer_spec(json!({
            "entra": { "tenantId": place.issuer.tenant(), "authorityHost": place.issuer.origin() },
            "allowedNamespaces": { "names": null, "selector": { "matchLabels": { "team": "a" } } },
        }));
        place.put_issuer(spec).await;
        confine(&mut world, &[&place.namespace], true).await;
        place.create("c", json!({})).await;
        place.not_ready("c", "NotAuthorizedByIssuer").await;
        let label = format!("namespace/{}", place.namespace);
        world
            .cluster
            .kubectl(&["label", &label, "team=a"])
            .await
            .expect("a label");
        place.ready("c").await;
        // Its events are in the namespace for all objects of the cluster.
        place
            .put_issuer(merge(place.entra_issuer(), json!({ "network": null })))
            .await;
        eventually(SOON, "an event about the issuer", async || {
            let events = place.events_in("default", &place.issuer_name).await;
            let reported =
                |e: &(String, String, String)| e.0 == "Warning" && e.1 == "AddressNotAllowed";
            if events.iter().any(reported) {
                Ok(())
            } else {
                Err(format!("{events:?}"))
            }
        })
        .await;
    });
}

#[test]
fn a_standby_of_a_namespace_that_may_not_write_there_is_not_ready() {
    run(async {
        let mut world = World::own().await;
        let place = world.place("rights").await;
        confine(&mut world, &[&place.namespace], false).await;
        world.kill_operator().await;
        let mut environment = world.environment.clone();
        environment.extend(crate::leader::environment("first"));
        let first = Operator::start(
            world.operator_kubeconfig(),
            &environment,
            world.next_log("first"),
        )
        .await;
        crate::leader::leads(&world, "first", LATER).await;
        let roles: Api<Role> = Api::namespaced(world.admin.clone(), &place.namespace);
        let role = roles.get("apicred-tokens").await.expect("the chart's role");
        let all = role.rules.unwrap_or_default();
        let params = PatchParams::default();
        let mut environment = world.environment.clone();
        environment.extend(crate::leader::environment("second"));
        let mut second = None;
        for (verb, resource) in crate::leader::NEEDED {
            let less = json!({ "rules": crate::leader::without(&all, verb, resource) });
            let patched = roles
                .patch("apicred-tokens", &params, &Patch::Merge(less))
                .await;
            patched.expect("an edit");
            if second.is_none() {
                let log = world.next_log("second");
                let kubeconfig = world.operator_kubeconfig();
                second = Some(Operator::launch(kubeconfig, &environment, log).await);
            }
            let second = second.as_ref().expect("it runs");
            crate::leader::lacks(second, verb, resource).await;
        }
        let patched = roles
            .patch(
                "apicred-tokens",
                &params,
                &Patch::Merge(json!({ "rules": all })),
            )
            .await;
        patched.expect("an edit");
        crate::leader::could_work(second.as_ref().expect("it runs")).await;
        drop(first);
    });
}
