//! The data that a collector of traces receives: the work for each credential, and no secret.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode as SpanStatus},
};
use prost::Message;
use serde_json::json;
use testenv::eventually;

use crate::support::{LATER, World, run};

/// Bodies of the requests that the collector got.
type Bodies = Arc<Mutex<Vec<Bytes>>>;

/// A collector. Gives its URL.
async fn collector(bodies: Bodies) -> String {
    let take = async |State(bodies): State<Bodies>, body: Bytes| {
        bodies.lock().expect("no test panics here").push(body);
        StatusCode::OK
    };
    let app = Router::new()
        .route("/v1/traces", post(take))
        .with_state(bodies);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

fn spans(bodies: &Bodies) -> Vec<Span> {
    let bodies = bodies.lock().expect("no test panics here").clone();
    let requests = bodies
        .into_iter()
        .map(|body| ExportTraceServiceRequest::decode(body).expect("OTLP"));
    requests
        .flat_map(|request| request.resource_spans)
        .flat_map(|of| of.scope_spans)
        .flat_map(|of| of.spans)
        .collect()
}

/// The attribute as text.
fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|a: &&KeyValue| a.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A span of docs/traces.md and its attributes.
fn documented() -> Vec<(String, Vec<String>)> {
    let page = include_str!("../../docs/traces.md");
    let names = |cell: &str| {
        let quoted = cell.split('`').skip(1).step_by(2);
        quoted.map(str::to_owned).collect::<Vec<_>>()
    };
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.split('`').next()?;
        Some((name.to_owned(), names(cells.next().unwrap_or_default())))
    });
    rows.collect()
}

/// Every span and attribute is on the page, and requests have the attributes that the conventions of HTTP clients require.
fn check_names(spans: &[Span]) {
    let documented = documented();
    for span in spans {
        let row = documented.iter().find(|(name, _)| *name == span.name);
        let (_, attributes) = row.unwrap_or_else(|| unreachable!("not on the page: {}", span.name));
        for attribute in &span.attributes {
            let (name, key) = (&span.name, &attribute.key);
            assert!(attributes.contains(key), "{name}: {key} is not on the page");
        }
        let has = |key| attribute(span, key).is_some();
        let client = span.kind == SpanKind::Client as i32;
        assert_eq!(client, has("apicred.result"), "{}", span.name);
        let unsent = attribute(span, "apicred.result").as_deref() == Some("unwanted");
        if !client || unsent {
            continue;
        }
        for key in ["http.request.method", "server.address", "server.port"] {
            assert!(has(key), "{}: no {key}: {:?}", span.name, span.attributes);
        }
        let failed = attribute(span, "apicred.result").as_deref() != Some("ok");
        let status = span.status.as_ref().map(|status| status.code);
        let error = status == Some(SpanStatus::Error as i32);
        assert_eq!(error, failed, "{}: {:?}", span.name, span.attributes);
        assert_eq!(has("error.type"), failed, "{}", span.name);
    }
}

#[test]
fn a_collector_gets_the_work_for_each_credential_and_no_secret() {
    run(async {
        let mut world = World::own().await;
        let bodies = Bodies::default();
        let url = collector(Arc::clone(&bodies)).await;
        world.environment = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
            // Milliseconds between two requests to the collector.
            ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
        ];
        world.start_operator().await;
        let place = world.place("traces").await;
        place.create("good", json!({})).await;
        place.ready("good").await;
        let wrong = "wrong~Zq7-client-password";
        place.canaries.add(wrong);
        place.put_secret("bad", "k", wrong).await;
        let secrets = json!([{ "name": "bad", "key": "k" }]);
        let spec =
            json!({ "client": { "secrets": secrets }, "target": { "secretName": "bad-token" } });
        place.create("bad", spec).await;
        place.not_ready("bad", "ClientSecretRefused").await;

        let issuer = place.issuer.origin();
        let (host, port) = issuer
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once(':'))
            .expect("a host and a port");
        // (credential, class of the result, status)
        let wanted = [("good", "ok", "200"), ("bad", "denied", "401")];
        let spans = eventually(LATER, "the spans of both", async || {
            let spans = spans(&bodies);
            for (credential, result, status) in wanted {
                let parents: Vec<&Span> = spans
                    .iter()
                    .filter(|s| s.name == "reconcile")
                    .filter(|s| attribute(s, "credential").as_deref() == Some(credential))
                    .filter(|s| attribute(s, "namespace").as_ref() == Some(&place.namespace))
                    .collect();
                let child = |name: &str| {
                    spans.iter().find(|s| {
                        s.name == name && parents.iter().any(|p| p.span_id == s.parent_span_id)
                    })
                };
                let request = child("token request").ok_or("no token request")?;
                let of = |key| attribute(request, key);
                if of("apicred.result").as_deref() != Some(result)
                    || of("http.response.status_code").as_deref() != Some(status)
                    || of("http.request.method").as_deref() != Some("POST")
                    || of("server.address").as_deref() != Some(host)
                    || of("server.port").as_deref() != Some(port)
                {
                    return Err(format!("{:?}", request.attributes));
                }
                let sources = child("read sources").ok_or("no read sources")?;
                let read = |s: &&Span| s.parent_span_id == sources.span_id;
                let read = spans.iter().find(read).ok_or("no read in it")?;
                // (span, method, operation, status)
                let status = (child("write status"), "PATCH", "patch_status", "200");
                let secret = (child("write secret"), "POST", "create_secret", "201");
                let read = (Some(read), "GET", "get_secret", "200");
                let wrote = (result == "ok").then_some(secret);
                for (span, method, operation, status) in
                    [Some(read), wrote, Some(status)].into_iter().flatten()
                {
                    let span = span.ok_or_else(|| format!("no {operation} of {credential}"))?;
                    let of = |key| attribute(span, key).unwrap_or_default();
                    let seen = [
                        "http.request.method",
                        "apicred.operation",
                        "http.response.status_code",
                    ];
                    if seen.map(of) != [method, operation, status] {
                        return Err(format!("{}: {:?}", span.name, span.attributes));
                    }
                }
            }
            Ok::<_, String>(spans)
        })
        .await;
        assert!(spans.iter().all(|s| s.events.is_empty()), "log lines");
        check_names(&spans);
        let net = world.canaries.net();
        for body in bodies.lock().expect("no test panics here").iter() {
            assert_eq!(net.first_leak(&String::from_utf8_lossy(body)), None);
        }
        // Log lines still name the credential: spans of traces are not visible there.
        let logs = world.operator_logs();
        let line = logs.lines().find(|l| l.contains("token published"));
        assert!(
            line.is_some_and(|l| l.contains("\"credential\":\"good\"")),
            "{line:?}"
        );
    });
}

#[test]
fn a_collector_that_does_not_answer_is_reported_once_and_holds_nothing_up() {
    run(async {
        let mut world = World::own().await;
        // No program listens on a port that was free shortly before.
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.local_addr().expect("an address").port()
        };
        world.environment = vec![
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                format!("http://127.0.0.1:{port}"),
            ),
            ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
        ];
        world.start_operator().await;
        let place = world.place("no-traces").await;
        place.create("c", json!({})).await;
        let first = place.ready("c").await;
        let reports = |world: &World| {
            let logs = world.operator_logs();
            logs.matches("traces cannot be sent").count()
        };
        eventually(LATER, "a report", async || {
            (reports(&world) > 0).then_some(())
        })
        .await;
        place.request_renewal("c").await;
        place.another_token("token", &first).await;
        assert_eq!(reports(&world), 1);
        let (status, _) = world.take_operator().terminate().await;
        assert!(status.success(), "{status:?}");
        assert_eq!(reports(&world), 1);
    });
}
