//! Files that are generated from the chart or repeat another file, and are checked in: `make chart-docs` and `make manifests`.
//!
//! | file | generates |
//! |---|---|
//! | `docs.rs` | the table in the chart's README.md, the defaults for templates, the annotations of Chart.yaml |
//! | `manifests.rs` | manifests for users without helm |
//! | `argocd.rs` | the copies of the scripts for Argo CD |

mod argocd;
mod docs;
mod manifests;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

/// Writes the files that are generated from the chart, and copies for Argo CD.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Write nothing, and fail if a file differs from the generated text.
    #[arg(long, global = true)]
    check: bool,
    /// The folder of the repository.
    #[arg(long, global = true, default_value = ".")]
    root: PathBuf,
}

#[derive(Subcommand)]
enum What {
    /// The chart's README.md, files/values.yaml and Chart.yaml.
    Docs,
    /// Files for users without helm: `deploy/kustomize/`, and `dist/`, which is not checked in. Copies in `deploy/argocd/`.
    Manifests,
}

/// A path below the root of the repository, and the content of the file.
type Made = (PathBuf, String);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.what {
        What::Docs => docs::made(&arguments.root).and_then(|made| arguments.put(&made)),
        What::Manifests => arguments.manifests().await,
    };
    let Err(why) = done else {
        return ExitCode::SUCCESS;
    };
    let _ = writeln!(std::io::stderr(), "chart: {why}");
    ExitCode::FAILURE
}

impl Arguments {
    /// The files that are checked in, and the files of a release, which are generated from them and not checked in.
    async fn manifests(&self) -> Result<(), String> {
        let mut made = argocd::checked_in(&self.root)?;
        made.extend(manifests::checked_in(&self.root).await?);
        self.put(&made)?;
        if self.check {
            return Ok(());
        }
        self.put(&manifests::dist(&self.root).await?)
    }

    /// Writes files, or compares them.
    fn put(&self, made: &[Made]) -> Result<(), String> {
        let target = match self.what {
            What::Docs => "chart-docs",
            What::Manifests => "manifests",
        };
        made.iter()
            .try_for_each(|(path, text)| put(&self.root.join(path), text, self.check, target))
    }
}

/// Writes a file, or compares it.
fn put(path: &Path, text: &str, check: bool, target: &str) -> Result<(), String> {
    let named = |e: std::io::Error| format!("{}: {e}", path.display());
    if !check {
        let folder = path.parent().unwrap_or(path);
        std::fs::create_dir_all(folder).map_err(named)?;
        return std::fs::write(path, text).map_err(named);
    }
    let there = std::fs::read_to_string(path).map_err(named)?;
    if there == text {
        return Ok(());
    }
    Err(format!(
        "{} differs from its source; run `make {target}` and commit what it changes",
        path.display()
    ))
}

/// A file of the repository.
fn read(root: &Path, path: &str) -> Result<String, String> {
    std::fs::read_to_string(root.join(path)).map_err(|e| format!("{path}: {e}"))
}
