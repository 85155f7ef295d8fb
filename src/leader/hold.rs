//! Gets, keeps and gives back the Lease, over a client of its own: its calls must not queue behind the operator's.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease as Object, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use tokio::time::Instant;

use super::election::{GIVE_UP, LEASE, LOOK, PAUSE, Record, Seen, Step, must_give_up};
use crate::{api::names, clock::Clock};

/// A call that takes longer counts as failed.
const CALL: Duration = Duration::from_secs(4);

/// A Lease to stand for.
pub struct Lease {
    api: Api<Object>,
    name: String,
    me: String,
    clock: Arc<dyn Clock>,
    began: Instant,
}

/// The right to work; [`Standing::keep`] ends when it is lost.
pub struct Standing {
    lease: Lease,
    version: String,
    transitions: i32,
    renewed: Duration,
}

/// The Lease went to somebody else, or could not be renewed in time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lost;

impl Lease {
    /// A Lease of the operator's namespace. `me` must be another name for each process.
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        me: &str,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            me: me.to_owned(),
            clock,
            began: Instant::now(),
        }
    }

    /// Waits until the Lease is ours. Goes on whatever the API server says: a standby has nothing better to do.
    pub async fn acquire(self) -> Standing {
        let mut seen = Seen::default();
        let mut told = false;
        loop {
            match self.read().await {
                Ok(found) => {
                    seen.look(found, self.now());
                    let asked = self.now();
                    let got = match seen.step(&self.me, self.now()) {
                        Step::Create => self.create().await.map(|v| (v, 0)),
                        Step::Take {
                            version,
                            transitions,
                        } => self
                            .put(&version, transitions, &self.me, LEASE)
                            .await
                            .map(|v| (v, transitions)),
                        Step::Wait => None,
                    };
                    if let Some((version, transitions)) = got {
                        tracing::info!(lease = self.name, "leading");
                        return Standing {
                            lease: self,
                            version,
                            transitions,
                            renewed: asked,
                        };
                    }
                    if !told {
                        tracing::info!(lease = self.name, "another operator leads; standing by");
                        told = true;
                    }
                }
                Err(what) => tracing::warn!(lease = self.name, "the lease cannot be read: {what}"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    async fn read(&self) -> Result<Option<Record>, &'static str> {
        let found = tokio::time::timeout(CALL, self.api.get_opt(&self.name)).await;
        let object = match found {
            Ok(Ok(object)) => object,
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                return Err("the operator's role lacks get on leases");
            }
            _ => return Err("the API server does not answer"),
        };
        Ok(object.map(|object| {
            let spec = object.spec.unwrap_or_default();
            let seconds = spec
                .lease_duration_seconds
                .and_then(|s| u64::try_from(s).ok());
            Record {
                holder: spec.holder_identity.unwrap_or_default(),
                duration: seconds.map_or(LEASE, Duration::from_secs),
                version: object.metadata.resource_version.unwrap_or_default(),
                transitions: spec.lease_transitions.unwrap_or_default(),
            }
        }))
    }

    fn object(
        &self,
        version: Option<&str>,
        transitions: i32,
        holder: &str,
        duration: Duration,
    ) -> Object {
        let now = Timestamp::from_microsecond(self.clock.now().as_microsecond());
        let now = now.unwrap_or(Timestamp::UNIX_EPOCH);
        Object {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                resource_version: version.map(str::to_owned),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: i32::try_from(duration.as_secs()).ok(),
                lease_transitions: Some(transitions),
                renew_time: Some(MicroTime(now)),
                ..LeaseSpec::default()
            }),
        }
    }

    async fn create(&self) -> Option<String> {
        let object = self.object(None, 0, &self.me, LEASE);
        let params = params();
        let made = tokio::time::timeout(CALL, self.api.create(&params, &object)).await;
        made.ok()?.ok()?.metadata.resource_version
    }

    /// Replaces what stands there, if it is still at this version. None: it is not, or nobody knows.
    async fn put(
        &self,
        version: &str,
        transitions: i32,
        holder: &str,
        duration: Duration,
    ) -> Option<String> {
        let object = self.object(Some(version), transitions, holder, duration);
        let params = params();
        let put = tokio::time::timeout(CALL, self.api.replace(&self.name, &params, &object)).await;
        put.ok()?.ok()?.metadata.resource_version
    }
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(names::MANAGER.to_owned()),
        ..PostParams::default()
    }
}

impl Standing {
    /// Renews the Lease until it is lost.
    pub async fn keep(&mut self) -> Lost {
        loop {
            tokio::time::sleep(PAUSE).await;
            // A process that was stopped for a while finds out here, before anything else of it has had a turn.
            if must_give_up(self.renewed, self.lease.now()) {
                return Lost;
            }
            let asked = self.lease.now();
            let me = self.lease.me.clone();
            let put = self
                .lease
                .put(&self.version, self.transitions, &me, LEASE)
                .await;
            if let Some(version) = put {
                self.version = version;
                self.renewed = asked;
                continue;
            }
            // A lost answer leaves our own name at a version that we do not know.
            match self.lease.read().await {
                Ok(Some(record)) if record.holder == me => {
                    self.version = record.version;
                }
                Ok(_) => return Lost,
                Err(_) => {}
            }
            if must_give_up(self.renewed, self.lease.now()) {
                return Lost;
            }
        }
    }

    /// Gives the Lease back, so that nobody has to wait for its end. Only after all work has ended.
    pub async fn release(self) {
        let short = Duration::from_secs(1);
        let given = self
            .lease
            .put(&self.version, self.transitions, "", short)
            .await;
        if given.is_some() {
            tracing::info!(lease = self.lease.name, "lease given back");
        }
    }
}

const _: () = assert!(GIVE_UP.as_secs() + CALL.as_secs() < LEASE.as_secs());
