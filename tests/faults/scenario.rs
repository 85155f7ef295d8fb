//! One scenario of a credential: it gets its first token, is renewed because a user requests it, gets another client secret,
//! and is deleted. Meanwhile a fault occurs.

mod rest;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use apicred::controller::Scope;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use testenv::eventually;
use tokio::sync::{OnceCell, Semaphore};

use crate::{
    calls::Fault,
    inside::{Given, Inside, LogBuffer, Probe, Steered},
    oracles::mask,
    support::{LATER, Place, Recorder, SecretView, World, condition, unique},
    wire::Wire,
};

/// A reconciliation may be delayed by at most this without a message in its status.
const UNSAID: SignedDuration = SignedDuration::from_secs(3);
/// How long nothing may happen at the end.
const CALM: Duration = Duration::from_millis(400);

/// Scenarios that run at once, in all tests together: more would only wait for each other.
static TURNS: Semaphore = Semaphore::const_new(24);
/// Annotations that are keyed digests, which may contain a word by chance.
const DIGESTS: [&str; 5] = [
    "apicred.dev/template-digest",
    "apicred.dev/fingerprint",
    "apicred.dev/request-digest",
    "apicred.dev/token-digest",
    "apicred.dev/token-id",
];

static WORLD: OnceCell<World> = OnceCell::const_new();
static REFERENCE: OnceCell<Scenario> = OnceCell::const_new();

/// The world of all cases that do not disturb the servers. Only the operators of the cases run in it.
pub(crate) async fn world() -> &'static World {
    WORLD.get_or_init(World::own).await
}

/// The scenario without a fault, up to its last state. Its deletion is a separate case: the garbage
/// collector of a new control plane discovers our kinds only after half a minute, and the others need not wait.
pub(crate) async fn reference() -> &'static Scenario {
    REFERENCE
        .get_or_init(async || {
            let mut case = Case::new(world().await, "reference").await;
            let scenario = case.live().await;
            case.stop().await;
            scenario
        })
        .await
}

/// A client with the operator's rights.
pub(crate) async fn operator(world: &World) -> Client {
    let read = Kubeconfig::read_from(world.operator_kubeconfig()).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a usable kubeconfig")).expect("a client")
}

/// Which namespaces the operator of a case watches. It must behave the same in both modes, so a scenario in either mode is
/// compared with the same reference.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// All of them, as far as the [`Wire`] shows them.
    Cluster,
    /// The namespace of the case by name (`watchNamespaces` of the chart), and the issuers of the cluster.
    Namespaced,
}

impl Mode {
    pub(crate) const BOTH: [Self; 2] = [Self::Cluster, Self::Namespaced];

    /// The name of a case in this mode: different places need different names.
    pub(crate) fn name(self, name: &str) -> String {
        match self {
            Self::Cluster => name.to_owned(),
            Self::Namespaced => format!("{name}-ns"),
        }
    }

    fn scope(self, namespace: &str) -> Scope {
        match self {
            Self::Cluster => Scope::Cluster,
            Self::Namespaced => Scope::Namespaces {
                names: [namespace.to_owned()].into(),
                cluster_issuers: true,
            },
        }
    }
}

/// Runs a case in both modes at once.
pub(crate) async fn in_both_modes(case: impl AsyncFn(Mode)) {
    let [cluster, namespaced] = Mode::BOTH.map(|mode| case(mode));
    futures::future::join(cluster, namespaced).await;
}

/// A case: a place, an operator that sees nothing else, and everything that is recorded about the two.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) place: Arc<Place>,
    pub(crate) wire: Wire,
    pub(crate) clock: Arc<Steered>,
    pub(crate) log: LogBuffer,
    mode: Mode,
    pub(crate) kubeconfig: std::path::PathBuf,
    /// After how long it closes a silent connection, if not after the usual time.
    pub(crate) silence: Option<Duration>,
    /// The namespace of the digest key: the place, so that each scenario creates the key.
    pub(crate) home: String,
    /// The clock does not advance: the token must not expire while only the test can end a fault.
    pub(crate) frozen: Arc<AtomicBool>,
    pub(crate) probe: Probe,
    operator: Option<Inside>,
    pub(crate) crashes: usize,
    nudges: usize,
    /// The present wait, to be named if it times out.
    doing: &'static str,
}

/// The records of a scenario, for the oracles.
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// Requests with an injected fault.
    pub(crate) spoilt: usize,
    /// Those, and requests that the server itself refused.
    pub(crate) troubles: usize,
    pub(crate) crashes: usize,
    /// Requests of single objects, in their order.
    pub(crate) calls: Vec<String>,
    pub(crate) posts: usize,
    pub(crate) tokens: Vec<SecretView>,
    /// The state before the deletion, masked.
    pub(crate) end: Value,
    /// Writes that the server executed, by object, masked.
    pub(crate) writes: std::collections::BTreeMap<String, usize>,
    /// Secrets of others, before and after.
    pub(crate) others: (Value, Value),
    /// All readable output.
    pub(crate) text: String,
    /// Values that must not be in it.
    pub(crate) canaries: Vec<String>,
}

impl Scenario {
    /// Runs a scenario on a wire that `spoil` may have given a fault.
    pub(crate) async fn lead(name: &str, inject: impl FnOnce(&Wire)) -> Self {
        Self::lead_in(Mode::Cluster, name, inject).await
    }

    /// The same, in this mode.
    pub(crate) async fn lead_in(mode: Mode, name: &str, inject: impl FnOnce(&Wire)) -> Self {
        let world = world().await;
        let turn = TURNS.acquire().await.expect("it is never closed");
        let mut case = Case::within(world, name, mode).await;
        inject(&case.wire);
        let scenario = case.live().await;
        // A deletion waits for the garbage collector: the next scenario may begin.
        drop(turn);
        case.end(&scenario).await;
        scenario
    }
}

impl Case {
    /// A place in this world; no operator runs in it yet.
    pub(crate) async fn new(world: &World, name: &str) -> Self {
        Self::within(world, name, Mode::Cluster).await
    }

    /// The same, in this mode.
    pub(crate) async fn within(world: &World, name: &str, mode: Mode) -> Self {
        let name = &mode.name(name);
        let place = world.place(name).await;
        let wire = Wire::to(&place.namespace, &place.issuer_name);
        let home = place.namespace.clone();
        Self {
            name: name.to_owned(),
            place: Arc::new(place),
            wire,
            clock: Arc::default(),
            log: LogBuffer::default(),
            mode,
            kubeconfig: world.operator_kubeconfig().clone(),
            silence: None,
            home,
            frozen: Arc::default(),
            probe: Probe::default(),
            operator: None,
            crashes: 0,
            nudges: 0,
            doing: "the start",
        }
    }

    pub(crate) fn start(&mut self) {
        assert!(self.operator.is_none(), "one operator at a time");
        let given = self.given(&self.wire);
        self.operator = Some(Inside::start(&self.kubeconfig, given));
    }

    /// The inputs of an operator on this wire.
    pub(crate) fn given(&self, wire: &Wire) -> Given {
        Given {
            wire: wire.clone(),
            clock: Arc::clone(&self.clock),
            log: self.log.clone(),
            scope: self.mode.scope(&self.place.namespace),
            namespace: self.home.clone(),
            silence: self.silence,
            probe: self.probe.clone(),
            lease: None,
        }
    }

    /// Ends the operator as SIGKILL does.
    pub(crate) async fn kill(&mut self) {
        self.operator.take().expect("it runs").kill().await;
    }

    /// Waits until the operator has ended; returns its error.
    pub(crate) async fn until_ended(&mut self) -> String {
        let ended = || self.operator.as_ref().is_some_and(Inside::ended);
        let what = format!("{}: its own end", self.name);
        eventually(LATER, what, async || {
            let journal = self.journal();
            let last = &journal[journal.len().saturating_sub(30)..];
            if ended() {
                Ok(())
            } else {
                Err(format!("{last:#?}"))
            }
        })
        .await;
        let ended = self.operator.take().expect("it ran").stop().await;
        ended.expect_err("it does not end well by itself")
    }

    /// Ends the operator as SIGTERM does.
    pub(crate) async fn stop(&mut self) {
        let ended = self.operator.take().expect("it runs").stop().await;
        assert_eq!(ended, Ok(()), "{}", self.name);
    }

    /// Stops the operator, as SIGTERM does, and returns at once.
    pub(crate) fn drain(&mut self) -> tokio::task::JoinHandle<Result<(), String>> {
        tokio::spawn(self.operator.take().expect("it runs").stop())
    }

    /// The deletion, and the end of the operator.
    pub(crate) async fn end(mut self, scenario: &Scenario) {
        self.place.delete("c").await;
        self.until_gone().await;
        assert_eq!(self.place.posts(), scenario.posts, "{}: O12", self.name);
        self.stop().await;
    }

    /// Everything from the first start to the state before the deletion.
    pub(crate) async fn live(&mut self) -> Scenario {
        let recorder = Recorder::of(&self.place, "token");
        let bystander = format!("bystander~{}", unique());
        self.place.put_secret("bystander", "key", &bystander).await;
        let before = self.others().await;
        self.start();
        self.place.create("c", json!({})).await;
        self.doing = "the first token";
        let first = self.until_ready(None).await;
        let renewal_id = self.place.request_renewal("c").await;
        self.doing = "the requested renewal";
        let second = self.until_ready(Some((&first, Some(&renewal_id)))).await;
        // As a user does it: the new secret is valid before it is stored.
        let secret = format!("{}~second", unique());
        let client = dev_issuer::Client::new(&self.place.client).secret(&secret);
        self.place.add_client(client.role("demo", "Records.Read"));
        self.place.put_source(&secret).await;
        self.doing = "the token for another client secret";
        let third = self.until_ready(Some((&second, None))).await;
        let status = self.place.call("demo", "whoami", &third.token).await;
        assert_eq!(status, 200, "{}: the last token is good", self.name);
        self.doing = "the end state";
        let end = self.until_at_rest().await;
        let others = (before, self.others().await);
        let text = self.text().await + &self.log.text();
        let mut canaries = vec![self.place.secret.clone(), secret, bystander];
        let tokens = recorder.finish(&self.place);
        canaries.extend(tokens.iter().map(|t| t.token.clone()));
        let journal = self.wire.journal();
        let calls = journal.iter().filter(|e| e.call.is_single());
        Scenario {
            name: self.name.clone(),
            calls: calls.map(|e| mask(&self.place, &e.call.text())).collect(),
            troubles: journal.iter().filter(|e| e.is_trouble()).count(),
            spoilt: journal.iter().filter(|e| e.spoilt).count(),
            writes: (self.wire.writes().into_iter())
                .map(|(what, count)| (mask(&self.place, &what), count))
                .collect(),
            crashes: self.crashes,
            posts: self.place.posts(),
            tokens,
            end,
            others,
            text,
            canaries,
        }
    }

    /// One read: returns the credential, advances the clock if it waits until a stated time, and starts another
    /// operator if the last one was killed.
    pub(crate) async fn read(&mut self) -> Result<apicred::api::ApiCredential, String> {
        let died = tokio::time::timeout(Duration::ZERO, self.wire.died()).await;
        if died.is_ok() {
            self.kill().await;
            self.crashes += 1;
            self.wire.revive();
            self.start();
        }
        if self.operator.as_ref().is_some_and(Inside::ended) {
            let ended = self.operator.take().expect("it ran").stop().await;
            unreachable!("{}: the operator ended by itself: {ended:?}", self.name);
        }
        let credential = self.place.credentials().get("c").await;
        let credential = credential.map_err(|e| e.to_string())?;
        let status = credential.status.clone().unwrap_or_default();
        let now = apicred::clock::Clock::now(self.clock.as_ref());
        if let Some(next) = &status.next_attempt
            && next.0.duration_since(now) > UNSAID
            && !self.frozen.load(Ordering::SeqCst)
        {
            let wait = next.0.duration_since(now) + SignedDuration::from_secs(1);
            self.pass(wait).await;
        }
        assert!(
            status.observed_generation <= credential.metadata.generation,
            "{}: O6: a status of a future spec",
            self.name
        );
        Ok(credential)
    }

    /// Advances the operator's clock. Its timers use the clock of the machine, so a label of the namespace triggers it; the label
    /// does not concern any credential.
    pub(crate) async fn pass(&mut self, time: SignedDuration) {
        self.clock.step(time);
        self.nudge().await;
    }

    /// Triggers the credentials of the place without a change that concerns them.
    pub(crate) async fn nudge(&mut self) {
        self.nudges += 1;
        let label = json!({ "metadata": { "labels": { "nudge": self.nudges.to_string() } } });
        let label = Patch::Merge(label);
        let namespaces: Api<Namespace> = Api::all(self.place.kube.clone());
        let params = PatchParams::default();
        let patched = namespaces.patch(&self.place.namespace, &params, &label);
        patched.await.expect("a label");
    }

    /// Waits until the credential is ready with a token other than `old`, and has served the request.
    pub(crate) async fn until_ready(
        &mut self,
        old: Option<(&SecretView, Option<&str>)>,
    ) -> SecretView {
        let began = Instant::now();
        loop {
            let seen = match self.read().await {
                Err(error) => error,
                Ok(credential) => {
                    let status = credential.status.clone().unwrap_or_default();
                    let ready = condition(&credential, "Ready").is_some_and(|c| c.status == "True");
                    let current = status.observed_generation == credential.metadata.generation;
                    let renewal_id = old.and_then(|(_, renewal_id)| renewal_id);
                    let served = renewal_id.is_none()
                        || status.last_handled_renew_request.as_deref() == renewal_id;
                    let view = self.place.view("token").await;
                    // A server that is killed between the two reads of the test returns no information about the Secret.
                    let no_word = view.as_ref().is_err_and(|e| e.starts_with("ServiceError"));
                    if ready && current && !no_word {
                        // O6, whatever else is awaited.
                        let backed = view.as_ref().is_ok_and(|v| v.expires_at > Timestamp::now());
                        assert!(backed, "{}: O6: Ready, and {view:?}", self.name);
                    }
                    match (view, old) {
                        (Ok(view), None) if ready && current => return view,
                        (Ok(view), Some((old, _)))
                            if ready && current && served && view.token != old.token =>
                        {
                            return view;
                        }
                        _ => format!("{status:?}"),
                    }
                }
            };
            assert!(
                began.elapsed() < LATER,
                "{}: {} did not come: {seen}\n{:#?}\n{}",
                self.name,
                self.doing,
                self.journal(),
                self.last_words(),
            );
            pause(began).await;
        }
    }

    /// The journal in short form, for messages.
    pub(crate) fn journal(&self) -> Vec<String> {
        let journal = self.wire.journal();
        let first = journal.first().map_or_else(Instant::now, |e| e.at);
        let line = |e: &crate::calls::Entry| {
            let at = e.at.duration_since(first).as_millis();
            let spoilt = if e.spoilt { " (spoilt)" } else { "" };
            format!("{at} ms: {} -> {:?}{spoilt}", e.call.text(), e.answered)
        };
        journal.iter().map(line).collect()
    }

    fn last_words(&self) -> String {
        let log = self.log.text();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

/// Between two reads: short at first, longer during a wait for a timer, because many wait at once.
async fn pause(since: Instant) {
    let patient = since.elapsed() > Duration::from_secs(2);
    tokio::time::sleep(Duration::from_millis(if patient { 300 } else { 50 })).await;
}

/// A fault as a case: its name and what it is.
pub(crate) type Named = (&'static str, Fault);
