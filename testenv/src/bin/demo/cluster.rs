//! The cluster of the demo, and kubectl and helm to work with it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use testenv::{ControlPlane, Options, Programs};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::{Outcome, children::Folder, console::Console};

/// A cluster: the demo's or the user's.
pub(crate) struct Cluster {
    /// The demo's cluster. It is removed on drop.
    own: Option<ControlPlane>,
    /// The value of `KUBECONFIG` for kubectl and helm.
    pub(crate) kubeconfig: OsString,
    kubectl: PathBuf,
    helm: PathBuf,
    home: PathBuf,
}

impl Cluster {
    /// Starts a control plane. The first run builds its programs, which takes minutes and is reported.
    pub(crate) async fn start(console: &Console, folder: &Folder) -> Outcome<Self> {
        let words = |error: testenv::Error| error.to_string();
        console.step("starting etcd, kube-apiserver and kube-controller-manager");
        let own = ControlPlane::start(Options::default())
            .await
            .map_err(words)?;
        let helm = own.programs().helm().await.map_err(words)?;
        let server = own.server_url().to_owned();
        let cluster = Self {
            kubeconfig: own.admin_kubeconfig().into(),
            kubectl: own.programs().kubectl.clone(),
            helm,
            home: folder.path().join("home"),
            own: Some(own),
        };
        console.step(&format!("the Kubernetes API is ready at {server}"));
        Ok(cluster)
    }

    /// The user's cluster, as `KUBECONFIG` names it. Nothing is changed yet.
    pub(crate) async fn current(console: &Console, folder: &Folder) -> Outcome<Self> {
        let (kubectl, helm) = match (on_path("kubectl"), on_path("helm")) {
            (Some(kubectl), Some(helm)) => (kubectl, helm),
            (kubectl, helm) => {
                console.step("kubectl or helm is not on PATH; building what is missing");
                let programs = Programs::locate_or_build()
                    .await
                    .map_err(|e| e.to_string())?;
                let built = programs.helm().await.map_err(|e| e.to_string())?;
                (kubectl.unwrap_or(programs.kubectl), helm.unwrap_or(built))
            }
        };
        let cluster = Self {
            own: None,
            kubeconfig: std::env::var_os("KUBECONFIG").unwrap_or_default(),
            kubectl,
            helm,
            home: folder.path().join("home"),
        };
        let context = cluster.kubectl(&["config", "current-context"]).await?;
        console.step(&format!(
            "using YOUR cluster: the context {}",
            context.trim()
        ));
        for (kind, name) in [
            ("crd", "apicredentials.apicred.dev"),
            ("namespace", crate::operator::NAMESPACE),
            ("namespace", crate::story::NAMESPACE),
        ] {
            let found = cluster
                .kubectl(&["get", kind, name, "--ignore-not-found", "-o", "name"])
                .await?;
            if !found.trim().is_empty() {
                return Err(format!(
                    "this cluster has a {kind} {name} already, so apicred or a former demo is installed; \
                     the demo touches nothing that it did not make. If it is a former demo's: \
                     helm -n {system} uninstall apicred; kubectl delete crd -l app.kubernetes.io/name=apicred; \
                     kubectl delete namespace {system} {demo}",
                    system = crate::operator::NAMESPACE,
                    demo = crate::story::NAMESPACE,
                ));
            }
        }
        Ok(cluster)
    }

    /// Returns true if it is the demo's cluster. Then nothing in it must be cleaned up.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// The folder of kubectl, for a PATH.
    pub(crate) fn programs(&self) -> &Path {
        self.kubectl.parent().unwrap_or(&self.kubectl)
    }

    pub(crate) async fn kubectl(&self, args: &[&str]) -> Outcome<String> {
        self.run(&self.kubectl, args, None).await
    }

    /// kubectl with `-o json`, parsed.
    pub(crate) async fn json(&self, args: &[&str]) -> Outcome<Value> {
        let text = self.kubectl(&[args, &["-o", "json"]].concat()).await?;
        serde_json::from_str(&text).map_err(|error| format!("kubectl printed no JSON: {error}"))
    }

    pub(crate) async fn apply(&self, yaml: &str) -> Outcome<String> {
        self.run(&self.kubectl, &["apply", "-f", "-"], Some(yaml))
            .await
    }

    pub(crate) async fn helm(&self, args: &[&str]) -> Outcome<String> {
        self.run(&self.helm, args, None).await
    }

    async fn run(&self, program: &Path, args: &[&str], input: Option<&str>) -> Outcome<String> {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let failed = |error: std::io::Error| format!("{name} cannot be run: {error}");
        let mut command = Command::new(program);
        command
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", self.home.join("kube-cache"))
            .env("HELM_CACHE_HOME", self.home.join("helm-cache"))
            .env("HELM_CONFIG_HOME", self.home.join("helm-config"))
            .env("HELM_DATA_HOME", self.home.join("helm-data"))
            .stdin(if input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(failed)?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            // The program may end without reading all of its input; its message then shows why.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = child.wait_with_output().await.map_err(failed)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let output = String::from_utf8_lossy(&output.stderr);
        Err(format!(
            "`{name} {}` failed: {}",
            args.join(" "),
            output.trim()
        ))
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
