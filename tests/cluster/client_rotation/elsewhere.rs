//! A client, or the credential that manages it, names another issuer: tokens and proofs for the first issuer are not sent to the other one.

use apicred::api::ApiCredential;
use dev_issuer::CredentialKind;
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{Rig, soon};
use crate::support::{Guarded, LATER, Listener, World, reply, run, typed};

/// The token that the other issuer issues.
const THEIRS: &str = "issued-by-the-lab";

/// An issuer that behaves like Entra ID, to which an administrator allows everything to be sent. It refuses all calls of
/// Microsoft Graph.
struct Lab {
    listener: Listener,
    reference: Value,
}

impl Lab {
    async fn beside(rig: &Rig<'_>) -> Self {
        let listener = Listener::replying(|request| {
            if request.contains("/v1.0/") {
                return reply("503 Service Unavailable", "", b"{}");
            }
            let token =
                json!({ "access_token": THEIRS, "token_type": "Bearer", "expires_in": 3600 });
            reply("200 OK", "", token.to_string().as_bytes())
        });
        let name = format!("{}-lab", rig.place.issuer_name);
        let issuer = typed(json!({ "metadata": { "name": name }, "spec": {
            "entra": {
                "tenantId": rig.place.issuer.tenant(), "authorityHost": listener.origin(), "graphHost": listener.origin(),
            },
            "caBundle": listener.ca_pem,
            "network": { "allowedCidrs": ["127.0.0.0/8"] },
            "allowedNamespaces": { "names": [rig.place.namespace] },
        } }));
        let issuers = rig.place.issuers();
        let made = issuers.create(&PostParams::default(), &issuer).await;
        made.expect("an issuer");
        let reference = json!({ "kind": "ClusterTokenIssuer", "name": name });
        Self {
            listener,
            reference,
        }
    }

    /// The tokens in calls of Microsoft Graph.
    fn tokens(&self) -> Vec<String> {
        let calls = self.listener.requests().into_iter();
        let calls = calls.filter(|request| request.contains("/v1.0/"));
        let token = |request: String| {
            let lines = request.lines();
            let mut found = lines.filter_map(|l| l.strip_prefix("authorization: Bearer "));
            found.next().unwrap_or_default().to_owned()
        };
        calls.map(token).collect()
    }
}

#[test]
fn the_token_of_a_manager_that_names_another_issuer_is_not_sent_there() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::with_secret(&world, "led-away", soon()).await;
        rig.run().await;
        rig.place.ready("a").await;
        let held = rig.place.ready("graph-rotator").await;
        // After this, apicred has made the value in the Secret: no trial precedes the call.
        let request = rig.request().await;
        rig.switched(&request).await;
        let lab = Lab::beside(&rig).await;
        // Its renewal fails there, and the token of the first issuer stays in its Secret.
        let elsewhere = json!({ "issuerRef": lab.reference, "client": { "secrets": [{ "name": "none", "key": "value" }] } });
        let patch = Patch::Merge(json!({ "spec": elsewhere }));
        let credentials = rig.place.credentials();
        let params = PatchParams::default();
        let edited = credentials.patch("graph-rotator", &params, &patch).await;
        edited.expect("an edit");
        rig.point_at(json!({ "issuerRef": lab.reference })).await;
        rig.request().await;
        rig.until_condition("RotationBlocked", &rig.app).await;
        rig.forget().await;
        rig.until_condition("RotationBlocked", "a token of an earlier spec")
            .await;
        let held_still = rig.place.view("token-of-the-owner").await;
        assert_eq!(held_still.expect("a token").token, held.token);
        assert_eq!(lab.tokens(), Vec::<String>::new());
    });
}

#[test]
fn a_token_that_another_writer_put_into_the_secret_of_a_manager_is_not_sent() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::with_secret(&world, "replaced", soon()).await;
        rig.run().await;
        rig.place.ready("a").await;
        rig.place.ready("graph-rotator").await;
        let request = rig.request().await;
        rig.switched(&request).await;
        // No writer restores the token.
        let params = PatchParams::default();
        let suspend = Patch::Merge(json!({ "spec": { "suspend": true } }));
        let credentials = rig.place.credentials();
        let suspended = credentials.patch("graph-rotator", &params, &suspend).await;
        suspended.expect("an edit");
        let seen = |c: &ApiCredential| {
            let status = c.status.as_ref()?;
            (status.observed_generation == c.metadata.generation).then_some(())
        };
        let until = rig.place.until("graph-rotator", "suspended", seen);
        until.await;
        let theirs = "of-another-writer";
        let whole = json!({ "access_token": theirs }).to_string();
        let other = json!({ "stringData": { "token": theirs, "token.json": whole } });
        let (secrets, other) = (rig.place.secrets(), Patch::Merge(other));
        let replaced = secrets.patch("token-of-the-owner", &params, &other).await;
        replaced.expect("a token of somebody else");
        let before = rig.place.issuer.api_calls().len();
        rig.request().await;
        rig.until_condition(
            "RotationBlocked",
            "has a token that is not known to this operator",
        )
        .await;
        let sent = rig.place.issuer.api_calls().len() - before;
        assert_eq!(sent, 0);
    });
}

#[test]
fn the_own_token_and_the_proof_of_a_client_that_names_another_issuer_are_not_sent_there() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::of(&world, "moved-on", CredentialKind::Certificate).await;
        rig.run().await;
        rig.place.ready("a").await;
        let request = rig.request().await;
        rig.switched(&request).await;
        let lab = Lab::beside(&rig).await;
        // The owner of the Secret allows only the first issuer.
        let allowed = json!({ "apicred.dev/allowed-issuers": rig.place.issuer.origin() });
        rig.annotate_source(allowed).await;
        rig.point_at(json!({ "issuerRef": lab.reference })).await;
        rig.request().await;
        rig.until_condition("RotationBlocked", &rig.app).await;
        rig.forget().await;
        rig.until_condition("RotationBlocked", "may not be sent to")
            .await;
        assert_eq!(lab.listener.requests(), Vec::<String>::new());
        // When the owner allows the other one, only tokens of that issuer are sent there.
        rig.annotate_source(json!({ "apicred.dev/allowed-issuers": null }))
            .await;
        let seen = async || (!lab.tokens().is_empty()).then_some(());
        testenv::eventually(LATER, "a call of the other Graph", seen).await;
        assert!(
            lab.tokens().iter().all(|token| token == THEIRS),
            "{:?}",
            lab.tokens()
        );
    });
}

/// In the middle of a rotation, and in any process.
#[test]
fn what_apicred_made_for_one_application_is_named_while_the_client_names_another() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::with_secret(&world, "left-behind", soon()).await;
        let kind = CredentialKind::Secret;
        let first = rig.at_issuer(kind).remove(0);
        rig.run().await;
        rig.place.ready("a").await;
        rig.place.ready("graph-rotator").await;
        let request = rig.request().await;
        let status = rig.switched(&request).await;
        let made = status.keys[0].key_id.clone().expect("its ID");
        let there = |rig: &Rig<'_>| {
            let others = rig.place.issuer.credentials_of(&rig.other).len();
            (rig.at_issuer(kind), others)
        };
        let before = there(&rig);
        let own = rig.place.issuer.object_id(&rig.app);
        // Its owner gives up the credential before the current one: it would be removed now.
        rig.point_at(json!({ "id": rig.other, "objectId": null }))
            .await;
        rig.adopt(&first).await;
        let status = rig.until_condition("RotationBlocked", &made).await;
        let condition = status
            .conditions
            .iter()
            .find(|c| c.type_ == "RotationBlocked");
        let message = &condition.expect("a condition").message;
        assert!(
            message.contains(&rig.app) && message.contains(rig.place.issuer.origin()),
            "{message}"
        );
        let events: Api<Event> = Api::namespaced(rig.place.kube.clone(), &rig.place.namespace);
        let named = async || {
            let all = events.list(&ListParams::default()).await;
            let all = all.map_err(|e| e.to_string())?;
            let names = |event: &Event| {
                let note = event.note.as_deref().unwrap_or_default();
                event.reason.as_deref() == Some("RotationBlocked") && note.contains(&made)
            };
            if all.items.iter().any(names) {
                Ok(())
            } else {
                Err(format!("{} events", all.items.len()))
            }
        };
        testenv::eventually(LATER, "an event with its ID", named).await;
        let noted = rig.source().await.metadata.annotations;
        rig.run().await;
        let reported = async || {
            let output = rig.operator.as_ref().map(Guarded::output);
            let output = output.unwrap_or_default();
            output
                .contains("the rotation of a client waits")
                .then_some(())
        };
        testenv::eventually(LATER, "the log of another process", reported).await;
        assert_eq!(rig.source().await.metadata.annotations, noted);
        assert_eq!(there(&rig), before);
        // After the change is undone, the rotation completes.
        rig.point_at(json!({ "id": rig.app, "objectId": own }))
            .await;
        rig.follows_through(&request).await;
        rig.only(kind, &[made]).await;
    });
}
