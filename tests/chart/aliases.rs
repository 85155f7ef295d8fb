//! A chart that depends on apicred twice, by aliases: two operators in one release and one namespace, for different namespaces.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{CHART, Objects, run, template_of};

/// The objects of a release `platform` with the aliases `a` and `b`, which have these full names.
async fn aliases(names: [&str; 2]) -> Objects {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("a file");
    };
    let dependency = |alias: &str| {
        format!("  - {{name: apicred, version: \">=0\", repository: \"\", alias: {alias}}}\n")
    };
    let head = "apiVersion: v2\nname: platform\nversion: 1.0.0\ndependencies:\n";
    let dependencies = [dependency("a"), dependency("b")].concat();
    write("Chart.yaml", &format!("{head}{dependencies}"));
    let values = |name: &str, namespace: &str| {
        json!({
            "fullnameOverride": name,
            "watchNamespaces": [namespace],
            "crds": { "install": false },
            "rbac": { "aggregate": false },
            "networkPolicy": { "enabled": true },
            "serviceMonitor": { "enabled": true },
            "topologySpreadConstraints": [{ "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway" }],
        })
    };
    let values = json!({ "a": values(names[0], "team-a"), "b": values(names[1], "team-b") });
    write("values.yaml", &values.to_string());
    let charts = folder.path().join("charts");
    std::fs::create_dir(&charts).expect("a folder");
    std::os::unix::fs::symlink(CHART, charts.join("apicred")).expect("a link");
    let chart = folder.path().display().to_string();
    Objects::read(&template_of(&chart, &[]).await.expect("it renders"))
}

/// The labels of a selector, wherever it is in the object.
fn selectors(value: &Value, into: &mut Vec<Value>) {
    for (key, below) in value.as_object().into_iter().flatten() {
        let is_plain = key == "selector" && below["app.kubernetes.io/name"].is_string();
        if key == "matchLabels" || is_plain {
            into.push(below.clone());
        }
        selectors(below, into);
    }
    for below in value.as_array().into_iter().flatten() {
        selectors(below, into);
    }
}

fn matches(selector: &Value, labels: &Value) -> bool {
    let mut selector = selector.as_object().expect("labels").iter();
    selector.all(|(key, value)| labels[key] == *value)
}

#[test]
fn no_selector_of_one_alias_matches_the_pods_of_another() {
    run(async {
        // The last: one of them has the name of the release (`apicred`, by `helm template`).
        for names in [["tokens-a", "tokens-b"], ["", "tokens-b"], ["apicred", "b"]] {
            let all = aliases(names).await;
            let deployments = all.all("Deployment");
            let checks = all.all("Pod");
            let pods = deployments.iter().map(|d| &d["spec"]["template"]);
            let pods: Vec<&Value> = pods.chain(checks).collect();
            assert_eq!(pods.len(), 4, "two operators and two checks");
            let kinds = [
                "Deployment",
                "NetworkPolicy",
                "PodDisruptionBudget",
                "Service",
                "ServiceMonitor",
            ];
            for kind in kinds {
                let objects = all.all(kind);
                assert_eq!(objects.len(), 2, "{kind}");
                let mut found = BTreeSet::new();
                for object in objects {
                    let mut list = Vec::new();
                    selectors(&object["spec"], &mut list);
                    assert!(!list.is_empty(), "{object}");
                    for selector in list {
                        let count = pods
                            .iter()
                            .filter(|p| matches(&selector, &p["metadata"]["labels"]));
                        assert_eq!(count.count(), 1, "{names:?}: {kind}: {selector}");
                        found.insert(selector.to_string());
                    }
                }
                assert!(found.len() > 1, "{names:?}: {kind}: {found:?}");
            }
        }
    });
}
