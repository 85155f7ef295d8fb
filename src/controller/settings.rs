//! The settings of an installation.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use ipnet::IpNet;
use rustls::pki_types::CertificateDer;
use secrecy::SecretString;
use url::Url;

use crate::{
    api::Cloud,
    credential::KeyPattern,
    plan::notify::Rights,
    proxy::Proxy,
    rotation::{Pace, Trials},
};
use jiff::SignedDuration;

/// The settings of an installation.
#[derive(Clone)]
pub struct Settings {
    /// The operator's own namespace, which contains its digest key.
    pub namespace: String,
    /// The watched namespaces.
    pub scope: Scope,
    /// The maximum number of concurrent token requests.
    pub concurrency: u16,
    /// Networks that are not public and may contain the servers of namespaced issuers.
    pub allowed_cidrs: Vec<IpNet>,
    /// Labels and annotations that targets may have, in addition to those that no tool acts on.
    pub target_keys: Vec<KeyPattern>,
    /// National clouds of Entra ID that credentials and namespaced issuers may name.
    pub entra_clouds: Vec<Cloud>,
    /// Whether the operator connects to the servers of issuers at intervals, without any credential, to report whether they are reachable.
    pub issuer_checks: bool,
    /// The proxy for requests to issuers.
    pub issuer_proxy: Option<Proxy>,
    /// CAs for all issuers, in addition to the CAs of the system and of `caBundle`.
    pub issuer_cas: Vec<CertificateDer<'static>>,
    /// The name of this process in events.
    pub instance: String,
    /// How the rotation of clients' own credentials waits for issuers.
    pub rotation: RotationPace,
    /// The names in the command that grants the permission to notify pods.
    pub notify_rights: Arc<Rights>,
    /// The content of the process's environment about its own identity in Azure.
    pub identity: IdentityEnvironment,
}

/// How the rotation of clients' own credentials waits for issuers. The defaults are for Entra ID; tests of a whole rotation use shorter times.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RotationPace {
    /// How a new credential is tried.
    pub trials: Trials,
    /// How long steps wait for other systems.
    pub pace: Pace,
}

impl RotationPace {
    /// The default, or the pace for issuers whose replicas do not lag.
    pub fn of(fast: bool) -> Self {
        let seconds = SignedDuration::from_secs;
        let usual = Self::default();
        if !fast {
            return usual;
        }
        Self {
            trials: Trials {
                gap: seconds(2),
                in_row: 3,
                over: seconds(4),
                ..usual.trials
            },
            pace: Pace {
                settles: seconds(5),
                between_writes: seconds(1),
                again: seconds(2),
                ..usual.pace
            },
        }
    }
}

/// The namespaces that an operator watches.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Scope {
    /// All namespaces.
    #[default]
    Cluster,
    /// Only these namespaces. Needs no permissions in other namespaces, and no cluster-scoped permissions unless `cluster_issuers` is set.
    Namespaces {
        /// Their names.
        names: BTreeSet<String>,
        /// Whether `ClusterTokenIssuers` and the labels of these namespaces are read.
        cluster_issuers: bool,
    },
}

impl Scope {
    /// Whether any cluster-scoped object is read.
    pub fn reads_cluster(&self) -> bool {
        match self {
            Self::Cluster => true,
            Self::Namespaces {
                cluster_issuers, ..
            } => *cluster_issuers,
        }
    }

    /// The names of the namespaces; `None` for all namespaces.
    pub fn names(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::Cluster => None,
            Self::Namespaces { names, .. } => Some(names),
        }
    }
}

/// The content of the operator's environment about its identity.
#[derive(Clone)]
pub struct IdentityEnvironment {
    /// `IDENTITY_ENDPOINT` (App Service).
    pub endpoint: Option<Url>,
    /// `IDENTITY_HEADER` (App Service).
    pub header: Option<SecretString>,
    /// `AZURE_FEDERATED_TOKEN_FILE` (Entra Workload ID).
    pub federated_token_file: Option<PathBuf>,
    /// `AZURE_CLIENT_ID` (Entra Workload ID).
    pub client_id: Option<String>,
    /// The folder with the key files of the Azure Arc agent.
    pub arc_folder: PathBuf,
    /// The audiences that the API server accepts as its own, according to the operator's own token.
    pub api_audiences: Vec<String>,
}

impl Default for IdentityEnvironment {
    fn default() -> Self {
        Self {
            endpoint: None,
            header: None,
            federated_token_file: None,
            client_id: None,
            arc_folder: PathBuf::from("/var/opt/azcmagent/tokens"),
            api_audiences: Vec::new(),
        }
    }
}
