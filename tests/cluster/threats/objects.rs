//! References out of the namespace (T3), and Secrets that give rights or control other tools (T5).

use std::path::Path;

use apicred::api::ApiCredential;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use super::attacker::{Attacker, CREDENTIALS, foreign_secrets};
use crate::support::{World, merge, run, typed};

/// The names of all fields below a schema, with their paths.
fn fields(schema: &Value, path: &str, into: &mut Vec<String>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        fields(inner, &path, into);
        into.push(path);
    }
    for inner in [&schema["items"], &schema["additionalProperties"]] {
        if inner.is_object() {
            fields(inner, &format!("{path}[]"), into);
        }
    }
}

#[test]
fn no_field_can_name_another_namespace() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let mut all = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let crd: Value = serde_saphyr::from_str(&text).unwrap();
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        fields(&schema["properties"]["spec"], kind, &mut all);
    }
    assert!(all.len() > 100, "the walk finds the fields: {}", all.len());
    let other: Vec<&String> = all
        .iter()
        .filter(|f| {
            let name = f.rsplit('.').next().unwrap_or_default();
            name.to_ascii_lowercase().contains("namespace")
        })
        .collect();
    assert_eq!(other, ["ClusterTokenIssuer.allowedNamespaces"]);
}

#[test]
fn a_field_that_names_another_namespace_is_refused_and_a_name_cannot_climb_out() {
    run(async {
        let world = World::shared().await;
        let victim = world.place("t3-victim").await;
        let place = world.place("t3").await;
        let attacker = Attacker::of(world, &place, CREDENTIALS).await;
        attacker.reads_no_secrets().await;
        let account: ServiceAccount = typed(json!({ "metadata": { "name": "robot" } }));
        Api::namespaced(place.kube.clone(), &victim.namespace)
            .create(&PostParams::default(), &account)
            .await
            .unwrap();
        let before = foreign_secrets(&victim).await;
        let there = &victim.namespace;

        let spec = place.spec(json!({ "client": { "secrets": [
            { "namespace": there, "name": "source", "key": "client-secret" },
        ] } }));
        let object = json!({
            "apiVersion": "apicred.dev/v1alpha1", "kind": "ApiCredential",
            "metadata": { "name": "c", "namespace": place.namespace }, "spec": spec,
        });
        let refused = world.cluster.kubectl_apply(&object.to_string()).await;
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.contains("namespace: field not declared in schema"),
            "{refused}"
        );

        let climbs = [
            format!("{there}/source"),
            format!("../../{there}/secrets/source"),
            format!("x/../../../{there}/secrets/source"),
            format!("..%2f..%2f{there}%2fsecrets%2fsource"),
            format!("source?x=/../../{there}/secrets/source"),
            "..".to_owned(),
        ];
        for (number, name) in climbs.iter().enumerate() {
            let key = |field: &str| json!({ field: { "name": name, "key": "client-secret" } });
            let source = json!([{ "name": name, "key": "client-secret" }]);
            let account =
                json!({ "name": name.replace("secrets/source", "serviceaccounts/robot") });
            for (way, changes) in [
                ("secret", json!({ "client": { "secrets": source } })),
                (
                    "pair",
                    json!({ "client": { "secrets": null, "certificates": [{ "secretName": name }] } }),
                ),
                (
                    "account",
                    json!({ "client": { "secrets": null, "serviceAccount": account } }),
                ),
                (
                    "issuer",
                    json!({ "issuerRef": { "kind": "TokenIssuer", "name": name } }),
                ),
                (
                    "static",
                    json!({ "issuerRef": null, "client": null, "scopes": null, "static": key("tokenRef") }),
                ),
                ("target", json!({ "target": { "secretName": name } })),
            ] {
                let id = format!("{way}-{number}");
                let target = json!({ "target": { "secretName": id } });
                let spec = if way == "target" {
                    place.spec(changes)
                } else {
                    merge(place.spec(changes), target)
                };
                if let Err(refused) = attacker.credential(&id, spec).await {
                    assert!(refused.contains("spec."), "{way} {name}: {refused}");
                } else {
                    let reasons = [
                        "InvalidSpec",
                        "ClientSecretMissing",
                        "SourceMissing",
                        "IssuerNotFound",
                    ];
                    attacker.refused(&id, &reasons).await;
                }
            }
        }
        let strayed = world
            .cluster
            .audit_events(|e| e.user.ends_with(":apicred") && e.uri.contains(".."))
            .unwrap();
        assert!(
            strayed.is_empty(),
            "{:?}",
            strayed.iter().map(|e| &e.uri).collect::<Vec<_>>()
        );
        let tokens = world
            .cluster
            .audit_events(|e| {
                e.namespace == *there
                    && e.resource == "serviceaccounts"
                    && e.user.ends_with(":apicred")
            })
            .unwrap();
        assert!(
            tokens.is_empty(),
            "the operator touched the other namespace's accounts"
        );
        assert_eq!(foreign_secrets(&victim).await, before);
        assert_eq!((place.posts(), victim.posts()), (0, 0));
    });
}

#[test]
fn a_target_grants_no_rights_and_controls_no_other_tool() {
    run(async {
        let world = World::shared().await;
        let place = world.place("t5").await;
        let attacker = Attacker::of(world, &place, CREDENTIALS).await;
        attacker.reads_no_secrets().await;
        for type_ in [
            "kubernetes.io/service-account-token",
            "bootstrap.kubernetes.io/token",
            "kubernetes.io/tls",
            "kubernetes.io/basic-auth",
            "kubernetes.io/ssh-auth",
            "kubernetes.io/dockercfg",
            "helm.sh/release.v1",
            "",
        ] {
            let spec = place.spec(json!({ "target": { "type": type_ } }));
            let refused = attacker.credential("typed", spec).await.unwrap_err();
            assert!(refused.contains("spec.target.type"), "{type_}: {refused}");
        }
        for key in [
            "kubernetes.io/service-account.name",
            "kubernetes.io/service-account.uid",
            "node.kubernetes.io/x",
            "kubectl.kubernetes.io/last-applied-configuration",
            "app.kubernetes.io/managed-by",
            "policy.k8s.io/x",
            "argocd.argoproj.io/instance",
            "argocd.argoproj.io/secret-type",
            "kustomize.toolkit.fluxcd.io/name",
            "apicred.dev/state-of",
            "apicred.dev/adopt-by",
            "apicred.dev/allowed-issuers",
            "apicred.dev/credential-uid",
            "x.apicred.dev/y",
        ] {
            for field in ["labels", "annotations"] {
                let spec = place.spec(json!({ "target": { field: { key: "robot" } } }));
                let refused = attacker.credential("dressed", spec).await.unwrap_err();
                assert!(refused.contains(field), "{field} {key}: {refused}");
            }
        }
        // Keys by which other tools act on Secrets, and reserved names of other tools.
        for (number, key) in [
            "owner",
            "name",
            "grafana_dashboard",
            "k8s-sidecar-target-directory",
            "helm.sh/chart",
            "meta.helm.sh/release-name",
            "replicator.v1.mittwald.de/replicate-to",
            "reflector.v1.k8s.emberstack.com/reflection-auto-enabled",
            "istio/multiCluster",
            "cert-manager.io/allow-direct-injection",
            "a-tool.that-nobody-knows.dev/sync",
        ]
        .iter()
        .enumerate()
        {
            for field in ["labels", "annotations"] {
                let name = format!("steering-{field}-{number}");
                let target = json!({ "secretName": name, field: { *key: "x" } });
                let spec = place.spec(json!({ "target": target }));
                attacker.credential(&name, spec).await.unwrap();
                attacker.refused(&name, &["TargetKeyNotAllowed"]).await;
                assert!(place.secrets().get_opt(&name).await.unwrap().is_none());
            }
        }
        for name in ["sh.helm.release.v1.shop.v7", "bootstrap-token-abcdef"] {
            let spec = place.spec(json!({ "target": { "secretName": name } }));
            let refused = attacker.credential("named", spec).await.unwrap_err();
            assert!(refused.contains("secretName"), "{name}: {refused}");
        }
        // An edit of an accepted credential is refused as well.
        let account: ServiceAccount = typed(json!({ "metadata": { "name": "robot" } }));
        Api::namespaced(place.kube.clone(), &place.namespace)
            .create(&PostParams::default(), &account)
            .await
            .unwrap();
        place.create("c", json!({})).await;
        let view = place.ready("c").await;
        let note = json!({ "kubernetes.io/service-account.name": "robot" });
        let edit = json!({ "spec": { "target": { "annotations": note } } });
        let params = kube::api::PatchParams::default();
        let edited = attacker
            .credentials()
            .patch("c", &params, &kube::api::Patch::Merge(edit))
            .await;
        assert!(edited.is_err());
        let status = json!({ "status": { "observedGeneration": 99 } });
        // The right of this user is for all resources of these kinds, and the status is one of them.
        assert!(
            !attacker
                .may("patch", "apicred.dev", "apicredentials/status")
                .await
        );
        let api: Api<ApiCredential> = attacker.credentials();
        let patched = api
            .patch_status("c", &params, &kube::api::Patch::Merge(status))
            .await;
        assert!(patched.is_err());
        assert_eq!(place.view("token").await.unwrap().type_, view.type_);
        attacker.learns_nothing(&place).await;
    });
}
