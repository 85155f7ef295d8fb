use serde_json::json;

use crate::{
    api::names,
    credential::{IssuerLookup, KeyPattern, may_have_metadata, parse},
    fixtures::{credential_with, issuer, object},
};

fn patterns(list: &[&str]) -> Vec<KeyPattern> {
    list.iter().map(|p| p.parse().unwrap()).collect()
}

/// Keys with which known tools act on Secrets, with and without a prefix.
const STEERING: [&str; 23] = [
    "owner",
    "name",
    "status",
    "team",
    "grafana_dashboard",
    "grafana_datasource",
    "k8s-sidecar-target-directory",
    "istio/multiCluster",
    "helm.sh/chart",
    "meta.helm.sh/release-name",
    "replicator.v1.mittwald.de/replicate-to",
    "reflector.v1.k8s.emberstack.com/reflection-auto-enabled",
    "kubed.appscode.com/sync",
    "secretgen.carvel.dev/secret-type",
    "sealedsecrets.bitnami.com/sealed-secrets-key",
    "jenkins.io/credentials-type",
    "reloader.stakater.com/match",
    "cert-manager.io/allow-direct-injection",
    "field.cattle.io/projectId",
    "crossplane.io/composite",
    "service.beta.openshift.io/originating-service-name",
    "tool.that.nobody.knows/sync-to",
    "example.com.evil.net/x",
];

#[test]
fn a_target_has_only_allowed_labels_and_annotations() {
    for key in STEERING {
        for field in ["labels", "annotations"] {
            let credential = credential_with(&json!({ "target": { field: { key: "x" } } }));
            let denial = may_have_metadata(&[], &credential).unwrap_err();
            assert_eq!(
                denial.reason().as_str(),
                "TargetKeyNotAllowed",
                "{field} {key}"
            );
            assert!(
                denial.message().contains(key) && denial.message().contains("targetMetadata.allow"),
                "{}",
                denial.message()
            );
            // Only this key is allowed, and not a similar one.
            assert!(
                may_have_metadata(&patterns(&[key]), &credential).is_ok(),
                "{key}"
            );
            let near = patterns(&[
                "ow",
                "owner2",
                "example.com/owner",
                "helm/*",
                "sh/chart",
                "x/*",
            ]);
            assert!(may_have_metadata(&near, &credential).is_err(), "{key}");
        }
    }
    let of = |target: serde_json::Value| credential_with(&json!({ "target": target }));
    for key in ["name", "component", "part-of", "version"] {
        let label = of(json!({ "labels": { format!("app.kubernetes.io/{key}"): "x" } }));
        assert!(may_have_metadata(&[], &label).is_ok(), "{key}");
    }
    let reloader = json!({ names::RELOADER_IGNORE: "false" });
    let restarted = of(json!({ "annotations": reloader }));
    assert!(may_have_metadata(&[], &restarted).is_ok());
    assert!(may_have_metadata(&[], &of(json!({ "labels": reloader }))).is_err());
    // Domains for documentation, as in the examples.
    let example = json!({ "example.com/team": "x", "a.example/b": "y" });
    let both = of(json!({ "labels": example, "annotations": example }));
    assert!(may_have_metadata(&[], &both).is_ok());
    // A prefix allows its own keys, not those of a domain below it or of another one.
    let corp = patterns(&["corp.net/*"]);
    for (key, allowed) in [
        ("corp.net/team", true),
        ("x.corp.net/team", false),
        ("corp.net.evil/team", false),
        ("team", false),
    ] {
        let credential = of(json!({ "labels": { key: "x" } }));
        assert_eq!(
            may_have_metadata(&corp, &credential).is_ok(),
            allowed,
            "{key}"
        );
    }
}

#[test]
fn a_pattern_is_a_key_or_a_prefix_and_opens_no_key_of_kubernetes() {
    for good in ["team", "example.com/team", "example.com/*", "a.b.c/*"] {
        assert!(good.parse::<KeyPattern>().is_ok(), "{good}");
    }
    for bad in [
        "",
        "*",
        "/*",
        "*/*",
        "*.example.com/*",
        "example.com/te*",
        "a/b/c",
        "a/b/*",
        "a b",
        "kubernetes.io/*",
        "node.kubernetes.io/*",
        "app.kubernetes.io/managed-by",
        "apicred.dev/state-of",
        "argocd.argoproj.io/*",
    ] {
        assert!(bad.parse::<KeyPattern>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_target_takes_no_name_that_a_tool_gives_its_own_secrets() {
    let faults = |name: &str| {
        parse(
            &object(&json!({ "target": { "secretName": name } })),
            |_| IssuerLookup::Found(issuer()),
        )
        .err()
        .map(|f| f[0].field.clone())
    };
    for name in [
        "sh.helm.release.v1.shop.v7",
        "sh.helm.release.v2.x.v1",
        "bootstrap-token-abcdef",
        "sealed-secrets-key",
        "sealed-secrets-keyx1y2z",
        "shop-last-good",
        "a.b-last-good",
    ] {
        assert_eq!(
            faults(name).as_deref(),
            Some("spec.target.secretName"),
            "{name}"
        );
    }
    for name in [
        "shop",
        "helm-token",
        "my.sh.helm.release.v1.x",
        "last-good",
        "shop-last-good-2",
    ] {
        assert_eq!(faults(name), None, "{name}");
    }
}
