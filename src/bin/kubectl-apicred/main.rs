//! `kubectl apicred`: what a person does for a credential. Signs in for `grant.refreshToken`, asks for a renewal.
//!
//! It works with the person's own rights and never shows a token. What it sends to an issuer is made by
//! [`apicred::oauth::sign_in`], sent by [`apicred::oauth::http`], and bound by [`apicred::credential::binding`], as in
//! the operator.

mod browser;
mod callback;
mod cluster;
mod consent;
mod device;
mod kubeconfig;
mod login;
mod page;
mod proof;
mod renew;
mod report;
mod state;
mod subject;
mod tell;
#[cfg(test)]
mod tests;
mod wait;
mod wire;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use apicred::oauth::sign_in::named_origin;
use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use jiff::SignedDuration;
use secrecy::SecretString;
use url::Url;

/// Signs people in for the credentials of apicred.
#[derive(Parser)]
#[command(name = "kubectl-apicred", bin_name = "kubectl apicred", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sign in for a credential with grant.refreshToken, and store the refresh token in its state Secret.
    Login(Box<Login>),
    /// Ask the operator for a new token now.
    Renew(Renew),
    /// Print the version.
    Version,
}

/// Which credential, in which cluster.
#[derive(Args)]
struct Target {
    /// Name of the ApiCredential.
    credential: String,
    /// Its namespace; that of the context if left out.
    #[arg(short, long)]
    namespace: Option<String>,
    /// Context of the kubeconfig; the current one if left out.
    #[arg(long)]
    context: Option<String>,
    /// The kubeconfig; KUBECONFIG or ~/.kube/config if left out.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
}

#[derive(Args)]
struct Renew {
    #[command(flatten)]
    target: Target,
    /// Wait until the request has been served. Exits with 1 if it failed or the time is over, and prints the reason.
    #[arg(long)]
    wait: bool,
    /// How long to wait; 1m if not set.
    #[arg(long, requires = "wait", value_parser = timeout)]
    timeout: Option<Duration>,
}

#[derive(Args)]
struct Login {
    #[command(flatten)]
    target: Target,
    /// Sign in by a code that is typed into a browser anywhere, in place of a browser on this machine.
    #[arg(long, conflicts_with_all = ["port", "no_browser", "redirect_uri"])]
    device: bool,
    /// Port of this machine that the browser comes back to; a free one if left out.
    #[arg(long)]
    port: Option<u16>,
    /// Print the address and open nothing.
    #[arg(long)]
    no_browser: bool,
    /// Where the browser comes back to, as registered at the issuer.
    #[arg(
        long,
        value_parser = callback::redirect_uri,
        long_help = "Where the browser comes back to, as registered at the issuer. Left out: http://localhost for Entra ID, http://127.0.0.1/callback elsewhere. Without a port, one is put in."
    )]
    redirect_uri: Option<Url>,
    /// How long to wait for the person. Left out: 5m, or the life of the device code.
    #[arg(long, value_parser = timeout)]
    timeout: Option<Duration>,
    /// Ask for these scopes (comma separated) in place of what the credential says.
    #[arg(long, value_delimiter = ',')]
    scopes: Vec<String>,
    /// Take over an existing state Secret that names another credential, or none.
    #[arg(long)]
    force: bool,
    /// Origin that this sign-in may send data to, such as `https://login.example`; may be repeated. If set, every origin of
    /// the sign-in must be named, and no question is asked.
    #[arg(long = "issuer", value_name = "ORIGIN", value_parser = named_origin)]
    issuers: Vec<String>,
    #[command(flatten)]
    networks: Networks,
    /// HTTP proxy that the issuer is asked through, `http://proxy.example:3128`. With a user and password, set the variable
    /// and not the flag. `HTTPS_PROXY` is not looked at.
    // Read later: clap would print what it cannot parse.
    #[arg(
        long,
        env = "APICRED_PROXY",
        value_name = "URL",
        hide_env_values = true
    )]
    proxy: Option<SecretString>,
}

/// Where issuers may live.
#[derive(Args)]
struct Networks {
    /// Networks (CIDR) that a TokenIssuer may live in although they are not public.
    #[arg(long = "allow-cidr", value_delimiter = ',')]
    allowed_cidrs: Vec<IpNet>,
    /// Accept an --allow-cidr that also opens this machine, metadata services, or very much else.
    #[arg(long)]
    allow_wide_cidrs: bool,
}

/// `90s`, `5m`.
fn timeout(text: &str) -> Result<Duration, String> {
    let mend = || "write it as 90s or 5m, between 10s and 1h".to_owned();
    let span: SignedDuration = text.parse().map_err(|_| mend())?;
    Duration::try_from(span)
        .ok()
        .filter(|d| (Duration::from_secs(10)..=Duration::from_hours(1)).contains(d))
        .ok_or_else(mend)
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    // The one crypto library of apicred; nobody can have chosen another before this line.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let done = tokio::runtime::Runtime::new()
        .map_err(|e| format!("no threads to run on: {e}"))
        .and_then(|runtime| {
            runtime.block_on(async {
                match command {
                    Command::Login(login) => Box::pin(login::run(*login)).await,
                    Command::Renew(renew) => renew::run(&renew).await,
                    Command::Version => {
                        tell::out(concat!("kubectl-apicred ", env!("CARGO_PKG_VERSION")));
                        Ok(())
                    }
                }
            })
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tell::err(&format!("error: {why}"));
            ExitCode::FAILURE
        }
    }
}
