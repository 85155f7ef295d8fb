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
    refusal::{self, Fault, Verb},
};
use crate::{
    api::names,
    clock::Clock,
    telemetry::{
        health::Health,
        tries::{Tries, warn_at_first},
    },
};

/// A call that takes longer counts as failed, so that another try fits into the time in which the lease is valid.
const CALL: Duration = Duration::from_secs(4);
/// Cause of a call without an answer.
const SILENCE: &str = "the API server does not answer";
/// Cause of a call with an unusable answer.
const NO_VERSION: &str = "the API server returned no resourceVersion";

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
    /// Renewals that failed in a row.
    tries: Tries,
}

/// Why a try to acquire the Lease did not succeed.
enum Try {
    /// Another operator holds it, or was faster.
    Wait,
    /// It cannot be read.
    Read(String),
    /// It cannot be created or taken.
    Write(String),
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

    /// Waits until this process holds the Lease. It continues whatever the API server answers, because a standby has no other work. A refusal
    /// that is not another leader is reported to `health`.
    pub async fn acquire(self, health: &Health) -> HeldLease {
        let mut seen = Seen::after(self.ended.clone());
        let (mut reads, mut writes) = (Tries::default(), Tries::default());
        let mut waits = false;
        loop {
            match self.attempt(&mut seen, &mut reads).await {
                Ok((object, sent)) => {
                    tracing::info!(lease = self.name, "leading");
                    health.set_lease(Ok(()));
                    self.authority.renewed(sent);
                    return HeldLease {
                        lease: self,
                        object,
                        renewed: sent,
                        tries: Tries::default(),
                    };
                }
                Err(Try::Wait) => {
                    writes.worked();
                    health.set_lease(Ok(()));
                    if !waits {
                        tracing::info!(
                            lease = self.name,
                            "another operator leads; this one is on standby"
                        );
                        waits = true;
                    }
                }
                Err(Try::Read(what)) => {
                    let failure = reads.failed(&what);
                    warn_at_first!(
                        failure,
                        lease = self.name,
                        "the lease cannot be read: {what}"
                    );
                }
                Err(Try::Write(what)) => {
                    let failure = writes.failed(&what);
                    warn_at_first!(
                        failure,
                        lease = self.name,
                        "the lease cannot be acquired: {what}"
                    );
                    health.set_lease(Err(what));
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// One try to acquire it. Returns when the successful write was sent.
    async fn attempt(&self, seen: &mut Seen, reads: &mut Tries) -> Result<(Object, Instant), Try> {
        let found = self.read().await.map_err(Try::Read)?;
        let failures = reads.worked();
        if failures > 0 {
            tracing::info!(
                lease = self.name,
                tries = failures,
                "the lease can be read again"
            );
        }
        seen.observe(found.as_ref().map(record), self.began.elapsed());
        let sent = Instant::now();
        let written = match seen.step(&self.me, self.began.elapsed()) {
            Step::Create => self.create().await,
            Step::Take { transitions, .. } => {
                let old = found.unwrap_or_default();
                self.put(self.held_by(&self.me, old, transitions, LEASE))
                    .await
            }
            Step::Wait => return Err(Try::Wait),
        };
        let written = written.map(|object| (object, sent));
        written.map_err(|fault| match fault {
            Fault::Another => Try::Wait,
            Fault::Failed(what) => Try::Write(what),
        })
    }

    async fn read(&self) -> Result<Option<Object>, String> {
        let found = tokio::time::timeout(CALL, self.api.get_opt(&self.name)).await;
        found.map_err(|_| SILENCE.to_owned())?.map_err(|error| {
            match refusal::fault(&error, Verb::Get, self.namespace(), &self.name) {
                Fault::Another => SILENCE.to_owned(),
                Fault::Failed(what) => what,
            }
        })
    }

    fn namespace(&self) -> &str {
        self.api.namespace().unwrap_or_default()
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

    async fn create(&self) -> Result<Object, Fault> {
        let object = self.held_by(&self.me, Object::default(), 0, LEASE);
        let params = params();
        self.write(Verb::Create, self.api.create(&params, &object))
            .await
    }

    /// Replaces the Lease if it still has the version in `object`.
    async fn put(&self, object: Object) -> Result<Object, Fault> {
        if !has_version(&object) {
            // Without a version, the API server would replace any object.
            return Err(Fault::Failed(NO_VERSION.to_owned()));
        }
        let params = params();
        self.write(Verb::Update, self.api.replace(&self.name, &params, &object))
            .await
    }

    async fn write(
        &self,
        verb: Verb,
        call: impl Future<Output = Result<Object, kube::Error>>,
    ) -> Result<Object, Fault> {
        match tokio::time::timeout(CALL, call).await {
            Ok(Ok(object)) if has_version(&object) => Ok(object),
            Ok(Ok(_)) => Err(Fault::Failed(NO_VERSION.to_owned())),
            Ok(Err(error)) => Err(refusal::fault(&error, verb, self.namespace(), &self.name)),
            Err(_) => Err(Fault::Failed(SILENCE.to_owned())),
        }
    }
}

fn has_version(object: &Object) -> bool {
    let version = object.metadata.resource_version.as_deref();
    version.is_some_and(|v| !v.is_empty())
}

/// The content of the Lease.
fn record(object: &Object) -> Record {
    let spec = object.spec.clone().unwrap_or_default();
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
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
            match self.lease.put(next).await {
                Ok(object) => {
                    self.renewed(object, sent);
                    return Ok(());
                }
                // What is read below shows it.
                Err(Fault::Another) => {}
                Err(Fault::Failed(what)) => {
                    let failure = self.tries.failed(&what);
                    warn_at_first!(
                        failure,
                        lease = self.lease.name,
                        "the lease cannot be renewed: {what}"
                    );
                }
            }
            // After a lost answer, the Lease may have our name and a version that is not known.
            match self.lease.read().await {
                Ok(Some(object)) if record(&object).holder == *me => self.object = object,
                Ok(_) => return Err(Lost),
                Err(_) => {}
            }
        }
    }

    fn renewed(&mut self, object: Object, sent: Instant) {
        let failures = self.tries.worked();
        if failures > 0 {
            tracing::info!(
                lease = self.lease.name,
                tries = failures,
                "the lease can be renewed again"
            );
        }
        self.object = object;
        self.renewed = sent;
        self.lease.authority.renewed(sent);
    }

    /// Releases the Lease, so that no standby has to wait for its expiry. Only after all work has ended.
    pub async fn release(self) {
        self.lease.authority.give_back();
        let short = Duration::from_secs(1);
        let transitions = record(&self.object).transitions;
        let free = self.lease.held_by("", self.object, transitions, short);
        if self.lease.put(free).await.is_ok() {
            tracing::info!(lease = self.lease.name, "lease released");
        }
    }
}
