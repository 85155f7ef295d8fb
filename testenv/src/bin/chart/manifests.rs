//! Manifests for users without helm: `deploy/kustomize/`, which is checked in, and `dist/`, which belongs to a release.

use std::path::Path;

use crate::{Made, read};

const NAMESPACE: &str = "apicred-system";
const KUSTOMIZE: &str = "deploy/kustomize";
const WRITTEN: &str = "# `make manifests` writes this file from charts/apicred.\n";
/// The annotations that keep a CRD, and so every object of its kind, when a user removes the rest. As in the chart.
const KEEP: [(&str, &str); 2] = [
    (
        "argocd.argoproj.io/sync-options",
        "Prune=false,Delete=false",
    ),
    ("kustomize.toolkit.fluxcd.io/prune", "disabled"),
];
/// Lines that helm adds to the objects that it installs. They would be wrong here.
const OF_HELM: [&str; 5] = [
    "# Source: ",
    "app.kubernetes.io/managed-by: Helm",
    "helm.sh/chart: ",
    "helm.sh/resource-policy: ",
    "checksum/",
];
/// The ids that `OpenShift` sets itself.
const IDS: [&str; 3] = ["runAsUser", "runAsGroup", "fsGroup"];

/// The files that are checked in.
pub(crate) async fn checked_in(root: &Path) -> Result<Vec<Made>, String> {
    let crds = crds(root)?;
    let names = crds.iter().map(|(name, _)| format!("  - {name}\n"));
    let keep = KEEP.map(|(key, value)| format!("  {key}: {value}\n"));
    let list = |resources: &str| {
        format!(
            "{WRITTEN}apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{resources}"
        )
    };
    let mut made = vec![
        (
            "crds/kustomization.yaml".to_owned(),
            format!(
                "{}commonAnnotations:\n{}",
                list(&names.collect::<String>()),
                keep.concat()
            ),
        ),
        (
            "base/kustomization.yaml".to_owned(),
            list("  - ../crds\n  - namespace.yaml\n  - operator.yaml\n"),
        ),
        ("base/namespace.yaml".to_owned(), namespace()),
        ("base/operator.yaml".to_owned(), rendered(root, &[]).await?),
    ];
    let removed = IDS.map(|id| {
        format!("      - {{op: remove, path: /spec/template/spec/securityContext/{id}}}\n")
    });
    let patch = format!(
        "patches:\n  - target: {{kind: Deployment, name: apicred}}\n    patch: |\n{}",
        removed.concat()
    );
    made.push((
        "overlays/openshift/kustomization.yaml".to_owned(),
        format!("{}{patch}", list("  - ../../base\n")),
    ));
    let values = root.join("charts/apicred/ci/namespaced-values.yaml");
    let values = values.display().to_string();
    let some = ["--values", &values, "--set", "rbac.aggregate=true"];
    made.extend([
        (
            "overlays/namespaced/kustomization.yaml".to_owned(),
            list("  - ../../crds\n  - namespace.yaml\n  - operator.yaml\n"),
        ),
        ("overlays/namespaced/namespace.yaml".to_owned(), namespace()),
        (
            "overlays/namespaced/operator.yaml".to_owned(),
            rendered(root, &some).await?,
        ),
    ]);
    made.extend(monitoring(root).await?);
    made.extend(
        crds.into_iter()
            .map(|(name, text)| (format!("crds/{name}"), text)),
    );
    Ok(made
        .into_iter()
        .map(|(path, text)| (format!("{KUSTOMIZE}/{path}").into(), text))
        .collect())
}

/// Objects for the Prometheus operator and Grafana: a component for the overlays of users, and `base` with it.
async fn monitoring(root: &Path) -> Result<[(String, String); 5], String> {
    let component = format!(
        "{WRITTEN}apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources:\n  - grafana-dashboard.yaml\n  - prometheusrule.yaml\n  - servicemonitor.yaml\n"
    );
    let overlay = format!(
        "{WRITTEN}apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n  - ../../base\ncomponents:\n  - ../../components/monitoring\n"
    );
    let one = async |name: &str, value: &str| {
        let template = format!("templates/{name}.yaml");
        let set = format!("{value}.enabled=true");
        helm(root, &["--set", &set, "--show-only", &template]).await
    };
    let folder = "components/monitoring";
    Ok([
        (format!("{folder}/kustomization.yaml"), component),
        (
            format!("{folder}/grafana-dashboard.yaml"),
            one("grafana-dashboard", "grafanaDashboard").await?,
        ),
        (
            format!("{folder}/prometheusrule.yaml"),
            one("prometheusrule", "prometheusRule").await?,
        ),
        (
            format!("{folder}/servicemonitor.yaml"),
            one("servicemonitor", "serviceMonitor").await?,
        ),
        ("overlays/monitored/kustomization.yaml".to_owned(), overlay),
    ])
}

/// The files of a release: the output of kustomize for the folders above, so they have the same objects.
pub(crate) async fn dist(root: &Path) -> Result<Vec<Made>, String> {
    let built = async |folder: &str| {
        let folder = root.join(KUSTOMIZE).join(folder).display().to_string();
        let output = testenv::run_kubectl(&["kustomize", &folder]).await;
        let text = output.map_err(|e| e.to_string())?.stdout;
        Ok::<_, String>(format!("{WRITTEN}{text}"))
    };
    Ok(vec![
        ("dist/apicred.crds.yaml".into(), built("crds").await?),
        ("dist/install.yaml".into(), built("base").await?),
    ])
}

/// Names and texts of the CRDs.
fn crds(root: &Path) -> Result<Vec<(String, String)>, String> {
    let folder = std::fs::read_dir(root.join("crds")).map_err(|e| format!("crds: {e}"))?;
    let mut crds = Vec::new();
    for file in folder {
        let name = file.map_err(|e| format!("crds: {e}"))?.file_name();
        let name = name.to_string_lossy().into_owned();
        let text = read(root, &format!("crds/{name}"))?;
        crds.push((name, text));
    }
    crds.sort();
    Ok(crds)
}

/// The namespace of the operator, whose pods comply with the strictest Pod Security Standard.
fn namespace() -> String {
    format!(
        "{WRITTEN}apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n  labels:\n    pod-security.kubernetes.io/enforce: restricted\n"
    )
}

/// All objects except the CRDs.
async fn rendered(root: &Path, more: &[&str]) -> Result<String, String> {
    let own = ["--skip-tests", "--set", "crds.install=false"];
    helm(root, &[more, &own].concat()).await
}

/// The output of helm for the chart, without the parts that are only true for helm's releases.
async fn helm(root: &Path, more: &[&str]) -> Result<String, String> {
    let chart = root.join("charts/apicred").display().to_string();
    let args = ["template", "apicred", &chart, "--namespace", NAMESPACE];
    let output = testenv::run_helm(&[&args, more].concat()).await;
    let text = output.map_err(|e| e.to_string())?.stdout;
    let remaining = text.lines().filter(|line| {
        let line = line.trim_start();
        !OF_HELM.iter().any(|of_helm| line.starts_with(of_helm))
    });
    let remaining: Vec<&str> = remaining.collect();
    let text = remaining.join("\n");
    Ok(format!(
        "{WRITTEN}{}\n",
        text.trim().trim_start_matches("---\n")
    ))
}
