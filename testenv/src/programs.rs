//! Finds the programs of a control plane, or builds them.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::go_build::{HELM, KUBERNETES, Module};
use crate::progress::say;

/// The convention of controller-runtime's envtest: a folder with etcd, kube-apiserver and kubectl.
const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// The paths of the programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The store.
    pub etcd: PathBuf,
    /// The API server.
    pub kube_apiserver: PathBuf,
    /// The controllers of Kubernetes itself.
    pub kube_controller_manager: PathBuf,
    /// The command-line client.
    pub kubectl: PathBuf,
}

impl Programs {
    /// Uses the programs in the folder of `KUBEBUILDER_ASSETS`, the others from the user's cache folder,
    /// and builds those that are in neither. That takes minutes, once, and is reported on stderr.
    ///
    /// If several processes find the cache empty, one builds and the others wait for it.
    pub async fn locate_or_build() -> Result<Self, Error> {
        let names = [
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kubectl",
        ];
        let [etcd, kube_apiserver, kube_controller_manager, kubectl] =
            obtain(&KUBERNETES, names).await?;
        Ok(Self {
            etcd,
            kube_apiserver,
            kube_controller_manager,
            kubectl,
        })
    }

    /// helm, found or built in the same way, when it is needed.
    pub async fn helm(&self) -> Result<PathBuf, Error> {
        helm().await
    }

    /// The folder of kubectl, for a PATH.
    pub fn dir(&self) -> &Path {
        self.kubectl.parent().unwrap_or(&self.kubectl)
    }
}

/// helm, for commands that need no control plane.
pub async fn helm() -> Result<PathBuf, Error> {
    let [helm] = obtain(&HELM, ["helm"]).await?;
    Ok(helm)
}

async fn obtain<const N: usize>(
    module: &Module,
    names: [&'static str; N],
) -> Result<[PathBuf; N], Error> {
    let assets = std::env::var_os(ASSETS)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from);
    let given = |name: &str| {
        let candidate = assets.as_ref()?.join(name);
        candidate.is_file().then_some(candidate)
    };
    let needed: Vec<&str> = names
        .into_iter()
        .filter(|name| given(name).is_none())
        .collect();
    if let Some(folder) = &assets
        && needed.contains(&"kube-apiserver")
    {
        // Most likely a mistyped path: a build of minutes without a message would hide it.
        say(&format!(
            "{ASSETS} names {}, which holds no kube-apiserver",
            folder.display()
        ));
    }
    module.build(&needed).await?;
    let mut paths = names.map(PathBuf::from);
    for (path, name) in paths.iter_mut().zip(names) {
        *path = match given(name) {
            Some(found) => found,
            None => module.path(name)?,
        };
    }
    Ok(paths)
}
