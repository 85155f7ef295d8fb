//! Data that a later version of apicred has written, read by this one: an update that is rolled back, or two versions for a
//! while (F07).

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::{Place, World, run};

/// Writes annotations as another version of apicred does: under its name.
async fn write_notes(place: &Place, notes: Value) {
    let params = PatchParams {
        field_manager: Some("apicred".to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({ "metadata": { "annotations": notes } }));
    let patched = place.secrets().patch("token", &params, &patch).await;
    patched.expect("notes");
}

#[test]
fn notes_of_a_later_version_cost_no_token_and_are_left_alone() {
    run(async {
        let world = World::shared().await;
        let place = world.place("later").await;
        place.create("c", json!({})).await;
        let first = place.ready("c").await;
        let sources = &first.annotations["apicred.dev/sources"];
        let mut sources: Value = serde_json::from_str(sources).expect("JSON");
        sources["used"]["algorithm"] = json!("new");
        sources["weights"] = json!([1, 2]);
        let notes = json!({
            "apicred.dev/attested-by": "a later version",
            "apicred.dev/renew-reason": "BecauseTheMoonIsFull",
            "apicred.dev/lifetime": "Oracle",
            "apicred.dev/sources": sources.to_string(),
            "apicred.dev/claims": json!({ "later": { "than": ["this"] } }).to_string(),
        });
        write_notes(&place, notes).await;
        place.operator_has_seen_it().await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        assert_eq!(
            place.posts(),
            1,
            "notes that it does not know are no damage"
        );
        let view = place.ready("c").await;
        assert_eq!(view.token, first.token);
        place.request_renewal("c").await;
        let second = place.another_token("token", &first).await;
        place.ready("c").await;
        assert_eq!(
            second
                .annotations
                .get("apicred.dev/attested-by")
                .map(String::as_str),
            Some("a later version"),
            "the other version finds its note again"
        );
        assert_eq!(place.posts(), 2);
    });
}

/// Each annotation becomes one that this version cannot read, one after the other, and all at once.
#[test]
fn notes_that_cannot_be_read_cost_a_token_and_are_written_again() {
    run(async {
        let world = World::shared().await;
        let place = world.place("unread").await;
        place.create("c", json!({})).await;
        let mut last = place.ready("c").await;
        let names = [
            "apicred.dev/issued-at",
            "apicred.dev/sources",
            "apicred.dev/managed-keys",
        ];
        for broken in [&names[..1], &names[1..2], &names[2..], &names[..]] {
            let notes: serde_json::Map<String, Value> = (broken.iter())
                .map(|name| ((*name).to_owned(), json!("v9:{\u{0}")))
                .collect();
            write_notes(&place, Value::Object(notes)).await;
            testenv::eventually(
                crate::support::LATER,
                format!("{broken:?} corrected"),
                async || {
                    let view = place.view("token").await?;
                    let still = broken
                        .iter()
                        .any(|n| view.annotations[*n].starts_with("v9:"));
                    if still {
                        Err("not yet".to_owned())
                    } else {
                        Ok(())
                    }
                },
            )
            .await;
            last = place.ready("c").await;
        }
        assert!(place.posts() <= 5, "{}", place.posts());
        assert_eq!(place.call("demo", "whoami", &last.token).await, 200);
        world.stays_quiet(&place, Duration::from_secs(1)).await;
    });
}
