//! The operator as users install it: the chart, and the program with the account that the chart creates.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use testenv::wait_until;

use crate::children::{Folder, Running};
use crate::{Outcome, cluster::Cluster, program, source};

/// Where the chart is installed.
pub(crate) const NAMESPACE: &str = "apicred-system";
/// Name of the release, and so of the account that the chart creates.
pub(crate) const RELEASE: &str = "apicred";
const CRDS: [&str; 4] = [
    "apicredentials.apicred.dev",
    "apiclients.apicred.dev",
    "tokenissuers.apicred.dev",
    "clustertokenissuers.apicred.dev",
];

/// A running operator.
pub(crate) struct Operator {
    process: Running,
    /// `http://host:port` of `/livez`, `/readyz` and `/metrics`.
    pub(crate) admin: String,
    client: Client,
}

/// Installs the chart without a pod: no node would run it here, or it could not reach the issuer on this machine.
pub(crate) async fn install(cluster: &Cluster) -> Outcome<()> {
    let chart = source("charts/apicred").display().to_string();
    let args = [
        "install",
        RELEASE,
        &chart,
        "-n",
        NAMESPACE,
        "--create-namespace",
        "--set",
        "replicas=0",
    ];
    cluster.helm(&args).await?;
    let mut wait = vec![
        "wait",
        "--for=condition=Established",
        "--timeout=30s",
        "crd",
    ];
    wait.extend(CRDS);
    cluster.kubectl(&wait).await.map(drop)
}

/// Removes everything from the user's cluster.
pub(crate) async fn uninstall(cluster: &Cluster) -> Outcome<()> {
    let mut failures = Vec::new();
    let mut note = |result: Outcome<String>| failures.extend(result.err());
    note(
        cluster
            .helm(&["uninstall", RELEASE, "-n", NAMESPACE, "--ignore-not-found"])
            .await,
    );
    // Deleting the CRDs deletes their objects, and with those the Secrets of the tokens.
    let mut crds = vec!["delete", "crd", "--ignore-not-found", "--timeout=60s"];
    crds.extend(CRDS);
    note(cluster.kubectl(&crds).await);
    let namespaces = ["delete", "namespace", NAMESPACE, crate::story::NAMESPACE];
    note(
        cluster
            .kubectl(&[&namespaces[..], &["--ignore-not-found", "--timeout=90s"]].concat())
            .await,
    );
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("; "))
    }
}

impl Operator {
    /// Requests a token of the chart's account and starts the program with no other rights.
    pub(crate) async fn start(cluster: &Cluster, folder: &Folder, keep: bool) -> Outcome<Self> {
        let kubeconfig = kubeconfig(cluster, folder, keep).await?;
        let port = free_port()?;
        let listen = format!("{}:{port}", Ipv4Addr::LOCALHOST);
        let args: Vec<String> = [
            "run",
            "--namespace",
            NAMESPACE,
            "--admin-listen",
            &listen,
            "--log-format",
            "text",
            // The dev-issuer is on loopback, which namespaced issuers may not use otherwise.
            "--allow-cidr",
            "127.0.0.0/8",
            // Its replicas do not lag, so a new certificate needs to be tried only for seconds and not for minutes.
            "--fast-rotations",
        ]
        .map(str::to_owned)
        .into();
        let env = [
            ("KUBECONFIG", kubeconfig.display().to_string()),
            ("NO_COLOR", "1".to_owned()),
        ];
        let mut process =
            Running::start("apicred", &program("apicred")?, &args, &env, folder.path())?;
        let client = Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(5))
            .build()
            .map_err(|error| format!("no HTTP client can be made: {error}"))?;
        let admin = format!("http://{listen}");
        let ready = wait_until(
            Duration::from_secs(30),
            "the operator's /readyz",
            async || {
                if let Err(why) = process.check() {
                    return Ok(Err(why));
                }
                match client.get(format!("{admin}/readyz")).send().await {
                    Ok(answer) if answer.status().is_success() => Ok(Ok(())),
                    Ok(answer) => Err(answer.text().await.unwrap_or_default().trim().to_owned()),
                    Err(_) => Err("it does not answer yet".to_owned()),
                }
            },
        );
        match ready.await {
            Ok(Ok(())) => Ok(Self {
                process,
                admin,
                client,
            }),
            Ok(Err(why)) => Err(why),
            Err(late) => Err(format!("{late}; its last lines:\n{}", process.last_lines())),
        }
    }

    /// The process, to check and to stop it.
    pub(crate) fn process(&mut self) -> &mut Running {
        &mut self.process
    }

    /// Returns the process, to stop it.
    pub(crate) fn into_process(self) -> Running {
        self.process
    }

    /// The log file.
    pub(crate) fn log(&self) -> &Path {
        self.process.log()
    }

    /// Its own count of Kubernetes API calls, without watches.
    pub(crate) async fn api_calls(&self) -> Outcome<Vec<(String, u64)>> {
        let failed =
            |error: reqwest::Error| format!("the operator's metrics cannot be read: {error}");
        let answer = self
            .client
            .get(format!("{}/metrics", self.admin))
            .send()
            .await
            .map_err(failed)?;
        let text = answer.text().await.map_err(failed)?;
        let calls = text.lines().filter_map(api_call);
        // All kinds of calls have a counter from the start.
        let mut calls: Vec<(String, u64)> = calls.filter(|(_, count)| *count > 0).collect();
        calls.sort();
        Ok(calls)
    }
}

/// `apicred_kubernetes_requests_total{operation="get_secret",result="ok"} 4`
fn api_call(line: &str) -> Option<(String, u64)> {
    let (labels, count) = line
        .strip_prefix("apicred_kubernetes_requests_total{")?
        .split_once("} ")?;
    let words: Vec<&str> = labels.split('"').skip(1).step_by(2).collect();
    Some((words.join(" "), count.trim().parse().ok()?))
}

/// The kubeconfig in use, with the account's token instead of its user.
async fn kubeconfig(cluster: &Cluster, folder: &Folder, keep: bool) -> Outcome<std::path::PathBuf> {
    let duration = if keep { "12h" } else { "1h" };
    let token = cluster
        .kubectl(&[
            "create",
            "token",
            RELEASE,
            "-n",
            NAMESPACE,
            &format!("--duration={duration}"),
        ])
        .await?;
    let now = cluster
        .json(&["config", "view", "--minify", "--flatten", "--raw"])
        .await?;
    let server: Value = now["clusters"][0]["cluster"].clone();
    if server["server"].as_str().is_none() {
        return Err("the kubeconfig names no server".to_owned());
    }
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "demo", "cluster": server }],
        "users": [{ "name": RELEASE, "user": { "token": token.trim() } }],
        "contexts": [{ "name": "demo", "context": { "cluster": "demo", "user": RELEASE } }],
        "current-context": "demo",
    });
    folder.write("operator.kubeconfig", &format!("{config:#}\n"))
}

/// The operator does not report its port, so the demo chooses it.
fn free_port() -> Outcome<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("no port is free on loopback: {error}"))
}
