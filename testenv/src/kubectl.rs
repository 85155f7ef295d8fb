//! Actions of tests on the cluster: kubectl, helm, and kubeconfigs of service accounts.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::{ControlPlane, Error, Programs, http, kubeconfig::Kubeconfig};

impl ControlPlane {
    /// Runs the real kubectl as admin and returns its stdout; an error contains its stderr.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String, Error> {
        self.run(&self.programs.kubectl, self.admin_kubeconfig(), args, None)
            .await
    }

    /// Runs kubectl with another kubeconfig, to test the rights of its user.
    pub async fn kubectl_as(&self, kubeconfig: &Path, args: &[&str]) -> Result<String, Error> {
        self.run(&self.programs.kubectl, kubeconfig, args, None)
            .await
    }

    /// Applies YAML (one document or several), server-side, as admin.
    pub async fn kubectl_apply(&self, yaml: &str) -> Result<String, Error> {
        let args = ["apply", "--server-side", "-f", "-"];
        self.run(
            &self.programs.kubectl,
            self.admin_kubeconfig(),
            &args,
            Some(yaml),
        )
        .await
    }

    /// Runs the real helm as admin; it is built first if necessary. It does not use the user's own
    /// helm settings, repositories and plugins.
    pub async fn helm(&self, args: &[&str]) -> Result<String, Error> {
        let helm = self.programs.helm().await?;
        self.run(&helm, self.admin_kubeconfig(), args, None).await
    }

    /// Installs the chart of apicred without an operator: the replicas are 0.
    pub async fn install_chart(
        &self,
        release: &str,
        namespace: &str,
        more: &[&str],
    ) -> Result<String, Error> {
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/apicred");
        let args = [
            "install",
            release,
            chart,
            "--namespace",
            namespace,
            "--create-namespace",
            "--set",
            "replicas=0",
        ];
        self.helm(&[&args, more].concat()).await
    }

    /// Installs the chart as release `apicred`, and waits until its kinds are served.
    pub async fn install_apicred(&self, namespace: &str) -> Result<(), Error> {
        self.install_chart("apicred", namespace, &[]).await?;
        self.kinds_are_served().await
    }

    /// Waits until the API server serves the kinds of all CRDs.
    pub async fn kinds_are_served(&self) -> Result<(), Error> {
        let wait = [
            "wait",
            "--for=condition=Established",
            "crd",
            "--all",
            "--timeout=60s",
        ];
        self.kubectl(&wait).await?;
        Ok(())
    }

    /// Requests a token of a service account (`TokenRequest`) and writes a kubeconfig with it.
    ///
    /// The API server refuses a `ttl` below ten minutes. A second call writes a separate file, so
    /// a process that reads the first one is not affected.
    pub async fn service_account_kubeconfig(
        &self,
        namespace: &str,
        name: &str,
        ttl: Duration,
    ) -> Result<PathBuf, Error> {
        let url = format!(
            "{}/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
            self.server_url()
        );
        let token_request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": { "expirationSeconds": ttl.as_secs() },
        });
        let what = format!("requesting a token of ServiceAccount {namespace}/{name}");
        let request = self
            .client
            .post(url)
            .bearer_auth(&self.layout.admin_token)
            .json(&token_request);
        let answer = http::json(&what, request).await?;
        let token = answer["status"]["token"]
            .as_str()
            .ok_or_else(|| Error::Answer {
                what,
                answer: "the answer holds no token".to_owned(),
            })?;
        let count = self.kubeconfigs.fetch_add(1, Ordering::Relaxed) + 1;
        let path = self
            .dir()
            .join(format!("{namespace}-{name}-{count}.kubeconfig"));
        let user = format!("{namespace}-{name}");
        let kubeconfig = Kubeconfig {
            server: self.server_url(),
            ca_pem: self.ca_pem(),
            user: &user,
            token,
            namespace,
        };
        kubeconfig.write(&path)?;
        Ok(path)
    }

    /// The same as [`ControlPlane::helm`], with stdout and stderr.
    pub async fn helm_output(&self, args: &[&str]) -> Result<Output, Error> {
        let helm = self.programs.helm().await?;
        self.output(&helm, self.admin_kubeconfig(), args, None)
            .await
    }

    /// The same as [`ControlPlane::kubectl`], with this input, and with stdout and stderr.
    pub async fn kubectl_output(&self, args: &[&str], input: &str) -> Result<Output, Error> {
        let (program, config) = (&self.programs.kubectl, self.admin_kubeconfig());
        self.output(program, config, args, Some(input)).await
    }

    pub(crate) async fn run(
        &self,
        program: &Path,
        kubeconfig: &Path,
        args: &[&str],
        input: Option<&str>,
    ) -> Result<String, Error> {
        let output = self.output(program, kubeconfig, args, input).await?;
        Ok(output.stdout)
    }

    async fn output(
        &self,
        program: &Path,
        kubeconfig: &Path,
        args: &[&str],
        input: Option<&str>,
    ) -> Result<Output, Error> {
        let mut command = Command::new(program);
        command.args(args).env("KUBECONFIG", kubeconfig);
        run_at_home(command, &self.dir().join("home"), input).await
    }
}

/// The output of a successful command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its result.
    pub stdout: String,
    /// Its warnings.
    pub stderr: String,
}

/// Runs the real helm without a cluster, for `template` and `lint`; it is built first if necessary.
pub async fn run_helm(args: &[&str]) -> Result<Output, Error> {
    without_a_cluster(crate::helm().await?, args).await
}

/// Runs the real kubectl without a cluster, for `kustomize`; it is built first if necessary.
pub async fn run_kubectl(args: &[&str]) -> Result<Output, Error> {
    without_a_cluster(Programs::locate_or_build().await?.kubectl, args).await
}

async fn without_a_cluster(program: PathBuf, args: &[&str]) -> Result<Output, Error> {
    let home =
        tempfile::tempdir().map_err(|error| Error::io("making a folder for", &program, error))?;
    let mut command = Command::new(program);
    command
        .args(args)
        .env("KUBECONFIG", home.path().join("none"));
    run_at_home(command, home.path(), None).await
}

/// Runs a client that stores its caches and settings in this folder: the user's own files are neither read nor written.
async fn run_at_home(
    mut command: Command,
    home: &Path,
    input: Option<&str>,
) -> Result<Output, Error> {
    let program = PathBuf::from(command.as_std().get_program());
    let failed = |error| Error::io("running", &program, error);
    let mut child = command
        .env("HOME", home)
        .env("KUBECACHEDIR", home.join("kube-cache"))
        .env("HELM_CACHE_HOME", home.join("helm-cache"))
        .env("HELM_CONFIG_HOME", home.join("helm-config"))
        .env("HELM_DATA_HOME", home.join("helm-data"))
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        // The program may end without reading all of its input; its message then shows why.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(failed)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(Output {
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        });
    }
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let args = command.as_std().get_args().map(|a| a.to_string_lossy());
    let args: Vec<_> = args.collect();
    Err(Error::Command {
        command: format!("{name} {}", args.join(" ")),
        status: output.status.to_string(),
        stderr: text(&output.stderr).trim().to_owned(),
    })
}
