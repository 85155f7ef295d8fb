//! The ports and pages that the process shows to other programs.

use serde_json::json;

use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{World, run};

/// Counters that a first token adds one to.
const COUNTED: [&str; 5] = [
    "apicred_tokens_published_total{cause=\"absent\"}",
    "apicred_kubernetes_requests_total{operation=\"create_secret\",result=\"ok\"}",
    "apicred_reconciles_total{outcome=\"renewed\"}",
    "apicred_reconcile_duration_seconds_count{outcome=\"renewed\"}",
    "apicred_token_request_duration_seconds_count{result=\"ok\"}",
];

/// The value of a series in a page of metrics.
fn value(metrics: &str, series: &str) -> Option<f64> {
    let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
    metrics.lines().find_map(value)
}

#[test]
fn hundreds_of_half_requests_leave_the_probes_alive() {
    run(async {
        let mut world = World::own().await;
        world.start_operator().await;
        let operator = world.operator();
        let mut held = Vec::new();
        for _ in 0..400 {
            let mut stream = TcpStream::connect(operator.admin())
                .await
                .expect("a connection");
            let head = format!("GET /livez HTTP/1.1\r\nx: {}", "y".repeat(12 * 1024));
            // The connection may be closed already.
            let _ = stream.write_all(head.as_bytes()).await;
            held.push(stream);
        }
        for probe in ["/livez", "/readyz", "/metrics"] {
            let answer = operator.get(probe).await.map(|a| a.0);
            assert_eq!(answer, Some(200), "{probe}");
        }
        let place = world.place("admin-flood").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
    });
}

#[test]
fn idle_connections_that_take_all_file_descriptors_leave_the_probes_alive() {
    run(async {
        let mut world = World::own().await;
        world.environment.push(("TEST_OPEN_FILES", "64".to_owned()));
        world.start_operator().await;
        let operator = world.operator();
        let mut held = Vec::new();
        for _ in 0..3 {
            for _ in 0..80 {
                held.push(
                    TcpStream::connect(operator.admin())
                        .await
                        .expect("a connection"),
                );
            }
            let answer = operator.get("/livez").await.map(|a| a.0);
            assert_eq!(answer, Some(200), "{} connections", held.len());
        }
        let place = world.place("admin-files").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
    });
}

#[test]
fn probes_and_metrics_answer() {
    run(async {
        let world = World::shared().await;
        let place = world.place("admin").await;
        let operator = world.operator();
        // Other tests use this operator as well, so values are lower bounds.
        let mut before = Vec::new();
        for series in COUNTED {
            before.push(operator.metric(series).await.unwrap_or_default());
        }
        place.create("c", json!({})).await;
        place.ready("c").await;
        for (series, before) in COUNTED.into_iter().zip(before) {
            let now = operator.metric(series).await;
            assert!(now > Some(before), "{series}: {before}, then {now:?}");
        }
        assert!(operator.sum("apicred_token_requests_total").await > 0);
        let ready = operator.metric("apicred_credentials{ready=\"true\"}").await;
        assert!(ready >= Some(1), "{ready:?}");
        for probe in ["/livez", "/readyz"] {
            assert_eq!(
                operator.get(probe).await,
                Some((200, "ok\n".to_owned())),
                "{probe}"
            );
        }
        assert_eq!(operator.get("/").await.unwrap().0, 404);
        let (status, metrics) = operator.get("/metrics").await.unwrap();
        assert_eq!(status, 200);
        // One request took some time, but not longer than allowed.
        let slowest = value(
            &metrics,
            "apicred_token_request_duration_seconds_sum{result=\"ok\"}",
        );
        assert!(slowest > Some(0.0), "{slowest:?}");
        let all = value(
            &metrics,
            "apicred_token_request_duration_seconds_bucket{result=\"ok\",le=\"+Inf\"}",
        );
        let count = value(
            &metrics,
            "apicred_token_request_duration_seconds_count{result=\"ok\"}",
        );
        assert!(all.is_some() && all == count, "{all:?} {count:?}");
        // A series for each object would grow without a bound. There are few issuers of the cluster, and their number is bounded.
        let named = metrics
            .lines()
            .filter(|line| line.contains(&place.namespace))
            .find(|line| !line.starts_with("apicred_token_requests_total{grant="));
        assert_eq!(named, None, "an object's name labels a series");
        assert!(!metrics.contains("namespace=\""), "{metrics}");
    });
}

#[test]
fn the_check_of_helm_test_finds_an_operator_that_leads() {
    run(async {
        let world = World::shared().await;
        let check = async |admin: &str, wait: &str| {
            let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_apicred"));
            program.args(["check", "--admin", admin, "--wait", wait]);
            program.output().await.expect("it runs")
        };
        let admin = format!("http://{}", world.operator().admin());
        let found = check(&admin, "20").await;
        let reported = String::from_utf8_lossy(&found.stdout);
        assert!(
            found.status.success() && reported.contains("a replica leads"),
            "{found:?}"
        );
        let found = check("http://127.0.0.1:1", "0").await;
        let reported = String::from_utf8_lossy(&found.stderr);
        assert!(
            !found.status.success() && reported.contains("endpoints"),
            "{found:?}"
        );
    });
}
