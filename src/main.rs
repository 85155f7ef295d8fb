//! The operator's program: arguments and signals.

mod flags;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use apicred::{
    api::crd,
    app::{self, LeaseOptions, Options},
    arguments,
    controller::{RotationPace, Scope, Settings},
    credential::addresses,
    leader::predecessors,
    oauth::bundle,
    proxy::Proxy,
    telemetry::{
        lines, logs, metrics,
        traces::{self, Traces},
    },
};
use clap::{Parser, Subcommand};
use rustls::pki_types::CertificateDer;
use secrecy::SecretString;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use flags::{Run, Tenants};

/// Lists of thousands of objects are allocated and freed, and both libcs never return the memory of such a peak
/// (docs/performance.md). `.cargo/config.toml` sets how this allocator returns memory.
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

/// Names of earlier processes of this pod that have ended. Without the file, none are known.
fn ended(file: Option<&Path>, me: &str) -> Vec<String> {
    let known = file.map_or(Ok(Vec::new()), |file| predecessors::ended(file, me));
    known.unwrap_or_else(|problem| {
        tracing::warn!("the instance file cannot be used, so a Lease of this pod is waited for until it has expired: {problem}");
        Vec::new()
    })
}

/// A name that no other process has. A restarted container has the same pod name, and a process must not treat the lease of an earlier process
/// with that name as its lease while that process may still be ending.
fn identity_of(instance: &str) -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let random = RandomState::new().build_hasher().finish();
    format!("{instance}_{random:016x}")
}

fn main() -> ExitCode {
    let done = match arguments::parse::<Cli>().command {
        Command::Run(run) => operate(*run),
        Command::Check { admin, wait } => check(&admin, Duration::from_secs(wait)),
        Command::Crds { dir } => crds(dir.as_deref()),
        Command::MetricsReference => metrics_reference(),
    };
    let code = match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tracing::error!("{why}");
            lines::last_line(&format!("apicred: {why}"));
            ExitCode::FAILURE
        }
    };
    lines::flush();
    code
}

fn operate(run: Run) -> Result<(), String> {
    install_crypto_provider()?;
    let traces = start_telemetry(&run)?;
    let (mut options, election) = options(run)?;
    let ended = app::on_one_thread(async {
        let stop = stop_signal()?;
        options.settings.identity.api_audiences = app::api_audiences().await?;
        if let Some(election) = election {
            options.lease = Some(lease(election, &options.settings.instance).await?);
        }
        app::run(options, app::client().await?, stop).await
    });
    if let Some(traces) = traces {
        Traces::end(traces);
    }
    ended
}

/// The settings for leader election.
struct Election {
    lease_name: String,
    instance_file: Option<PathBuf>,
}

/// The options of the operator, and those of leader election if it is enabled.
fn options(run: Run) -> Result<(Options, Option<Election>), String> {
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
        identity,
        leader_elect,
        lease_name,
        instance_file,
        rotations,
        notify,
        // Logs and traces are already started.
        log_format: _,
        log_filter: _,
        otlp_endpoint: _,
    } = run;
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
    let settings = Settings {
        notify_rights: notify.rights(&namespace),
        namespace,
        scope: scope(watch_namespaces, cluster_issuers),
        concurrency,
        allowed_cidrs,
        target_keys,
        entra_clouds,
        issuer_checks,
        issuer_proxy: proxy(issuer_proxy, &issuer_no_proxy)?,
        issuer_cas: ca_file.as_deref().map_or_else(|| Ok(Vec::new()), cas)?,
        instance,
        rotation: RotationPace::of(rotations.fast_rotations),
        identity: identity.into(),
    };
    let options = Options {
        settings,
        admin_listen,
        metrics_per_credential,
        lease: None,
    };
    let election = leader_elect.then_some(Election {
        lease_name,
        instance_file,
    });
    Ok((options, election))
}

/// One crypto provider for the connections to the API server, to issuers and to the collector.
fn install_crypto_provider() -> Result<(), String> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    if cfg!(feature = "fips") && !provider.fips() {
        return Err("this program is built with the feature fips, and its cryptographic module is not in FIPS mode: build it again for a supported platform".to_owned());
    }
    provider
        .install_default()
        .map_err(|_| "another TLS provider is installed already".to_owned())
}

/// Starts logs and, if an endpoint is set, traces.
fn start_telemetry(run: &Run) -> Result<Option<Traces>, String> {
    let endpoint = run.otlp_endpoint.clone();
    let started = traces::chosen(endpoint, std::env::var(traces::VARIABLE).ok());
    let started = started.and_then(|url| {
        url.map(|url| traces::start(&url, &run.instance, &run.namespace))
            .transpose()
    });
    let (started, problem) = match started {
        Ok(started) => (started, None),
        Err(problem) => (None, Some(problem)),
    };
    let (spans, traces) = started.unzip();
    logs::init(run.log_format, &run.log_filter, spans)?;
    // Tokens do not depend on traces, so a problem is only a warning.
    if let Some(problem) = problem {
        tracing::warn!("no traces are sent: {problem}");
    }
    Ok(traces)
}

fn scope(namespaces: Vec<String>, cluster_issuers: bool) -> Scope {
    if namespaces.is_empty() {
        return Scope::Cluster;
    }
    Scope::Namespaces {
        names: namespaces.into_iter().collect(),
        cluster_issuers,
    }
}

fn proxy(url: Option<SecretString>, direct: &[String]) -> Result<Option<Proxy>, String> {
    let parsed = url.map(|url| Proxy::parse(&url, direct)).transpose();
    parsed.map_err(|fault| {
        fault.message(
            "--issuer-proxy (APICRED_ISSUER_PROXY)",
            "--issuer-no-proxy (APICRED_ISSUER_NO_PROXY)",
        )
    })
}

/// Ends at the first stop signal. A second one ends the process immediately.
fn stop_signal() -> Result<impl Future<Output = ()>, String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            lines::flush();
            lines::flush();
            std::process::exit(130);
        });
    })
}

async fn lease(election: Election, instance: &str) -> Result<LeaseOptions, String> {
    let identity = identity_of(instance);
    Ok(LeaseOptions {
        name: election.lease_name,
        ended: ended(election.instance_file.as_deref(), &identity),
        identity,
        client: app::client().await?,
        end_by_force: || std::process::exit(app::ENDED_BY_FORCE),
    })
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
    bundle::roots_of_file(&text).map_err(named)
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

    #[test]
    fn no_value_that_may_contain_a_secret_is_in_an_error_of_the_command_line() {
        const SECRET: &str = "not-to-be-shown";
        for args in [
            ["run", "--otlp-endpoint"],
            ["run", "--identity-endpoint"],
            ["check", "--admin"],
        ] {
            for value in [
                format!("http://u:{SECRET}@collector.example:port"),
                format!("http://collector.example:4318:x?token={SECRET}"),
                SECRET.to_owned(),
            ] {
                let args = ["apicred"].iter().chain(&args).copied().chain([&*value]);
                let fault = Cli::try_parse_from(args).err().expect("not a URL");
                let message = arguments::without_value(fault).to_string();
                assert!(message.contains("<URL>"), "{message}");
                assert!(!message.contains(SECRET), "{message}");
            }
        }
    }

    #[test]
    fn names_of_the_namespace_and_of_the_lease_are_names() {
        let parses = |flag, name| Cli::try_parse_from(["apicred", "run", flag, name]).is_ok();
        for (name, lease, namespace) in [
            ("a-b", true, true),
            ("a.b", true, false),
            ("A_b", false, false),
            ("a/b", false, false),
            ("", false, false),
        ] {
            assert_eq!(parses("--lease-name", name), lease, "{name}");
            assert_eq!(parses("--namespace", name), namespace, "{name}");
        }
    }

    /// Otherwise `--allow-wide-cidrs false` sets the flag, and `false` becomes a value of another setting.
    #[test]
    fn an_argument_without_a_flag_is_an_error() {
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
