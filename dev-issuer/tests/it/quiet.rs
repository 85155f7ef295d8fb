//! Nothing secret in what is recorded or logged.

use std::io;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dev_issuer::{Client, Effect, Fault};
use tracing_subscriber::EnvFilter;

use crate::support::{Bench, DEMO, form};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_and_no_token_is_recorded_or_logged() {
    let log = Captured::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("dev_issuer=trace"))
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // This test's runtime has one thread, so that the server's tasks log here too.
    let _guard = tracing::subscriber::set_default(subscriber);
    // With a single subscriber, `tracing` decides in the first thread that reaches a log line whether it is needed, and
    // that thread may be of another test. With two subscribers, it checks both.
    let sink = tracing_subscriber::fmt().with_writer(io::sink).finish();
    let _second = tracing::Dispatch::new(sink);

    let bench = Bench::new().await;
    let canary = "canary~Secret/4711";
    bench
        .issuer
        .add_client(Client::new("demo").secret(canary))
        .unwrap();
    let mut hidden = vec![
        canary.to_owned(),
        "canary~Secret%2F4711".to_owned(),
        STANDARD.encode(format!("demo:{canary}")),
    ];
    let good = form(DEMO, &[("client_secret", canary)]);
    hidden.push(bench.v2(&good).await.token());
    hidden.push(bench.post("/generic/token", &good).await.token());
    bench
        .v2(&form(DEMO, &[("client_secret", "wrong-guess-4711")]))
        .await;
    hidden.push("wrong-guess-4711".to_owned());
    // What else authenticates a client or a user.
    let refresh = bench
        .issuer
        .issue_refresh_token("demo-cli", "ada@contoso.example", "User.Read");
    let assertion = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJkZW1vIn0.canary-of-a-signature";
    for (name, value) in [
        ("refresh_token", refresh.as_str()),
        ("password", "canary~of-a-password"),
        ("assertion", assertion),
        ("client_assertion", assertion),
        ("subject_token", assertion),
        ("token", assertion),
    ] {
        for path in [
            "/{tenant}/oauth2/v2.0/token",
            "/generic/token",
            "/generic/revoke",
        ] {
            bench.post(path, &form(DEMO, &[(name, value)])).await;
        }
    }
    hidden.extend([
        refresh,
        "canary~of-a-password".to_owned(),
        "canary-of-a-signature".to_owned(),
    ]);
    // In the wrong fields, in the query, in a header.
    bench.v2(&form(&good, &[("client_id", canary)])).await;
    bench.v2(&form(&good, &[("scope", canary)])).await;
    bench.v2(&form(&good, &[("grant_type", canary)])).await;
    bench
        .post(
            &format!("/{canary}/oauth2/v2.0/token?client_secret={canary}"),
            &good,
        )
        .await;
    bench
        .post(
            &format!("/{{tenant}}/oauth2/v2.0/token?client_secret={canary}"),
            &good,
        )
        .await;
    let request = bench
        .http
        .post(bench.issuer.token_url_v2())
        .form(&form(&good, &[("client_id", ""), ("client_secret", "")]));
    request
        .basic_auth("demo", Some(canary))
        .send()
        .await
        .unwrap();
    bench
        .issuer
        .fault(Fault::new(Effect::DuplicateKeys).times(1));
    bench.v2(&good).await;
    bench.call("/api/demo/whoami", &hidden[3]).await;
    bench.call("/api/graph/v1.0/users", &hidden[3]).await;

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains("token request") && log.contains("7000215") && log.contains("api call"),
        "{log}"
    );
    let records = serde_json::to_string(&bench.issuer.requests()).unwrap();
    let calls = serde_json::to_string(&bench.issuer.api_calls()).unwrap();
    for secret in &hidden {
        for (what, text) in [("log", &log), ("records", &records), ("calls", &calls)] {
            assert!(
                !text.contains(secret.as_str()),
                "{secret} in {what}: {text}"
            );
        }
    }
    // Not a part of the signature either.
    let signature = hidden[3].rsplit('.').next().unwrap();
    assert!(!log.contains(&signature[..20]));
}
