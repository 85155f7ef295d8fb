//! How deployment tools evaluate objects: their own libraries, in small Go programs.

use std::{
    io::{Error as IoError, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    ControlPlane, Error,
    go_build::{ARGO, FLUX, KSTATUS, Module},
};

/// The kstatus of each object: `InProgress`, `Current`, `Failed`, `Terminating`.
pub async fn kstatus(objects: &[Value]) -> Result<Vec<String>, Error> {
    lines(&KSTATUS, "kstatus", &[], objects).await
}

/// A kind of script of Argo CD.
#[derive(Clone, Copy, Debug)]
pub enum ArgoScript {
    /// `health.lua`: returns `{status, message}`.
    Health,
    /// `discovery.lua`: returns the actions by name.
    Discovery,
    /// `action.lua`: the merge patch that Argo CD sends.
    Action,
}

/// The result of a script of Argo CD for each object.
pub async fn argo(kind: ArgoScript, script: &Path, objects: &[Value]) -> Result<Vec<Value>, Error> {
    let kind = match kind {
        ArgoScript::Health => "health",
        ArgoScript::Discovery => "discovery",
        ArgoScript::Action => "action",
    };
    let script = script.display().to_string();
    let output = lines(&ARGO, "argo", &[kind, &script], objects).await?;
    let read = |line: &String| {
        serde_json::from_str(line)
            .map_err(|error| Error::io("reading the lines about", script.as_ref(), error.into()))
    };
    output.iter().map(read).collect()
}

/// The result of an apply by Flux.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct FluxApply {
    /// What was done to each object.
    pub applied: Vec<String>,
    /// Why it is not healthy; empty if it is.
    pub wait: String,
    /// How long the wait took.
    pub seconds: f64,
    /// What a second apply did to each object.
    pub again: Vec<String>,
}

impl ControlPlane {
    /// Applies YAML like the kustomize-controller of Flux, waits until it is healthy or has failed, and applies it again.
    /// `checks`: a file of Kustomizations whose `healthCheckExprs` count.
    pub async fn flux(
        &self,
        yaml: &str,
        timeout: Duration,
        checks: Option<&Path>,
    ) -> Result<FluxApply, Error> {
        FLUX.build(&["flux"]).await?;
        let program = FLUX.path("flux")?;
        // It polls once per second. A poll that begins at the deadline may fail with another message than that of a timeout.
        let timeout = timeout + Duration::from_millis(500);
        let mut args = vec![format!("{}ms", timeout.as_millis())];
        args.extend(checks.map(|file| file.display().to_string()));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = self
            .run(&program, self.admin_kubeconfig(), &args, Some(yaml))
            .await?;
        serde_json::from_str(&output)
            .map_err(|error| Error::io("reading the answer of", &program, error.into()))
    }
}

/// Builds the programs, so that no test must wait for them.
pub async fn build_tools() -> Result<(), Error> {
    KSTATUS.build(&["kstatus"]).await?;
    ARGO.build(&["argo"]).await?;
    FLUX.build(&["flux"]).await
}

/// The lines that a program writes about these objects.
async fn lines(
    module: &Module,
    name: &str,
    args: &[&str],
    objects: &[Value],
) -> Result<Vec<String>, Error> {
    module.build(&[name]).await?;
    let program = module.path(name)?;
    let run = || -> Result<Vec<String>, IoError> {
        let mut running = Command::new(&program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        // All input is read before any output is written. Dropping the pipe ends the input.
        if let Some(mut stdin) = running.stdin.take() {
            stdin.write_all(&serde_json::to_vec(objects)?)?;
        }
        let output = running.wait_with_output()?;
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(IoError::other(output));
        }
        let output = String::from_utf8_lossy(&output.stdout);
        Ok(output.lines().map(str::to_owned).collect())
    };
    run().map_err(|error| Error::io("running", &program, error))
}
