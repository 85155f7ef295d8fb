//! The test environment as a program for developers.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use testenv::{ControlPlane, Error, Hydra, Options, Programs, PrometheusPrograms};
use tokio::signal::unix::{Signal, SignalKind, signal};

mod run;

/// A real Kubernetes control plane (etcd, kube-apiserver, kube-controller-manager) on this machine.
#[derive(Parser)]
#[command(name = "testenv", version)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Find or build all programs, also helm and the issuers, and print where they are.
    Build,
    /// Print the folder that contains kubectl and the servers, after they are found or built.
    Programs,
    /// Start a control plane that runs until Ctrl-C.
    Up,
    /// Assemble the operator's image from finished binaries, without a container engine (`make image-oci`).
    Image {
        /// Options of the assembler (`-help` lists them) and PLATFORM=FILE for each binary, after `--`.
        #[arg(required = true, last = true)]
        arguments: Vec<OsString>,
    },
    /// Run a command against a separate control plane, with kubectl and helm on its PATH.
    Run {
        /// Neither look for helm nor build it.
        #[arg(long)]
        without_helm: bool,
        /// The command and its arguments, after `--`.
        #[arg(required = true, last = true)]
        command: Vec<OsString>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let task = Arguments::parse().command;
    match perform(task).await {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "testenv: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                let _ = writeln!(std::io::stderr(), "testenv:   because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn perform(task: Task) -> Result<ExitCode, Error> {
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    match task {
        Task::Run {
            without_helm,
            command,
        } => run::run(&command, !without_helm, &mut interrupt, &mut terminate).await,
        // When this function returns, the task is dropped, which ends the processes that it started.
        task => tokio::select! {
            outcome = other(task) => outcome,
            _ = interrupt.recv() => Ok(ExitCode::SUCCESS),
            _ = terminate.recv() => Ok(ExitCode::SUCCESS),
        },
    }
}

async fn other(task: Task) -> Result<ExitCode, Error> {
    match task {
        Task::Build => {
            let programs = Programs::locate_or_build().await?;
            let helm = programs.helm().await?;
            let hydra = Hydra::build().await?;
            let prometheus = PrometheusPrograms::locate_or_download().await?;
            testenv::build_tools().await?;
            testenv::prometheus_crds().await?;
            for path in [
                &programs.etcd,
                &programs.kube_apiserver,
                &programs.kube_controller_manager,
                &programs.kubectl,
                &helm,
                &hydra,
                &prometheus.prometheus,
                &prometheus.promtool,
            ] {
                print(&path.display().to_string());
            }
        }
        Task::Programs => {
            print(
                &Programs::locate_or_build()
                    .await?
                    .dir()
                    .display()
                    .to_string(),
            );
        }
        Task::Up => up().await?,
        Task::Image { arguments } => print(&testenv::image(&arguments).await?),
        Task::Run { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn up() -> Result<(), Error> {
    let began = std::time::Instant::now();
    let cluster = ControlPlane::start(Options::default()).await?;
    let dir = cluster.dir().display();
    print(&format!(
        "export KUBECONFIG={}",
        cluster.admin_kubeconfig().display()
    ));
    print(&format!(
        "export PATH={}:$PATH",
        cluster.programs().dir().display()
    ));
    print(&format!(
        "# ready after {:.1} s at {}",
        began.elapsed().as_secs_f32(),
        cluster.server_url()
    ));
    print("# paste the two lines above into another terminal, then:");
    print("#   kubectl get namespaces");
    print(&format!("#   tail -f {dir}/kube-apiserver.log"));
    print(&format!("#   tail -f {dir}/audit.jsonl"));
    print("# Ctrl-C ends it and removes its folder.");
    std::future::pending().await
}

fn listen(kind: SignalKind) -> Result<Signal, Error> {
    signal(kind).map_err(|source| Error::Io {
        doing: "listening for signals".to_owned(),
        source,
    })
}

/// Not `println!`, which panics when the reader of a pipe has ended.
fn print(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
