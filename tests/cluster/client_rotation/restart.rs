//! After a restart, an operator does not repeat the requests of the process before it.

use apicred::{api::ApiClientStatus, plan::fingerprint::fraction};
use dev_issuer::{Client as OauthClient, CredentialKind};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::rig::{RECORDS, Rig, SOURCE};
use crate::support::{
    World,
    keys::{self, Kind},
    run,
};

/// A part of the period in which each client is read once, so that a test ends before the next reading.
const LATE: f64 = 0.7;

impl Rig<'_> {
    /// Creates the client again until its daily reading is far away.
    async fn read_late(&self) {
        for _ in 0..100 {
            let client = self.clients().get("shared").await.expect("the client");
            if fraction(&[&client.uid().unwrap_or_default()]) > LATE {
                return;
            }
            self.place.delete_client("shared").await;
            let mut spec = serde_json::to_value(&client.spec).expect("JSON");
            spec["secrets"] = Value::Null;
            self.place.put_client("shared", spec).await;
        }
        unreachable!("no UID in 100 is late enough");
    }

    /// Edits the client and waits until the rotation has processed the edit.
    async fn sees(&self, every: &str) {
        let before = self.status().await.next_rotation_at;
        let edit = json!({ "spec": { "rotation": { "every": every, "validity": "4320h" } } });
        self.place.edit_client("shared", edit).await;
        let moved = |s: &ApiClientStatus| s.next_rotation_at != before;
        self.until("another time of the next rotation", moved).await;
    }

    /// Requests to the issuer: of tokens for the application, and to Microsoft Graph.
    fn requests(&self) -> (usize, usize) {
        let issuer = &self.place.issuer;
        let tokens = issuer.token_requests_of(&self.app).len();
        (tokens, issuer.api_calls().len())
    }
}

#[test]
fn a_restart_requests_nothing_for_a_rotation_that_is_not_due() {
    run(async {
        let world = World::own().await;
        // One may read the application, the other one may not: then no key ID of its certificate is stored.
        for (label, may_read) in [("restart-reads", true), ("restart-blind", false)] {
            let mut rig = if may_read {
                Rig::of(&world, label, CredentialKind::Certificate).await
            } else {
                Rig::blind(&world, label).await
            };
            rig.read_late().await;
            rig.run().await;
            rig.place.ready("a").await;
            rig.sees("100h").await;
            rig.sees("101h").await;
            let noted = rig.source().await.metadata.annotations.unwrap_or_default();
            assert_eq!(noted.contains_key("apicred.dev/rotation"), may_read);
            let before = rig.requests();
            assert!(before.0 > 1 && before.1 == 1, "{label}: {before:?}");
            rig.run().await;
            // A reconciliation ends before the next one begins.
            rig.sees("102h").await;
            rig.sees("103h").await;
            assert_eq!(rig.requests(), before, "{label}");
            if let Some(mut operator) = rig.operator.take() {
                operator.kill().await;
            }
        }
    });
}

impl<'w> Rig<'w> {
    /// A client `shared` with a certificate, whose application may not read itself.
    async fn blind(world: &'w World, label: &str) -> Self {
        let rig = Self::new(world, label).await;
        let keys = keys::keys(Kind::Rsa, "first", None);
        let app = OauthClient::new(&rig.app).certificate(&keys.certificate);
        rig.place.add_client(app.role(RECORDS.0, RECORDS.1));
        rig.place.put_tls(SOURCE, &keys).await;
        let way = json!({ "secrets": null, "certificates": [{ "secretName": SOURCE }] });
        rig.put(way, json!({ "overlap": "1s" })).await;
        rig
    }
}
