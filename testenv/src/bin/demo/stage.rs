//! Everything that runs, and how it is stopped.

use std::path::PathBuf;
use std::time::Duration;

use crate::children::Folder;
use crate::{
    Outcome, cluster::Cluster, console::Console, issuer::Issuer, operator, operator::Operator,
};

/// The operator lets work in progress finish for up to 25 s.
const OPERATOR_ENDS: Duration = Duration::from_secs(30);
const ISSUER_ENDS: Duration = Duration::from_secs(5);

/// Each scene adds to it. When the demo ends, early or late, everything in it is stopped.
#[derive(Default)]
pub(crate) struct Stage {
    // Dropped in this order: clients before the servers that they call, the folder last.
    pub(crate) operator: Option<Operator>,
    pub(crate) issuer: Option<Issuer>,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) folder: Option<Folder>,
    /// The demo must remove its objects from the user's own cluster.
    pub(crate) installed: bool,
}

impl Stage {
    /// Checks that the processes still run.
    pub(crate) fn check(&mut self) -> Outcome<()> {
        if let Some(operator) = &mut self.operator {
            operator.process().check()?;
        }
        if let Some(issuer) = &mut self.issuer {
            issuer.process().check()?;
        }
        Ok(())
    }

    /// The cluster, if it was started.
    pub(crate) fn cluster(&self) -> Outcome<&Cluster> {
        self.cluster
            .as_ref()
            .ok_or_else(|| "there is no cluster yet".to_owned())
    }

    /// The issuer, if it was started.
    pub(crate) fn issuer(&self) -> Outcome<&Issuer> {
        self.issuer
            .as_ref()
            .ok_or_else(|| "there is no issuer yet".to_owned())
    }

    /// The operator, if it was started.
    pub(crate) fn operator(&self) -> Outcome<&Operator> {
        self.operator
            .as_ref()
            .ok_or_else(|| "there is no operator yet".to_owned())
    }

    /// The folder of this run, if it was created.
    pub(crate) fn folder(&self) -> Outcome<&Folder> {
        self.folder
            .as_ref()
            .ok_or_else(|| "there is no folder yet".to_owned())
    }

    /// Ends everything, in order. The first failure is reported, and the other steps are still done.
    pub(crate) async fn strike(&mut self, console: &Console) -> Outcome<()> {
        let mut result = Ok(());
        if let Some(operator) = self.operator.take() {
            let ended = operator.into_process().stop(OPERATOR_ENDS);
            result = result.and(console.during("stopping the operator", ended).await);
        }
        if let (Some(cluster), true) = (&self.cluster, self.installed)
            && !cluster.is_own()
        {
            console.step(
                "removing the objects of the demo from your cluster: release, CRDs, two namespaces",
            );
            result = result.and(
                console
                    .during("removing it", operator::uninstall(cluster))
                    .await,
            );
        }
        if let Some(issuer) = self.issuer.take() {
            result = result.and(issuer.into_process().stop(ISSUER_ENDS).await);
        }
        self.cluster = None;
        self.folder = None;
        result
    }

    /// Commands to look around, for `KEEP=1`.
    pub(crate) fn print_commands(&self, console: &Console) {
        let (Ok(cluster), Ok(issuer), Ok(operator)) =
            (self.cluster(), self.issuer(), self.operator())
        else {
            return;
        };
        let ca = self
            .folder
            .as_ref()
            .map_or_else(PathBuf::new, |f| f.path().join("issuer-ca.pem"));
        console.scene("everything runs until Ctrl-C; in another terminal:");
        console.block(&format!(
            "export KUBECONFIG={}\n\
             export PATH={}:$PATH\n\
             kubectl get apicred -A\n\
             kubectl -n {demo} describe ac defender-alerts\n\
             kubectl -n {demo} get events --watch\n\
             curl -s {}/metrics              # the operator; also /livez and /readyz\n\
             tail -f {}\n\
             curl -s {}/stats                # the issuer; /requests, /faults and more: dev-issuer/README.md\n\
             tail -f {}\n\
             curl --cacert {} {}/api/demo/whoami",
            cluster.kubeconfig.display(),
            cluster.programs().display(),
            operator.admin,
            operator.log().display(),
            issuer.admin,
            issuer.log().display(),
            ca.display(),
            issuer.origin,
            demo = crate::story::NAMESPACE,
        ));
    }
}
