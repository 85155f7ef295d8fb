//! Writes of a process that has not seen a change (F04): the server refuses them, and no data of
//! other writers is overwritten.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::{
    scenario::{Case, Mode, in_both_modes, world},
    support::{Place, run},
};

const STATUS: &str = "patch apicredentials/status c";

/// Runs up to the first token; another writer makes a change while the operator's first status write is in flight. Returns
/// the server's answer to each status write, and the object.
async fn behind_its_back(
    name: &str,
    mode: Mode,
    change: impl AsyncFnOnce(&Place),
) -> (Vec<Option<u16>>, apicred::api::ApiCredential) {
    let mut case = Case::within(world().await, name, mode).await;
    let (come, go) = case.wire.hold_first(|call| call.text() == STATUS);
    case.start();
    case.place.create("c", json!({})).await;
    come.notified().await;
    change(&case.place).await;
    go.notify_one();
    case.until_ready(None).await;
    case.stays_quiet(Duration::from_millis(500)).await;
    assert_eq!(case.place.posts(), 1, "{name}: O3");
    let journal = case.wire.journal();
    let statuses = journal.iter().filter(|e| e.call.text() == STATUS);
    let answers = statuses.map(|e| e.answered).collect();
    let object = case
        .place
        .credentials()
        .get("c")
        .await
        .expect("it is there");
    case.place.delete("c").await;
    case.until_gone().await;
    case.stop().await;
    (answers, object)
}

#[test]
fn a_status_that_meets_a_label_is_written_at_the_newer_version() {
    run(in_both_modes(async |mode| {
        let (answers, object) = behind_its_back("fenced-label", mode, async |place| {
            let label = json!({ "metadata": { "labels": { "team": "secops" } } });
            place.edit("c", label).await;
        })
        .await;
        assert_eq!(answers, [Some(409), Some(200)]);
        let labels = object.metadata.labels.unwrap_or_default();
        assert_eq!(labels.get("team").map(String::as_str), Some("secops"));
    }));
}

#[test]
fn a_status_that_is_not_known_is_not_written_over_but_read() {
    run(in_both_modes(async |mode| {
        let (answers, object) = behind_its_back("fenced-status", mode, async |place| {
            let status = Patch::Merge(json!({ "status": { "renewReason": "Nonsense" } }));
            let params = PatchParams::default();
            let credentials = place.credentials();
            let written = credentials.patch_status("c", &params, &status);
            written.await.expect("a status that another manager wrote");
        })
        .await;
        assert_eq!(answers.first(), Some(&Some(409)));
        assert!(answers[1..].contains(&Some(200)), "{answers:?}");
        let status = object.status.expect("a status");
        assert_ne!(status.renew_reason.as_deref(), Some("Nonsense"));
    }));
}
