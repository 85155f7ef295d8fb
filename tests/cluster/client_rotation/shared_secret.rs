//! The Secret of a client also contains keys of others.

use apicred::api::ApiCredential;
use dev_issuer::{Client as OauthClient, CredentialKind};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Rig,
    rig::{RECORDS, SOURCE},
    soon,
};
use crate::support::{World, condition, run, unique};

const END: &str = "apicred.dev/secret-expires-at";

impl Rig<'_> {
    async fn noted(&self, name: &str) -> Option<String> {
        let noted = self.source().await.metadata.annotations;
        noted.unwrap_or_default().get(name).cloned()
    }

    /// The expiry of the current client secret, as the rotation stores it.
    async fn noted_end(&self) -> Timestamp {
        let record = self.noted("apicred.dev/rotation").await.expect("a record");
        let record: Value = serde_json::from_str(&record).expect("a record");
        let end = record["current"]["until"].as_str().expect("its end");
        end.parse().expect("a time")
    }
}

#[test]
fn other_keys_of_the_secret_stay_and_the_end_of_a_client_secret_is_not_theirs() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::with_secret(&world, "shared-secret", soon()).await;
        let first = rig.at_issuer(CredentialKind::Secret).remove(0);
        rig.adopt(&first).await;
        rig.run().await;
        rig.place.ready("a").await;
        rig.place.ready("graph-rotator").await;
        // If the client secret is the only key of the Secret, the annotation with its expiry applies to every user of the Secret.
        let request = rig.request().await;
        rig.follows_through(&request).await;
        assert!(rig.noted(END).await.is_some());

        // A user adds the client secret of another application, which expires at another time.
        let theirs = unique();
        let other = OauthClient::new(&rig.other).secret(&theirs);
        rig.place.add_client(other.role(RECORDS.0, RECORDS.1));
        let data = json!({ "theirs": theirs, "note": "kept by hand" });
        rig.place.put_secrets(SOURCE, &data).await;
        rig.annotate_source(json!({ "example.com/team": "orders" }))
            .await;
        let inline = json!({
            "client": { "id": rig.other, "secrets": [{ "name": SOURCE, "key": "theirs" }] },
            "target": { "secretName": "token-b" },
        });
        rig.place.create("b", inline).await;
        rig.place.ready("b").await;
        let before = rig.data().await;
        let request = rig.request().await;
        rig.follows_through(&request).await;

        let after = rig.data().await;
        let names: Vec<&str> = after.keys().map(String::as_str).collect();
        assert_eq!(names, ["note", "theirs", "value"]);
        for name in ["note", "theirs"] {
            assert_eq!(after[name], before[name], "{name}");
        }
        assert_ne!(after["value"], before["value"]);
        let team = rig.noted("example.com/team").await;
        assert_eq!(team.as_deref(), Some("orders"));
        assert_eq!(rig.noted(END).await, None, "it would be about all keys");
        // Each credential uses the expiry of its own key.
        let end = rig.noted_end().await;
        let shown =
            |c: &ApiCredential| Some(c.status.as_ref()?.client.as_ref()?.expires_at.clone());
        let own = |c: &ApiCredential| {
            let shown = shown(c)??;
            (shown.0.as_second() == end.as_second()).then_some(())
        };
        rig.place
            .until("a", "the end of its client secret", own)
            .await;
        rig.place.request_renewal("b").await;
        let none = |c: &ApiCredential| shown(c)?.is_none().then_some(());
        rig.place.until("b", "no end", none).await;
        rig.place.ready("b").await;

        // An annotation of a user stays.
        let mine = (Timestamp::now() + jiff::SignedDuration::from_hours(9_000)).to_string();
        rig.annotate_source(json!({ END: mine })).await;
        let request = rig.request().await;
        rig.follows_through(&request).await;
        assert_eq!(rig.noted(END).await, Some(mine));
    });
}

/// The previous value stays in the Secret for the overlap, and an edit of the current one is still detected.
#[test]
fn an_edit_of_the_current_value_during_the_overlap_is_noticed_at_once() {
    run(async {
        let world = World::own().await;
        let long = json!({ "overlap": "1h" });
        let mut rig = Rig::with_secret(&world, "edited-overlap", long).await;
        rig.run().await;
        let token = rig.place.ready("a").await.token;
        rig.place.ready("graph-rotator").await;
        let request = rig.request().await;
        rig.switched(&request).await;
        rig.place.operator_has_seen_it().await;
        // A switch is not a reason for a new token.
        assert_eq!(rig.place.view("token-a").await.unwrap().token, token);
        let garbage = json!({ "value": unique() });
        rig.place.put_secrets(SOURCE, &garbage).await;
        let failing = |c: &ApiCredential| {
            let failing = condition(c, "RenewalFailing")?;
            (failing.reason == "ClientSecretRefused").then_some(())
        };
        rig.place.until("a", "the edit is noticed", failing).await;
        assert_eq!(rig.place.view("token-a").await.unwrap().token, token);
    });
}
