//! The flags of the command `run`.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use apicred::{
    api::Cloud,
    controller::IdentityEnvironment,
    credential::KeyPattern,
    plan::notify::Rights,
    telemetry::{logs::LogFormat, traces},
};
use clap::Args;
use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

#[derive(Args)]
pub(crate) struct Run {
    /// The operator's own namespace, which contains its digest key and its Lease.
    #[arg(
        long,
        env = "POD_NAMESPACE",
        default_value = "apicred-system",
        value_parser = namespace_name
    )]
    pub(crate) namespace: String,
    /// Watch only these namespaces, and need no rights in others.
    #[arg(
        long = "watch-namespace",
        env = "APICRED_WATCH_NAMESPACES",
        value_delimiter = ',',
        value_parser = namespace_name
    )]
    pub(crate) watch_namespaces: Vec<String>,
    /// With --watch-namespace: also read `ClusterTokenIssuers`, and the labels of these namespaces.
    #[arg(long, env = "APICRED_CLUSTER_ISSUERS")]
    pub(crate) cluster_issuers: bool,
    /// Name of this process in events.
    #[arg(long, env = "POD_NAME", default_value = "apicred")]
    pub(crate) instance: String,
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, env = "APICRED_ADMIN_LISTEN", default_value = "0.0.0.0:8080")]
    pub(crate) admin_listen: SocketAddr,
    /// Maximum number of token requests at the same time.
    #[arg(long, env = "APICRED_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) concurrency: u16,
    #[command(flatten)]
    pub(crate) tenants: Tenants,
    /// HTTP proxy for requests to issuers, `http://proxy.example:3128`. If the URL has a user and password, set the variable and
    /// not the flag, which every process of the machine can read. `HTTPS_PROXY` and similar variables are ignored.
    // Parsed later: clap would print a value that it cannot parse.
    #[arg(
        long,
        env = "APICRED_ISSUER_PROXY",
        value_name = "URL",
        hide_env_values = true
    )]
    pub(crate) issuer_proxy: Option<SecretString>,
    /// Issuers that are reached directly: host names, .suffixes, addresses and CIDRs.
    #[arg(
        long,
        env = "APICRED_ISSUER_NO_PROXY",
        value_name = "LIST",
        value_delimiter = ',',
        requires = "issuer_proxy"
    )]
    pub(crate) issuer_no_proxy: Vec<String>,
    /// File with CAs of all issuers (PEM), in addition to those of the system and those of the caBundle of an issuer. It is read once, at the
    /// start.
    #[arg(long, env = "APICRED_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Expose gauges for each credential: when its token and its client credential expire.
    #[arg(long, env = "APICRED_METRICS_PER_CREDENTIAL")]
    pub(crate) metrics_per_credential: bool,
    /// Format of log lines.
    #[arg(long, env = "APICRED_LOG_FORMAT", value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
    /// Log level, as a tracing filter.
    #[arg(long, env = "APICRED_LOG_FILTER", default_value = "info")]
    pub(crate) log_filter: String,
    /// URL of a collector for traces, `http://collector.example:4318` (OTLP over HTTP). Only in builds with the feature `otel`. If not set: no
    /// traces are sent. The variable `OTEL_EXPORTER_OTLP_ENDPOINT` sets it as well; platforms set that one in every container, so an
    /// unusable value of it is a warning.
    #[arg(long, value_name = "URL", value_parser = traces::endpoint)]
    pub(crate) otlp_endpoint: Option<Url>,
    /// Stand by while another operator leads; needed for more than one replica.
    #[arg(long, env = "APICRED_LEADER_ELECT")]
    pub(crate) leader_elect: bool,
    /// Name of the Lease in the operator's namespace.
    #[arg(
        long,
        env = "APICRED_LEASE_NAME",
        default_value = "apicred",
        value_parser = object_name
    )]
    pub(crate) lease_name: String,
    /// A file in an `emptyDir` volume of the pod. With it, a restarted container proves that the process before it has ended, and takes over
    /// the Lease of that process at once. If not set: it waits until the Lease has expired (15 s).
    #[arg(long, env = "APICRED_INSTANCE_FILE", value_name = "FILE")]
    pub(crate) instance_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) rotations: Rotations,
    #[command(flatten)]
    pub(crate) notify: Notify,
    #[command(flatten)]
    pub(crate) identity: Identity,
}

/// How client credentials are rotated.
#[derive(Args)]
pub(crate) struct Rotations {
    /// For demonstrations: a new client credential is tried for seconds and not for minutes. Replicas of Entra ID lag for longer.
    #[arg(long, hide = true)]
    pub(crate) fast_rotations: bool,
}

/// The names in the command that gives the right to notify pods.
#[derive(Args)]
pub(crate) struct Notify {
    /// The `ClusterRole` with the rights that `spec.target.notifyPods` needs. Empty if it is not installed.
    #[arg(long, env = "APICRED_NOTIFY_PODS_ROLE", default_value = "")]
    pub(crate) notify_pods_role: String,
    /// Name of the `ServiceAccount` of this process.
    #[arg(long, env = "POD_SERVICE_ACCOUNT", default_value = "apicred")]
    pub(crate) service_account: String,
}

impl Notify {
    pub(crate) fn rights(self, namespace: &str) -> Arc<Rights> {
        Arc::new(Rights {
            role: self.notify_pods_role,
            account: format!("{namespace}:{}", self.service_account),
        })
    }
}

/// What namespaces may do.
#[derive(Args)]
pub(crate) struct Tenants {
    /// Networks (CIDR) that namespaced issuers may use although they are not public.
    #[arg(long = "allow-cidr", env = "APICRED_ALLOW_CIDR", value_delimiter = ',')]
    pub(crate) allowed_cidrs: Vec<IpNet>,
    /// Accept an --allow-cidr that contains this machine or a metadata service, or is very wide.
    #[arg(long, env = "APICRED_ALLOW_WIDE_CIDRS")]
    pub(crate) allow_wide_cidrs: bool,
    /// Connect to the servers of issuers from time to time, without credentials, to report whether they can be reached.
    #[arg(
        long,
        env = "APICRED_ISSUER_CHECKS",
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set
    )]
    pub(crate) issuer_checks: bool,
    /// Label and annotation keys that targets may have: `team`, `example.com/team`, or `example.com/*`.
    #[arg(
        long = "target-keys-allowed",
        env = "APICRED_TARGET_KEYS_ALLOWED",
        value_name = "LIST",
        value_delimiter = ','
    )]
    pub(crate) target_keys: Vec<KeyPattern>,
    /// National clouds of Entra ID that credentials and namespaced issuers may name: Public, `USGov`, China.
    #[arg(
        long = "entra-clouds",
        env = "APICRED_ENTRA_CLOUDS",
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "Public",
        value_parser = cloud
    )]
    pub(crate) entra_clouds: Vec<Cloud>,
}

/// A DNS label (RFC 1123), like the name of a namespace.
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

/// A DNS subdomain (RFC 1123), like the name of most objects.
fn object_name(text: &str) -> Result<String, String> {
    let fits = text.len() <= 253 && text.split('.').all(|part| namespace_name(part).is_ok());
    fits.then(|| text.to_owned())
        .ok_or_else(|| "not the name of an object: lower case letters, digits, - and .".to_owned())
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

/// The operator's own identity in Azure, as its platform sets it. Used only by credentials of a ClusterTokenIssuer
/// that allows it.
#[derive(Args)]
#[command(next_help_heading = "Identity in Azure")]
pub(crate) struct Identity {
    /// Identity endpoint of App Service.
    #[arg(
        long = "identity-endpoint",
        env = "IDENTITY_ENDPOINT",
        value_name = "URL",
        hide_env_values = true
    )]
    pub(crate) endpoint: Option<Url>,
    /// Secret header of that endpoint.
    #[arg(
        long = "identity-header",
        env = "IDENTITY_HEADER",
        hide = true,
        hide_env_values = true
    )]
    pub(crate) header: Option<SecretString>,
    /// File with the federated token of Entra Workload ID.
    #[arg(long, env = "AZURE_FEDERATED_TOKEN_FILE")]
    pub(crate) federated_token_file: Option<PathBuf>,
    /// Client id of Entra Workload ID.
    #[arg(long, env = "AZURE_CLIENT_ID")]
    pub(crate) azure_client_id: Option<String>,
    /// Folder in which the Azure Arc agent writes its key files.
    #[arg(
        long,
        env = "APICRED_ARC_FOLDER",
        default_value = "/var/opt/azcmagent/tokens"
    )]
    pub(crate) arc_folder: PathBuf,
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
