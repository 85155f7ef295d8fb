//! Sets of values as users have them (`charts/apicred/ci`), on a real API server whose namespace enforces the Pod Security
//! Standard `restricted`, with the kinds of the Prometheus operator. Only nodes are missing, so pods are
//! admitted and do not run.

use std::time::Duration;

use serde_json::Value;
use testenv::{ControlPlane, Options, eventually};

use crate::support::{CHART, NAMESPACE, file, run};

/// The sets, and the number of pods of each of them.
const SETS: [(&str, usize); 8] = [
    ("default", 2),
    ("full", 3),
    ("namespaced", 2),
    ("namespaced-issuers", 2),
    ("proxy", 2),
    ("locked", 1),
    ("monitored", 2),
    // The last one, because from then on the cluster serves a kind of OpenShift.
    ("openshift", 2),
];
const SOON: Duration = Duration::from_mins(1);

/// A kind by which the chart recognises `OpenShift`.
const OPENSHIFT: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: securitycontextconstraints.security.openshift.io}
spec:
  group: security.openshift.io
  names: {kind: SecurityContextConstraints, plural: securitycontextconstraints}
  scope: Cluster
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
";

/// Namespaces of the sets. The namespace of the release accepts only pods of the standard `restricted`, and warns about others.
fn namespaces() -> String {
    let labels =
        ["enforce", "warn", "audit"].map(|m| format!("pod-security.kubernetes.io/{m}: restricted"));
    let labels = labels.join(", ");
    let plain = ["team-a", "team-b", "monitoring"];
    let plain = plain
        .map(|name| format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"));
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}, labels: {{{labels}}}}}\n{}",
        plain.concat()
    )
}

/// A cluster with all kinds that the sets use.
async fn cluster() -> ControlPlane {
    let cluster = ControlPlane::start(Options::default())
        .await
        .expect("a control plane");
    cluster
        .kubectl_apply(&namespaces())
        .await
        .expect("namespaces");
    let monitoring = testenv::prometheus_crds().await.expect("CRDs");
    for name in ["servicemonitors", "podmonitors", "prometheusrules"] {
        let path = monitoring.join(format!("monitoring.coreos.com_{name}.yaml"));
        let text = std::fs::read_to_string(path).expect("a CRD");
        cluster.kubectl_apply(&text).await.expect("a CRD");
    }
    let crds = [
        "install",
        "apicred",
        CHART,
        "--namespace",
        NAMESPACE,
        "--set",
        "replicas=0",
    ];
    cluster.helm(&crds).await.expect("the CRDs");
    uninstall(&cluster).await;
    let served = cluster.kinds_are_served().await;
    served.expect("the kinds are served");
    cluster
}

async fn uninstall(cluster: &ControlPlane) {
    let args = ["uninstall", "apicred", "--namespace", NAMESPACE, "--wait"];
    cluster.helm(&args).await.expect("it is uninstalled");
}

/// The pods of the operator in the namespace of the release.
async fn pods(cluster: &ControlPlane) -> Vec<Value> {
    let selector = "app.kubernetes.io/name=apicred";
    let args = [
        "get",
        "pods",
        "--namespace",
        NAMESPACE,
        "--selector",
        selector,
        "--output",
        "json",
    ];
    let text = cluster.kubectl(&args).await.expect("pods");
    let mut list: Value = serde_json::from_str(&text).expect("JSON");
    list["items"].take().as_array().cloned().unwrap_or_default()
}

#[test]
fn each_set_of_values_is_accepted_without_a_warning_and_its_pods_are_admitted() {
    run(async {
        let cluster = cluster().await;
        for (set, replicas) in SETS {
            if set == "openshift" {
                cluster.kubectl_apply(OPENSHIFT).await.expect("a CRD");
            }
            let values = format!("{CHART}/ci/{set}-values.yaml");
            let common = [
                "apicred",
                CHART,
                "--namespace",
                NAMESPACE,
                "--values",
                &values,
            ];
            // As a pipeline applies it that does not support hooks: `helm template` prints them too.
            let template = [&["template", "--dry-run=server"], &common[..]].concat();
            let rendered = cluster.helm_output(&template).await.expect("it renders");
            assert_eq!(rendered.stderr, "", "{set}: helm template");
            let apply = [
                "apply",
                "--server-side",
                "--force-conflicts",
                "--dry-run=server",
                "--validate=strict",
                "-f",
                "-",
            ];
            let applied = cluster.kubectl_output(&apply, &rendered.stdout).await;
            let applied = applied.unwrap_or_else(|e| panic!("{set}: {e}"));
            assert_eq!(applied.stderr, "", "{set}: kubectl apply");
            let installed = cluster
                .helm_output(&[&["install"], &common[..]].concat())
                .await;
            let installed = installed.unwrap_or_else(|e| panic!("{set}: {e}"));
            assert_eq!(installed.stderr, "", "{set}: helm install");
            // A pipeline that applies the same objects again changes nothing.
            let template = [
                &["template", "--dry-run=server", "--skip-tests"],
                &common[..],
            ]
            .concat();
            let again = cluster.helm(&template).await.expect("it renders");
            let diff = ["diff", "--server-side", "--force-conflicts", "-f", "-"];
            let diff = cluster.kubectl_output(&diff, &again).await;
            let diff = diff.unwrap_or_else(|e| panic!("{set}: {e}"));
            assert_eq!(diff.stdout, "", "{set}: kubectl diff");
            let pods = eventually(SOON, format!("{set}: pods"), async || {
                let pods = pods(&cluster).await;
                if pods.len() == replicas {
                    Ok(pods)
                } else {
                    Err(format!("{} pods", pods.len()))
                }
            })
            .await;
            for pod in pods {
                let user = &pod["spec"]["securityContext"]["runAsUser"];
                assert_eq!(user.is_null(), set == "openshift", "{set}: {user}");
            }
            uninstall(&cluster).await;
        }
    });
}

#[test]
fn each_set_in_the_folder_is_tested() {
    let folder = std::fs::read_dir(format!("{CHART}/ci")).expect("a folder");
    let mut found: Vec<String> = folder
        .map(|f| {
            f.expect("a file")
                .file_name()
                .to_string_lossy()
                .replace("-values.yaml", "")
        })
        .collect();
    found.sort();
    let mut tested = SETS.map(|(set, _)| set.to_owned());
    tested.sort();
    assert_eq!(found, tested);
    assert!(file(".helmignore").contains("ci/"));
}
