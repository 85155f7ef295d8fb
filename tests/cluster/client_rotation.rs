//! A client's own certificate or secret is rotated at an issuer in the shape of Entra ID, with its Microsoft Graph.
//!
//! The operator runs in a process of its own whose waits for issuers are short ([`crate::crash::victim`]).

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use apicred::api::{ApiClient, ApiClientStatus};
use dev_issuer::{
    AppPolicy, Client as OauthClient, CredentialKind, Effect, Fault, RetryAfter, Surface,
};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use testenv::eventually;
use tokio::task::JoinHandle;

use crate::{
    clients::by_client,
    crash::victim::{AT, OF, ONLY, WHEN},
    support::{
        Guarded, LATER, Place, World,
        keys::{self, Kind},
        merge, run, unique,
    },
};

/// The Secret whose content is replaced.
const SOURCE: &str = "shared-client";
const OWNED: &str = "Application.ReadWrite.OwnedBy";
const RECORDS: (&str, &str) = ("demo", "Records.Read");

/// A client id of one test.
fn guid() -> String {
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

/// An application that is rotated, and the operator that does it.
struct Rig<'w> {
    world: &'w World,
    place: Arc<Place>,
    app: String,
    operator: Option<Guarded>,
}

impl<'w> Rig<'w> {
    /// A client `shared` with a certificate, and the credential `a`.
    async fn with_certificate(world: &'w World, label: &str, rotation: Value) -> Self {
        let rig = Self::new(world, label).await;
        let keys = keys::keys(Kind::Rsa, "first", None);
        // It may read itself, so that key IDs are known.
        let app = OauthClient::new(&rig.app).certificate(&keys.certificate);
        let app = app.role("graph", OWNED).owns(&rig.app);
        rig.place.add_client(app.role(RECORDS.0, RECORDS.1));
        rig.place.put_tls(SOURCE, &keys).await;
        let way = json!({ "secrets": null, "certificates": [{ "secretName": SOURCE }] });
        rig.put(way, rotation).await;
        rig
    }

    /// A client `shared` with a client secret, the credential `a`, and another application that owns it.
    async fn with_secret(world: &'w World, label: &str, rotation: Value) -> Self {
        let rig = Self::new(world, label).await;
        let (first, owners) = (unique(), unique());
        let app = OauthClient::new(&rig.app).secret(&first);
        rig.place.add_client(app.role(RECORDS.0, RECORDS.1));
        let owner = guid();
        let rotator = OauthClient::new(&owner)
            .secret(&owners)
            .role("graph", OWNED);
        rig.place.add_client(rotator.owns(&rig.app));
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

    async fn new(world: &'w World, label: &str) -> Self {
        let place = world.place_with_own_issuer(label).await;
        let graph = json!({ "entra": { "graphHost": place.issuer.origin() } });
        place.put_issuer(merge(place.entra_issuer(), graph)).await;
        Self {
            world,
            place: Arc::new(place),
            app: guid(),
            operator: None,
        }
    }

    async fn put(&self, way: Value, rotation: Value) {
        self.annotate_source(json!({ "apicred.dev/rotate-by": "shared" }))
            .await;
        let object = self.place.issuer.object_id(&self.app);
        let spec = json!({ "id": self.app, "objectId": object, "rotation": rotation });
        // A merge would take the nulls of `way` out, which take fields out themselves.
        let (mut all, way) = (spec, way);
        for (name, value) in way.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        self.place.put_client("shared", all).await;
        self.place.create("a", by_client("a")).await;
    }

    async fn annotate_source(&self, annotations: Value) {
        let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
        let secrets = self.place.secrets();
        let changed = secrets.patch(SOURCE, &PatchParams::default(), &patch).await;
        changed.expect("an annotation");
    }

    /// An operator that dies at its `at`-th write of the source Secret; 0: at none.
    async fn start(&mut self, (at, when): (usize, &str)) {
        let args = [
            "--exact",
            "crash::victim::victim",
            "--ignored",
            "--nocapture",
        ]
        .map(str::to_owned);
        let at = if at == 0 { usize::MAX } else { at };
        let env = [
            (
                "KUBECONFIG",
                self.world.operator_kubeconfig().display().to_string(),
            ),
            (AT, at.to_string()),
            (WHEN, when.to_owned()),
            (ONLY, String::new()),
            (OF, SOURCE.to_owned()),
        ];
        let program = std::env::current_exe().expect("this program has a path");
        let log = self.world.next_log("rotating");
        self.operator = Some(Guarded::spawn(&program, &args, &env, log).await);
    }

    async fn run(&mut self) {
        self.start((0, "never")).await;
    }

    fn clients(&self) -> Api<ApiClient> {
        Api::namespaced(self.place.kube.clone(), &self.place.namespace)
    }

    /// Requests a rotation; gives the value of the request.
    async fn request(&self) -> String {
        let value = unique();
        let noted = json!({ "apicred.dev/rotate-requested-at": value });
        let edit = json!({ "metadata": { "annotations": noted } });
        self.place.edit_client("shared", edit).await;
        value
    }

    async fn status(&self) -> ApiClientStatus {
        let client = self.clients().get("shared").await.expect("the client");
        client.status.unwrap_or_default()
    }

    /// Waits for a status.
    async fn until(&self, what: &str, fits: impl Fn(&ApiClientStatus) -> bool) -> ApiClientStatus {
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

    /// Waits until a condition says these words.
    async fn says(&self, kind: &str, words: &str) -> ApiClientStatus {
        let fits = |c: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
            c.type_ == kind && c.status == "True" && c.message.contains(words)
        };
        let what = format!("{kind}: {words}");
        self.until(&what, |status| status.conditions.iter().any(fits))
            .await
    }

    /// Waits until this request was answered and nothing is left to do.
    async fn rotated(&self, request: &str) -> ApiClientStatus {
        let done = |s: &ApiClientStatus| {
            let states: Vec<&str> = s.keys.iter().map(|k| k.state.as_str()).collect();
            s.last_handled_rotate_request.as_deref() == Some(request)
                && s.rotation_state.as_deref() == Some("Steady")
                && states == ["Current"]
                && !s.conditions.iter().any(|c| c.type_.starts_with("Rotation"))
        };
        self.until("a rotation", done).await
    }

    /// Waits until the new credential is in use and the one before it stays.
    async fn switched(&self, request: &str) -> ApiClientStatus {
        let done = |s: &ApiClientStatus| {
            s.last_handled_rotate_request.as_deref() == Some(request)
                && s.keys.iter().any(|k| k.state == "Previous")
        };
        self.until("a switch", done).await
    }

    /// Key IDs at the issuer, of one kind.
    fn at_issuer(&self, kind: CredentialKind) -> Vec<String> {
        let all = self.place.issuer.credentials_of(&self.app);
        let all = all.into_iter().filter(|c| c.kind == kind);
        all.map(|c| c.key_id).collect()
    }

    async fn source(&self) -> Secret {
        self.place.secrets().get(SOURCE).await.expect("the Secret")
    }

    async fn data(&self) -> BTreeMap<String, Vec<u8>> {
        let data = self.source().await.data.unwrap_or_default();
        data.into_iter().map(|(k, v)| (k, v.0)).collect()
    }

    /// Calls the API with the mounted token until it is stopped.
    fn reader(&self) -> (Arc<AtomicBool>, JoinHandle<usize>) {
        let (place, done) = (Arc::clone(&self.place), Arc::<AtomicBool>::default());
        let end = Arc::clone(&done);
        let task = tokio::spawn(async move {
            let mut calls = 0;
            while !end.load(Ordering::SeqCst) {
                let view = place
                    .view("token-a")
                    .await
                    .expect("a token at every moment");
                assert_eq!(place.call("demo", "whoami", &view.token).await, 200);
                calls += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            calls
        });
        (done, task)
    }

    async fn adopt(&self, key_id: &str) {
        let edit = json!({ "spec": { "rotation": { "adopt": { "keyId": key_id } } } });
        self.place.edit_client("shared", edit).await;
    }
}

/// With the longest overlap that a test can wait for.
fn soon() -> Value {
    json!({ "overlap": "1s" })
}

#[test]
fn a_certificate_rotates_and_no_reader_and_no_issuer_notices() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::with_certificate(&world, "rotates", soon()).await;
        let first = rig.at_issuer(CredentialKind::Certificate).remove(0);
        rig.run().await;
        let token = rig.place.ready("a").await.token;
        rig.until("the first look", |s| {
            s.keys.len() == 1 && s.rotation_state.is_some()
        })
        .await;
        let before = rig.data().await;
        let (done, reader) = rig.reader();

        // The first certificate is a person's: it stays until it is named.
        let request = rig.request().await;
        let status = rig.switched(&request).await;
        assert_ne!(status.keys[0].thumbprint, status.keys[1].thumbprint);
        let data = rig.data().await;
        assert_eq!(data["tls.crt-previous"], before["tls.crt"]);
        assert_eq!(data["tls.key-previous"], before["tls.key"]);
        assert_ne!(data["tls.key"], before["tls.key"]);
        // The token is good, so none is requested because of a rotation.
        rig.says("RotationBlocked", "was not made by apicred").await;
        assert_eq!(rig.place.view("token-a").await.unwrap().token, token);
        rig.adopt(&first).await;
        rig.says(
            "RotationBlocked",
            "not every credential has a token by the new",
        )
        .await;
        assert_eq!(rig.place.view("token-a").await.unwrap().token, token);
        rig.place.request_renewal("a").await;
        rig.rotated(&request).await;
        let second = rig.at_issuer(CredentialKind::Certificate);
        assert!(second.len() == 1 && second[0] != first, "{second:?}");

        // The next proof is signed by the one that apicred made.
        let request = rig.request().await;
        rig.switched(&request).await;
        rig.place.request_renewal("a").await;
        let status = rig.rotated(&request).await;
        let third = rig.at_issuer(CredentialKind::Certificate);
        assert!(third.len() == 1 && third != second, "{third:?}");
        assert!(
            status
                .next_rotation_at
                .is_some_and(|at| at.0 > jiff::Timestamp::now())
        );
        done.store(true, Ordering::SeqCst);
        assert!(reader.await.expect("no call was refused") > 20);
    });
}

#[test]
fn a_client_secret_rotates_by_another_application_that_owns_it() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::with_secret(&world, "secret-rotates", soon()).await;
        let first = rig.at_issuer(CredentialKind::Secret).remove(0);
        rig.run().await;
        rig.place.ready("a").await;
        rig.place.ready("graph-rotator").await;
        let (done, reader) = rig.reader();
        let request = rig.request().await;
        let status = rig.switched(&request).await;
        let current = status
            .keys
            .iter()
            .find(|k| k.state == "Current")
            .expect("a current one");
        assert!(current.key_id.is_some() && current.hint.is_some() && current.not_after.is_some());
        let noted = rig.source().await.metadata.annotations.unwrap_or_default();
        assert!(
            noted.contains_key("apicred.dev/secret-expires-at"),
            "the end of a client secret warns"
        );
        rig.adopt(&first).await;
        rig.place.request_renewal("a").await;
        rig.rotated(&request).await;
        let second = rig.at_issuer(CredentialKind::Secret);
        assert_eq!(second, [current.key_id.clone().unwrap_or_default()]);
        done.store(true, Ordering::SeqCst);
        assert!(reader.await.expect("no call was refused") > 20);
    });
}

#[test]
fn what_the_issuer_refuses_is_reported_and_costs_nothing() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::with_secret(&world, "refused", soon()).await;
        let first = rig.at_issuer(CredentialKind::Secret);
        rig.place
            .issuer
            .set_app_policies(vec![AppPolicy::PasswordAddition]);
        rig.run().await;
        rig.place.ready("a").await;
        rig.place.ready("graph-rotator").await;
        let request = rig.request().await;
        let status = rig.says("RotationFailed", "refused to add").await;
        let blocked = status
            .conditions
            .iter()
            .find(|c| c.type_ == "RotationBlocked");
        assert!(
            blocked.is_some_and(|c| c.message.contains("policy of the tenant")),
            "{status:?}"
        );
        assert_eq!(rig.at_issuer(CredentialKind::Secret), first);
        // What an answer hides is found and removed, and the rotation goes on when it can.
        let graph = |effect| Fault {
            on: Surface::Graph,
            times: Some(1),
            effect,
            ..Fault::default()
        };
        rig.place.issuer.fault(graph(Effect::TooManyRequests {
            retry_after: Some(RetryAfter::Seconds(1)),
        }));
        rig.place.issuer.set_app_policies(Vec::new());
        rig.switched(&request).await;
        assert_eq!(rig.at_issuer(CredentialKind::Secret).len(), 2);
        rig.adopt(&first[0]).await;
        rig.place.request_renewal("a").await;
        rig.rotated(&request).await;
        assert_eq!(rig.at_issuer(CredentialKind::Secret).len(), 1);
    });
}

#[test]
fn only_the_owner_of_a_secret_lets_it_be_rotated() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::with_certificate(&world, "consent", soon()).await;
        rig.annotate_source(json!({ "apicred.dev/rotate-by": null }))
            .await;
        let (version, first) = (
            rig.source().await.metadata.resource_version,
            rig.at_issuer(CredentialKind::Certificate),
        );
        rig.run().await;
        let request = rig.request().await;
        rig.says("RotationBlocked", "apicred.dev/rotate-by: shared")
            .await;
        rig.place.ready("a").await;
        assert_eq!(rig.source().await.metadata.resource_version, version);
        assert_eq!(rig.at_issuer(CredentialKind::Certificate), first);
        rig.annotate_source(json!({ "apicred.dev/rotate-by": "shared" }))
            .await;
        rig.switched(&request).await;
        // A tool that puts the Secret back is reported, and nothing is fought over.
        rig.annotate_source(json!({ "argocd.argoproj.io/tracking-id": "x" }))
            .await;
        rig.says("RotationBlocked", "belongs to Argo CD").await;
    });
}

/// A rotation is cut at each write of the Secret, before it is sent and after it was answered; between two writes lies what is asked
/// of the issuer. Then a healthy operator ends it: one credential at the issuer, the one of the Secret.
async fn cut_everywhere(secret: bool) {
    let world = World::own().await;
    for when in ["before", "after"] {
        let mut crashes = 0;
        for at in 1..20 {
            let label = format!("cut-{when}-{at}");
            let mut rig = if secret {
                Rig::with_secret(&world, &label, soon()).await
            } else {
                Rig::with_certificate(&world, &label, soon()).await
            };
            let kind = if secret {
                CredentialKind::Secret
            } else {
                CredentialKind::Certificate
            };
            rig.adopt(&rig.at_issuer(kind)[0]).await;
            let request = rig.request().await;
            rig.start((at, when)).await;
            let crashed = rig.followed_through(&request).await;
            if crashed {
                crashes += 1;
                rig.run().await;
                assert!(
                    !rig.followed_through(&request).await,
                    "a healthy operator ended"
                );
            }
            let left = rig.at_issuer(kind);
            let status = rig.rotated(&request).await;
            assert_eq!(left.len(), 1, "{when} {at}: {left:?}");
            let current = status.keys[0].key_id.as_deref();
            assert!(
                current.is_none_or(|id| id == left[0]),
                "{when} {at}: {status:?}"
            );
            // What is in the Secret gets tokens.
            let view = rig.place.view("token-a").await.expect("a token");
            rig.place.request_renewal("a").await;
            rig.place.another_token("token-a", &view).await;
            if let Some(mut operator) = rig.operator.take() {
                operator.kill().await;
            }
            rig.place.delete("a").await;
            rig.place.delete_client("shared").await;
            if !crashed {
                break;
            }
        }
        assert!(
            (4..19).contains(&crashes),
            "{crashes} writes were cut {when} them"
        );
    }
}

impl Rig<'_> {
    /// Renews the credential whenever a new one waits for it. Ends with the operator, or when the request is answered; says
    /// whether the operator ended.
    async fn followed_through(&mut self, request: &str) -> bool {
        let mut asked = false;
        let begun = std::time::Instant::now();
        loop {
            assert!(begun.elapsed() < LATER * 2, "{:?}", self.status().await);
            if self.operator.as_mut().is_some_and(|o| o.ended().is_some()) {
                return true;
            }
            let status = self.status().await;
            let has = |state: &str| status.keys.iter().any(|k| k.state == state);
            let handled = status.last_handled_rotate_request.as_deref() == Some(request);
            if handled && has("Previous") && !asked {
                self.place.request_renewal("a").await;
                asked = true;
            }
            let rest = status.rotation_state.as_deref() == Some("Steady") && status.keys.len() == 1;
            if handled && rest {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[test]
fn a_crash_at_any_write_of_a_certificate_s_rotation_leaves_one_that_works() {
    run(cut_everywhere(false));
}

#[test]
#[ignore = "passes alone; on a busy machine a RotationBlocked of the start was still there at the end in two of three runs. Run it with --ignored"]
fn a_crash_at_any_write_of_a_secret_s_rotation_leaves_one_that_works() {
    run(cut_everywhere(true));
}
