//! The control plane, the issuer, the replicas, and the faults that are injected.

use std::{
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use testenv::{Component, ControlPlane};

use crate::{
    issuer::{self, Prepared},
    plan::{Fault, Options, Server, Victim},
    replicas::Replica,
    support::{
        Guarded, NAMESPACE,
        world::{client, install},
    },
};

/// A fault as it happened.
#[derive(Clone, Debug)]
pub(crate) struct Happening {
    pub(crate) fault: Fault,
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
    /// Whether it ended or stopped a process that had led.
    pub(crate) led: bool,
}

/// Everything in a run.
pub(crate) struct World {
    // Fields are dropped in this order: clients before the servers that they call.
    pub(crate) replicas: Vec<Replica>,
    issuer: tokio::sync::Mutex<Guarded>,
    plane: tokio::sync::Mutex<ControlPlane>,
    pub(crate) admin: Client,
    pub(crate) prepared: Prepared,
    leader: AtomicUsize,
    /// How often the leader changed.
    pub(crate) changes_of_leader: AtomicUsize,
    happened: Mutex<Vec<Happening>>,
}

impl World {
    /// Starts the servers, and no replica yet.
    pub(crate) async fn start(options: Options) -> Self {
        let plane = ControlPlane::start(testenv::Options {
            audit: false,
            ..testenv::Options::default()
        });
        let plane = plane.await.expect("a control plane");
        install(&plane).await;
        let kubeconfig = plane
            .service_account_kubeconfig(NAMESPACE, "apicred", Duration::from_hours(24))
            .await
            .expect("a token of the operator's ServiceAccount");
        let folder = plane.dir().to_owned();
        let prepared = issuer::prepare(&folder);
        let issuer = start_issuer(&prepared, &folder).await;
        let admin = client(plane.admin_kubeconfig().into()).await;
        let numbers = 0..options.replicas;
        Self {
            replicas: numbers
                .map(|number| Replica::new(number, &kubeconfig, &folder))
                .collect(),
            issuer: tokio::sync::Mutex::new(issuer),
            plane: tokio::sync::Mutex::new(plane),
            admin,
            prepared,
            leader: AtomicUsize::new(usize::MAX),
            changes_of_leader: AtomicUsize::default(),
            happened: Mutex::default(),
        }
    }

    /// Applies objects as an administrator does.
    pub(crate) async fn apply(&self, objects: &[serde_json::Value]) {
        let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        let plane = self.plane.lock().await;
        let applied = plane.kubectl_apply(&list.to_string()).await;
        applied.expect("objects that are taken");
    }

    /// Keeps the replicas running, as kubelets do. Never returns.
    pub(crate) async fn supervise(&self) {
        let each = self.replicas.iter().map(async |replica| {
            loop {
                replica.supervise().await;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        });
        futures::future::join_all(each).await;
    }

    /// Records which replica leads. Never returns.
    pub(crate) async fn follow_leader(&self) {
        let leases: Api<Lease> = Api::namespaced(self.admin.clone(), NAMESPACE);
        loop {
            let read = tokio::time::timeout(Duration::from_secs(1), leases.get("apicred")).await;
            let holder = read
                .ok()
                .and_then(Result::ok)
                .and_then(|l| l.spec?.holder_identity);
            let number = holder.and_then(|holder| {
                let name = holder.split('_').next()?;
                name.strip_prefix("replica-")?.parse().ok()
            });
            if let Some(number) = number
                && self.leader.swap(number, Ordering::SeqCst) != number
            {
                self.changes_of_leader.fetch_add(1, Ordering::SeqCst);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    fn victim(&self, victim: Victim) -> &Replica {
        let number = match victim {
            Victim::Leader => self.leader.load(Ordering::SeqCst),
            Victim::Number(number) => number,
        };
        self.replicas.get(number).unwrap_or(&self.replicas[0])
    }

    /// Injects this fault, and returns when it has ended.
    pub(crate) async fn strike(&self, fault: Fault) {
        let from = Timestamp::now();
        let mut led = false;
        match fault {
            Fault::Kill(victim) => led = self.victim(victim).signal("KILL").await,
            Fault::KillAll => {
                for replica in &self.replicas {
                    led |= replica.signal("KILL").await;
                }
            }
            Fault::Terminate(victim) => led = self.victim(victim).signal("TERM").await,
            Fault::Freeze(victim, time) => {
                let victim = self.victim(victim);
                led = victim.signal("STOP").await;
                victim.frozen.store(true, Ordering::SeqCst);
                tokio::time::sleep(time).await;
                victim.signal("CONT").await;
                victim.frozen.store(false, Ordering::SeqCst);
            }
            Fault::Down(Server::Issuer, time) => {
                self.issuer.lock().await.kill().await;
                tokio::time::sleep(time).await;
                let folder = self.prepared.folder.clone();
                *self.issuer.lock().await = start_issuer(&self.prepared, &folder).await;
            }
            Fault::Stall(Server::Issuer, time) => {
                self.issuer.lock().await.signal("STOP").await;
                tokio::time::sleep(time).await;
                self.issuer.lock().await.signal("CONT").await;
            }
            Fault::Down(server, time) => {
                let component = component(server);
                self.plane.lock().await.kill(component);
                tokio::time::sleep(time).await;
                let started = self.plane.lock().await.start_again(component).await;
                started.expect("a server starts again");
            }
            Fault::Stall(server, time) => {
                let component = component(server);
                self.plane.lock().await.pause(component);
                tokio::time::sleep(time).await;
                self.plane.lock().await.go_on(component);
            }
        }
        let happening = Happening {
            fault,
            from,
            until: Timestamp::now(),
            led,
        };
        eprintln!("chaos: {} {happening:?}", Timestamp::now());
        let mut happened = self.happened.lock().unwrap_or_else(PoisonError::into_inner);
        happened.push(happening);
    }

    /// All faults so far.
    pub(crate) fn happened(&self) -> Vec<Happening> {
        let happened = self.happened.lock().unwrap_or_else(PoisonError::into_inner);
        happened.clone()
    }
}

fn component(server: Server) -> Component {
    match server {
        Server::Etcd => Component::Etcd,
        Server::Api | Server::Issuer => Component::ApiServer,
    }
}

async fn start_issuer(prepared: &Prepared, folder: &Path) -> Guarded {
    let program = std::env::current_exe().expect("this program");
    let args = [
        "issuer".to_owned(),
        folder.display().to_string(),
        prepared.port.to_string(),
    ];
    let started = Guarded::spawn(&program, &args, &[], folder.join("issuer.log")).await;
    let address = ("127.0.0.1", prepared.port);
    testenv::eventually(Duration::from_secs(30), "the issuer", async || {
        tokio::net::TcpStream::connect(address).await.map(|_| ())
    })
    .await;
    started
}
