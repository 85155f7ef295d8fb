//! `kubectl apicred`: commands for users of credentials. Signs in for `grant.refreshToken`, requests a renewal, prints the public
//! key to register.
//!
//! It uses the user's own rights and never shows a token. [`apicred::oauth::sign_in`] creates its requests to an issuer,
//! [`apicred::oauth::http`] sends them, and [`apicred::credential::binding`] restricts where they are sent, as in
//! the operator.

#![cfg_attr(
    test,
    allow(clippy::too_many_lines, reason = "a table of cases is one function")
)]

mod any_version;
mod authentication;
mod browser;
mod callback;
mod cluster;
mod consent;
mod device;
mod jwks;
mod login;
mod page;
mod renew;
mod report;
mod rotate;
mod state;
mod subject;
mod terminal;
#[cfg(test)]
mod tests;
mod wait;
mod wire;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use apicred::credential::is_object_name;
use apicred::{
    arguments,
    oauth::{claims_of_challenge, sign_in::named_origin},
};
use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use jiff::SignedDuration;
use secrecy::SecretString;
use url::Url;

use wait::Failure;

/// Exit code after the timeout, the same as that of timeout(1).
const TIMED_OUT: u8 = 124;

/// Signs in users for credentials of apicred, requests renewals and rotations, and prints public keys.
#[derive(Parser)]
#[command(name = "kubectl-apicred", bin_name = "kubectl apicred", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sign in for a credential with grant.refreshToken, and store the refresh token in its state Secret.
    Login(Box<Login>),
    /// Request a new token now.
    Renew(Renew),
    /// Print the public key of client.key as a JWK set, to register it at the issuer. Needs get on the Secret.
    Jwks(Jwks),
    /// Replace the client secret, certificate or key of an ApiClient now.
    Rotate(Rotate),
    /// Print the version.
    Version,
}

/// Which credential, in which cluster.
#[derive(Args)]
struct Target {
    /// Name of the ApiCredential.
    #[arg(value_parser = object_name)]
    credential: String,
    /// Its namespace. If not set: the namespace of the context.
    #[arg(short, long, value_parser = namespace)]
    namespace: Option<String>,
    /// Context of the kubeconfig. If not set: the current one.
    #[arg(long)]
    context: Option<String>,
    /// The kubeconfig. If not set: KUBECONFIG or ~/.kube/config.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
}

#[derive(Args)]
struct Renew {
    #[command(flatten)]
    target: Target,
    /// Wait until the request has been served. Exits with 1 if it failed, with 124 after the timeout, and prints the reason.
    #[arg(long)]
    wait: bool,
    /// How long to wait; 1m if not set.
    #[arg(long, requires = "wait", value_parser = timeout)]
    timeout: Option<Duration>,
}

#[derive(Args)]
struct Jwks {
    #[command(flatten)]
    target: Target,
    /// Name of an `ApiClient` instead of an `ApiCredential`.
    #[arg(long)]
    client: bool,
}

#[derive(Args)]
struct Rotate {
    /// Name of the ApiClient.
    #[arg(value_parser = object_name)]
    client: String,
    /// Its namespace. If not set: the namespace of the context.
    #[arg(short, long, value_parser = namespace)]
    namespace: Option<String>,
    /// Context of the kubeconfig. If not set: the current one.
    #[arg(long)]
    context: Option<String>,
    /// The kubeconfig. If not set: KUBECONFIG or ~/.kube/config.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Wait until credentials use the new one. Exits with 1 if it failed, with 124 after the timeout, and prints the reason.
    #[arg(long)]
    wait: bool,
    /// How long to wait; 15m if not set.
    #[arg(long, requires = "wait", value_parser = timeout)]
    timeout: Option<Duration>,
}

#[derive(Args)]
struct Login {
    #[command(flatten)]
    target: Target,
    /// Sign in with a device code, in a browser on any device, instead of a browser on this machine.
    #[arg(long, conflicts_with_all = ["port", "no_browser", "redirect_uri"])]
    device: bool,
    /// Local port to which the browser returns. If not set: a free one.
    #[arg(long)]
    port: Option<u16>,
    /// Print the address and open no browser.
    #[arg(long)]
    no_browser: bool,
    /// The redirect URI, as registered at the issuer.
    #[arg(
        long,
        value_parser = callback::redirect_uri,
        long_help = "The redirect URI, as registered at the issuer. If not set: http://localhost for Entra ID, http://127.0.0.1/callback for others. If it has no port, the local port is added."
    )]
    redirect_uri: Option<Url>,
    /// How long to wait for the user. If not set: 5m, or the lifetime of the device code.
    #[arg(long, value_parser = timeout)]
    timeout: Option<Duration>,
    /// Request these scopes (comma separated) instead of those of the credential.
    #[arg(long, value_delimiter = ',')]
    scopes: Vec<String>,
    /// Request these claims (step-up): JSON, or Base64 as in the header `WWW-Authenticate` of an API. If not set: those that the
    /// issuer requested when it refused the last renewal, if any.
    #[arg(long, value_name = "CLAIMS", value_parser = claims_of_challenge)]
    claims: Option<String>,
    /// Use an existing state Secret that names another credential, or none.
    #[arg(long)]
    force: bool,
    /// Origin that this sign-in may send data to, such as `https://login.example`; may be repeated. If set, every origin of
    /// the sign-in must be named, and no question is asked.
    #[arg(long = "issuer", value_name = "ORIGIN", value_parser = named_origin)]
    issuers: Vec<String>,
    #[command(flatten)]
    networks: Networks,
    /// HTTP proxy for requests to the issuer, `http://proxy.example:3128`. If the URL has a user and password, set the variable
    /// and not the flag. `HTTPS_PROXY` is ignored.
    // Parsed later: clap would print a value that it cannot parse.
    #[arg(
        long,
        env = "APICRED_PROXY",
        value_name = "URL",
        hide_env_values = true
    )]
    proxy: Option<SecretString>,
}

/// Networks that may contain issuers.
#[derive(Args)]
struct Networks {
    /// Networks (CIDR) that a TokenIssuer may use although they are not public.
    #[arg(long = "allow-cidr", value_delimiter = ',')]
    allowed_cidrs: Vec<IpNet>,
    /// Accept an --allow-cidr that contains this machine or a metadata service, or is very wide.
    #[arg(long)]
    allow_wide_cidrs: bool,
}

/// The name of an object. It becomes a part of the URL of a request, so no other text is accepted.
fn object_name(text: &str) -> Result<String, String> {
    const KINDS: [&str; 6] = [
        "ac",
        "acl",
        "apicredential",
        "apicredentials",
        "apiclient",
        "apiclients",
    ];
    if is_object_name(text) {
        return Ok(text.to_owned());
    }
    Err(match text.split_once('/') {
        Some((kind, name)) if KINDS.contains(&kind) && is_object_name(name) => {
            format!("write the name without the kind: {name}")
        }
        _ => {
            "a name has only lowercase letters, digits, - and ., and at most 253 of them".to_owned()
        }
    })
}

/// A namespace. An empty text is that of the context, as with kubectl: scripts pass variables that are not set.
fn namespace(text: &str) -> Result<String, String> {
    if text.is_empty() || is_object_name(text) && !text.contains('.') && text.len() <= 63 {
        return Ok(text.to_owned());
    }
    Err("a namespace has only lowercase letters, digits and -, and at most 63 of them".to_owned())
}

/// `90s`, `5m`.
fn timeout(text: &str) -> Result<Duration, String> {
    let fix = || "write it as 90s or 5m, between 10s and 1h".to_owned();
    let span: SignedDuration = text.parse().map_err(|_| fix())?;
    Duration::try_from(span)
        .ok()
        .filter(|d| (Duration::from_secs(10)..=Duration::from_hours(1)).contains(d))
        .ok_or_else(fix)
}

/// The message, and the exit code: after the exit code of a timeout, a script may wait again.
fn ended(failure: &Failure) -> (&str, ExitCode) {
    match failure {
        Failure::Failed(why) => (why, ExitCode::FAILURE),
        Failure::TimedOut(why) => (why, ExitCode::from(TIMED_OUT)),
    }
}

fn main() -> ExitCode {
    let command = arguments::parse::<Cli>().command;
    // The only crypto library of apicred; no other can be installed before this line.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let done = tokio::runtime::Runtime::new()
        .map_err(|e| Failure::Failed(format!("no threads to run on: {e}")))
        .and_then(|runtime| {
            runtime.block_on(async {
                match command {
                    Command::Login(login) => Ok(Box::pin(login::run(*login)).await?),
                    Command::Renew(renew) => renew::run(&renew).await,
                    Command::Jwks(args) => Ok(jwks::run(&args).await?),
                    Command::Rotate(rotate) => rotate::run(&rotate).await,
                    Command::Version => {
                        terminal::out(concat!("kubectl-apicred ", env!("CARGO_PKG_VERSION")));
                        Ok(())
                    }
                }
            })
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let (why, code) = ended(&failure);
            terminal::err(&format!("error: {why}"));
            code
        }
    }
}
