//! cert-manager replaces the certificate of a client, and apicred uploads it with the proof of the one before it.

mod not_kept;

use std::{sync::atomic::Ordering, time::Duration};

use apicred::api::{ApiClientStatus, ClientKey};
use dev_issuer::{Client as OauthClient, CredentialKind, Effect, Fault, ReplicaLag, Surface};
use futures::future::join_all;
use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use kube::api::ListParams;
use serde_json::{Value, json};
use testenv::eventually;

use super::rig::{OWNED, RECORDS, Rig, SOURCE, guid};
use crate::support::{
    SOON, World,
    keys::{self, Keys, Kind},
    run, unique,
};

const COPY: &str = "shared-client-last-good";
/// Longer than replicas of the issuer lag, in the settings of the operator of these tests.
const SETTLED: Duration = Duration::from_secs(2);
const CERTIFICATE: CredentialKind = CredentialKind::Certificate;

fn pair(name: &str) -> Keys {
    keys::keys(Kind::Rsa, name, None)
}

fn holds(secret: &Secret, keys: &Keys) -> bool {
    let key = secret.data.as_ref().and_then(|data| data.get("tls.key"));
    key.is_some_and(|key| key.0 == keys.key.as_bytes())
}

fn states(status: &ApiClientStatus) -> Vec<&str> {
    status.keys.iter().map(|key| key.state.as_str()).collect()
}

fn thumbprint(key: &ClientKey) -> String {
    key.thumbprint.clone().expect("a thumbprint")
}

impl<'w> Rig<'w> {
    /// A client `shared` whose certificate cert-manager makes, and the credential `a`. The application has these `roles` at Microsoft Graph.
    async fn by_cert_manager(
        world: &'w World,
        label: &str,
        first: &Keys,
        (roles, rotation): (&[&str], Value),
    ) -> Self {
        let rig = Self::new(world, label).await;
        let app = OauthClient::new(&rig.app).certificate(&first.certificate);
        let app = app.owns(&rig.app).role(RECORDS.0, RECORDS.1);
        let with = |app: OauthClient, role: &&str| app.role("graph", role);
        rig.place.add_client(roles.iter().fold(app, with));
        rig.place.put_tls(SOURCE, first).await;
        rig.annotate_source(json!({ "cert-manager.io/certificate-name": SOURCE }))
            .await;
        let way = json!({ "secrets": null, "certificates": [{ "secretName": SOURCE }] });
        rig.put(way, rotation).await;
        rig
    }

    async fn copy_is(&self, keys: &Keys) {
        eventually(SOON, "the copy of the pair", async || {
            let copy = self.place.secrets().get_opt(COPY).await;
            let copy = copy.map_err(|e| e.to_string())?.ok_or("no copy")?;
            holds(&copy, keys)
                .then_some(())
                .ok_or_else(|| "another pair".to_owned())
        })
        .await;
    }

    /// Waits until a certificate has a copy and no work is left. Returns its thumbprint.
    async fn rests(&self, keys: &Keys) -> String {
        self.place.ready("a").await;
        self.copy_is(keys).await;
        let rests = |s: &ApiClientStatus| {
            let steady = s.rotation_state.as_deref() == Some("Steady");
            let calm = s.conditions.iter().all(|c| c.type_ == "Ready");
            steady && calm && states(s) == ["Current"]
        };
        let status = self.until("a client that rests", rests).await;
        thumbprint(&status.keys[0])
    }

    /// cert-manager renews. Returns the version of the Secret.
    async fn renewed(&self, keys: &Keys) -> Option<String> {
        let secret = self.place.put_tls(SOURCE, keys).await;
        secret.metadata.resource_version
    }

    /// Waits until the new certificate was uploaded and got a token. Returns its thumbprint.
    async fn uploaded(&self, before: &str) -> String {
        let done = |s: &ApiClientStatus| {
            states(s).first() == Some(&"Current") && thumbprint(&s.keys[0]) != before
        };
        let status = self.until("an upload", done).await;
        let previous = status.keys.get(1);
        // A credential may have renewed already.
        assert!(previous.is_none_or(|key| key.state == "Previous" && thumbprint(key) == before));
        assert_eq!(status.rotation_state.as_deref(), Some("Steady"));
        thumbprint(&status.keys[0])
    }

    /// Only cert-manager has written the Secret since.
    async fn is_untouched(&self, version: Option<String>) {
        let meta = self.source().await.metadata;
        assert_eq!(meta.resource_version, version);
        let fields = meta.managed_fields.unwrap_or_default();
        let mut writers = fields.iter().filter_map(|entry| entry.manager.as_deref());
        assert!(writers.all(|writer| writer != "apicred"), "{fields:?}");
    }

    /// The next renewal uses the new certificate, and the copy is updated.
    async fn renewal_uses(&self, keys: &Keys) {
        let view = self.place.view("token-a").await.expect("a token");
        self.place.request_renewal("a").await;
        self.place.another_token("token-a", &view).await;
        self.copy_is(keys).await;
        self.rests(keys).await;
    }

    /// Reasons of the events about the client.
    async fn reported(&self) -> Vec<String> {
        let events: kube::Api<k8s_openapi::api::events::v1::Event> =
            kube::Api::namespaced(self.place.kube.clone(), &self.place.namespace);
        let all = events.list(&ListParams::default()).await.expect("events");
        let is_its = |about: &Option<ObjectReference>| {
            let about = about.as_ref();
            about.is_some_and(|about| about.kind.as_deref() == Some("ApiClient"))
        };
        let own = all.items.into_iter().filter(|e| is_its(&e.regarding));
        own.filter_map(|event| event.reason).collect()
    }
}

#[test]
fn a_certificate_of_cert_manager_is_uploaded_without_any_permission() {
    run(async {
        let world = World::own().await;
        let (first, second, third) = (pair("first"), pair("second"), pair("third"));
        let mut rig = Rig::by_cert_manager(&world, "uploads", &first, (&[], json!({}))).await;
        rig.run().await;
        let mark = rig.rests(&first).await;
        let registered = rig.at_issuer(CERTIFICATE);
        let (done, reader) = rig.reader();

        let version = rig.renewed(&second).await;
        let mark = rig.uploaded(&mark).await;
        assert_eq!(rig.at_issuer(CERTIFICATE).len(), 2);
        rig.is_untouched(version.clone()).await;
        rig.renewal_uses(&second).await;
        assert!(
            rig.reported()
                .await
                .contains(&"ClientCredentialRotated".to_owned())
        );

        // apicred uploaded the certificate that proves the next one; a new process can use it as well.
        rig.run().await;
        rig.is_untouched(version).await;
        let version = rig.renewed(&third).await;
        rig.uploaded(&mark).await;
        rig.renewal_uses(&third).await;
        rig.is_untouched(version).await;
        let all = rig.at_issuer(CERTIFICATE);
        assert!(all.len() == 3 && all.contains(&registered[0]), "{all:?}");
        done.store(true, Ordering::SeqCst);
        assert!(reader.await.expect("no call was refused") > 5);
    });
}

#[test]
fn a_certificate_of_cert_manager_is_uploaded_by_the_owner_of_the_application() {
    run(async {
        let world = World::own().await;
        let (first, second) = (pair("first"), pair("second"));
        let by = json!({ "managementRef": { "name": "graph-rotator" } });
        let mut rig = Rig::by_cert_manager(&world, "uploads-by", &first, (&[], by)).await;
        // The upload changes nothing in the Secret, so its owner need not allow it.
        rig.annotate_source(json!({ "apicred.dev/rotate-by": null }))
            .await;
        let (owner, secret) = (guid(), unique());
        let rotator = OauthClient::new(&owner).secret(&secret);
        rig.place
            .add_client(rotator.role("graph", OWNED).owns(&rig.app));
        rig.place.put_secret("owner", "value", &secret).await;
        let manager = json!({
            "client": { "id": owner, "secrets": [{ "name": "owner", "key": "value" }] },
            "scopes": null, "api": "MicrosoftGraph", "target": { "secretName": "token-of-the-owner" },
        });
        rig.place.create("graph-rotator", manager).await;
        rig.run().await;
        rig.place.ready("graph-rotator").await;
        let mark = rig.rests(&first).await;

        // Only cert-manager can make a certificate.
        let request = rig.request().await;
        rig.until_condition("RotationBlocked", "cmctl renew").await;
        let version = rig.renewed(&second).await;
        rig.uploaded(&mark).await;
        let answered =
            |s: &ApiClientStatus| s.last_handled_rotate_request.as_deref() == Some(&request);
        let status = rig.until("an answer", answered).await;
        // It may read the application.
        let listed = rig.at_issuer(CERTIFICATE);
        let mut named = status.keys.iter().filter_map(|key| key.key_id.as_ref());
        assert!(named.all(|id| listed.contains(id)), "{status:?}");
        rig.is_untouched(version).await;
        rig.renewal_uses(&second).await;
        assert_eq!(rig.at_issuer(CERTIFICATE).len(), 2);
    });
}

/// The operator restarts between the upload and the first token.
#[test]
fn an_upload_that_is_cut_by_a_restart_is_reported_and_answers_its_request() {
    run(async {
        let world = World::own().await;
        let (first, second) = (pair("first"), pair("second"));
        let mut rig = Rig::by_cert_manager(&world, "upload-cut", &first, (&[], json!({}))).await;
        rig.run().await;
        let mark = rig.rests(&first).await;
        let request = rig.request().await;
        rig.until_condition("RotationBlocked", "cmctl renew").await;
        // The replicas that issue tokens do not have it for a while.
        rig.place.issuer.set_replica_lag(ReplicaLag {
            reads: Duration::ZERO,
            tokens: Duration::from_secs(8),
        });
        rig.renewed(&second).await;
        let proving = |s: &ApiClientStatus| s.rotation_state.as_deref() == Some("Proving");
        rig.until("an upload without a token", proving).await;
        assert_eq!(rig.at_issuer(CERTIFICATE).len(), 2);
        rig.run().await;
        rig.uploaded(&mark).await;
        let answered =
            |s: &ApiClientStatus| s.last_handled_rotate_request.as_deref() == Some(&request);
        rig.until("an answer", answered).await;
        eventually(SOON, "an event", async || {
            let reported = rig.reported().await;
            let rotated = reported.iter().filter(|r| *r == "ClientCredentialRotated");
            if rotated.count() == 1 {
                Ok(())
            } else {
                Err(format!("{reported:?}"))
            }
        })
        .await;
        assert_eq!(rig.at_issuer(CERTIFICATE).len(), 2);
    });
}

#[test]
fn an_upload_that_lacks_the_object_id_is_reported_before_one_begins() {
    run(async {
        let world = World::own().await;
        let first = pair("first");
        let mut rig = Rig::by_cert_manager(&world, "unnamed", &first, (&[], json!({}))).await;
        let own = rig.place.issuer.object_id(&rig.app);
        rig.point_at(json!({ "objectId": null })).await;
        rig.run().await;
        rig.place.ready("a").await;
        rig.until_condition("RotationBlocked", "set spec.objectId")
            .await;
        // Another process sees the same state, and reports nothing new.
        let before = rig.place.issuer.api_calls().len();
        rig.run().await;
        eventually(SOON, "another reading", async || {
            (rig.place.issuer.api_calls().len() > before).then_some(())
        })
        .await;
        let blocked = async |rig: &Rig<'_>| {
            let reported = rig.reported().await;
            reported.iter().filter(|r| *r == "RotationBlocked").count()
        };
        rig.until_condition("RotationBlocked", "set spec.objectId")
            .await;
        assert_eq!(blocked(&rig).await, 1);
        rig.point_at(json!({ "objectId": own })).await;
        rig.rests(&first).await;
        assert_eq!(blocked(&rig).await, 1);
    });
}

#[test]
fn without_a_valid_certificate_that_got_a_token_nothing_is_uploaded() {
    run(async {
        let world = World::own().await;
        let (first, second) = (pair("first"), pair("second"));
        let ended = keys::keys_until(Kind::Rsa, "ended", None, -1);
        let own = || (&[OWNED][..], json!({}));
        let mut absent = Rig::by_cert_manager(&world, "no-copy", &first, own()).await;
        let expired = Rig::by_cert_manager(&world, "copy-ended", &first, own()).await;
        absent
            .annotate_source(json!({ "apicred.dev/keep-last-good": "false" }))
            .await;
        absent.run().await;
        absent
            .until_condition("RotationBlocked", "keep-last-good")
            .await;
        absent.place.ready("a").await;
        absent.renewed(&second).await;
        absent
            .annotate_source(json!({ "apicred.dev/keep-last-good": null }))
            .await;
        absent
            .until_condition(
                "RotationBlocked",
                "there is no copy of the certificate that got a token before",
            )
            .await;

        expired.rests(&first).await;
        let data = json!({ "tls.crt": ended.certificate, "tls.key": ended.key });
        let edit = json!({ "stringData": data });
        expired.place.edit_secret(COPY, edit).await;
        expired.renewed(&second).await;
        expired
            .until_condition(
                "RotationBlocked",
                "the last good certificate of the Secret has expired",
            )
            .await;
        for rig in [&absent, &expired] {
            assert_eq!(rig.at_issuer(CERTIFICATE).len(), 1);
            // A user uploads it.
            let app = OauthClient::new(&rig.app).certificate(&second.certificate);
            rig.place.add_client(app.role(RECORDS.0, RECORDS.1));
            rig.place.request_renewal("a").await;
            rig.rests(&second).await;
        }
    });
}

#[test]
fn an_answer_to_an_upload_that_is_lost_ends_with_one_certificate_more() {
    run(async {
        let world = World::own().await;
        let (first, second) = (pair("first"), pair("second"));
        let graph = |effect| Fault::new(effect).on(Surface::Graph).times(1);
        // Both took effect, but the answers are lost.
        let faults = [
            ("upload-lost", Effect::Drop),
            ("upload-broken", Effect::ErrorAfter { status: 500 }),
        ];
        let rigs = faults.map(|(label, effect)| {
            let (world, first) = (&world, &first);
            async move {
                let own = (&[OWNED][..], json!({}));
                (Rig::by_cert_manager(world, label, first, own).await, effect)
            }
        });
        let mut rigs = join_all(rigs).await;
        rigs[0].0.run().await;
        let lost = rigs.iter().map(|(rig, effect)| {
            let (first, second) = (&first, &second);
            async move {
                let mark = rig.rests(first).await;
                // A process that started shortly before announces nothing yet.
                tokio::time::sleep(SETTLED).await;
                // The application is read before.
                rig.place.issuer.fault(graph(Effect::None));
                rig.place.issuer.fault(graph(effect.clone()));
                rig.renewed(second).await;
                rig.uploaded(&mark).await;
                assert_eq!(rig.place.issuer.pending_faults(), 0);
                assert_eq!(rig.at_issuer(CERTIFICATE).len(), 2);
                rig.renewal_uses(second).await;
            }
        });
        join_all(lost).await;
    });
}
