//! Acquires, renews and releases the Lease, with a separate client: its calls must not wait behind the operator's.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::Lease as Object, apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, Client, api::PostParams};
use tokio::time::Instant;

use super::{
    Authority,
    election::{GIVE_UP, LEASE, PAUSE, POLL, Record, Seen, Step},
};
use crate::{
    api::names,
    clock::Clock,
    telemetry::tries::{Tries, warn_at_first},
};

/// A call that takes longer counts as failed, so that another try fits into the time in which the lease is valid.
const CALL: Duration = Duration::from_secs(4);

/// A Lease, and the client to acquire it.
pub struct Lease {
    api: Api<Object>,
    name: String,
    me: String,
    clock: Arc<dyn Clock>,
    began: Instant,
    authority: Authority,
    ended: Vec<String>,
}

/// The right to work; [`HeldLease::keep`] returns when it is lost.
pub struct HeldLease {
    lease: Lease,
    /// The Lease as the API server last returned it.
    object: Object,
    /// When the last successful renewal was sent. The time of the answer would be too late: the API server may have renewed it at once.
    renewed: Instant,
}

/// Another process holds the Lease, or it could not be renewed in time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lost;

impl Lease {
    /// A Lease in the operator's namespace. `me` must be different for each process.
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
            authority: Authority::of_a_candidate(),
            ended: Vec::new(),
        }
    }

    /// The processes with these names have ended: a Lease that one of them holds is acquired at once.
    #[must_use]
    pub fn after(mut self, ended: Vec<String>) -> Self {
        self.ended = ended;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The right to act that depends on this Lease.
    pub fn authority(&self) -> Authority {
        self.authority.clone()
    }

    /// Waits until this process holds the Lease. It continues whatever the API server answers, because a standby has no other work.
    pub async fn acquire(self) -> HeldLease {
        let mut seen = Seen::after(self.ended.clone());
        let (mut reported, mut tries) = (false, Tries::default());
        loop {
            match self.read().await {
                Ok(found) => {
                    let failures = tries.worked();
                    if failures > 0 {
                        tracing::info!(
                            lease = self.name,
                            tries = failures,
                            "the lease can be read again"
                        );
                    }
                    seen.observe(found.as_ref().map(record), self.began.elapsed());
                    let sent = Instant::now();
                    let got = match seen.step(&self.me, self.began.elapsed()) {
                        Step::Create => self.create().await,
                        Step::Take { transitions, .. } => {
                            let old = found.unwrap_or_default();
                            self.put(self.held_by(&self.me, old, transitions, LEASE))
                                .await
                        }
                        Step::Wait => None,
                    };
                    if let Some(object) = got {
                        tracing::info!(lease = self.name, "leading");
                        self.authority.renewed(sent);
                        return HeldLease {
                            lease: self,
                            object,
                            renewed: sent,
                        };
                    }
                    if !reported {
                        tracing::info!(
                            lease = self.name,
                            "another operator leads; this one is on standby"
                        );
                        reported = true;
                    }
                }
                Err(what) => {
                    let failure = tries.failed(what);
                    warn_at_first!(
                        failure,
                        lease = self.name,
                        "the lease cannot be read: {what}"
                    );
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn read(&self) -> Result<Option<Object>, &'static str> {
        let found = tokio::time::timeout(CALL, self.api.get_opt(&self.name)).await;
        match found {
            Ok(Ok(object)) => Ok(object),
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                Err("the operator's role lacks get on leases")
            }
            _ => Err("the API server does not answer"),
        }
    }

    /// The object to write. All parts that do not concern the holder stay as they were read, because a PUT
    /// removes what it does not contain.
    fn held_by(
        &self,
        holder: &str,
        mut object: Object,
        transitions: i32,
        duration: Duration,
    ) -> Object {
        let now = Timestamp::from_microsecond(self.clock.now().as_microsecond());
        let now = MicroTime(now.unwrap_or(Timestamp::UNIX_EPOCH));
        object.metadata.name = Some(self.name.clone());
        object.metadata.managed_fields = None;
        let spec = object.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(holder) || spec.acquire_time.is_none() {
            spec.acquire_time = Some(now.clone());
        }
        spec.holder_identity = Some(holder.to_owned());
        spec.lease_duration_seconds = i32::try_from(duration.as_secs()).ok();
        spec.lease_transitions = Some(transitions);
        spec.renew_time = Some(now);
        object
    }

    async fn create(&self) -> Option<Object> {
        let object = self.held_by(&self.me, Object::default(), 0, LEASE);
        let params = params();
        let made = tokio::time::timeout(CALL, self.api.create(&params, &object)).await;
        made.ok()?.ok().filter(has_version)
    }

    /// Replaces the Lease if it still has the version in `object`. `None`: it has not, or the result is not known.
    async fn put(&self, object: Object) -> Option<Object> {
        if !has_version(&object) {
            // Without a version, the API server would replace any object.
            return None;
        }
        let params = params();
        let put = tokio::time::timeout(CALL, self.api.replace(&self.name, &params, &object)).await;
        put.ok()?.ok().filter(has_version)
    }
}

fn has_version(object: &Object) -> bool {
    let version = object.metadata.resource_version.as_deref();
    version.is_some_and(|v| !v.is_empty())
}

/// The content of the Lease.
fn record(object: &Object) -> Record {
    let spec = object.spec.clone().unwrap_or_default();
    let seconds = spec
        .lease_duration_seconds
        .and_then(|s| u64::try_from(s).ok());
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        duration: seconds.map_or(LEASE, Duration::from_secs),
        renewed: spec.renew_time.map(|t| t.0.to_string()).unwrap_or_default(),
        version: object.metadata.resource_version.clone().unwrap_or_default(),
        transitions: spec.lease_transitions.unwrap_or_default(),
    }
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(names::MANAGER.to_owned()),
        ..PostParams::default()
    }
}

impl HeldLease {
    /// Renews the Lease until it is lost.
    pub async fn keep(&mut self) -> Lost {
        loop {
            // The deadline includes the whole attempt, however many calls it makes and however long each takes.
            let deadline = self.renewed + GIVE_UP;
            let renewed = tokio::time::timeout_at(deadline, self.renew()).await;
            // The process may have been stopped while the answer waited.
            if !matches!(renewed, Ok(Ok(()))) || Instant::now() >= self.renewed + GIVE_UP {
                self.lease.authority.lost();
                return Lost;
            }
        }
    }

    /// One renewal, with as many tries as it needs.
    async fn renew(&mut self) -> Result<(), Lost> {
        loop {
            tokio::time::sleep(PAUSE).await;
            let sent = Instant::now();
            let me = &self.lease.me;
            let transitions = record(&self.object).transitions;
            let next = self
                .lease
                .held_by(me, self.object.clone(), transitions, LEASE);
            if let Some(object) = self.lease.put(next).await {
                self.object = object;
                self.renewed = sent;
                self.lease.authority.renewed(sent);
                return Ok(());
            }
            // After a lost answer, the Lease may have our name and a version that is not known.
            match self.lease.read().await {
                Ok(Some(object)) if record(&object).holder == *me => self.object = object,
                Ok(_) => return Err(Lost),
                Err(_) => {}
            }
        }
    }

    /// Releases the Lease, so that no standby has to wait for its expiry. Only after all work has ended.
    pub async fn release(self) {
        self.lease.authority.give_back();
        let short = Duration::from_secs(1);
        let transitions = record(&self.object).transitions;
        let free = self.lease.held_by("", self.object, transitions, short);
        if self.lease.put(free).await.is_some() {
            tracing::info!(lease = self.lease.name, "lease released");
        }
    }
}
