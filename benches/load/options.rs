//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Measures apicred, and any other operator, against a real control plane and a fast token server.
#[derive(Parser)]
#[command(name = "load")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) mode: Option<Mode>,
    #[command(flatten)]
    pub(crate) bench: Options,
}

#[derive(Subcommand)]
pub(crate) enum Mode {
    /// The token server. The harness starts it as a separate process, so that its CPU and memory are measured separately.
    #[command(hide = true)]
    Issuer,
}

/// The options of a measurement.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Scenarios, by name, separated by commas; all of them if not set. `list` names them.
    #[arg(long, value_delimiter = ',')]
    pub(crate) scenario: Vec<String>,
    /// The full size: 10,000 credentials where a target value requires it. If not set: 1,000.
    #[arg(long)]
    pub(crate) full: bool,
    /// Another number of credentials.
    #[arg(long)]
    pub(crate) size: Option<usize>,
    /// Namespaces over which the credentials are spread.
    #[arg(long, default_value_t = 10)]
    pub(crate) namespaces: usize,
    /// Foreign Secrets. If not set: 20,000 with --full, otherwise two for each credential.
    #[arg(long)]
    pub(crate) foreign: Option<usize>,
    /// Length of the soak in minutes. Ten minutes contain as many renewals as a day with tokens that are valid for an hour. If not set: one minute
    /// without --full.
    #[arg(long)]
    pub(crate) soak_minutes: Option<u64>,
    /// Lifetime of the tokens in `rotation` (120) and `soak` (24), in seconds. A rival refreshes after half of it. Half of the lifetime
    /// must be well above the time of the first tokens, so that the first and the second round do not overlap.
    #[arg(long)]
    pub(crate) lifetime: Option<u64>,
    /// More arguments for `apicred run`, separated by blanks.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pub(crate) args: String,
    /// Another build of apicred.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_apicred"))]
    pub(crate) program: String,
    /// Another operator to measure with the same load: a folder, see docs/performance.md. May be repeated.
    #[arg(long)]
    pub(crate) rival: Vec<PathBuf>,
    /// Where to write the numbers as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Store the logs of operators here.
    #[arg(long)]
    pub(crate) logs: Option<PathBuf>,
    /// etcd waits for the disk, as in a cluster. If not set, times are those of the programs only.
    #[arg(long)]
    pub(crate) fsync: bool,
    /// An argument that `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// Credentials in the large scenarios.
    pub(crate) fn size(&self) -> usize {
        self.size.unwrap_or(if self.full { 10_000 } else { 1_000 })
    }

    /// Credentials in the scenarios whose target value is for a thousand.
    pub(crate) fn small(&self) -> usize {
        self.size().min(1_000)
    }

    /// Secrets that do not belong to the operator.
    pub(crate) fn foreign(&self) -> usize {
        self.foreign.unwrap_or(2 * self.size())
    }

    /// Length of the soak.
    pub(crate) fn soak_minutes(&self) -> u64 {
        self.soak_minutes.unwrap_or(if self.full { 10 } else { 1 })
    }

    /// Returns true if this scenario is selected.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.scenario.is_empty() || self.scenario.iter().any(|s| s == name)
    }
}
