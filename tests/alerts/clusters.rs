//! The dashboard with the metrics of several clusters in one Prometheus. Their operators have the same namespace, and may have the same address.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testenv::PrometheusPrograms;

use super::{
    files::{list, metrics, page},
    root,
};

const DASHBOARD: &str = "charts/apicred/files/dashboard.json";

/// The queries of all panels and annotations.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&page(DASHBOARD)).expect("JSON");
    let panels = list(&dashboard["panels"]).flat_map(|panel| list(&panel["targets"]));
    let all = panels.chain(list(&dashboard["annotations"]["list"]));
    let all: Vec<String> = all
        .filter_map(|query| query["expr"].as_str().map(str::to_owned))
        .collect();
    assert!(all.len() > 40, "only {} queries", all.len());
    all
}

/// A query with the variables of the dashboard filled in.
fn filled(query: &str, cluster: &str) -> String {
    let text = query.replace("$cluster", cluster);
    let text = text.replace("$namespace", ".*");
    let text = text.replace("$__rate_interval", "5m");
    assert!(!text.contains('$') || text.contains("\"$1\""), "{text}");
    text
}

/// The series of these queries for an operator of a cluster, with this value, or with counters that grow by it. An empty label is no label.
fn series(queries: &[String], cluster: &str, value: u32) -> Vec<Value> {
    let mut names = BTreeSet::new();
    for query in queries {
        for metric in metrics(query) {
            let buckets = format!("{metric}_bucket");
            if query.contains(&buckets) {
                names.extend(["1", "+Inf"].map(|le| (buckets.clone(), format!("le=\"{le}\""))));
            } else {
                names.insert((metric, String::new()));
            }
        }
    }
    let own = [
        ("apicred_issuers", "ready=\"false\""),
        (
            "apicred_kubernetes_request_duration_seconds_bucket",
            "result=\"ok\"",
        ),
        ("apicred_token_requests_total", "result=\"throttled\""),
        (
            "kube_pod_container_resource_limits",
            "container=\"apicred\",resource=\"memory\"",
        ),
    ];
    let place = format!(
        "cluster=\"{cluster}\",namespace=\"apicred-system\",job=\"apicred\",instance=\"10.0.0.1:8080\",pod=\"a\""
    );
    let of = |(name, more): &(String, String)| {
        let own = own.iter().find(|(metric, _)| metric == name);
        let own = own.map_or("", |(_, labels)| labels);
        let labels = [place.as_str(), more, own];
        let labels: Vec<&str> = labels.into_iter().filter(|l| !l.is_empty()).collect();
        let grows = name.ends_with("_total") || name.ends_with("_bucket");
        let values = match name.as_str() {
            "apicred_build_info" => "1x60".to_owned(),
            // The query of the annotation shows changes.
            "apicred_leader" => "0x16 1x45".to_owned(),
            _ if grows => format!("0+{value}x60"),
            _ => format!("{value}x60"),
        };
        json!({ "series": format!("{name}{{{}}}", labels.join(",")), "values": values })
    };
    names.iter().map(of).collect()
}

/// The result of promtool for these series, and queries with the value of their only sample, at the time at which the leader changes.
async fn evaluate(series: &[Value], expected: &[(String, u32)]) -> Result<(), String> {
    let tests: Vec<Value> = expected
        .iter()
        .map(|(query, value)| {
            let sample = json!({ "labels": "{}", "value": value });
            json!({ "expr": query, "eval_time": "17m", "exp_samples": [sample] })
        })
        .collect();
    let test = json!({ "interval": "1m", "input_series": series, "promql_expr_test": tests });
    let file = json!({ "rule_files": [], "evaluation_interval": "1m", "tests": [test] });
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tests.yaml");
    std::fs::write(&path, file.to_string()).expect("a file");
    let programs = PrometheusPrograms::locate_or_download().await;
    let args = ["test", "rules", path.to_str().expect("a path")];
    let output = programs.expect("promtool").promtool(root(), &args).await;
    output.map(|_| ()).map_err(|e| e.to_string())
}

#[tokio::test]
async fn each_query_of_the_dashboard_has_data_of_all_clusters_of_one_or_without_the_label() {
    let queries = queries();
    let two = [series(&queries, "eu", 3), series(&queries, "us", 5)].concat();
    let none = series(&queries, "", 3);
    for (series, cluster) in [(&two, ".*"), (&two, "us"), (&two, "eu|us"), (&none, ".*")] {
        let some = |query: &String| {
            let query = filled(query, cluster);
            (format!("count({query}) > bool 0"), 1)
        };
        let expected: Vec<(String, u32)> = queries.iter().map(some).collect();
        let evaluated = evaluate(series, &expected).await;
        evaluated.unwrap_or_else(|e| panic!("{cluster}: {e}"));
    }
}

#[tokio::test]
async fn a_number_of_the_dashboard_counts_each_cluster() {
    let queries = queries();
    let two = [series(&queries, "eu", 3), series(&queries, "us", 5)].concat();
    let mut expected = Vec::new();
    for metric in [
        "apicred_tokens_below_floor",
        "apicred_tokens_expired",
        "apicred_permissions_missing",
        "apicred_requests_waiting",
        "apicred_issuers_paused",
    ] {
        let query = queries.iter().find(|query| query.contains(metric));
        let query = query.expect("a panel");
        expected.extend([
            (filled(query, ".*"), 8),
            (filled(query, "eu"), 3),
            (filled(query, "us"), 5),
        ]);
    }
    // One row for each credential: a credential of the same name may be in both clusters.
    let rows = queries
        .iter()
        .find(|q| q.contains("apicred_credential_ready"));
    let rows = rows.expect("the table");
    expected.push((format!("count({})", filled(rows, ".*")), 2));
    expected.push((format!("count({})", filled(rows, "us")), 1));
    evaluate(&two, &expected).await.expect("the sums");
}
