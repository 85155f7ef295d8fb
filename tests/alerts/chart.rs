//! The alerts as the chart renders them.

use std::process::Command;

use serde_json::Value;

use super::{RUNBOOKS, files::list, root};

/// The output of helm for these values, or its error.
pub(super) async fn rendered(values: &[&str]) -> Result<Vec<Value>, String> {
    let helm = testenv::helm().await.expect("helm");
    let mut command = Command::new(helm);
    command.args([
        "template",
        "apicred",
        "charts/apicred",
        "--namespace",
        "operators",
    ]);
    for value in values {
        command.args(["--set", value]);
    }
    let output = command.current_dir(root()).output().expect("helm runs");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let documents = text.split("\n---\n").filter(|d| d.contains("kind:"));
    Ok(documents
        .map(|d| serde_saphyr::from_str(d).expect("YAML"))
        .collect())
}

/// The only object of a kind.
pub(super) fn only(objects: &[Value], kind: &str) -> Value {
    let found: Vec<&Value> = objects.iter().filter(|o| o["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "objects of the kind {kind}");
    found[0].clone()
}

fn rules(object: &Value) -> Vec<Value> {
    let groups = list(&object["spec"]["groups"]);
    groups.flat_map(|g| list(&g["rules"])).cloned().collect()
}

#[tokio::test]
async fn no_rule_is_installed_unless_it_is_enabled() {
    for values in [&[][..], &["prometheusRule=null"]] {
        let objects = rendered(values).await.expect("a chart");
        assert!(objects.iter().all(|o| o["kind"] != "PrometheusRule"));
    }
}

#[tokio::test]
async fn the_chart_installs_the_rules_of_the_file() {
    let values = [
        "prometheusRule.enabled=true",
        "prometheusRule.overrides=null",
        "prometheusRule.labels.release=prometheus",
    ];
    let rule = only(&rendered(&values).await.expect("a chart"), "PrometheusRule");
    assert_eq!(rule["metadata"]["namespace"], "operators");
    assert_eq!(rule["metadata"]["labels"]["release"], "prometheus");
    let of_file = super::alerts().into_iter().map(|a| in_operators(a.rule));
    assert_eq!(rules(&rule), of_file.collect::<Vec<_>>());
}

/// A rule of the file, which is for the namespace `apicred-system`, as the release in `operators` contains it.
fn in_operators(mut rule: Value) -> Value {
    let description = &mut rule["annotations"]["description"];
    let text = description.as_str().expect("a description");
    *description = text.replace("\"apicred-system\"", "\"operators\"").into();
    rule
}

/// The rules are about all operators in Prometheus, so the name of a Lease or of another object of this release would be wrong.
#[tokio::test]
async fn the_commands_of_alerts_name_the_namespace_of_the_release_and_no_object_of_it() {
    let values = ["prometheusRule.enabled=true", "fullnameOverride=of-team-a"];
    let objects = rendered(&values).await.expect("a chart");
    let rules = rules(&only(&objects, "PrometheusRule"));
    let text = |name: &str| {
        let rule = rules.iter().find(|rule| rule["alert"] == name);
        rule.expect("an alert")["annotations"]["description"].to_string()
    };
    let command = r#"kubectl -n {{ or $labels.namespace \"operators\" }} get leases"#;
    assert!(text("ApicredNoLeader").contains(command));
    for rule in &rules {
        let text = rule.to_string();
        assert!(!text.contains("apicred-system"), "{text}");
        assert!(!text.contains("of-team-a"), "{text}");
        assert!(!text.contains("get lease "), "{text}");
    }
}

#[tokio::test]
async fn single_alerts_can_be_changed() {
    let values = [
        "prometheusRule.enabled=true",
        "prometheusRule.namespace=monitoring",
        "prometheusRule.runbookBase=https://wiki.example/apicred",
        "prometheusRule.overrides.ApicredStuck.for=7m",
        "prometheusRule.overrides.ApicredStuck.severity=page",
        "prometheusRule.overrides.ApicredTokenBelowFloor.enabled=false",
        "prometheusRule.overrides.ApicredTokenEndsSoon.enabled=false",
        "prometheusRule.overrides.ApicredClientCredentialEndsSoon.enabled=false",
        "prometheusRule.overrides.ApicredClientCredentialEndsVerySoon.enabled=false",
        "prometheusRule.overrides.ApicredAbsent.enabled=true",
    ];
    let object = only(&rendered(&values).await.expect("a chart"), "PrometheusRule");
    assert_eq!(object["metadata"]["namespace"], "monitoring");
    // A group without rules would be accepted and have no effect.
    assert_eq!(list(&object["spec"]["groups"]).count(), 1);
    let wanted: Vec<Value> = super::alerts()
        .into_iter()
        .map(|alert| in_operators(alert.rule))
        .filter(|rule| {
            let name = rule["alert"].as_str().unwrap_or_default();
            name != "ApicredTokenBelowFloor" && !name.ends_with("Soon")
        })
        .map(|mut rule| {
            if rule["alert"] == "ApicredStuck" {
                rule["for"] = "7m".into();
                rule["labels"]["severity"] = "page".into();
            }
            let url = &mut rule["annotations"]["runbook_url"];
            let anchor = url.as_str().and_then(|u| u.strip_prefix(RUNBOOKS));
            *url = format!("https://wiki.example/apicred{}", anchor.expect("an anchor")).into();
            rule
        })
        .collect();
    assert_eq!(rules(&object), wanted);
}

/// A Prometheus with the metrics of several clusters learns only from the values that a cluster without an operator exists.
#[tokio::test]
async fn each_cluster_that_is_named_must_have_an_operator() {
    let values = [
        "prometheusRule.enabled=true",
        "prometheusRule.clusters={eu-1,us}",
    ];
    let rendered = rendered(&values).await.expect("a chart");
    let rules = rules(&only(&rendered, "PrometheusRule"));
    let expressions = |name: &str| -> Vec<&str> {
        let named = rules.iter().filter(|rule| rule["alert"] == name);
        named.filter_map(|rule| rule["expr"].as_str()).collect()
    };
    let absent = r#"absent(apicred_build_info{cluster="eu-1"}) or absent(apicred_build_info{cluster="us"}) or on (cluster) (group by "#;
    let [expression] = expressions("ApicredAbsent")[..] else {
        unreachable!("one rule")
    };
    assert!(expression.starts_with(absent), "{expression}");
    let others = rules.iter().filter(|r| r["alert"] != "ApicredAbsent");
    for rule in others {
        assert!(!rule.to_string().contains("eu-1"), "{rule}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let groups = serde_json::json!({ "groups": [{ "name": "of-the-chart", "rules": rules }] });
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).expect("a file");
        file.display().to_string()
    };
    let file = write("rules.yaml", &groups.to_string());
    let programs = testenv::PrometheusPrograms::locate_or_download().await;
    let programs = programs.expect("promtool");
    let output = programs.promtool(root(), &["check", "rules", &file]).await;
    output.expect("valid rules");
    let tests = write("tests.yaml", CLUSTERS);
    let output = programs.promtool(root(), &["test", "rules", &tests]).await;
    output.expect("rules that do what their tests say");
}

/// Tests for promtool of the rules with `prometheusRule.clusters={eu-1,us}`: an alert for each cluster without an operator, and for each
/// operator that is gone in a cluster with others.
const CLUSTERS: &str = r#"
rule_files: [rules.yaml]
evaluation_interval: 1m
tests:
  - name: one of two operators of a cluster goes, and another cluster never had one
    interval: 1m
    input_series:
      - {series: 'apicred_build_info{cluster="eu-1",namespace="team-a",job="apicred",pod="a"}', values: '1x4 _x60'}
      - {series: 'apicred_build_info{cluster="eu-1",namespace="team-b",job="apicred",pod="a"}', values: '1x70'}
    promql_expr_test:
      - expr: count by (cluster, namespace) (ALERTS{alertname="ApicredAbsent",alertstate="firing"})
        eval_time: 30m
        exp_samples:
          - {labels: '{cluster="eu-1",namespace="team-a"}', value: 1}
          - {labels: '{cluster="us"}', value: 1}
  - name: the only operator of a cluster goes, and so does one in a cluster that is not named
    interval: 1m
    input_series:
      - {series: 'apicred_build_info{cluster="eu-1",namespace="apicred-system",job="apicred",pod="a"}', values: '1x4 _x60'}
      - {series: 'apicred_build_info{cluster="us",namespace="apicred-system",job="apicred",pod="a"}', values: '1x70'}
      - {series: 'apicred_build_info{cluster="test",namespace="apicred-system",job="apicred",pod="a"}', values: '1x4 _x60'}
    promql_expr_test:
      - expr: count by (cluster, namespace) (ALERTS{alertname="ApicredAbsent",alertstate="firing"})
        eval_time: 30m
        exp_samples:
          - {labels: '{cluster="eu-1"}', value: 1}
          - {labels: '{cluster="test",namespace="apicred-system"}', value: 1}
  - name: all operators are gone
    interval: 1m
    input_series:
      - {series: 'apicred_build_info{cluster="eu-1",namespace="apicred-system",job="apicred",pod="a"}', values: '1x4 _x60'}
    promql_expr_test:
      - expr: count by (cluster, namespace) (ALERTS{alertname="ApicredAbsent",alertstate="firing"})
        eval_time: 30m
        exp_samples:
          - {labels: '{cluster="eu-1"}', value: 1}
          - {labels: '{cluster="us"}', value: 1}
  - name: each cluster has an operator
    interval: 1m
    input_series:
      - {series: 'apicred_build_info{cluster="eu-1",namespace="apicred-system",job="apicred",pod="a"}', values: '1x60'}
      - {series: 'apicred_build_info{cluster="us",namespace="apicred-system",job="apicred",pod="a"}', values: '1x60'}
    promql_expr_test:
      - {expr: ALERTS, eval_time: 30m, exp_samples: []}
"#;

#[tokio::test]
async fn a_misspelt_alert_is_an_error_that_names_the_right_ones() {
    let values = [
        "prometheusRule.enabled=true",
        "prometheusRule.overrides.ApicredStuk.for=7m",
    ];
    let output = rendered(&values).await.expect_err("an error");
    assert!(
        output.contains("there is no alert ApicredStuk") && output.contains("ApicredStuck"),
        "{output}"
    );
    for wrong in ["for=soon", "severity=1", "enabled=maybe", "colour=red"] {
        let value = format!("prometheusRule.overrides.ApicredStuck.{wrong}");
        let output = rendered(&["prometheusRule.enabled=true", &value]).await;
        output.expect_err(wrong);
    }
}
