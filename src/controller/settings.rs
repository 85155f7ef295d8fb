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

/// What an installation sets.
#[derive(Clone)]
pub struct Settings {
    /// The operator's own namespace, with its digest key.
    pub namespace: String,
    /// The watched namespaces.
    pub scope: Scope,
    /// Token requests in flight at once.
    pub concurrency: u16,
    /// Networks that are not public and may contain namespaced issuers.
    pub allowed_cidrs: Vec<IpNet>,
    /// Labels and annotations that targets may have, in addition to those that control no tool.
    pub target_keys: Vec<KeyPattern>,
    /// National clouds of Entra ID that credentials and namespaced issuers may name.
    pub entra_clouds: Vec<Cloud>,
    /// Are the servers of issuers connected to now and then, without any credential, to report whether they are reached?
    pub issuer_checks: bool,
    /// The proxy for requests to issuers.
    pub issuer_proxy: Option<Proxy>,
    /// CAs of all issuers, in addition to those of the system and of `caBundle`.
    pub issuer_cas: Vec<CertificateDer<'static>>,
    /// Name of this process in events.
    pub instance: String,
    /// How the rotation of clients' own credentials waits for issuers.
    pub rotation: RotationPace,
    /// The names in the command that gives the right to notify pods.
    pub notify_rights: Arc<Rights>,
    /// What the process's environment says about its own identity in Azure.
    pub identity: IdentityEnvironment,
}

/// How the rotation of clients' own credentials waits for issuers. The defaults fit Entra ID; tests of a whole rotation are shorter.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RotationPace {
    /// How a new credential is tried.
    pub trials: Trials,
    /// How long steps wait for others.
    pub pace: Pace,
}

impl RotationPace {
    /// The default, or one for issuers whose replicas do not lag.
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
    /// All of them.
    #[default]
    Cluster,
    /// These alone. Needs no right on any other, and none on the cluster unless `cluster_issuers`.
    Namespaces {
        /// Their names.
        names: BTreeSet<String>,
        /// Are `ClusterTokenIssuers` read, and the labels of these namespaces?
        cluster_issuers: bool,
    },
}

impl Scope {
    /// Is anything of the cluster's own read?
    pub fn reads_cluster(&self) -> bool {
        match self {
            Self::Cluster => true,
            Self::Namespaces {
                cluster_issuers, ..
            } => *cluster_issuers,
        }
    }

    /// The namespaces, if not all.
    pub fn names(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::Cluster => None,
            Self::Namespaces { names, .. } => Some(names),
        }
    }
}

/// What the environment of the operator's process says about its identity.
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
    /// Folder of the Azure Arc agent's key files.
    pub arc_folder: PathBuf,
    /// Audiences that the API server takes for its own, as far as the operator's own token shows.
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
