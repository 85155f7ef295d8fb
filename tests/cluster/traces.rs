//! What a collector of traces gets: the work for each credential, and no secret.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
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

        let host = place.issuer.origin();
        let host = host.split("://").nth(1).and_then(|h| h.split(':').next());
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
                    || of("server.address").as_deref() != host
                {
                    return Err(format!("{:?}", request.attributes));
                }
                for name in ["read sources", "kubernetes request"] {
                    if child(name).is_none() {
                        return Err(format!("no {name} of {credential}"));
                    }
                }
            }
            Ok::<_, String>(spans)
        })
        .await;
        assert!(spans.iter().all(|s| s.events.is_empty()), "log lines");
        let net = world.canaries.net();
        for body in bodies.lock().expect("no test panics here").iter() {
            assert_eq!(net.first_leak(&String::from_utf8_lossy(body)), None);
        }
        // Log lines still name the credential: spans for traces are not seen there.
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
        // Nobody listens on a port that was free a moment ago.
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
