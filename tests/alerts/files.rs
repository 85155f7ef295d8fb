//! The files of alerts, of their tests and of the docs, as data.

use std::{fs, path::Path};

use serde_json::Value;

use super::{RULES, root};

/// One rule.
pub(super) struct Alert {
    pub(super) name: String,
    pub(super) rule: Value,
    /// Metrics in its expression.
    pub(super) metrics: Vec<String>,
}

/// One group of evaluations of one alert over one set of series.
pub(super) struct Case {
    pub(super) alert: String,
    /// How many alerts are expected, by time.
    pub(super) evaluations: Vec<usize>,
    series: Vec<String>,
}

impl Case {
    /// Pods that have this metric with some values of the other labels.
    pub(super) fn replicas(&self, metric: &str) -> usize {
        let mut pods: Vec<&str> = self
            .series
            .iter()
            .filter(|series| series.split('{').next() == Some(metric))
            .filter_map(|series| series.split_once("pod=\""))
            .filter_map(|(_, rest)| rest.split('"').next())
            .collect();
        pods.sort_unstable();
        pods.dedup();
        pods.len()
    }
}

pub(super) fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| unreachable!("{path}: {e}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&page(path)).unwrap_or_else(|e| unreachable!("{path}: {e}"))
}

pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// All rules.
pub(super) fn alerts() -> Vec<Alert> {
    let file = yaml(RULES);
    let rules = list(&file["groups"]).flat_map(|group| list(&group["rules"]));
    let alerts: Vec<Alert> = rules
        .map(|rule| Alert {
            name: rule["alert"].as_str().expect("a name").to_owned(),
            metrics: metrics(rule["expr"].as_str().expect("an expression")),
            rule: rule.clone(),
        })
        .collect();
    assert!(alerts.len() > 15, "only {} rules were found", alerts.len());
    alerts
}

/// The metrics in an expression, in their order; a histogram without its suffix. Text in quotes or braces, or before a brace as the name of
/// a label, is not a metric.
pub(super) fn metrics(expression: &str) -> Vec<String> {
    let mut plain = String::new();
    let (mut braces, mut quoted) = (0_u32, false);
    for c in expression.chars() {
        match c {
            '"' => quoted = !quoted,
            '{' if !quoted => braces += 1,
            '}' if !quoted => braces = braces.saturating_sub(1),
            _ if !quoted && braces == 0 => plain.push(c),
            _ => {}
        }
    }
    let words = plain.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let named = words.filter(|w| {
        let mut starts = ["apicred_", "process_", "kube_"].iter();
        starts.any(|start| w.starts_with(start))
    });
    named
        .map(|name| name.strip_suffix("_bucket").unwrap_or(name).to_owned())
        .collect()
}

/// The files of promtool's tests, from the root of the repository.
pub(super) fn unit_tests() -> Vec<String> {
    let folder = fs::read_dir(root().join("tests/alerts")).expect("the tests");
    let names = folder.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut files: Vec<String> = names
        .filter(|name| Path::new(name).extension().is_some_and(|e| e == "yaml"))
        .map(|name| format!("tests/alerts/{name}"))
        .collect();
    files.sort();
    assert!(files.len() > 4, "only {files:?}");
    files
}

/// The evaluations of promtool's tests.
pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for file in unit_tests() {
        for test in list(&yaml(&file)["tests"]) {
            let first = cases.len();
            let series: Vec<String> = list(&test["input_series"])
                .filter_map(|s| s["series"].as_str().map(str::to_owned))
                .collect();
            // The files list the times of one alert in order.
            for evaluation in list(&test["alert_rule_test"]) {
                let alert = evaluation["alertname"].as_str().expect("an alert");
                let fired = list(&evaluation["exp_alerts"]).count();
                match cases[first..].iter_mut().find(|c| c.alert == alert) {
                    Some(case) => case.evaluations.push(fired),
                    None => cases.push(Case {
                        alert: alert.to_owned(),
                        evaluations: vec![fired],
                        series: series.clone(),
                    }),
                }
            }
        }
    }
    cases
}
