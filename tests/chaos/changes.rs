//! Changes that users make to credentials and Secrets during the run. A change that the API server does not answer in time may or
//! may not have taken effect: the oracles use the state of the cluster at the end.

use std::{
    collections::HashMap,
    future::Future,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use apicred::api::ApiCredential;
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::{
    cast::{KEY, Kind, Role},
    issuer::Refresh,
    plan::Change,
    support::typed,
    world::World,
};

/// A call that takes longer is not waited for.
const CALL: Duration = Duration::from_secs(5);
/// Calls at once when all credentials are handled.
const CONCURRENCY: usize = 8;
/// A refresh that is not stored after this time will not be stored: an exchange ends after 15 s, and a sent request may be
/// stored for 30 s after a lost lease.
const SETTLED: SignedDuration = SignedDuration::from_secs(50);
/// The value with which an edit replaces a token.
pub(crate) const GARBAGE: &str = "edited-by-a-user";

/// A refresh token that needs a new sign-in.
#[derive(Clone, Debug)]
pub(crate) struct Loss {
    pub(crate) client: String,
    pub(crate) family: u64,
    /// The refresh token in the state Secret.
    pub(crate) stored: u64,
    /// When it was marked as sent.
    pub(crate) marked: Option<Timestamp>,
    /// The reason in the status.
    pub(crate) reason: String,
    /// A user restored an old refresh token over it.
    pub(crate) restored: bool,
}

/// The state of a credential, as its user knows it.
#[derive(Default)]
struct Known {
    scope: u64,
    source: u64,
    family: u64,
    suspended: bool,
    restored: bool,
}

/// A user with one credential, and the changes to it.
pub(crate) struct User {
    pub(crate) role: Role,
    known: Mutex<Known>,
}

/// The users of all credentials.
pub(crate) struct Users {
    pub(crate) all: Vec<User>,
    pub(crate) losses: Mutex<HashMap<(String, u64), Loss>>,
    /// Completed changes, by name.
    pub(crate) done: Mutex<std::collections::BTreeMap<String, usize>>,
    failed: AtomicUsize,
}

/// The result of a call; none if it did not end in time.
async fn timely<T>(call: impl Future<Output = kube::Result<T>>) -> Option<T> {
    tokio::time::timeout(CALL, call).await.ok()?.ok()
}

impl Users {
    pub(crate) fn new(credentials: usize) -> Self {
        let user = |number| User {
            role: Role::number(number),
            known: Mutex::default(),
        };
        Self {
            all: (0..credentials).map(user).collect(),
            losses: Mutex::default(),
            done: Mutex::default(),
            failed: AtomicUsize::default(),
        }
    }

    /// Changes that failed or were not answered in time.
    pub(crate) fn failed(&self) -> usize {
        self.failed.load(Ordering::SeqCst)
    }

    /// Creates everything.
    pub(crate) async fn settle_in(&self, world: &World) {
        stream::iter(&self.all)
            .for_each_concurrent(CONCURRENCY, async |user| {
                let role = &user.role;
                let secrets: Api<Secret> = Api::namespaced(world.admin.clone(), role.namespace);
                let mut sources = vec![role.source_secret(0, &world.prepared)];
                if role.kind.is_refresh() {
                    sources.push(role.state_secret(0, &world.prepared));
                }
                for secret in sources {
                    let made = secrets.create(&PostParams::default(), &typed(secret)).await;
                    made.expect("a Secret");
                }
                let made = user.create(world, 0).await;
                assert!(made, "{}", role.name);
            })
            .await;
    }

    /// Makes one change, unless another one of this credential is in progress.
    pub(crate) async fn change(&self, world: &World, change: Change, number: usize) {
        let user = &self.all[number];
        let Ok(mut known) = user.known.try_lock() else {
            return;
        };
        let done = match change {
            Change::DeleteTarget => user.delete_target(world).await,
            Change::EditTarget => user.edit_target(world).await,
            Change::Recreate => user.recreate(world, &known).await,
            Change::Scope => {
                known.scope += 1;
                let scopes = json!({ "spec": { "scopes": [scope(known.scope)] } });
                user.role.kind.has_issuer() && user.patch(world, scopes).await
            }
            Change::Source => {
                known.source += 1;
                let secret = user.role.source_secret(known.source, &world.prepared);
                user.apply(world, &user.role.source(), secret).await
            }
            Change::Renew => {
                let now = Timestamp::now().to_string();
                let patch = json!({ "apicred.dev/renew-requested-at": now });
                let patch = json!({ "metadata": { "annotations": patch } });
                user.patch(world, patch).await
            }
            Change::Suspend => {
                known.suspended = !known.suspended;
                let suspend = json!({ "spec": { "suspend": known.suspended } });
                user.patch(world, suspend).await
            }
            Change::Label => {
                let label = json!({ "touched": Timestamp::now().as_second().to_string() });
                let label = json!({ "metadata": { "labels": label } });
                user.patch(world, label).await
            }
            Change::SignIn => return self.sign_in(world, user, &mut known).await,
            Change::Restore => return self.restore(world, user, &mut known).await,
        };
        self.note(change, done).await;
    }

    async fn note(&self, change: Change, done: bool) {
        if done {
            let mut all = self.done.lock().await;
            *all.entry(format!("{change:?}")).or_default() += 1;
        } else {
            self.failed.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Signs in again, if the outcome of the refresh token stays unknown.
    async fn sign_in(&self, world: &World, user: &User, known: &mut Known) {
        let Some(loss) = user.loss(world, known).await else {
            return;
        };
        known.family += 1;
        let secret = user.role.state_secret(known.family, &world.prepared);
        let done = user.replace(world, secret).await;
        if done {
            known.restored = false;
            self.lost(loss).await;
        }
        self.note(Change::SignIn, done).await;
    }

    pub(crate) async fn lost(&self, loss: Loss) {
        let key = (loss.client.clone(), loss.family);
        self.losses.lock().await.insert(key, loss);
    }

    /// Restores an old refresh token, as a user does who restores a backup of the Secret's data.
    async fn restore(&self, world: &World, user: &User, known: &mut Known) {
        if user.role.kind != Kind::Refresh {
            return;
        }
        let secrets: Api<Secret> = Api::namespaced(world.admin.clone(), user.role.namespace);
        let name = user.role.state();
        let Some(state) = timely(secrets.get(&name)).await else {
            return;
        };
        let Some(stored) = stored(&state).filter(|stored| stored.generation > 0) else {
            return;
        };
        known.restored = true;
        let old = Refresh {
            generation: stored.generation - 1,
            ..stored
        };
        let patch = json!({ "stringData": { KEY: old.text() } });
        let done = user.patch_secret(world, &name, patch).await;
        self.note(Change::Restore, done).await;
    }

    /// After the faults: everything exists, nothing is suspended, and a sign-in replaces every refresh token that a user has
    /// restored.
    pub(crate) async fn put_in_order(&self, world: &World) {
        stream::iter(&self.all)
            .for_each_concurrent(CONCURRENCY, async |user| {
                let mut known = user.known.lock().await;
                let resumed = json!({ "spec": { "suspend": null } });
                testenv::eventually(Duration::from_mins(1), "a credential", async || {
                    user.patch(world, resumed.clone()).await
                        || user.create(world, known.scope).await
                })
                .await;
                if known.restored {
                    if let Some(loss) = user.loss(world, &known).await {
                        self.lost(loss).await;
                    }
                    known.restored = false;
                    known.family += 1;
                    let secret = user.role.state_secret(known.family, &world.prepared);
                    testenv::eventually(Duration::from_mins(1), "a sign-in", async || {
                        user.replace(world, secret.clone()).await
                    })
                    .await;
                }
            })
            .await;
    }

    /// Deletes all credentials.
    pub(crate) async fn leave(&self, world: &World) {
        stream::iter(&self.all)
            .for_each_concurrent(CONCURRENCY, async |user| {
                let credentials = user.credentials(world);
                testenv::eventually(Duration::from_mins(1), "a deletion", async || {
                    let params = DeleteParams::default();
                    match credentials.delete(&user.role.name, &params).await {
                        Err(kube::Error::Api(status)) => status.code == 404,
                        deleted => deleted.is_ok(),
                    }
                })
                .await;
            })
            .await;
    }
}

/// The refresh token in a state Secret.
pub(crate) fn stored(state: &Secret) -> Option<Refresh> {
    let bytes = state.data.as_ref()?.get(KEY)?;
    Refresh::parse(std::str::from_utf8(&bytes.0).ok()?)
}

fn scope(number: u64) -> String {
    format!("scope-{number}")
}

impl User {
    fn credentials(&self, world: &World) -> Api<ApiCredential> {
        Api::namespaced(world.admin.clone(), self.role.namespace)
    }

    fn secrets(&self, world: &World) -> Api<Secret> {
        Api::namespaced(world.admin.clone(), self.role.namespace)
    }

    async fn create(&self, world: &World, number: u64) -> bool {
        let credential = typed(self.role.credential(&scope(number)));
        let credentials = self.credentials(world);
        timely(credentials.create(&PostParams::default(), &credential))
            .await
            .is_some()
    }

    /// An edit of the credential.
    async fn patch(&self, world: &World, patch: Value) -> bool {
        let credentials = self.credentials(world);
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        timely(credentials.patch(&self.role.name, &params, &patch))
            .await
            .is_some()
    }

    async fn patch_secret(&self, world: &World, name: &str, patch: Value) -> bool {
        let secrets = self.secrets(world);
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        timely(secrets.patch(name, &params, &patch)).await.is_some()
    }

    async fn apply(&self, world: &World, name: &str, secret: Value) -> bool {
        let secrets = self.secrets(world);
        let params = PatchParams::apply("a-user").force();
        timely(secrets.patch(name, &params, &Patch::Apply(secret)))
            .await
            .is_some()
    }

    /// Replaces a whole Secret, as a sign-in does.
    async fn replace(&self, world: &World, secret: Value) -> bool {
        let secrets = self.secrets(world);
        let secret: Secret = typed(secret);
        let params = PostParams::default();
        timely(secrets.replace(&self.role.state(), &params, &secret))
            .await
            .is_some()
    }

    async fn delete_target(&self, world: &World) -> bool {
        let secrets = self.secrets(world);
        let params = DeleteParams::default();
        timely(secrets.delete(&self.role.target(), &params))
            .await
            .is_some()
    }

    async fn edit_target(&self, world: &World) -> bool {
        let edit = json!({ "stringData": { "token": GARBAGE } });
        self.patch_secret(world, &self.role.target(), edit).await
    }

    async fn recreate(&self, world: &World, known: &Known) -> bool {
        let credentials = self.credentials(world);
        let params = DeleteParams::default();
        if timely(credentials.delete(&self.role.name, &params))
            .await
            .is_none()
        {
            return false;
        }
        for _ in 0..60 {
            // The creation is refused while the old object is still being deleted.
            if self.create(world, known.scope).await {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        false
    }

    /// A loss, if the status has requested a sign-in for so long that no write can be in progress any more.
    async fn loss(&self, world: &World, known: &Known) -> Option<Loss> {
        if !self.role.kind.is_refresh() {
            return None;
        }
        let secrets = self.secrets(world);
        let state = timely(secrets.get(&self.role.state())).await?;
        let credential = timely(self.credentials(world).get(&self.role.name)).await?;
        let loss = loss(&self.role, &credential, &state, known.restored)?;
        let now = Timestamp::now();
        let settled = |at: Timestamp| now.duration_since(at) > SETTLED;
        loss.marked.is_none_or(settled).then_some(loss)
    }
}

/// A loss, if the status requests a sign-in.
pub(crate) fn loss(
    role: &Role,
    credential: &ApiCredential,
    state: &Secret,
    restored: bool,
) -> Option<Loss> {
    let conditions = credential.status.as_ref()?.conditions.iter();
    let reason = conditions.map(|c| c.reason.clone()).find(|reason| {
        matches!(
            reason.as_str(),
            "RefreshOutcomeUnknown" | "SignInRequired" | "RefreshTokenSpent"
        )
    })?;
    let stored = stored(state)?;
    let note = |name: &str| state.metadata.annotations.as_ref()?.get(name).cloned();
    let marked = note("apicred.dev/in-flight-since");
    Some(Loss {
        client: role.name.clone(),
        family: stored.family,
        stored: stored.generation,
        marked: marked.and_then(|m| m.split(' ').next()?.parse().ok()),
        reason,
        restored,
    })
}
