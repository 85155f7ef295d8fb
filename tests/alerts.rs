//! The alerts and the dashboard of the chart: unit tests of the alerts by promtool, the types of Grafana, and a check that everything
//! that both refer to exists. The queries of docs/monitoring.md: the parser of Azure Monitor.

#[path = "alerts/chart.rs"]
mod chart;
#[path = "alerts/clusters.rs"]
mod clusters;
#[path = "alerts/dashboard.rs"]
mod dashboard;
#[path = "alerts/files.rs"]
mod files;
#[path = "alerts/queries.rs"]
mod queries;

use std::{collections::BTreeSet, path::Path};

use apicred::{Reason, telemetry::metrics::TABLE};
use files::{Alert, Case, alerts, cases, metrics, page, unit_tests};
use testenv::PrometheusPrograms;

const RULES: &str = "charts/apicred/files/alerts.yaml";
const RUNBOOKS: &str = "https://github.com/apicred/apicred/blob/main/docs/runbooks.md";

/// Whether the operator has this metric. The suffixes of histograms are not part of the name.
fn is_known(metric: &str) -> bool {
    TABLE.iter().any(|known| known.name == metric)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test]
async fn prometheus_reads_the_rules_and_their_tests_pass() {
    let programs = PrometheusPrograms::locate_or_download()
        .await
        .expect("promtool");
    let output = programs.promtool(root(), &["check", "rules", RULES]).await;
    output.expect("valid rules");
    let files = unit_tests();
    let mut args = vec!["test", "rules"];
    args.extend(files.iter().map(String::as_str));
    let output = programs.promtool(root(), &args).await;
    output.expect("rules that do what their tests say");
}

/// A test of promtool that expects nothing also passes for a rule that never fires, so each alert must fire in one test.
#[test]
fn each_alert_is_tested_quiet_firing_and_ended_and_with_two_replicas() {
    let cases = cases();
    for Alert { name, metrics, .. } in alerts() {
        let of = |case: &&Case| case.alert == name;
        let full = |case: &Case| {
            let fires = case.evaluations.iter().position(|fired| *fired > 0);
            fires.is_some_and(|at| {
                let (before, after) = case.evaluations.split_at(at);
                before.contains(&0) && after.contains(&0)
            })
        };
        assert!(
            cases.iter().filter(of).any(full),
            "tests/alerts has no case in which {name} is quiet, then fires, then is quiet again"
        );
        // Two replicas with this metric, and one alert for each reason, stream or issuer.
        let doubled = |case: &Case| metrics.iter().any(|m| case.replicas(m) > 1);
        assert!(
            name == "ApicredAbsent" || cases.iter().filter(of).any(doubled),
            "tests/alerts has no case of {name} with two replicas"
        );
    }
    let known: BTreeSet<String> = alerts().into_iter().map(|a| a.name).collect();
    for case in &cases {
        assert!(known.contains(&case.alert), "no such alert: {}", case.alert);
    }
}

#[test]
fn each_alert_has_a_severity_a_text_with_a_command_and_a_runbook() {
    let page = page("docs/runbooks.md");
    let sections: Vec<&str> = page.split("\n## ").skip(1).collect();
    let mut named = BTreeSet::new();
    for alert in alerts() {
        let Alert { name, rule, .. } = &alert;
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let severity = text(&rule["labels"]["severity"]);
        assert!(
            ["critical", "warning"].contains(&severity.as_str()),
            "{name}: severity {severity}"
        );
        assert!(rule["for"].is_string(), "{name} fires at the first sample");
        let notes = &rule["annotations"];
        let (summary, description) = (text(&notes["summary"]), text(&notes["description"]));
        assert!(
            !summary.is_empty() && summary.len() < 220,
            "{name}: {summary}"
        );
        assert!(
            description.contains("Run: kubectl "),
            "{name}: {description}"
        );
        let anchor = format!("{RUNBOOKS}#{}", name.to_lowercase());
        assert_eq!(text(&notes["runbook_url"]), anchor, "{name}");
        let section = sections
            .iter()
            .find(|s| s.lines().next() == Some(name))
            .unwrap_or_else(|| unreachable!("docs/runbooks.md has no section {name}"));
        for part in ["```sh", "It goes away"] {
            assert!(
                section.contains(part),
                "docs/runbooks.md, {name}: no {part}"
            );
        }
        assert!(
            section.contains("Usual causes") || section.contains("What to do"),
            "docs/runbooks.md, {name}: no cause"
        );
        named.insert(name.clone());
    }
    for section in sections {
        let name = section.lines().next().unwrap_or_default();
        assert!(
            named.contains(name),
            "docs/runbooks.md: there is no alert {name}"
        );
    }
}

/// A name in `overrides` of the chart must change exactly one rule.
#[test]
fn no_two_rules_have_one_name() {
    let mut seen = BTreeSet::new();
    for Alert { name, .. } in alerts() {
        assert!(seen.insert(name.clone()), "two rules are named {name}");
    }
}

#[test]
fn each_metric_and_reason_of_the_alerts_exists() {
    for Alert {
        name,
        rule,
        metrics,
    } in alerts()
    {
        for metric in &metrics {
            assert!(is_known(metric), "{name}: {metric}");
        }
        let expression = rule["expr"].as_str().unwrap_or_default();
        for list in expression.split("reason").skip(1) {
            let Some((_, list)) = list.split_once('"') else {
                continue;
            };
            let (list, _) = list.split_once('"').unwrap_or((list, ""));
            for reason in list.split('|') {
                assert!(Reason::parse(reason).is_some(), "{name}: reason {reason}");
            }
        }
    }
}

/// A credential that is not ready is in exactly one of two alerts, or in none if a user requested this state.
#[test]
fn each_reason_is_for_one_alert() {
    let list = |name: &str, before: &str| -> BTreeSet<String> {
        let alerts = alerts();
        let alert = alerts.iter().find(|a| a.name == name).expect("an alert");
        let expression = alert.rule["expr"].as_str().unwrap_or_default();
        let (_, rest) = expression.split_once(before).expect("a list of reasons");
        let (list, _) = rest.split_once('"').expect("the end of the list");
        list.split('|').map(str::to_owned).collect()
    };
    let mut for_users = list(
        "ApicredSignInNeeded",
        "apicred_credentials_failing{reason=~\"",
    );
    for_users.extend([Reason::Suspended, Reason::Ended].map(|r| r.to_string()));
    let left_out = list(
        "ApicredCredentialNotReady",
        "apicred_credentials_not_ready{reason!~\"",
    );
    assert_eq!(left_out, for_users);
}

#[test]
fn the_names_of_metrics_in_an_expression_are_found() {
    let found = metrics(
        "max by (apicred) (apicred_a_total{apicred_label=\"apicred_text\"}) > 0 or rate(apicred_b[5m]) * on (name) apicred_c",
    );
    assert_eq!(found, ["apicred_a_total", "apicred_b", "apicred_c"]);
}
