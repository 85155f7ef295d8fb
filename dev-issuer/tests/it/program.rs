//! The program: files it writes, the admin listener, how it ends.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{DEMO, Reply, form, trusting};

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Program {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dev-issuer"));
        command
            .current_dir(folder)
            .args(arguments)
            .env_remove("RUST_LOG");
        Self(command.stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Waits for the end; exit code and everything logged.
    fn end(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        self.0
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut log)
            .unwrap();
        (self.0.wait().unwrap().code(), log)
    }

    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }
}

async fn read_when_there(path: &Path) -> String {
    let begun = Instant::now();
    loop {
        match std::fs::read_to_string(path) {
            Ok(text) => return text,
            Err(error) if begun.elapsed() > Duration::from_secs(30) => {
                panic!("{}: {error}", path.display())
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

#[tokio::test]
async fn it_serves_and_takes_orders_and_ends_on_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("issuer.yaml"), "lifetimeSeconds: 77\n").unwrap();
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--config",
        "issuer.yaml",
        "--ca-out",
        "ca.pem",
        "--state-out",
        "state.json",
        "--admin",
        "127.0.0.1:0",
    ];
    let program = Program::start(folder.path(), &arguments);
    let state: Value =
        serde_json::from_str(&read_when_there(&folder.path().join("state.json")).await).unwrap();
    let ca = std::fs::read_to_string(folder.path().join(state["ca"].as_str().unwrap())).unwrap();
    let http = trusting(&ca).build().unwrap();
    let token_url = state["tokenUrl"].as_str().unwrap();
    let fields = async |secret: &str| {
        let request = http
            .post(token_url)
            .form(&form(DEMO, &[("client_secret", secret)]));
        Reply::of(request.send().await.unwrap()).await
    };
    let admin = |path: &str| format!("{}{path}", state["admin"].as_str().unwrap());
    let status =
        async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();

    assert_eq!(fields("demo~secret.1").await.json()["expires_in"], 77);
    let fault = json!({"client": "demo", "times": 1, "effect": {"status": {"status": 503}}});
    assert_eq!(status(http.post(admin("/faults")).json(&fault)).await, 204);
    assert_eq!(fields("demo~secret.1").await.status, 503);
    assert_eq!(
        status(
            http.post(admin("/faults"))
                .json(&json!({"effect": {"status": {"status": 500}}}))
        )
        .await,
        204
    );
    assert_eq!(status(http.delete(admin("/faults"))).await, 204);
    assert_eq!(
        status(
            http.post(admin("/faults"))
                .json(&json!({"effect": "explode"}))
        )
        .await,
        422
    );

    let secrets =
        json!([{"value": "fresh-secret"}, {"value": "later", "expires": "2999-01-01T00:00:00Z"}]);
    assert_eq!(
        status(http.put(admin("/clients/demo/secrets")).json(&secrets)).await,
        204
    );
    assert_eq!(
        status(http.put(admin("/clients/nobody/secrets")).json(&secrets)).await,
        404
    );
    let bad = http
        .put(admin("/clients/demo/secrets"))
        .json(&json!(["leaky-value"]))
        .send()
        .await
        .unwrap();
    assert_eq!(bad.status(), 422);
    assert!(!bad.text().await.unwrap().contains("leaky-value"));
    assert_eq!(
        status(
            http.put(admin("/clients/demo/lifetime"))
                .json(&json!({"seconds": 30}))
        )
        .await,
        204
    );
    assert_eq!(
        status(
            http.put(admin("/clients/demo/lifetime"))
                .json(&json!({"seconds": 0}))
        )
        .await,
        422
    );
    assert_eq!(fields("demo~secret.1").await.status, 401);
    let fresh = fields("fresh-secret").await;
    assert_eq!(fresh.json()["expires_in"], 30);

    let graph = json!({
        "policies": ["passwordAddition", {"passwordLifetime": "720h"}],
        "readLagSeconds": 5, "tokenLagSeconds": 60, "writeGapSeconds": 1,
    });
    assert_eq!(status(http.put(admin("/graph")).json(&graph)).await, 204);
    let graph = json!({"policies": ["everything"]});
    assert_eq!(status(http.put(admin("/graph")).json(&graph)).await, 422);
    assert_eq!(
        status(http.put(admin("/graph")).json(&json!({}))).await,
        204
    );
    let credentials = http.get(admin("/clients/demo/credentials")).send().await;
    let credentials = credentials.unwrap().text().await.unwrap();
    let listed: Value = serde_json::from_str(&credentials).unwrap();
    assert_eq!(listed[0]["kind"], "secret");
    assert_eq!(listed[1]["until"], "2999-01-01T00:00:00Z");
    assert!(!credentials.contains("fresh-secret"), "no values");

    let requests: Value = http
        .get(admin("/requests"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let seen: Vec<_> = requests
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["status"].as_u64())
        .collect();
    assert_eq!(seen, [Some(200), Some(503), Some(401), Some(200)]);
    assert_eq!(requests[0]["clientId"], "demo");
    let counters: Value = http
        .get(admin("/stats"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        (&counters["tokenRequests"], &counters["tokensIssued"]),
        (&json!(4), &json!(2))
    );
    assert_eq!(status(http.get(admin("/api-calls"))).await, 200);
    // What a page in a browser could do.
    assert_eq!(
        status(
            http.get(admin("/requests"))
                .header("origin", "https://evil.example")
        )
        .await,
        403
    );
    assert_eq!(
        status(http.get(admin("/requests")).header("host", "evil.example")).await,
        403
    );

    program.signal("TERM");
    let (code, log) = program.end();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(
        log.lines()
            .filter(|line| line.contains("token request"))
            .count(),
        4,
        "{log}"
    );
    for hidden in [
        "demo~secret.1",
        "fresh-secret",
        "leaky-value",
        fresh.token().as_str(),
    ] {
        assert!(
            !log.contains(hidden) && !requests.to_string().contains(hidden),
            "{hidden}: {log}"
        );
    }
}

#[tokio::test]
async fn ctrl_c_ends_it_well() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(
        folder.path(),
        &["--listen", "127.0.0.1:0", "--state-out", "s.json"],
    );
    read_when_there(&folder.path().join("s.json")).await;
    program.signal("INT");
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn what_is_wrong_is_reported_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("bad.yaml"),
        "clients:\n- {id: a, roles: {demo: [Nope]}}\n",
    )
    .unwrap();
    for (arguments, expected) in [
        (
            &["--config", "bad.yaml"][..],
            "config: clients[0].roles.demo: the resource \"demo\" does not define the role \"Nope\"",
        ),
        (
            &["--config", "none.yaml"][..],
            "cannot read the config file none.yaml",
        ),
        (
            &["--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0"][..],
            "must be on loopback",
        ),
        (
            &["--listen", "127.0.0.1:0", "--ca-out", "no/such/folder"][..],
            "cannot write no/such/folder",
        ),
    ] {
        let (code, log) = Program::start(folder.path(), arguments).end();
        assert_eq!(code, Some(1), "{log}");
        let last = log.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("dev-issuer: ") && last.contains(expected),
            "{log}"
        );
    }
}
