//! The content of a scrape of the operator's metrics.

use std::process::Stdio;

use serde_json::json;
use testenv::{PrometheusPrograms, eventually};
use tokio::io::AsyncWriteExt;

use crate::{
    leader::{self, leads},
    support::{LATER, Operator, World, run},
};

/// A page in the format that this `Accept` header requests, and its content type.
async fn scrape(operator: &Operator, accept: &str) -> (String, String) {
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let url = format!("http://{}/metrics", operator.admin());
    let answer = client.get(url).header("accept", accept).send().await;
    let answer = answer.expect("an answer");
    let kind = answer.headers()["content-type"].to_str().expect("text");
    let kind = kind.to_owned();
    (kind, answer.text().await.expect("a page"))
}

/// The value of a series; none if it does not exist.
fn value(page: &str, series: &str) -> Option<f64> {
    let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
    page.lines().find_map(value)
}

/// Lets promtool read a page in the text format of Prometheus.
async fn check(page: &str) {
    let programs = PrometheusPrograms::locate_or_download().await;
    let mut process = tokio::process::Command::new(programs.expect("promtool").promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let mut input = process.stdin.take().expect("its input");
    input.write_all(page.as_bytes()).await.expect("it reads");
    drop(input);
    let output = process.wait_with_output().await.expect("it ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool: {errors}");
    assert_eq!(errors, "", "promtool has something to say");
}

#[test]
fn the_leader_exports_what_it_knows_and_a_standby_only_what_it_is() {
    run(async {
        let world = World::own().await;
        let mut environment = leader::environment("first").to_vec();
        environment.push(("APICRED_METRICS_PER_CREDENTIAL", "true".to_owned()));
        let log = world.next_log("first");
        let first = Operator::start(world.operator_kubeconfig(), &environment, log).await;
        leads(&world, "first", LATER).await;
        let place = world.place("metrics").await;
        place.create("good", json!({})).await;
        place.ready("good").await;
        let absent = json!({ "secrets": [{ "name": "absent", "key": "client-secret" }] });
        let target = json!({ "secretName": "bad" });
        place
            .create("bad", json!({ "client": absent, "target": target }))
            .await;
        let page = eventually(LATER, "both in the metrics", async || {
            let (_, page) = first.get("/metrics").await.ok_or("no answer")?;
            let ready = value(&page, "apicred_credentials{ready=\"true\"}");
            let reason = "apicred_credentials_not_ready{reason=\"ClientSecretMissing\"}";
            let both = ready == Some(1.0) && value(&page, reason) == Some(1.0);
            if both { Ok(page) } else { Err(page) }
        })
        .await;
        check(&page).await;
        let ns = &place.namespace;
        let issuer = &place.issuer_name;
        let good = format!("{{namespace=\"{ns}\",name=\"good\"}}");
        let series = format!(
            "apicred_token_requests_total{{grant=\"ClientCredentials\",result=\"ok\",issuer=\"{issuer}\"}}"
        );
        let info = format!(
            "apicred_credential_info{{namespace=\"{ns}\",name=\"good\",issuer_kind=\"ClusterTokenIssuer\",issuer=\"{issuer}\",api=\"\",secret=\"token\"}}"
        );
        for (series, wanted) in [
            ("apicred_leader".to_owned(), 1.0),
            ("apicred_credentials{ready=\"false\"}".to_owned(), 1.0),
            (
                "apicred_credentials_failing{reason=\"ClientSecretMissing\"}".to_owned(),
                1.0,
            ),
            (
                "apicred_issuers{kind=\"ClusterTokenIssuer\",ready=\"true\"}".to_owned(),
                1.0,
            ),
            ("apicred_tokens_below_floor".to_owned(), 0.0),
            (format!("apicred_credential_ready{good}"), 1.0),
            (series, 1.0),
            (info, 1.0),
        ] {
            assert_eq!(value(&page, &series), Some(wanted), "{series}\n{page}");
        }
        let object = place.credentials().get("good").await.expect("it is there");
        let status = object.status.expect("a status");
        let at = |time: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| {
            time.map(|time| time.0.as_second())
        };
        let seconds = |name: &str| {
            let series = format!("apicred_token_{name}_seconds{good}");
            value(&page, &series).map(|v| v.to_string())
        };
        let text = |at: Option<i64>| at.map(|at| at.to_string());
        assert_eq!(seconds("expiry_timestamp"), text(at(status.expires_at)));
        assert_eq!(seconds("renewal_timestamp"), text(at(status.renew_at)));
        assert!(seconds("min_lifetime").is_some());

        let second = leader::start(&world, "second").await;
        let (_, page) = second.get("/metrics").await.expect("metrics");
        check(&page).await;
        assert_eq!(value(&page, "apicred_leader"), Some(0.0), "{page}");
        assert!(page.contains("apicred_build_info{version="), "{page}");
        assert!(page.contains("process_cpu_seconds_total"), "{page}");
        assert!(!page.contains("apicred_credentials"), "{page}");
        assert!(!page.contains("apicred_token"), "{page}");
    });
}

#[test]
fn a_scrape_has_the_format_that_it_requests() {
    run(async {
        let world = World::shared().await;
        let operator = world.operator();
        let open = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let (kind, page) = scrape(operator, open).await;
        assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
        assert!(page.ends_with("# EOF\n"), "{page}");
        let (kind, page) = scrape(operator, "text/plain").await;
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        assert!(!page.contains("# EOF"), "{page}");
        check(&page).await;
    });
}

#[test]
fn a_renewal_measures_what_the_old_token_had_left() {
    run(async {
        let mut world = World::own().await;
        world.start_operator().await;
        let place = world.place("margin").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        let operator = world.operator();
        let margins = "apicred_publish_margin_seconds_count";
        assert_eq!(operator.metric(margins).await, Some(0), "a first token");
        let old = place.view("token").await.expect("a token");
        place.request_renewal("c").await;
        place.another_token("token", &old).await;
        eventually(LATER, "one margin", async || {
            (operator.metric(margins).await? == 1).then_some(())
        })
        .await;
        // Nearly its whole lifetime was left, and the renewal was requested, not due.
        let short = "apicred_publish_margin_seconds_bucket{le=\"120.0\"}";
        assert_eq!(operator.metric(short).await, Some(0));
        let late = "apicred_renewal_lateness_seconds_count";
        assert_eq!(operator.metric(late).await, Some(0));
    });
}
