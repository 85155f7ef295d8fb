//! A control plane with one operator, the token server, and the load.

mod waits;

use std::{
    net::TcpListener,
    path::PathBuf,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Api, Client, Config,
    api::{DynamicObject, GroupVersionKind, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    discovery::{self, ApiResource},
};
use serde_json::Value;
use testenv::{Component, ControlPlane};

use crate::{
    Result,
    contender::{Contender, fill, of_issuer},
    options::Options,
    process::{Process, TokenServer, Usage},
    traffic::Traffic,
};

/// The namespace of operators.
const HOME: &str = "apicred-system";
/// Concurrent requests of the harness: as many as the operator's workers.
pub(crate) const CONCURRENCY: usize = 32;
/// After this time without a change, no further change is expected.
const STANDSTILL: Duration = Duration::from_secs(90);
/// How often progress is read.
const POLL: Duration = Duration::from_millis(250);

/// The rate limit of the issuer object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Limits {
    /// The default.
    Default,
    /// No limit.
    Open,
    /// Requests a second.
    Rate(u32),
}

impl Limits {
    fn text(self) -> String {
        match self {
            Self::Default => "{}".to_owned(),
            Self::Open => r#"{"requestsPerSecond": 10000, "maxInFlight": 1000}"#.to_owned(),
            Self::Rate(rate) => format!(r#"{{"requestsPerSecond": {rate}}}"#),
        }
    }
}

/// The whole environment.
pub(crate) struct World {
    // Dropped first: it would report errors about a server that is stopped before it.
    operator: Option<Process>,
    pub(crate) plane: ControlPlane,
    pub(crate) admin: Client,
    pub(crate) issuer: TokenServer,
    pub(crate) traffic: Traffic,
    contender: Contender,
    kubeconfig: PathBuf,
    metrics: String,
    port: u16,
    namespaces: usize,
    program: String,
    args: Vec<String>,
    logs: PathBuf,
    starts: u32,
    /// Objects of the load that exist.
    pub(crate) objects: usize,
    /// Seconds after which an operator that does not read a token's lifetime requests a new one: `{{refresh}}` in its load.
    pub(crate) refresh: u64,
}

impl World {
    /// Starts everything except the operator.
    pub(crate) async fn start(
        options: &Options,
        contender: &Contender,
        limits: Limits,
    ) -> Result<Self> {
        let plane = ControlPlane::start(testenv::Options {
            fsync: options.fsync,
            ..testenv::Options::default()
        })
        .await?;
        let read = Kubeconfig::read_from(plane.admin_kubeconfig())?;
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
        let account = if contender.is_own() {
            plane.install_apicred(HOME).await?;
            "apicred"
        } else {
            plane.kubectl_apply(RIVAL).await?;
            "operator"
        };
        let kubeconfig = plane
            .service_account_kubeconfig(HOME, account, Duration::from_hours(24))
            .await?;
        let user = format!("system:serviceaccount:{HOME}:{account}");
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let world = Self {
            operator: None,
            admin: Client::try_from(config)?,
            issuer: TokenServer::start().await?,
            traffic: Traffic::of(&plane, &user)?,
            logs: options
                .logs
                .clone()
                .unwrap_or_else(|| plane.dir().to_owned()),
            plane,
            contender: contender.clone(),
            kubeconfig,
            metrics: format!("http://127.0.0.1:{port}/metrics"),
            port,
            namespaces: options.namespaces.max(1),
            program: options.program.clone(),
            args: options.args.split_whitespace().map(str::to_owned).collect(),
            starts: 0,
            objects: 0,
            refresh: 3_600,
        };
        world.set_limits(limits).await?;
        for at in 0..world.namespaces {
            let namespace = format!(
                "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: load-{at}\n  labels: {{ bench: load }}\n"
            );
            world.plane.kubectl_apply(&namespace).await?;
        }
        world.new_sources(0).await?;
        Ok(world)
    }

    /// Applies the contender's objects for the cluster, with these limits of the issuer.
    pub(crate) async fn set_limits(&self, limits: Limits) -> Result<()> {
        let text = limits.text();
        let setup = self.fill(&self.contender.setup, &[("limits", &text)])?;
        let began = Instant::now();
        while !setup.is_empty() {
            match self.plane.kubectl_apply(&setup).await {
                Ok(_) => break,
                // A kind that the same text defines is served a moment later.
                Err(_) if began.elapsed() < Duration::from_secs(20) => {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Applies the contender's objects for each namespace. Another round has another client secret, so that
    /// every credential renews.
    pub(crate) async fn new_sources(&self, round: usize) -> Result<()> {
        for at in 0..self.namespaces {
            let namespace = format!("load-{at}");
            let values = [
                ("namespace", namespace.as_str()),
                ("round", &round.to_string()),
            ];
            let text = self.fill(&self.contender.namespace, &values)?;
            if text.is_empty() {
                return Ok(());
            }
            let objects: Value = serde_saphyr::from_str(&text)?;
            let mut object: DynamicObject = serde_json::from_value(objects)?;
            object.metadata.namespace = Some(namespace);
            let text = serde_json::to_string(&object)?;
            self.plane.kubectl_apply(&text).await?;
        }
        Ok(())
    }

    fn fill(&self, template: &str, more: &[(&str, &str)]) -> Result<String> {
        let issuer = of_issuer(&self.issuer.addresses)?;
        let mut values: Vec<(&str, &str)> = issuer.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let home = self.contender.folder.display().to_string();
        values.extend([("folder", home.as_str()), ("home", HOME)]);
        values.extend(more);
        Ok(fill(template, &values))
    }

    /// The namespace of an object of the load.
    pub(crate) fn namespace_of(&self, number: usize) -> String {
        format!("load-{}", number % self.namespaces)
    }

    /// The names of all namespaces of the load.
    pub(crate) fn all_namespaces(&self) -> Vec<String> {
        (0..self.namespaces)
            .map(|at| format!("load-{at}"))
            .collect()
    }

    /// The objects for one token: one, or several that belong together.
    fn parts(&self, number: usize) -> Result<Vec<DynamicObject>> {
        let (i, namespace) = (number.to_string(), self.namespace_of(number));
        let refresh = format!("{}s", self.refresh);
        let values = [
            ("i", i.as_str()),
            ("namespace", &namespace),
            ("refresh", &refresh),
        ];
        let text = self.fill(&self.contender.load, &values)?;
        let parts: Vec<Value> = serde_saphyr::from_multiple(&text)?;
        let made = parts.into_iter().map(|part| {
            let mut object: DynamicObject = serde_json::from_value(part)?;
            object.metadata.namespace = Some(namespace.clone());
            Ok(object)
        });
        made.collect()
    }

    /// The kind of the load's objects; of several, the first one's.
    pub(crate) async fn kind(&self) -> Result<ApiResource> {
        let kinds = self.kinds().await?;
        Ok(kinds.into_iter().next().ok_or("load.yaml is empty")?)
    }

    /// The kinds of the objects for one token.
    async fn kinds(&self) -> Result<Vec<ApiResource>> {
        let mut kinds = Vec::new();
        for part in self.parts(0)? {
            let types = part.types.ok_or("load.yaml names no kind")?;
            let gvk = GroupVersionKind::try_from(&types)?;
            kinds.push(discovery::pinned_kind(&self.admin, &gvk).await?.0);
        }
        Ok(kinds)
    }

    /// Adds objects of the load until there are this many.
    pub(crate) async fn grow(&mut self, objects: usize) -> Result<()> {
        let kinds = self.kinds().await?;
        let this = &*self;
        stream::iter(self.objects..objects)
            .map(|number| {
                let (kinds, parts) = (&kinds, this.parts(number));
                async move {
                    let namespace = this.namespace_of(number);
                    for (kind, part) in kinds.iter().zip(parts?) {
                        let api: Api<DynamicObject> =
                            Api::namespaced_with(this.admin.clone(), &namespace, kind);
                        api.create(&PostParams::default(), &part).await?;
                    }
                    Ok::<_, crate::Error>(())
                }
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect::<Vec<()>>()
            .await?;
        self.objects = self.objects.max(objects);
        Ok(())
    }

    /// Starts the operator, and waits until it is ready if it is apicred.
    pub(crate) async fn start_operator(&mut self) -> Result<()> {
        self.starts += 1;
        let log = self
            .logs
            .join(format!("{}-{}.out", self.contender.name, self.starts));
        let metrics_at = format!("127.0.0.1:{}", self.port);
        let env = [
            ("KUBECONFIG", self.kubeconfig.display().to_string()),
            ("POD_NAME", "bench".to_owned()),
            ("POD_NAMESPACE", HOME.to_owned()),
            ("BENCH_METRICS", metrics_at.clone()),
            ("BENCH_FOLDER", self.contender.folder.display().to_string()),
            ("BENCH_TOKEN_URL", self.issuer.addresses.token_url.clone()),
        ];
        let process = if let Some(command) = &self.contender.command {
            let args = ["-c".to_owned(), format!("exec {}", command.trim())];
            Process::spawn("/bin/sh", &args, &env, log).await?
        } else {
            let mut args = vec!["run".to_owned(), "--admin-listen".to_owned(), metrics_at];
            args.extend(["--log-format", "json"].map(str::to_owned));
            args.extend(self.args.iter().cloned());
            Process::spawn(&self.program, &args, &env, log).await?
        };
        self.operator = Some(process);
        if self.contender.is_own() {
            let ready = self.metrics.replace("/metrics", "/readyz");
            let began = Instant::now();
            while !answers(&ready).await {
                self.check_running()?;
                if began.elapsed() > STANDSTILL {
                    return Err("the operator does not become ready".into());
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        Ok(())
    }

    /// Ends the operator.
    pub(crate) async fn stop_operator(&mut self) -> Result<()> {
        match self.operator.take() {
            Some(operator) => operator.stop().await,
            None => Ok(()),
        }
    }

    /// Returns an error with its last lines if the operator has ended.
    pub(crate) fn check_running(&mut self) -> Result<()> {
        let ended = self.operator.as_mut().and_then(Process::ended);
        ended.map_or(Ok(()), |(status, expected)| {
            Err(format!("the operator ended ({status}): {expected}").into())
        })
    }

    /// The process ID of the operator.
    pub(crate) fn pid(&self) -> Result<u32> {
        let operator = self.operator.as_ref().ok_or("no operator runs")?;
        Ok(operator.pid)
    }

    /// The present usage of the operator.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid()?)
    }

    /// The present usage of the API server.
    pub(crate) fn server_usage(&self) -> Result<Usage> {
        Usage::of(self.plane.pid_of(Component::ApiServer))
    }

    /// Reconciliations since the operator's start, by its own count.
    pub(crate) async fn reconciles(&self) -> Result<f64> {
        let text = reqwest::get(&self.metrics).await?.text().await?;
        let mine = |l: &&str| {
            l.starts_with("apicred_reconciles_total")
                || l.starts_with("controller_runtime_reconcile_total")
        };
        let number = |l: &str| l.rsplit(' ').next()?.parse::<f64>().ok();
        Ok(text.lines().filter(mine).filter_map(number).sum())
    }

    /// Another number from the operator's own metrics.
    pub(crate) async fn gauge(&self, name: &str) -> Result<f64> {
        let text = reqwest::get(&self.metrics).await?.text().await?;
        let line = text.lines().find_map(|l| l.strip_prefix(name));
        Ok(line.and_then(|l| l.trim().parse().ok()).unwrap_or(f64::NAN))
    }
}

/// A rival has all rights.
const RIVAL: &str = "
apiVersion: v1
kind: Namespace
metadata: { name: apicred-system }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: operator, namespace: apicred-system }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: bench-operator }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }
subjects: [{ kind: ServiceAccount, name: operator, namespace: apicred-system }]
";

async fn answers(url: &str) -> bool {
    reqwest::get(url)
        .await
        .is_ok_and(|a| a.status().is_success())
}
