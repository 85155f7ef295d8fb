//! Speed, memory and requests under load: `make bench`, docs/performance.md.
//!
//! ```text
//! main ─▶ scenario/* ─▶ World: control plane + chart + operator + token server (this program, other mode)
//!             │            └─▶ Traffic: the operator's requests in the API server's audit log
//!             └─▶ Report: a table, JSON, and the exit code
//! ```

#![allow(clippy::too_many_lines, reason = "a table of cases is one function")]

mod contender;
mod issuer;
mod options;
mod process;
mod report;
mod scenario;
mod traffic;
mod world;

use std::process::ExitCode;

use clap::Parser;

use contender::Contender;
use options::{Cli, Mode, Options};
use report::Report;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

#[tokio::main]
async fn main() -> ExitCode {
    // Fails only if a client has already set the same provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = Cli::parse();
    let done = match cli.mode {
        Some(Mode::Issuer) => issuer::serve().await.map(|()| 0),
        None => measure(&cli.bench).await,
    };
    match done {
        Ok(0) => ExitCode::SUCCESS,
        Ok(missed) => {
            eprintln!("{missed} counts are above their bar");
            ExitCode::FAILURE
        }
        Err(why) => {
            eprintln!("load: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the selected scenarios; returns how many counts missed their target value.
async fn measure(options: &Options) -> Result<usize> {
    if options.scenario.iter().any(|s| s == "list") {
        for (name, what) in scenario::ALL {
            println!("{name:<12} {what}");
        }
        return Ok(0);
    }
    if let Some(unknown) = options
        .scenario
        .iter()
        .find(|s| !scenario::ALL.iter().any(|(name, _)| name == s))
    {
        return Err(format!("no scenario {unknown}; `--scenario list` names them").into());
    }
    let own = Contender::own()?;
    let rivals: Vec<Contender> = options
        .rival
        .iter()
        .map(|folder| Contender::rival(folder))
        .collect::<Result<_>>()?;
    let machine = report::machine(options.fsync);
    println!("{machine}");
    let mut report = Report::default();
    let mut failed = Vec::new();
    for (name, _) in scenario::ALL.iter().filter(|(name, _)| options.wants(name)) {
        if let Err(why) = scenario::run(name, options, &own, &rivals, &mut report).await {
            println!("{name}: {why}");
            failed.push(*name);
        }
    }
    report.summary();
    if let Some(path) = &options.json {
        report.write(path, &machine)?;
    }
    if !failed.is_empty() {
        return Err(format!("not measured to the end: {}", failed.join(", ")).into());
    }
    Ok(report.missed())
}
