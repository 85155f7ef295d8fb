//! The program: an issuer on a port, until a signal ends it.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use dev_issuer::{Admin, Config, DevIssuer};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// An Entra-shaped token service and a protected API, for trying out and tests. Protects nothing.
///
/// It knows client secrets, signed assertions, tokens of other issuers (federated credentials), client certificates
/// (mutual TLS); sign-in with code and PKCE, device codes, refresh tokens, passwords, on-behalf-of, JWT bearer, token
/// exchange, revocation; managed identities (IMDS, App Service, Azure Arc) and static keys. What needs an address of its own is off until the config
/// file names one; `issuer.example.yaml` shows how.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Address of the TLS listener; port 0 takes a free one [default: 127.0.0.1:8443, or the config file's]
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// YAML or JSON file with tenants, clients and resources
    #[arg(long)]
    config: Option<PathBuf>,
    /// Writes the CA certificate that clients must trust
    #[arg(long)]
    ca_out: Option<PathBuf>,
    /// Writes origin, tenant and paths as JSON, once everything is up
    #[arg(long)]
    state_out: Option<PathBuf>,
    /// Address of the plain-HTTP admin listener, loopback only; off if not set
    #[arg(long)]
    admin: Option<SocketAddr>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dev-issuer: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    // Before anything is started, so that no signal is lost meanwhile.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let mut config = match &arguments.config {
        Some(path) => Config::from_file(path)?,
        None => Config::default(),
    };
    if let Some(address) = arguments.listen {
        config.listen = address;
    } else if config.listen.port() == 0 {
        config.listen.set_port(8443);
    }
    let issuer = Arc::new(DevIssuer::start(config).await?);
    let admin = match arguments.admin {
        Some(address) => Some(Admin::start(Arc::clone(&issuer), address).await?),
        None => None,
    };
    if let Some(path) = &arguments.ca_out {
        write(path, issuer.ca_pem())?;
    }
    if let Some(path) = &arguments.state_out {
        let state = json!({
            "origin": issuer.origin(),
            "tenant": issuer.tenant(),
            "tokenUrl": issuer.token_url_v2(),
            "genericIssuer": issuer.generic_issuer(),
            "ca": arguments.ca_out,
            "mtlsOrigin": issuer.mtls_origin(),
            "imds": issuer.imds_url(),
            "appService": issuer.app_service_url(),
            "arc": issuer.arc_url(),
            "admin": admin.as_ref().map(|admin| format!("http://{}", admin.address())),
            "pid": std::process::id(),
        });
        write(path, &format!("{state:#}\n"))?;
    }
    tracing::info!(
        origin = issuer.origin(),
        tenant = issuer.tenant(),
        mtls = issuer.mtls_origin(),
        imds = issuer.imds_url(),
        app_service = issuer.app_service_url(),
        arc = issuer.arc_url(),
        admin = admin
            .as_ref()
            .map(|admin| tracing::field::display(admin.address())),
        "ready"
    );
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: ending"),
        _ = interrupt.recv() => tracing::info!("Ctrl-C: ending"),
    }
    issuer.stop().await;
    Ok(())
}

/// Completely or not at all: scripts wait for the file to appear and read it at once.
fn write(path: &Path, text: &str) -> Result<(), String> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::write(&partial, text)
        .and_then(|()| std::fs::rename(&partial, path))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}
