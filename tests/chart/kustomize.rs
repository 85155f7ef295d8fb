//! The objects that users without helm apply are those that the chart installs.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testenv::{ControlPlane, Options};

use crate::support::{CHART, NAMESPACE, Objects, run, text};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/kustomize");

/// The objects, without the parts that only releases of helm have.
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
        // kustomize has neither the release nor the labels that the chart sets on the CRDs.
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
            // With this label, users remove the operator, but no object that its users need.
            for object in &built.0 {
                let name = &object["metadata"]["labels"]["app.kubernetes.io/name"];
                let expected = if stays(object) {
                    Value::Null
                } else {
                    json!("apicred")
                };
                assert_eq!(name, &expected, "{overlay}: {object}");
            }
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

/// A code block of docs/install.md that contains some text.
fn shown(language: &str, text: &str) -> String {
    let page = std::fs::read_to_string(format!("{ROOT}/docs/install.md")).expect("the page");
    let fence = format!("```{language}\n");
    let blocks = page.split(fence.as_str()).skip(1);
    let mut blocks = blocks.filter_map(|block| Some(block.split_once("\n```")?.0));
    let found = blocks.find(|block| block.contains(text));
    found
        .unwrap_or_else(|| unreachable!("docs/install.md shows no {text}"))
        .to_owned()
}

/// `namespace` does not change text in a field, and a policy that names another ServiceAccount has no effect.
#[test]
fn the_kustomization_of_the_page_installs_in_another_namespace_with_nothing_of_the_first_one() {
    run(async {
        let shown = shown("yaml", "kind: Kustomization");
        let mut without: Value = serde_saphyr::from_str(&shown).expect("YAML");
        let read = |text: String| async move {
            let folder = tempfile::tempdir().expect("a folder");
            std::os::unix::fs::symlink(format!("{ROOT}/deploy"), folder.path().join("deploy"))
                .expect("a link");
            let own = folder.path().join("own");
            std::fs::create_dir(&own).expect("a folder");
            std::fs::write(own.join("kustomization.yaml"), text).expect("a file");
            let built = testenv::run_kubectl(&["kustomize", &own.display().to_string()]).await;
            let built = built.expect("it builds");
            assert_eq!(built.stderr, "");
            Objects::read(&built.stdout)
        };
        let built = read(shown).await;
        let policy = built.one("ValidatingAdmissionPolicy");
        assert_eq!(
            policy["spec"]["matchConditions"][0]["expression"],
            "request.userInfo.username == 'system:serviceaccount:platform-tokens:apicred'"
        );
        let monitor = built.one("ServiceMonitor");
        assert_eq!(
            monitor["spec"]["namespaceSelector"]["matchNames"],
            json!(["platform-tokens"])
        );
        assert_eq!(
            built.one("Namespace")["metadata"]["name"],
            "platform-tokens"
        );
        assert_eq!(
            built.container()["image"],
            "registry.example.com/apicred:dev"
        );
        for kind in ["ServiceMonitor", "PrometheusRule"] {
            let labels = &built.one(kind)["metadata"]["labels"];
            assert_eq!(labels["release"], "prometheus", "{kind}");
        }
        // The alerts contain the namespace only where the metric has none.
        for object in built.0.iter().filter(|o| o["kind"] != "PrometheusRule") {
            let text = object.to_string();
            assert!(!text.contains(NAMESPACE), "{text}");
        }
        // Neither the component nor the patches and replacements are needed.
        let keys = without.as_object_mut().expect("a kustomization");
        keys.remove("components");
        keys.remove("patches");
        let built = read(without.to_string()).await;
        assert!(built.all("ServiceMonitor").is_empty());
        let policy = built.one("ValidatingAdmissionPolicy");
        assert!(policy.to_string().contains(":platform-tokens:apicred"));
    });
}

#[test]
fn the_commands_of_the_page_remove_the_operator_and_nothing_else_and_helm_takes_over() {
    run(async {
        let cluster = ControlPlane::start(Options::default())
            .await
            .expect("a control plane");
        let base = format!("{FOLDER}/base");
        let built = testenv::run_kubectl(&["kustomize", &base]).await;
        let built = built.expect("it builds").stdout;
        let apply = ["apply", "--server-side", "-f", "-"];
        let install = async || {
            let done = cluster.kubectl_output(&apply, &built).await;
            assert_eq!(done.expect("it is applied").stderr, "");
            cluster.kinds_are_served().await.expect("kinds");
        };
        install().await;
        let credential = json!({
            "apiVersion": "apicred.dev/v1alpha1", "kind": "ApiCredential",
            "metadata": { "name": "alerts", "namespace": "default" },
            "spec": { "entra": { "tenantId": "contoso.example" }, "api": "MicrosoftGraph", "target": { "secretName": "t" },
                      "client": { "id": "c", "secrets": [{ "name": "s", "key": "k" }] } },
        });
        let created = cluster.kubectl_apply(&credential.to_string()).await;
        created.expect("a credential");

        let shown_block = shown("sh", "kubectl delete -k");
        let remove = shown_block
            .lines()
            .find_map(|line| line.strip_prefix("kubectl delete -k deploy/kustomize/base "))
            .expect("a command");
        let with: Vec<&str> = remove.split(' ').collect();
        let gone = [&["delete", "-k", &base], &with[..]].concat();
        let gone = cluster.kubectl(&gone).await.expect("it is removed");
        let objects = Objects::read(&built).0;
        let kept = objects.iter().filter(|object| stays(object)).count();
        assert_eq!(kept, 5);
        assert_eq!(gone.lines().count(), objects.len() - kept, "{gone}");
        let args = ["get", "apicredential", "alerts", "--output", "name"];
        cluster.kubectl(&args).await.expect("it stays");
        let left = ["get", "-k", &base, "--ignore-not-found", "--output", "name"];
        let left = cluster.kubectl(&left).await.expect("what is left");
        assert_eq!(left.lines().count(), kept, "{left}");

        install().await;
        let block = shown("sh", "--take-ownership");
        let args = block.strip_prefix("helm ").expect("a command of helm");
        let mut args: Vec<&str> = args.trim().split(' ').collect();
        args[2] = CHART;
        cluster.helm(&args).await.expect("helm takes over");
        let args = ["upgrade", "apicred", CHART, "--namespace", NAMESPACE];
        let more = ["--reuse-values", "--set", "concurrency=9"];
        let upgraded = [&args[..], &more, &["--force-conflicts"]].concat();
        cluster.helm(&upgraded).await.expect("and upgrades");
        let args = ["get", "apicredential", "alerts", "--output", "name"];
        cluster.kubectl(&args).await.expect("it stays");
    });
}

/// The objects that stay when the operator is removed, because they contain objects of users.
fn stays(object: &Value) -> bool {
    object["kind"] == "CustomResourceDefinition" || object["kind"] == "Namespace"
}
