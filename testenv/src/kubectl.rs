//! What tests do to the cluster: kubectl, helm, and kubeconfigs of service accounts.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::{ControlPlane, Error, http, kubeconfig};

impl ControlPlane {
    /// Runs the real kubectl as admin and returns its stdout; a failure quotes its stderr.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String, Error> {
        self.run(&self.programs.kubectl, self.admin_kubeconfig(), args, None)
            .await
    }

    /// Runs kubectl with another kubeconfig, to see what that user may do.
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

    /// Runs the real helm as admin; it is built first if need be. It does not see the user's own
    /// helm settings, repositories and plugins.
    pub async fn helm(&self, args: &[&str]) -> Result<String, Error> {
        let helm = self.programs.helm().await?;
        self.run(&helm, self.admin_kubeconfig(), args, None).await
    }

    /// Asks for a token of a service account (`TokenRequest`) and writes a kubeconfig with it.
    ///
    /// The API server refuses a `ttl` below ten minutes. A second call writes a file of its own, so
    /// a process that reads the first one keeps what it has.
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
        let wish = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": { "expirationSeconds": ttl.as_secs() },
        });
        let what = format!("asking for a token of ServiceAccount {namespace}/{name}");
        let request = self
            .client
            .post(url)
            .bearer_auth(&self.layout.admin_token)
            .json(&wish);
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
        kubeconfig::write(
            &path,
            self.server_url(),
            self.ca_pem(),
            &user,
            token,
            namespace,
        )?;
        Ok(path)
    }

    pub(crate) async fn run(
        &self,
        program: &Path,
        kubeconfig: &Path,
        args: &[&str],
        input: Option<&str>,
    ) -> Result<String, Error> {
        let failed = |error| Error::io("running", program, error);
        let home = self.dir().join("home");
        let mut child = Command::new(program)
            .args(args)
            .env("KUBECONFIG", kubeconfig)
            // Discovery caches and helm's folders: nothing of the user's is read or written.
            .env("HOME", &home)
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
            // It may end without reading all of it; its own message then says why.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = child.wait_with_output().await.map_err(failed)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        Err(Error::Command {
            command: format!("{name} {}", args.join(" ")),
            status: output.status.to_string(),
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }
}
