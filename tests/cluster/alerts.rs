//! The alerts and the dashboard of the chart on a real Prometheus that scrapes a leader and a standby.

use std::{collections::BTreeSet, fs, path::Path};

use dev_issuer::{Effect, Fault, RetryAfter};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use testenv::{Prometheus, eventually};

use crate::{
    leader::{environment, leads},
    support::{
        LATER, NAMESPACE, Operator, Place, World,
        keys::{Kind, keys},
        merge, run,
    },
};

/// Jobs that scrape the same two processes. The chart's `ServiceMonitor` generates the first.
const JOBS: [&str; 2] = ["honoured", "plain"];
/// A metric of kube-state-metrics, which does not run here.
const OF_OTHERS: &str = "kube_pod_container_resource_limits";

fn file(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/apicred/files");
    fs::read_to_string(folder.join(name)).expect("a file of the chart")
}

/// An operator with series for each credential.
async fn start(world: &World, name: &str) -> Operator {
    let mut environment = environment(name).to_vec();
    environment.push(("APICRED_METRICS_PER_CREDENTIAL", "true".to_owned()));
    let log = world.next_log(name);
    Operator::start(world.operator_kubeconfig(), &environment, log).await
}

/// A server that scrapes these operators every second, with honorLabels and without, and has the alerts of the chart.
async fn prometheus(operators: &[(&str, &Operator)]) -> Prometheus {
    let targets: Vec<Value> = operators
        .iter()
        .map(|(pod, operator)| {
            // The labels that a ServiceMonitor adds to scraped series.
            let labels = json!({ "namespace": NAMESPACE, "pod": pod });
            json!({ "targets": [operator.admin()], "labels": labels })
        })
        .collect();
    let jobs = JOBS.map(|job| {
        let honours = job == "honoured";
        json!({ "job_name": job, "honor_labels": honours, "static_configs": targets })
    });
    // JSON is valid YAML.
    let config = json!({
        "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
        "rule_files": ["alerts.yaml"],
        "scrape_configs": jobs,
    });
    let rules = file("alerts.yaml");
    Prometheus::start(&config.to_string(), &[("alerts.yaml", &rules)])
        .await
        .expect("Prometheus")
}

/// The alerts that are pending or firing, each as its name and the labels that distinguish it.
async fn active(prometheus: &Prometheus) -> BTreeSet<String> {
    let alerts = prometheus.alerts().await.expect("alerts");
    let one = |alert: &Value| {
        let mut labels: Vec<String> = (alert["labels"].as_object().into_iter().flatten())
            .filter(|(name, value)| *name != "alertname" && *value != NAMESPACE)
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
            .collect();
        labels.sort();
        let name = alert["labels"]["alertname"].as_str().unwrap_or_default();
        format!("{name} {}", labels.join(" "))
    };
    alerts.iter().map(one).collect()
}

/// Waits until these alerts are active, and no other.
async fn only(prometheus: &Prometheus, wanted: &BTreeSet<String>) {
    eventually(LATER, "these alerts and no other", async || {
        let active = active(prometheus).await;
        if active == *wanted {
            return Ok(());
        }
        let missing: Vec<&String> = wanted.difference(&active).collect();
        let more: Vec<&String> = active.difference(wanted).collect();
        Err(format!("missing {missing:#?}, too many {more:#?}"))
    })
    .await;
}

/// An alert of the operator, which exists for each job.
fn of_jobs(name: &str, severity: &str, more: &str) -> Vec<String> {
    let each = JOBS.iter().map(|job| {
        let mut labels = vec![format!("job={job}"), format!("severity={severity}")];
        labels.extend((!more.is_empty()).then(|| more.to_owned()));
        labels.sort();
        format!("{name} {}", labels.join(" "))
    });
    each.collect()
}

/// An alert of a credential, which is one alert for both jobs.
fn of_credential(alert: &str, place: &Place, name: &str, severity: &str) -> String {
    let namespace = &place.namespace;
    format!("{alert} name={name} namespace={namespace} severity={severity}")
}

/// Sets the expiry of the client secret of a place.
async fn secret_expiries(place: &Place, after: SignedDuration) {
    let end = (Timestamp::now() + after).to_string();
    let note = json!({ "metadata": { "annotations": { "apicred.dev/secret-expires-at": end } } });
    place.edit_secret("source", note).await;
}

/// A client whose rotation waits for the owner of its Secret.
async fn rotation_waits(place: &Place) {
    let graph = json!({ "entra": { "graphHost": place.issuer.origin() } });
    place.put_issuer(merge(place.entra_issuer(), graph)).await;
    let certificate = keys(Kind::Rsa, "rotating", None);
    place.put_tls("rotating", &certificate).await;
    let spec = json!({
        "id": "5d1e2f3a-4b5c-4d6e-8f70-8192a3b4c5d6", "objectId": "7a1e2f3a-4b5c-4d6e-8f70-8192a3b4c5d6",
        "secrets": null, "certificates": [{ "secretName": "rotating" }], "rotation": { "every": "24h" },
    });
    place.put_client("rotating", spec).await;
    let now = json!({ "apicred.dev/rotate-requested-at": "now" });
    let now = json!({ "metadata": { "annotations": now } });
    place.edit_client("rotating", now).await;
}

/// Every query of every panel.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&file("dashboard.json")).expect("JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    for panel in list(&dashboard["panels"]) {
        for query in list(&panel["targets"]) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let expression = text(&query["expr"])
                // "All": this Prometheus has no label for the cluster.
                .replace("$cluster", ".*")
                .replace("$namespace", NAMESPACE)
                .replace("$__rate_interval", "1m");
            found.push((text(&panel["title"]), expression));
        }
    }
    assert!(found.len() > 40, "only {} queries", found.len());
    found
}

/// Waits until each query has a series.
async fn each_panel_has_data(prometheus: &Prometheus) {
    for (title, expression) in queries() {
        if expression.contains(OF_OTHERS) {
            continue;
        }
        eventually(
            LATER,
            format!("data for {title}: {expression}"),
            async || {
                let series = prometheus.query(&expression).await;
                let series = series.map_err(|e| e.to_string())?;
                if series.is_empty() {
                    return Err("no series".to_owned());
                }
                Ok(())
            },
        )
        .await;
    }
}

/// Waits until an expression has a series for each job.
async fn both_jobs(prometheus: &Prometheus, what: &str, expression: &str) {
    eventually(LATER, what, async || {
        let series = prometheus.query(expression).await;
        let series = series.map_err(|e| e.to_string())?;
        if series.len() == JOBS.len() {
            Ok(())
        } else {
            Err(format!("{series:?}"))
        }
    })
    .await;
}

/// Waits until so many requests have failed that `ApicredRenewalsFailing` stays for its 15 minutes. A history of a few
/// seconds is not enough for that: `increase()` extrapolates it, so that four failures count as more than five for a moment.
async fn many_failed(prometheus: &Prometheus) {
    let counted = "sum by (job) (apicred_token_requests_total{result=\"denied\"}) > 8";
    both_jobs(prometheus, "more than eight failures", counted).await;
}

#[test]
fn a_prometheus_that_scrapes_two_replicas_has_the_right_alerts_and_fills_each_panel() {
    run(async {
        let mut world = World::own().await;
        let first = start(&world, "first").await;
        leads(&world, "first", LATER).await;
        let second = start(&world, "second").await;
        // `Place` waits until its issuer is reconciled if it knows of an operator.
        let [good, refused, throttled, ended, ending] = [
            world.place("good").await,
            world.place("refused").await,
            world.place("throttled").await,
            world.place("ended").await,
            world.place("ending").await,
        ];
        for place in [&good, &refused, &throttled, &ended, &ending] {
            place.create("c", json!({})).await;
            place.ready("c").await;
        }
        let prometheus = prometheus(&[("first", &first), ("second", &second)]).await;
        let scraped =
            "sum by (job) (apicred_credentials{ready=\"true\"}) == 5 and sum by (job) (up) == 2";
        both_jobs(&prometheus, "both jobs scrape both replicas", scraped).await;
        only(&prometheus, &BTreeSet::new()).await;

        // A client secret is wrong, and there are many credentials with it.
        refused.put_source("not-the-right-one").await;
        for n in 0..7 {
            let name = format!("wrong-{n}");
            refused
                .create(&name, json!({ "target": { "secretName": name } }))
                .await;
        }
        let effect = Effect::TooManyRequests {
            retry_after: Some(RetryAfter::Seconds(1)),
        };
        let fault = Fault::new(effect).client(&throttled.client);
        throttled.issuer.fault(fault);
        throttled.request_renewal("c").await;
        secret_expiries(&ended, SignedDuration::from_hours(-1)).await;
        secret_expiries(&ending, SignedDuration::from_hours(24 * 10)).await;
        rotation_waits(&good).await;

        let mut wanted: BTreeSet<String> = [
            of_jobs("ApicredCredentialNotReady", "warning", ""),
            of_jobs("ApicredRenewalsFailing", "warning", ""),
            of_jobs(
                "ApicredIssuerThrottling",
                "warning",
                &format!("issuer={}", throttled.issuer_name),
            ),
            of_jobs("ApicredClientCredentialExpired", "critical", ""),
            of_jobs("ApicredClientCredentialExpiring", "warning", ""),
            of_jobs("ApicredRotationStopped", "warning", ""),
        ]
        .concat()
        .into_iter()
        .collect();
        let (soon, very_soon) = (
            "ApicredClientCredentialEndsSoon",
            "ApicredClientCredentialEndsVerySoon",
        );
        wanted.insert(of_credential(very_soon, &ended, "c", "critical"));
        wanted.insert(of_credential(soon, &ending, "c", "warning"));
        only(&prometheus, &wanted).await;
        each_panel_has_data(&prometheus).await;
        many_failed(&prometheus).await;
        only(&prometheus, &wanted).await;

        // Alerts about corrected faults end. An alert that counts the requests of 15 minutes stays.
        refused.put_source(&refused.secret).await;
        throttled.issuer.clear_faults();
        secret_expiries(&ended, SignedDuration::from_hours(24 * 90)).await;
        secret_expiries(&ending, SignedDuration::from_hours(24 * 90)).await;
        good.delete_client("rotating").await;
        let history = ["ApicredRenewalsFailing", "ApicredIssuerThrottling"];
        wanted.retain(|alert| history.iter().any(|name| alert.starts_with(name)));
        only(&prometheus, &wanted).await;
        world.operator_runs();
        drop((first, second));
    });
}
