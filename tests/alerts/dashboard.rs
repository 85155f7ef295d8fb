//! The dashboard of the chart.

use std::collections::BTreeSet;

use serde_json::Value;
use testenv::dashboard_faults;

use super::{
    chart::{only, rendered},
    files::{list, metrics, page},
    is_known,
};

const DASHBOARD: &str = "charts/apicred/files/dashboard.json";
/// A metric of kube-state-metrics; the panel states that it is optional.
const OF_OTHERS: [&str; 1] = ["kube_pod_container_resource_limits"];

fn dashboard() -> Value {
    serde_json::from_str(&page(DASHBOARD)).expect("JSON")
}

/// The panels without the rows.
fn panels(dashboard: &Value) -> Vec<Value> {
    let all = list(&dashboard["panels"]);
    let panels: Vec<Value> = all.filter(|p| p["type"] != "row").cloned().collect();
    assert!(panels.len() > 25, "only {} panels", panels.len());
    panels
}

fn texts<'a>(values: impl Iterator<Item = &'a Value>) -> Vec<&'a str> {
    values.filter_map(Value::as_str).collect()
}

#[tokio::test]
async fn the_dashboard_has_the_types_of_grafana_and_a_misspelt_field_would_not() {
    let right = page(DASHBOARD);
    let faults = dashboard_faults(&right).await.expect("the compiler");
    assert_eq!(faults, "");
    for (from, to) in [
        (r#""colorMode": "value""#, r#""colourMode": "value""#),
        (r#""displayMode": "table""#, r#""displayMode": "tabel""#),
        (r#""unit": "short""#, r#""units": "short""#),
        (r#""uid": "${datasource}""#, r#""uid": "prometheus""#),
    ] {
        let wrong = right.replacen(from, to, 1);
        assert_ne!(wrong, right, "{from} is not in the dashboard");
        let faults = dashboard_faults(&wrong).await.expect("the compiler");
        assert!(faults.contains("error TS"), "{to}: {faults}");
    }
}

#[test]
fn each_metric_of_the_dashboard_exists_and_each_metric_of_an_alert_is_on_it() {
    let dashboard = dashboard();
    let mut shown = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = &panel["title"];
        for query in list(&panel["targets"]) {
            let expression = query["expr"].as_str().expect("an expression");
            for metric in metrics(expression) {
                let known = is_known(&metric);
                assert!(
                    known || OF_OTHERS.contains(&metric.as_str()),
                    "{title}: {metric}"
                );
                shown.insert(metric);
            }
        }
    }
    for alert in super::alerts() {
        for metric in alert.metrics {
            assert!(shown.contains(&metric), "no panel shows {metric}");
        }
    }
}

#[test]
fn panels_have_titles_descriptions_places_and_queries_of_their_own() {
    let dashboard = dashboard();
    let rows = list(&dashboard["panels"]).filter(|p| p["type"] == "row");
    let titles = rows.map(|row| row["title"].as_str().unwrap_or_default());
    let rows: Vec<&str> = titles.collect();
    assert_eq!(
        rows,
        [
            "The promise",
            "Renewals",
            "Issuers",
            "Kubernetes",
            "Process",
            "Credentials"
        ]
    );
    let number = |value: &Value| value.as_u64().expect("a number");
    let (mut ids, mut titles, mut cells) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for panel in list(&dashboard["panels"]) {
        assert!(ids.insert(number(&panel["id"])), "two panels have one id");
        let at = &panel["gridPos"];
        let (x, y) = (number(&at["x"]), number(&at["y"]));
        assert!(x + number(&at["w"]) <= 24, "{} is too wide", panel["title"]);
        for column in x..x + number(&at["w"]) {
            for line in y..y + number(&at["h"]) {
                assert!(cells.insert((column, line)), "{} overlaps", panel["title"]);
            }
        }
    }
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().expect("a title").to_owned();
        let description = panel["description"].as_str().unwrap_or_default();
        assert!(description.ends_with('.'), "{title}: no description");
        let refs = texts(list(&panel["targets"]).map(|t| &t["refId"]));
        let different: BTreeSet<&&str> = refs.iter().collect();
        assert!(!refs.is_empty() && refs.len() == different.len(), "{title}");
        for query in list(&panel["targets"]) {
            let expression = query["expr"].as_str().unwrap_or_default();
            // Several operators may be in one Prometheus.
            let of_one = "cluster=~\"$cluster\",namespace=~\"$namespace\"";
            assert!(expression.contains(of_one), "{title}");
        }
        assert!(
            titles.insert(title.clone()),
            "two panels are called {title}"
        );
    }
}

#[test]
fn runbooks_and_metrics_are_named_as_they_are() {
    let text = page(DASHBOARD);
    let named = text.split(|c: char| !c.is_ascii_alphanumeric());
    let known: BTreeSet<String> = super::alerts().into_iter().map(|a| a.name).collect();
    let mut seen = 0;
    for expected_part in named.filter(|w| w.starts_with("Apicred")) {
        assert!(
            known.contains(expected_part),
            "the dashboard names the alert {expected_part}"
        );
        seen += 1;
    }
    assert!(seen > 5, "only {seen} alerts are named");
}

#[tokio::test]
async fn the_chart_installs_the_dashboard_for_the_sidecar_of_grafana() {
    let dashboards = |objects: &[Value]| -> Vec<Value> {
        let maps = objects.iter().filter(|o| o["kind"] == "ConfigMap");
        maps.cloned().collect()
    };
    let none = rendered(&["grafanaDashboard=null"]).await.expect("a chart");
    assert!(dashboards(&none).is_empty());
    let values = ["grafanaDashboard.enabled=true"];
    let map = only(&rendered(&values).await.expect("a chart"), "ConfigMap");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    assert!(map["metadata"]["annotations"].is_null());
    let text = map["data"]["apicred.json"].as_str().expect("a dashboard");
    let installed: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(installed, dashboard());

    let values = [
        "grafanaDashboard.enabled=true",
        "grafanaDashboard.label=dashboards",
        "grafanaDashboard.labelValue=yes",
        "grafanaDashboard.folder=Identity",
        "grafanaDashboard.namespace=monitoring",
        "grafanaDashboard.annotations.team=identity",
    ];
    let meta = only(&rendered(&values).await.expect("a chart"), "ConfigMap")["metadata"].clone();
    assert_eq!(meta["namespace"], "monitoring");
    assert_eq!(meta["labels"]["dashboards"], "yes");
    assert!(meta["labels"]["grafana_dashboard"].is_null());
    assert_eq!(meta["annotations"]["grafana_folder"], "Identity");
    assert_eq!(meta["annotations"]["team"], "identity");
}
