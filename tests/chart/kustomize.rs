//! What people without helm apply is what the chart installs.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{CHART, Objects, run, text};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/kustomize");

/// The objects, without what is only true of helm's releases.
fn plain(objects: Objects) -> BTreeSet<String> {
    let of_helm = [
        ("labels", "app.kubernetes.io/managed-by"),
        ("labels", "helm.sh/chart"),
        ("annotations", "helm.sh/resource-policy"),
    ];
    let plain = objects.0.into_iter().map(|mut object: Value| {
        for (map, key) in of_helm {
            if let Some(map) = object["metadata"][map].as_object_mut() {
                map.remove(key);
            }
        }
        // kustomize knows neither the release nor the CRDs' labels of the chart.
        if object["kind"] == "CustomResourceDefinition"
            && let Some(metadata) = object["metadata"].as_object_mut()
        {
            metadata.remove("labels");
        }
        object.to_string()
    });
    plain.collect()
}

#[test]
fn each_kustomization_builds_and_is_what_the_chart_renders() {
    run(async {
        let values = format!("{CHART}/ci/namespaced-values.yaml");
        let overlays: [(&str, &[&str]); 4] = [
            ("base", &[]),
            (
                "overlays/monitored",
                &[
                    "--set",
                    "prometheusRule.enabled=true,serviceMonitor.enabled=true,grafanaDashboard.enabled=true",
                ],
            ),
            (
                "overlays/openshift",
                &["--api-versions", "security.openshift.io/v1"],
            ),
            (
                "overlays/namespaced",
                &[
                    "--values",
                    &values,
                    "--set",
                    "rbac.aggregate=true,crds.install=true",
                ],
            ),
        ];
        for (overlay, args) in overlays {
            let built = testenv::run_kubectl(&["kustomize", &format!("{FOLDER}/{overlay}")]).await;
            let built = built.unwrap_or_else(|e| panic!("{overlay}: {e}"));
            assert_eq!(built.stderr, "", "{overlay}");
            let mut built = Objects::read(&built.stdout);
            let namespaces = built.all("Namespace");
            assert_eq!(namespaces.len(), 1, "{overlay}");
            let enforce =
                &namespaces[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
            assert_eq!(enforce, "restricted");
            built.0.retain(|object| object["kind"] != "Namespace");
            let (built, rendered) = (
                plain(built),
                plain(Objects::read(
                    &text(&[&["--skip-tests"], args].concat()).await,
                )),
            );
            let (more, less): (Vec<_>, Vec<_>) = (
                built.difference(&rendered).collect(),
                rendered.difference(&built).collect(),
            );
            assert!(
                more.is_empty() && less.is_empty(),
                "{overlay}: {more:#?}\nand the chart: {less:#?}"
            );
        }
    });
}
