//! The operator's program: arguments and signals.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use apicred::{
    api::{Cloud, crd},
    app::{self, LeaseOptions, Options},
    controller::{IdentityEnvironment, RotationPace, Scope, Settings},
    credential::{KeyPattern, addresses},
    leader::predecessors,
    oauth::bundle,
    plan::notify::Rights,
    proxy::Proxy,
    telemetry::{
        lines,
        logs::{self, LogFormat},
        metrics,
        traces::{self, Traces},
    },
};
use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use rustls::pki_types::CertificateDer;
use secrecy::SecretString;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

/// Lists of thousands of objects come and go, and both libcs keep for ever what such a peak took
/// (docs/performance.md). How it gives memory back is set in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Requests OAuth 2.0 access tokens, stores them in Kubernetes Secrets, and renews them.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator for the cluster of KUBECONFIG, or of its pod.
    Run(Box<Run>),
    /// Check that an operator is ready and that a replica leads. `helm test` runs it.
    Check {
        /// Address of the operator's admin server, http://HOST:PORT.
        #[arg(long, value_name = "URL")]
        admin: Url,
        /// Time until the check fails, in seconds.
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        wait: u64,
    },
    /// Print the CRDs as YAML, or write one file per kind into a folder.
    Crds {
        /// Folder for the files. If not set: standard output.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Print the page about metrics (docs/metrics.md).
    #[command(hide = true)]
    MetricsReference,
}

#[derive(Args)]
struct Run {
    /// The operator's own namespace, which contains its digest key and its Lease.
    #[arg(long, env = "POD_NAMESPACE", default_value = "apicred-system")]
    namespace: String,
    /// Watch only these namespaces, and need no rights in others.
    #[arg(
        long = "watch-namespace",
        env = "APICRED_WATCH_NAMESPACES",
        value_delimiter = ',',
        value_parser = namespace_name
    )]
    watch_namespaces: Vec<String>,
    /// With --watch-namespace: also read `ClusterTokenIssuers`, and the labels of these namespaces.
    #[arg(long, env = "APICRED_CLUSTER_ISSUERS")]
    cluster_issuers: bool,
    /// Name of this process in events.
    #[arg(long, env = "POD_NAME", default_value = "apicred")]
    instance: String,
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, env = "APICRED_ADMIN_LISTEN", default_value = "0.0.0.0:8080")]
    admin_listen: SocketAddr,
    /// Maximum number of token requests at the same time.
    #[arg(long, env = "APICRED_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    #[command(flatten)]
    tenants: Tenants,
    /// HTTP proxy for requests to issuers, `http://proxy.example:3128`. If the URL has a user and password, set the variable and
    /// not the flag, which every process of the machine can read. `HTTPS_PROXY` and similar variables are ignored.
    // Read later: clap would print what it cannot parse.
    #[arg(
        long,
        env = "APICRED_ISSUER_PROXY",
        value_name = "URL",
        hide_env_values = true
    )]
    issuer_proxy: Option<SecretString>,
    /// Issuers that are reached directly: host names, .suffixes, addresses and CIDRs.
    #[arg(
        long,
        env = "APICRED_ISSUER_NO_PROXY",
        value_name = "LIST",
        value_delimiter = ',',
        requires = "issuer_proxy"
    )]
    issuer_no_proxy: Vec<String>,
    /// File with CAs of all issuers (PEM), in addition to those of the system and those of the caBundle of an issuer. It is read once, at the
    /// start.
    #[arg(long, env = "APICRED_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Expose gauges for each credential: when its token and its client credential expire.
    #[arg(long, env = "APICRED_METRICS_PER_CREDENTIAL")]
    metrics_per_credential: bool,
    /// Format of log lines.
    #[arg(long, env = "APICRED_LOG_FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
    /// Log level, as a tracing filter.
    #[arg(long, env = "APICRED_LOG_FILTER", default_value = "info")]
    log_filter: String,
    /// URL of a collector for traces, `http://collector.example:4318` (OTLP over HTTP). Only in builds with the feature `otel`. If not set: no
    /// traces are sent. The variable `OTEL_EXPORTER_OTLP_ENDPOINT` sets it as well; platforms set that one in every container, so an
    /// unusable value of it is a warning.
    #[arg(long, value_name = "URL", value_parser = traces::endpoint)]
    otlp_endpoint: Option<Url>,
    /// Stand by while another operator leads; needed for more than one replica.
    #[arg(long, env = "APICRED_LEADER_ELECT")]
    leader_elect: bool,
    /// Name of the Lease in the operator's namespace.
    #[arg(long, env = "APICRED_LEASE_NAME", default_value = "apicred")]
    lease_name: String,
    /// A file in an `emptyDir` volume of the pod. With it, a restarted container proves that the process before it has ended, and takes over
    /// the Lease of that process at once. If not set: it waits until the Lease has expired (15 s).
    #[arg(long, env = "APICRED_INSTANCE_FILE", value_name = "FILE")]
    instance_file: Option<PathBuf>,
    #[command(flatten)]
    notify: Notify,
    #[command(flatten)]
    identity: Identity,
}

/// The names in the command that gives the right to notify pods.
#[derive(Args)]
struct Notify {
    /// The `ClusterRole` with the rights that `spec.target.notifyPods` needs. Empty if it is not installed.
    #[arg(long, env = "APICRED_NOTIFY_PODS_ROLE", default_value = "")]
    notify_pods_role: String,
    /// Name of the `ServiceAccount` of this process.
    #[arg(long, env = "POD_SERVICE_ACCOUNT", default_value = "apicred")]
    service_account: String,
}

impl Notify {
    fn rights(self, namespace: &str) -> Arc<Rights> {
        Arc::new(Rights {
            role: self.notify_pods_role,
            account: format!("{namespace}:{}", self.service_account),
        })
    }
}

/// What namespaces may do.
#[derive(Args)]
struct Tenants {
    /// Networks (CIDR) that namespaced issuers may use although they are not public.
    #[arg(long = "allow-cidr", env = "APICRED_ALLOW_CIDR", value_delimiter = ',')]
    allowed_cidrs: Vec<IpNet>,
    /// Accept an --allow-cidr that contains this machine or a metadata service, or is very wide.
    #[arg(long, env = "APICRED_ALLOW_WIDE_CIDRS")]
    allow_wide_cidrs: bool,
    /// Connect to the servers of issuers from time to time, without credentials, to report whether they can be reached.
    #[arg(
        long,
        env = "APICRED_ISSUER_CHECKS",
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set
    )]
    issuer_checks: bool,
    /// Label and annotation keys that targets may have: `team`, `example.com/team`, or `example.com/*`.
    #[arg(
        long = "target-keys-allowed",
        env = "APICRED_TARGET_KEYS_ALLOWED",
        value_name = "LIST",
        value_delimiter = ','
    )]
    target_keys: Vec<KeyPattern>,
    /// National clouds of Entra ID that credentials and namespaced issuers may name: Public, `USGov`, China.
    #[arg(
        long = "entra-clouds",
        env = "APICRED_ENTRA_CLOUDS",
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "Public",
        value_parser = cloud
    )]
    entra_clouds: Vec<Cloud>,
}

/// A DNS label (RFC 1123), as names of namespaces are.
fn namespace_name(text: &str) -> Result<String, String> {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = text.len() <= 63
        && edge(text.chars().next())
        && edge(text.chars().last())
        && text.chars().all(inside);
    fits.then(|| text.to_owned())
        .ok_or_else(|| "not the name of a namespace".to_owned())
}

/// A cloud by its name in the spec.
fn cloud(text: &str) -> Result<Cloud, String> {
    match text {
        "Public" => Ok(Cloud::Public),
        "USGov" => Ok(Cloud::USGov),
        "China" => Ok(Cloud::China),
        _ => Err("not a cloud of Entra ID: Public, USGov or China".to_owned()),
    }
}

/// Names of earlier processes of this pod that have ended. None are known without the file.
fn ended(file: Option<&Path>, me: &str) -> Vec<String> {
    let known = file.map_or(Ok(Vec::new()), |file| predecessors::ended(file, me));
    known.unwrap_or_else(|problem| {
        tracing::warn!("the instance file cannot be used, so a Lease of this pod is waited for until it has expired: {problem}");
        Vec::new()
    })
}

/// A name that no other process has: a pod's name comes back when its container is restarted, and a lease under the
/// old life's name must not be taken for one's own while that life may still be ending.
fn identity_of(instance: &str) -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let random = RandomState::new().build_hasher().finish();
    format!("{instance}_{random:016x}")
}

/// The operator's own identity in Azure, as its platform sets it. Used only by credentials of a ClusterTokenIssuer
/// that allows it.
#[derive(Args)]
#[command(next_help_heading = "Identity in Azure")]
struct Identity {
    /// Identity endpoint of App Service.
    #[arg(
        long = "identity-endpoint",
        env = "IDENTITY_ENDPOINT",
        hide_env_values = true
    )]
    endpoint: Option<Url>,
    /// Secret header of that endpoint.
    #[arg(
        long = "identity-header",
        env = "IDENTITY_HEADER",
        hide = true,
        hide_env_values = true
    )]
    header: Option<SecretString>,
    /// File with the federated token of Entra Workload ID.
    #[arg(long, env = "AZURE_FEDERATED_TOKEN_FILE")]
    federated_token_file: Option<PathBuf>,
    /// Client id of Entra Workload ID.
    #[arg(long, env = "AZURE_CLIENT_ID")]
    azure_client_id: Option<String>,
    /// Folder in which the Azure Arc agent writes its key files.
    #[arg(
        long,
        env = "APICRED_ARC_FOLDER",
        default_value = "/var/opt/azcmagent/tokens"
    )]
    arc_folder: PathBuf,
}

impl From<Identity> for IdentityEnvironment {
    fn from(given: Identity) -> Self {
        Self {
            endpoint: given.endpoint,
            header: given.header,
            federated_token_file: given.federated_token_file,
            client_id: given.azure_client_id,
            arc_folder: given.arc_folder,
            api_audiences: Vec::new(),
        }
    }
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(run) => operate(*run),
        Command::Check { admin, wait } => check(&admin, Duration::from_secs(wait)),
        Command::Crds { dir } => crds(dir.as_deref()),
        Command::MetricsReference => metrics_reference(),
    };
    let code = match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tracing::error!("{why}");
            lines::last_words(&format!("apicred: {why}"));
            ExitCode::FAILURE
        }
    };
    lines::flush();
    code
}

fn operate(run: Run) -> Result<(), String> {
    // Destructured, so that an unused flag fails the build.
    let Run {
        namespace,
        watch_namespaces,
        cluster_issuers,
        instance,
        admin_listen,
        concurrency,
        tenants,
        issuer_proxy,
        issuer_no_proxy,
        ca_file,
        metrics_per_credential,
        log_format,
        log_filter,
        identity,
        leader_elect,
        lease_name,
        instance_file,
        otlp_endpoint,
        notify,
    } = run;
    // One crypto provider for the API server's connections, the issuers' and the collector's.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    if cfg!(feature = "fips") && !provider.fips() {
        return Err("this program is built with the feature fips, and its cryptographic module is not in FIPS mode: build it again for a supported platform".to_owned());
    }
    provider
        .install_default()
        .map_err(|_| "another TLS provider is installed already".to_owned())?;
    let started =
        traces::chosen(otlp_endpoint, std::env::var(traces::VARIABLE).ok()).and_then(|chosen| {
            match chosen {
                Some(url) => traces::start(&url, &instance, &namespace).map(Some),
                None => Ok(None),
            }
        });
    let (started, problem) = match started {
        Ok(started) => (started, None),
        Err(problem) => (None, Some(problem)),
    };
    let (spans, traces) = started.unzip();
    logs::init(log_format, &log_filter, spans)?;
    // Tokens do not depend on traces.
    if let Some(problem) = problem {
        tracing::warn!("no traces are sent: {problem}");
    }
    let Tenants {
        allowed_cidrs,
        allow_wide_cidrs,
        issuer_checks,
        target_keys,
        entra_clouds,
    } = tenants;
    addresses::check_allowed(&allowed_cidrs, allow_wide_cidrs).map_err(|fault| {
        format!(
            "--allow-cidr (APICRED_ALLOW_CIDR, chart value allowCidrs): {fault} (APICRED_ALLOW_WIDE_CIDRS, chart value allowWideCidrs)"
        )
    })?;
    let issuer_proxy = issuer_proxy
        .map(|url| Proxy::parse(&url, &issuer_no_proxy))
        .transpose()
        .map_err(|fault| {
            fault.message(
                "--issuer-proxy (APICRED_ISSUER_PROXY)",
                "--issuer-no-proxy (APICRED_ISSUER_NO_PROXY)",
            )
        })?;
    let issuer_cas = ca_file.as_deref().map_or_else(|| Ok(Vec::new()), cas)?;
    let options = Options {
        settings: Settings {
            notify_rights: notify.rights(&namespace),
            namespace,
            scope: if watch_namespaces.is_empty() {
                Scope::Cluster
            } else {
                Scope::Namespaces {
                    names: watch_namespaces.into_iter().collect(),
                    cluster_issuers,
                }
            },
            concurrency,
            allowed_cidrs,
            target_keys,
            entra_clouds,
            issuer_checks,
            issuer_proxy,
            issuer_cas,
            instance,
            rotation: RotationPace::default(),
            identity: identity.into(),
        },
        admin_listen,
        metrics_per_credential,
        lease: None,
    };
    let ended = app::on_one_thread(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            // A second signal ends the process at once.
            tokio::spawn(async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                lines::flush();
                lines::flush();
                std::process::exit(130);
            });
        };
        let mut options = options;
        options.settings.identity.api_audiences = app::api_audiences().await?;
        if leader_elect {
            let identity = identity_of(&options.settings.instance);
            options.lease = Some(LeaseOptions {
                name: lease_name,
                ended: ended(instance_file.as_deref(), &identity),
                identity,
                client: app::client().await?,
                end_by_force: || std::process::exit(app::ENDED_BY_FORCE),
            });
        }
        app::run(options, app::client().await?, stop).await
    });
    if let Some(traces) = traces {
        Traces::end(traces);
    }
    ended
}

fn metrics_reference() -> Result<(), String> {
    use std::io::Write;
    write!(std::io::stdout(), "{}", metrics::reference::page()).map_err(|e| e.to_string())
}

/// The CAs of --ca-file.
fn cas(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let named = |fault: String| {
        format!(
            "--ca-file (APICRED_CA_FILE, chart value caBundle) {}: {fault}",
            file.display()
        )
    };
    let text = std::fs::read_to_string(file).map_err(|e| {
        named(format!(
            "cannot be read ({e}); name a file with PEM certificates"
        ))
    })?;
    bundle::roots(&text).map_err(named)
}

fn check(admin: &Url, patience: Duration) -> Result<(), String> {
    use std::io::Write;
    let mut found = String::new();
    app::on_one_thread(async {
        found = apicred::check::check(admin, patience).await?;
        Ok(())
    })?;
    writeln!(std::io::stdout(), "{found}").map_err(|e| e.to_string())
}

fn crds(dir: Option<&Path>) -> Result<(), String> {
    use std::io::Write;
    for (name, text) in crd::files()? {
        match dir {
            Some(dir) => {
                let path = dir.join(&name);
                std::fs::write(&path, text)
                    .map_err(|e| format!("{} cannot be written: {e}", path.display()))?;
            }
            None => write!(std::io::stdout(), "---\n{text}").map_err(|e| e.to_string())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Else `--allow-wide-cidrs false` sets the flag, and the word ends in another setting.
    #[test]
    fn a_word_that_belongs_to_no_flag_is_an_error() {
        let command = Cli::command();
        for program in command.get_subcommands() {
            let positional = program
                .get_positionals()
                .map(|arg| arg.get_id().to_string());
            let positional: Vec<String> = positional.collect();
            assert_eq!(positional, Vec::<String>::new(), "{}", program.get_name());
        }
        assert!(Cli::try_parse_from(["apicred", "run", "--leader-elect"]).is_ok());
        for word in ["false", "watch-namespace=team-a"] {
            assert!(Cli::try_parse_from(["apicred", "run", "--leader-elect", word]).is_err());
        }
    }
}
