//! An application that is rotated, and its operator.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use apicred::api::{ApiClient, ApiClientStatus};
use dev_issuer::{Client as OauthClient, CredentialKind};
use jiff::SignedDuration;
use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use testenv::eventually;
use tokio::task::JoinHandle;

use super::soon;
use crate::{
    clients::by_client,
    crash::victim::{AT, OF, ONLY, WHEN},
    support::{
        Guarded, LATER, Place, World,
        keys::{self, Kind},
        merge, unique,
    },
};

/// The Secret whose content is replaced.
pub(super) const SOURCE: &str = "shared-client";
/// How often `a` is renewed, and the time between two renewals.
const RENEWALS: usize = 3;
const A_WHILE: Duration = Duration::from_secs(20);
const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);
pub(super) const OWNED: &str = "Application.ReadWrite.OwnedBy";
pub(super) const RECORDS: (&str, &str) = ("demo", "Records.Read");

/// A flag that ends a reader, and the number of its calls.
pub(super) type Reader = (Arc<AtomicBool>, JoinHandle<usize>);

/// A client id of one test.
pub(super) fn guid() -> String {
    let id = format!("{}{}", unique(), unique());
    format!(
        "{}-{}-4{}-8{}-{}",
        &id[..8],
        &id[8..12],
        &id[13..16],
        &id[17..20],
        &id[20..32]
    )
}

/// An application that is rotated, and its operator.
pub(super) struct Rig<'w> {
    world: &'w World,
    pub(super) place: Arc<Place>,
    /// Client ID of the application.
    pub(super) app: String,
    /// Another application of the same owner.
    pub(super) other: String,
    pub(super) operator: Option<Guarded>,
}

impl<'w> Rig<'w> {
    /// A client `shared` with a credential of this kind.
    pub(super) async fn of(world: &'w World, label: &str, kind: CredentialKind) -> Self {
        match kind {
            CredentialKind::Secret => Self::with_secret(world, label, soon()).await,
            CredentialKind::Certificate => Self::with_certificate(world, label, soon()).await,
        }
    }

    /// A client `shared` with a certificate, and the credential `a`.
    pub(super) async fn with_certificate(world: &'w World, label: &str, rotation: Value) -> Self {
        // It may read itself, so that key IDs are known.
        let owner = |app: OauthClient, id: &str| app.role("graph", OWNED).owns(id);
        Self::with_certificate_of(world, label, rotation, owner).await
    }

    /// The same without any permission of Microsoft Graph.
    pub(super) async fn without_permission(world: &'w World, label: &str) -> Self {
        Self::with_certificate_of(world, label, soon(), |app, _| app).await
    }

    async fn with_certificate_of(
        world: &'w World,
        label: &str,
        rotation: Value,
        may: impl Fn(OauthClient, &str) -> OauthClient,
    ) -> Self {
        let rig = Self::new(world, label).await;
        let keys = keys::keys(Kind::Rsa, "first", None);
        let app = OauthClient::new(&rig.app).certificate(&keys.certificate);
        let app = may(app, &rig.app);
        rig.place.add_client(app.role(RECORDS.0, RECORDS.1));
        rig.place.put_tls(SOURCE, &keys).await;
        let way = json!({ "secrets": null, "certificates": [{ "secretName": SOURCE }] });
        rig.put(way, rotation).await;
        rig
    }

    /// A client `shared` with a client secret, the credential `a`, and another application that owns it.
    pub(super) async fn with_secret(world: &'w World, label: &str, rotation: Value) -> Self {
        let rig = Self::new(world, label).await;
        let (first, owners) = (unique(), unique());
        // A secret without an expiry is replaced at once. Here a rotation must begin only when it is requested.
        let until = jiff::Timestamp::now() + YEAR;
        let mut app = OauthClient::new(&rig.app);
        app.secrets = vec![dev_issuer::Secret::new(&first).expiring(until)];
        rig.place.add_client(app.role(RECORDS.0, RECORDS.1));
        let owner = guid();
        let rotator = OauthClient::new(&owner)
            .secret(&owners)
            .role("graph", OWNED);
        let other = OauthClient::new(&rig.other).secret(unique());
        rig.place.add_client(other);
        rig.place
            .add_client(rotator.owns(&rig.app).owns(&rig.other));
        rig.place.put_secret(SOURCE, "value", &first).await;
        rig.place.put_secret("owner", "value", &owners).await;
        let manager = json!({
            "client": { "id": owner, "secrets": [{ "name": "owner", "key": "value" }] },
            "scopes": null, "api": "MicrosoftGraph", "target": { "secretName": "token-of-the-owner" },
        });
        rig.place.create("graph-rotator", manager).await;
        let way = json!({ "secrets": [{ "name": SOURCE, "key": "value" }] });
        let by = json!({ "managementRef": { "name": "graph-rotator" } });
        rig.put(way, merge(rotation, by)).await;
        rig
    }

    pub(super) async fn new(world: &'w World, label: &str) -> Self {
        let place = world.place_with_own_issuer(label).await;
        let graph = json!({ "entra": { "graphHost": place.issuer.origin() } });
        place.put_issuer(merge(place.entra_issuer(), graph)).await;
        Self {
            world,
            place: Arc::new(place),
            app: guid(),
            other: guid(),
            operator: None,
        }
    }

    pub(super) async fn put(&self, way: Value, rotation: Value) {
        self.annotate_source(json!({ "apicred.dev/rotate-by": "shared" }))
            .await;
        let object = self.place.issuer.object_id(&self.app);
        let spec = json!({ "id": self.app, "objectId": object, "rotation": rotation });
        // A merge would remove the nulls of `way`, but they are needed: they remove fields.
        let (mut all, way) = (spec, way);
        for (name, value) in way.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        self.place.put_client("shared", all).await;
        self.place.create("a", by_client("a")).await;
    }

    /// Changes the client so that it names another application.
    pub(super) async fn point_at(&self, spec: Value) {
        let patch = Patch::Merge(json!({ "spec": spec }));
        let clients = self.clients();
        let changed = clients
            .patch("shared", &PatchParams::default(), &patch)
            .await;
        changed.expect("another application");
    }

    /// Removes the annotation of the rotation, as a user does who has removed the credentials of another application.
    pub(super) async fn forget(&self) {
        self.annotate_source(json!({ "apicred.dev/rotation": null }))
            .await;
    }

    pub(super) async fn annotate_source(&self, annotations: Value) {
        let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
        let secrets = self.place.secrets();
        let changed = secrets.patch(SOURCE, &PatchParams::default(), &patch).await;
        changed.expect("an annotation");
    }

    /// An operator that watches the namespaces `only`, separated by commas, or all of them if that is empty. It is killed at its `at`-th request of a name to the
    /// API server, before it or after it.
    pub(super) async fn start(&mut self, dies: Option<(&str, usize, &str)>, only: &str) {
        let args = [
            "--exact",
            "crash::victim::victim",
            "--ignored",
            "--nocapture",
        ]
        .map(str::to_owned);
        let kubeconfig = self.world.operator_kubeconfig();
        let (of, at, when) = dies.unwrap_or(("", usize::MAX, "never"));
        let mut env = vec![
            ("KUBECONFIG", kubeconfig.display().to_string()),
            (AT, at.to_string()),
            (WHEN, when.to_owned()),
            (ONLY, only.to_owned()),
        ];
        env.extend((!of.is_empty()).then(|| (OF, of.to_owned())));
        let program = std::env::current_exe().expect("this program has a path");
        let log = self.world.next_log("rotating");
        self.operator = Some(Guarded::spawn(&program, &args, &env, log).await);
    }

    pub(super) async fn run(&mut self) {
        self.start(None, "").await;
    }

    /// Kills the operator, if there is one.
    pub(super) async fn kill(&mut self) {
        if let Some(mut operator) = self.operator.take() {
            operator.kill().await;
        }
    }

    pub(super) fn clients(&self) -> Api<ApiClient> {
        Api::namespaced(self.place.kube.clone(), &self.place.namespace)
    }

    /// Requests a rotation; returns the value of the request.
    pub(super) async fn request(&self) -> String {
        let value = unique();
        let noted = json!({ "apicred.dev/rotate-requested-at": value });
        let edit = json!({ "metadata": { "annotations": noted } });
        self.place.edit_client("shared", edit).await;
        value
    }

    /// The value of the request that is on the client.
    pub(super) async fn requested(&self) -> String {
        let client = self.clients().get("shared").await.expect("the client");
        let noted = client.metadata.annotations.unwrap_or_default();
        let request = noted.get("apicred.dev/rotate-requested-at");
        request.expect("a request").clone()
    }

    pub(super) async fn status(&self) -> ApiClientStatus {
        let client = self.clients().get("shared").await.expect("the client");
        client.status.unwrap_or_default()
    }

    /// Waits for a status.
    pub(super) async fn until(
        &self,
        what: &str,
        fits: impl Fn(&ApiClientStatus) -> bool,
    ) -> ApiClientStatus {
        let seen = async || {
            let status = self.status().await;
            if fits(&status) {
                Ok(status)
            } else {
                Err(format!(
                    "{status:#?} {:?}",
                    self.place.issuer.credentials_of(&self.app)
                ))
            }
        };
        eventually(LATER, what.to_owned(), seen).await
    }

    /// Waits until the message of a condition contains this text.
    pub(super) async fn until_condition(&self, kind: &str, expected: &str) -> ApiClientStatus {
        let fits = |c: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
            c.type_ == kind && c.status == "True" && c.message.contains(expected)
        };
        let what = format!("{kind}: {expected}");
        self.until(&what, |status| status.conditions.iter().any(fits))
            .await
    }

    /// The texts of the events about the client with this reason.
    pub(super) async fn events(&self, reason: &str) -> Vec<String> {
        let events: Api<Event> = Api::namespaced(self.place.kube.clone(), &self.place.namespace);
        let all = events.list(&ListParams::default()).await.expect("events");
        let own = all.items.into_iter().filter(|event| {
            let about = event.regarding.as_ref().and_then(|r| r.kind.as_deref());
            about == Some("ApiClient") && event.reason.as_deref() == Some(reason)
        });
        own.filter_map(|event| event.note).collect()
    }

    /// Waits until this request was answered and nothing is left to do.
    pub(super) async fn rotated(&self, request: &str) -> ApiClientStatus {
        let done = |s: &ApiClientStatus| {
            let states: Vec<&str> = s.keys.iter().map(|k| k.state.as_str()).collect();
            s.last_handled_rotate_request.as_deref() == Some(request)
                && s.rotation_state.as_deref() == Some("Steady")
                && states == ["Current"]
                && !s.conditions.iter().any(|c| c.type_.starts_with("Rotation"))
        };
        self.until("a rotation", done).await
    }

    /// Renews the credential `a` until the rotation has ended. A token that arrives just before a write of the source Secret belongs to an
    /// earlier version of it: the renewal after it shows that the credential follows.
    pub(super) async fn follows_through(&self, request: &str) {
        for _ in 0..RENEWALS {
            self.place.request_renewal("a").await;
            let rotated = tokio::time::timeout(A_WHILE, self.rotated(request));
            if rotated.await.is_ok() {
                return;
            }
        }
        self.rotated(request).await;
    }

    /// Waits until the new credential is in use and the one before it stays.
    pub(super) async fn switched(&self, request: &str) -> ApiClientStatus {
        let done = |s: &ApiClientStatus| {
            s.last_handled_rotate_request.as_deref() == Some(request)
                && s.keys.iter().any(|k| k.state == "Previous")
        };
        self.until("a switch", done).await
    }

    /// Key IDs at the issuer, of one kind.
    pub(super) fn at_issuer(&self, kind: CredentialKind) -> Vec<String> {
        let all = self.place.issuer.credentials_of(&self.app);
        let all = all.into_iter().filter(|c| c.kind == kind);
        all.map(|c| c.key_id).collect()
    }

    /// Waits until exactly these are at the issuer. A credential that is adopted late is removed after the rotation.
    pub(super) async fn only(&self, kind: CredentialKind, ids: &[String]) {
        let seen = async || {
            let left = self.at_issuer(kind);
            if left == ids {
                Ok(())
            } else {
                Err(format!("{left:?}"))
            }
        };
        eventually(LATER, format!("{ids:?} alone"), seen).await;
    }

    pub(super) async fn source(&self) -> Secret {
        self.place.secrets().get(SOURCE).await.expect("the Secret")
    }

    pub(super) async fn data(&self) -> BTreeMap<String, Vec<u8>> {
        let data = self.source().await.data.unwrap_or_default();
        data.into_iter().map(|(k, v)| (k, v.0)).collect()
    }

    /// Calls the API with the mounted token, from the first one on until it is stopped.
    pub(super) fn reader(&self) -> Reader {
        self.reader_each(Duration::from_millis(100))
    }

    /// The same with this pause between two calls.
    pub(super) fn reader_each(&self, pause: Duration) -> Reader {
        let (place, done) = (Arc::clone(&self.place), Arc::<AtomicBool>::default());
        let end = Arc::clone(&done);
        let task = tokio::spawn(async move {
            let mut calls = 0;
            while !end.load(Ordering::SeqCst) {
                match place.view("token-a").await {
                    Ok(view) => {
                        assert_eq!(place.call("demo", "whoami", &view.token).await, 200);
                        calls += 1;
                    }
                    Err(fault) => assert_eq!(calls, 0, "a token at every moment: {fault}"),
                }
                tokio::time::sleep(pause).await;
            }
            calls
        });
        (done, task)
    }

    /// Ends a reader: none of its calls was refused, and the fault of this case occurred.
    pub(super) async fn served(&self, (done, reader): Reader, label: &str) {
        done.store(true, Ordering::SeqCst);
        let calls = reader.await.expect("no call was refused");
        assert!(calls > 5, "{label}: {calls} calls");
        // The last request of a rotation is sent after its end is reported.
        let came = async || (self.place.issuer.pending_faults() == 0).then_some(());
        eventually(LATER, format!("{label}: the fault"), came).await;
    }

    /// The rotation has ended: one credential is at the issuer, the same as in the Secret, and it gets tokens.
    pub(super) async fn is_whole(&self, kind: CredentialKind, request: &str) {
        self.is_left_with_one(kind, request).await;
        self.renews().await;
    }

    /// The rotation has ended: one credential is at the issuer, and the Secret has the same one.
    pub(super) async fn is_left_with_one(&self, kind: CredentialKind, request: &str) {
        let label = &self.place.namespace;
        let status = self.rotated(request).await;
        let left = self.at_issuer(kind);
        assert_eq!(left.len(), 1, "{label}: {left:?}");
        let current = status.keys[0].key_id.as_deref();
        assert!(
            current.is_none_or(|id| id == left[0]),
            "{label}: {status:?}"
        );
        let values = if kind == CredentialKind::Secret { 1 } else { 2 };
        let data = self.data().await;
        assert_eq!(data.len(), values, "{label}: {:?}", data.keys());
    }

    /// Another renewal of `a` gets a token.
    pub(super) async fn renews(&self) {
        let view = self.place.view("token-a").await.expect("a token");
        self.place.request_renewal("a").await;
        self.place.another_token("token-a", &view).await;
    }

    pub(super) async fn adopt(&self, key_id: &str) {
        let edit = json!({ "spec": { "rotation": { "adopt": { "keyId": key_id } } } });
        self.place.edit_client("shared", edit).await;
    }
}

impl Rig<'_> {
    /// Renews the credential whenever a new one waits for it. Returns when the operator ends or the request is answered; returns true
    /// if the operator ended.
    pub(super) async fn followed_through(&mut self, request: &str) -> bool {
        let mut request_seen = false;
        let begun = std::time::Instant::now();
        loop {
            assert!(begun.elapsed() < LATER * 2, "{:?}", self.status().await);
            if self.operator.as_mut().is_some_and(|o| o.ended().is_some()) {
                return true;
            }
            let status = self.status().await;
            let has = |state: &str| status.keys.iter().any(|k| k.state == state);
            let handled = status.last_handled_rotate_request.as_deref() == Some(request);
            if handled && has("Previous") && !request_seen {
                self.place.request_renewal("a").await;
                request_seen = true;
            }
            let rest = status.rotation_state.as_deref() == Some("Steady") && status.keys.len() == 1;
            if handled && rest {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
