//! Valid names that YAML reads as a number, a boolean, null or a date if they are not quoted.

use serde_json::{Value, json};

use crate::support::{CHART, Objects, run};

/// Texts that YAML 1.1, which Kubernetes reads, or YAML 1.2 takes for something else. None of them is a value of the chart.
const ODD: [&str; 17] = [
    "yes",
    "no",
    "off",
    "1e3",
    "0x1f",
    "2001-01-01",
    "1e4",
    "1e5",
    "1.5",
    "0123",
    "1.0",
    "12345",
    "1e6",
    "777",
    "778",
    "779",
    "1e7",
];

/// Values that have such a name wherever the chart writes one.
fn values() -> Value {
    let issuer = json!({ "entra": { "tenantId": "1e7" } });
    json!({
        "crds": { "install": false },
        "watchNamespaces": ["1e3", "0x1f", "2001-01-01"],
        "clusterIssuers": true,
        "notifyPods": { "namespaces": ["1e3"] },
        "serviceAccount": { "name": "1e4" },
        "priorityClassName": "1e5", "schedulerName": "1.5", "runtimeClassName": "null",
        "caBundle": { "configMap": "0123", "key": "1.0" },
        "issuerProxy": { "existingSecret": { "name": "0123", "key": "1.0" } },
        "global": { "imagePullSecrets": ["off"] },
        "imagePullSecrets": ["12345", { "name": "1e6" }],
        "image": { "tag": "1.0" },
        "serviceMonitor": { "enabled": true, "namespace": "777", "labels": { "release": "yes" } },
        "prometheusRule": { "enabled": true, "namespace": "778", "overrides": { "ApicredStuck": { "severity": "1e3" } } },
        "grafanaDashboard": { "enabled": true, "namespace": "779", "label": "yes", "labelValue": "no", "folder": "12345" },
        "issuers": { "12345": issuer, "null": issuer },
        "commonLabels": { "team": "off" }, "podLabels": { "team": "1e3" }, "nodeSelector": { "disk": "no" },
        "flowSchema": { "enabled": true },
        "networkPolicy": { "enabled": true },
        "rbac": { "issuerReaders": true },
    })
}

/// The text of a release in the namespace `123`.
async fn text(release: &str, more: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("values.json");
    std::fs::write(&path, values().to_string()).expect("a file");
    let path = path.display().to_string();
    let args = [
        "template",
        release,
        CHART,
        "--namespace",
        "123",
        "--values",
        &path,
    ];
    let output = testenv::run_helm(&[&args, more].concat()).await;
    output.expect("it renders").stdout
}

/// The value of a line of YAML, if it is not quoted: of `key: value`, `- value` and `[value]`.
fn plain(line: &str) -> &str {
    let line = line.trim().trim_start_matches("- ");
    let value = line.split_once(": ").map_or(line, |(_, value)| value);
    value.trim_matches(['[', ']'])
}

/// Each name, and each namespace, label and reference, is a text.
fn texts(value: &Value, object: &Value) {
    let fields = [
        "name",
        "namespace",
        "serviceAccountName",
        "schedulerName",
        "runtimeClassName",
        "priorityClassName",
        "policyName",
        "key",
        "app.kubernetes.io/instance",
    ];
    for (key, below) in value.as_object().into_iter().flatten() {
        let is_text = below.is_string() || below.is_object();
        assert!(
            !fields.contains(&key.as_str()) || is_text,
            "{key}: {below} in {object}"
        );
        texts(below, object);
    }
    for below in value.as_array().into_iter().flatten() {
        texts(below, object);
    }
}

#[test]
fn a_name_that_yaml_reads_as_something_else_is_quoted() {
    run(async {
        for (release, more) in [
            ("true", &[][..]),
            ("null", &[]),
            ("x", &["--set", "fullnameOverride=yes"]),
        ] {
            let text = text(release, more).await;
            for line in text.lines() {
                assert!(!ODD.contains(&plain(line)), "{release}: {line}");
            }
            let objects = Objects::read(&text);
            assert!(objects.0.len() > 20, "{}", objects.0.len());
            for object in &objects.0 {
                // Its text is JSON, which the test of the dashboard reads.
                if object["kind"] != "ConfigMap" {
                    texts(object, object);
                }
            }
            let name = if release == "x" { "yes" } else { release };
            let spec = &objects.pod()["spec"];
            assert_eq!(objects.one("Deployment")["metadata"]["name"], name);
            assert_eq!(objects.one("Deployment")["metadata"]["namespace"], "123");
            assert_eq!(spec["runtimeClassName"], "null");
            assert_eq!(spec["imagePullSecrets"][0]["name"], "off");
            let issuers = objects.all("ClusterTokenIssuer");
            assert_eq!(issuers[0]["metadata"]["name"], "12345");
            // The last label of a host must not be a number.
            let check = &objects.one("Pod")["spec"]["containers"][0]["args"][2];
            assert_eq!(check, &json!(format!("http://{name}-metrics.123.svc:8080")));
        }
    });
}
