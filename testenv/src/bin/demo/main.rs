//! `make demo`: the operator with a real Kubernetes API, from the installation to a rotation.
//!
//! | file | contains |
//! |---|---|
//! | `main.rs` | options, signals, the end |
//! | `stage.rs` | everything that runs, and how it is stopped |
//! | `story.rs`, `renewal.rs`, `trouble.rs` | the scenes |
//! | `cluster.rs` | the demo's control plane or the user's cluster; kubectl and helm |
//! | `operator.rs` | chart, ServiceAccount, process |
//! | `issuer.rs` | the dev-issuer's process, its admin API and the protected API |
//! | `keys.rs` | the first certificate of a client |
//! | `token.rs` | a token as a pod would read it; it is never printed |
//! | `children.rs` | processes and a folder that end with the demo, in whatever way it ends |
//! | `console.rs` | lines with the time |

mod children;
mod cluster;
mod console;
mod issuer;
mod keys;
mod operator;
mod renewal;
mod stage;
mod story;
mod token;
mod trouble;

use std::process::ExitCode;

use console::Console;
use stage::Stage;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The result. An error is one sentence for the user at the terminal.
type Outcome<T> = Result<T, String>;

/// The options of the demo, from the environment: `make demo` has no arguments.
struct Options {
    /// Keep everything running until Ctrl-C.
    keep: bool,
    /// Use the cluster of `KUBECONFIG`.
    current_cluster: bool,
}

impl Options {
    fn read() -> Outcome<Self> {
        if let Some(argument) = std::env::args().nth(1) {
            return Err(format!(
                "the demo has no arguments, and {argument:?} is one: set KEEP=1 to keep it running, CLUSTER=current to use your cluster"
            ));
        }
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let keep = match set("KEEP").as_deref() {
            None | Some("0") => false,
            Some("1") => true,
            Some(_) => return Err("KEEP is 1 or nothing".to_owned()),
        };
        let current_cluster = match set("CLUSTER").as_deref() {
            None => false,
            Some("current") if set("KUBECONFIG").is_some() => true,
            Some("current") => {
                return Err(
                    "CLUSTER=current needs KUBECONFIG, the file that says which cluster it is"
                        .to_owned(),
                );
            }
            Some(_) => return Err("CLUSTER is `current` or nothing".to_owned()),
        };
        Ok(Self {
            keep,
            current_cluster,
        })
    }
}

/// Ctrl-C and SIGTERM. They are handled from the start, so that none is lost.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Outcome<Self> {
        let listen =
            |kind| signal(kind).map_err(|error| format!("signals cannot be listened to: {error}"));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let console = Console::new();
    match play(&console).await {
        Ok(code) => ExitCode::from(code),
        Err(why) => {
            console.failed(&why);
            ExitCode::FAILURE
        }
    }
}

async fn play(console: &Console) -> Outcome<u8> {
    let mut signals = Signals::listen()?;
    let options = Options::read()?;
    let mut stage = Stage::default();
    let outcome = tokio::select! {
        outcome = story::run(console, &options, &mut stage) => outcome.map(|()| 0),
        code = signals.next() => Ok(code),
    };
    let outcome = match outcome {
        Ok(0) if options.keep => {
            stage.print_commands(console);
            signals.next().await;
            Ok(0)
        }
        other => other,
    };
    console.step("stopping everything");
    let struck = tokio::select! {
        struck = stage.strike(console) => struck,
        // A user who presses Ctrl-C twice wants the prompt back. The watchdogs end the processes anyway.
        _ = signals.next() => Err("interrupted while stopping".to_owned()),
    };
    match outcome {
        Ok(code) => struck.map(|()| {
            console.step(if code == 0 {
                "done"
            } else {
                "interrupted; everything is stopped"
            });
            code
        }),
        // Only the first failure is reported.
        Err(why) => Err(why),
    }
}

/// A program that was built into the same folder as this one.
fn program(name: &str) -> Outcome<std::path::PathBuf> {
    std::env::current_exe()
        .map(|own| own.with_file_name(name))
        .map_err(|error| format!("the demo cannot find its own place: {error}"))
}

/// A file of the source tree.
fn source(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(path)
}
