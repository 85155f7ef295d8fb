//! Runs the plugin as a user does, together with a browser.

use std::{path::PathBuf, process::Stdio, time::Duration};

use dev_issuer::{Client as OauthClient, Config, DevIssuer};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

use crate::{
    providers::{state, user},
    support::{Place, SOON, World},
};

pub(crate) const ADA: &str = "ada@contoso.example";
/// The docs bind the rights to this user; the test binds them to a ServiceAccount.
const USER: &str = "{ apiGroup: rbac.authorization.k8s.io, kind: User, name: ada@contoso.example }";

/// A run of the plugin.
pub(crate) struct Plugin {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    printed: String,
}

impl Plugin {
    pub(crate) fn start(kubeconfig: &PathBuf, args: &[&str]) -> Self {
        Self::start_with(kubeconfig, args, &[])
    }

    pub(crate) fn start_with(kubeconfig: &PathBuf, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_kubectl-apicred"))
            .args(args)
            .env("KUBECONFIG", kubeconfig)
            // The browser of the test machine must not open.
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the plugin starts");
        let lines = BufReader::new(child.stderr.take().expect("its words")).lines();
        Self {
            child,
            lines,
            printed: String::new(),
        }
    }

    /// The first line for which `find` returns a value.
    pub(crate) async fn line(&mut self, find: impl Fn(&str) -> Option<String>) -> String {
        loop {
            let line = tokio::time::timeout(SOON, self.lines.next_line()).await;
            let line = line.expect("words in time").expect("words");
            let line = line.ok_or_else(|| format!("it ended: {}", self.printed));
            let line = line.expect("more words");
            self.printed.push_str(&line);
            self.printed.push('\n');
            if let Some(found) = find(&line) {
                return found;
            }
        }
    }

    /// The address to open.
    pub(crate) async fn address(&mut self) -> String {
        let is_address = |l: &str| l.starts_with("https://").then(|| l.to_owned());
        self.line(is_address).await
    }

    /// The code to type.
    pub(crate) async fn code(&mut self) -> String {
        self.line(|l| l.strip_prefix("    ").map(str::to_owned))
            .await
    }

    /// Whether it succeeded, and all its output.
    pub(crate) async fn end(self) -> (bool, String) {
        let (code, printed) = self.ended().await;
        (code == Some(0), printed)
    }

    /// The same with its exit code.
    pub(crate) async fn ended(mut self) -> (Option<i32>, String) {
        let rest = async {
            while let Ok(Some(line)) = self.lines.next_line().await {
                self.printed.push_str(&line);
                self.printed.push('\n');
            }
            let mut out = self.child.stdout.take().expect("its words");
            out.read_to_string(&mut self.printed).await.expect("text");
            self.child.wait().await.expect("an end").code()
        };
        let done = tokio::time::timeout(SOON, rest)
            .await
            .expect("an end in time");
        (done, self.printed)
    }
}

/// The kubeconfig of a user who has exactly the rights of `docs/sign-in.md`, or none at all.
pub(crate) async fn user_kubeconfig(world: &World, place: &Place, with_rights: bool) -> PathBuf {
    let namespace = &place.namespace;
    let account = format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{ name: ada, namespace: {namespace} }}\n"
    );
    world.cluster.kubectl_apply(&account).await.expect("a user");
    if with_rights {
        let docs = include_str!("../../docs/sign-in.md");
        let (_, yaml) = docs.split_once("```yaml\n").expect("YAML");
        let (yaml, _) = yaml.split_once("```").expect("its end");
        assert!(yaml.contains(USER) && yaml.contains("cloud-apps-user-state"));
        let subject = format!("{{ kind: ServiceAccount, name: ada, namespace: {namespace} }}");
        let yaml = yaml
            .replace(USER, &subject)
            .replace("secops", namespace)
            .replace("apicred-sign-in", &format!("sign-in-{namespace}"))
            .replace("cloud-apps-user-state", "state");
        world.cluster.kubectl_apply(&yaml).await.expect("rights");
    }
    world
        .cluster
        .service_account_kubeconfig(namespace, "ada", Duration::from_hours(1))
        .await
        .expect("a token of the user")
}

/// A browser: follows redirects and stores cookies. Returns the last page.
pub(crate) async fn browse(ca: &str, address: &str) -> String {
    browse_by(ca, address, async |_| None).await
}

/// The same, with a user who decides at some addresses where to go next.
pub(crate) async fn browse_by(
    ca: &str,
    address: &str,
    decide: impl AsyncFn(&str) -> Option<String>,
) -> String {
    let ca = reqwest::Certificate::from_pem(ca.as_bytes()).expect("a certificate");
    let client = reqwest::Client::builder()
        .tls_certs_only([ca])
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a browser");
    let mut cookies: Vec<(String, String)> = Vec::new();
    let mut at = reqwest::Url::parse(address).expect("an address");
    let mut hops = 0;
    loop {
        hops += 1;
        assert!(hops < 16, "the browser is sent in circles: {at}");
        if let Some(next) = decide(at.as_str()).await {
            at = reqwest::Url::parse(&next).expect("an address");
            continue;
        }
        let jar: Vec<String> = cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let request = client.get(at.clone()).header(COOKIE, jar.join("; "));
        let page = request.send().await.expect("a page");
        for cookie in page.headers().get_all(SET_COOKIE) {
            let pair = cookie
                .to_str()
                .expect("text")
                .split(';')
                .next()
                .unwrap_or_default();
            let (name, value) = pair.split_once('=').expect("a cookie");
            cookies.retain(|(n, _)| n != name);
            if !value.is_empty() {
                cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        match page.headers().get(LOCATION) {
            Some(next) => at = at.join(next.to_str().expect("text")).expect("an address"),
            None => return page.text().await.expect("text"),
        }
    }
}

/// A place whose issuer lets devices wait only one second between polls, with a public client.
pub(crate) async fn entra(world: &World, label: &str) -> Place {
    let config = Config {
        device_interval_seconds: 1,
        ..Config::default()
    };
    let issuer = DevIssuer::start(config).await.expect("an issuer");
    let place = world.place_at(label, issuer).await;
    place.add_client(
        OauthClient::new(&place.client)
            .public()
            .redirect_uri("http://localhost")
            .redirect_uri("http://127.0.0.1/callback")
            .scope("demo", "Records.Read"),
    );
    place
}

pub(crate) fn spec(place: &Place, scopes: &Value) -> Value {
    let mut spec = user(&place.client);
    spec["scopes"] = scopes.clone();
    spec
}

/// The state Secret is as a sign-in leaves it, and no part of it was printed.
pub(crate) async fn unchanged(place: &Place, printed: &str) -> String {
    let (token, notes) = state(place).await;
    place.canaries.add(&token);
    assert!(!printed.contains(&token), "a token in: {printed}");
    assert_eq!(
        notes.get("apicred.dev/state-of").map(String::as_str),
        Some("c")
    );
    token
}
