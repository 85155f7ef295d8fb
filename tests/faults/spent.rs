//! A refresh token that was used or refused before comes back: by a user, a tool, or a backup.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use serde_json::{Value, json};
use testenv::eventually;

use super::person::{KEY, Person, STATE};
use crate::{
    calls::Call,
    life::in_both_modes,
    refresh_issuer::CLIENT,
    support::{LATER, condition, run},
};

#[test]
fn a_token_error_of_another_request_does_not_outlive_its_mistake() {
    run(in_both_modes(async |mode| {
        let mut person = Person::new(mode, "r-typo", json!({})).await;
        person.begin(json!({})).await;
        assert!(person.until_served(None).await);
        let id = |id: &str| json!({ "spec": { "client": { "id": id } } });
        person.case.place.edit("c", id("typo")).await;
        person.until_reason("SignInRequired").await;
        let (_, notes) = person.stored().await;
        assert!(notes["apicred.dev/sign-in-required"].is_string(), "{notes}");
        let asked = person.issuer.requests();
        // The same request is not sent again, not even on request.
        person.case.place.request_renewal("c").await;
        person.case.stays_quiet(Duration::from_secs(1)).await;
        assert_eq!(person.issuer.requests(), asked);
        person.case.place.edit("c", id(CLIENT)).await;
        assert!(person.until_served(None).await);
        assert!(person.renew().await);
        let (_, notes) = person.stored().await;
        assert_eq!(
            notes["apicred.dev/sign-in-required"],
            Value::Null,
            "{notes}"
        );
        person.whole(0).await;
        person.end().await;
    }));
}

#[test]
fn a_spent_refresh_token_that_somebody_puts_back_is_not_sent() {
    run(in_both_modes(async |mode| {
        let mut person = Person::new(mode, "r-back", json!({})).await;
        let (first, _) = person.stored().await;
        person.begin(json!({})).await;
        assert!(person.until_served(None).await);
        let (second, _) = person.stored().await;
        assert!(person.renew().await);
        let (third, _) = person.stored().await;
        let asked = person.issuer.requests();
        // By an apply, which leaves the notes; by a replace, which drops them; the first one and a later one.
        for (token, replaces) in [
            (&first, false),
            (&second, true),
            (&first, true),
            (&second, false),
        ] {
            let manager = if replaces {
                person.replace(token).await;
                "a-backup"
            } else {
                person.put(token).await;
                "a-git-tool"
            };
            let reported = person
                .until("the reason", |c| {
                    let said = |k| condition(c, k).filter(|c| c.reason == "RefreshTokenSpent");
                    let said = said("Ready").or_else(|| said("RenewalFailing"))?;
                    said.message.contains(manager).then_some(said.message)
                })
                .await;
            assert!(reported.contains("kubectl apicred login c"), "{reported}");
            person.case.place.request_renewal("c").await;
            person.case.stays_quiet(Duration::from_millis(500)).await;
            // A process that knows nothing but what stands there.
            person.case.kill().await;
            person.case.start();
            person.until_reason("RefreshTokenSpent").await;
            assert_eq!(person.issuer.requests(), asked, "a spent one was sent");
        }
        // The newest one, put back as well, is good; and so is a new sign-in.
        person.put(&third).await;
        assert!(person.renew().await);
        person.whole(0).await;
        let again = person.issuer.sign_in();
        person.put(&again).await;
        assert!(person.renew().await);
        person.whole(0).await;
        person.end().await;
    }));
}

/// The notes of a backup fit the refresh token in it: only what stands elsewhere tells that it is an old one.
#[test]
fn a_state_secret_that_is_restored_from_a_backup_with_its_notes_is_recognised() {
    run(in_both_modes(async |mode| {
        let cases = [
            ("r-restored", true, false),
            ("r-recreated", false, false),
            ("r-restored-both", true, true),
            ("r-restored-all", false, true),
        ];
        join_all(cases.map(async |(name, in_place, target_too)| {
            let mut person = Person::new(mode, name, json!({})).await;
            person.begin(json!({})).await;
            assert!(person.until_served(None).await);
            assert!(person.renew().await);
            let secrets = person.case.place.secrets();
            let backup = secrets.get(STATE).await.expect("a state Secret");
            let target = secrets.get("token").await.expect("a target");
            assert!(person.renew().await);
            let newest = secrets.get(STATE).await.expect("a state Secret");
            let asked = person.issuer.requests();
            person.restore(&backup, in_place).await;
            if target_too {
                person.restore(&target, in_place).await;
            }
            let wish = person.case.place.request_renewal("c").await;
            let reported = person.until_reason("RefreshTokenSpent").await;
            assert!(reported.contains("velero-server"), "{name}: {reported}");
            person.case.stays_quiet(Duration::from_millis(500)).await;
            assert_eq!(
                person.issuer.requests(),
                asked,
                "{name}: an old one was sent"
            );
            // The backup was wrong, and the newest one is still there.
            person.restore(&newest, in_place).await;
            assert!(person.until_served(Some(&wish)).await, "{name}");
            person.whole(0).await;
            person.end().await;
        }))
        .await;
    }));
}

/// A restore of a namespace brings other objects of the same names, and a copy has notes of its own: no Secret tells what was
/// spent. The process that did it knows.
#[test]
fn a_process_knows_what_it_has_spent_for_another_credential() {
    run(in_both_modes(async |mode| {
        join_all([false, true].map(async |copied| {
            let name = if copied { "r-copied" } else { "r-namespace" };
            let mut person = Person::new(mode, name, json!({})).await;
            person.begin(json!({})).await;
            assert!(person.until_served(None).await);
            let secrets = person.case.place.secrets();
            let backup = secrets.get(STATE).await.expect("a state Secret");
            let asked = if copied {
                // Somebody gives one sign-in to two credentials, and the other one uses it first.
                let mut copy = backup.clone();
                copy.metadata = ObjectMeta {
                    name: Some("copy".to_owned()),
                    annotations: Some([("apicred.dev/state-of".to_owned(), "d".to_owned())].into()),
                    ..ObjectMeta::default()
                };
                let made = secrets.create(&PostParams::default(), &copy).await;
                made.expect("a copy");
                let spec = json!({
                    "grant": { "refreshToken": { "secretRef": { "name": "copy", "key": KEY } } },
                    "target": { "secretName": "other" },
                });
                person.case.place.create("d", Person::spec(spec)).await;
                eventually(LATER, "the use of the copy", async || {
                    let asked = person.issuer.requests();
                    if asked == 2 { Ok(()) } else { Err(asked) }
                })
                .await;
                person.case.place.request_renewal("c").await;
                2
            } else {
                assert!(person.renew().await);
                person.case.place.delete("c").await;
                person.restore(&backup, false).await;
                let next = json!({ "target": { "secretName": "next" } });
                person.case.place.create("c", Person::spec(next)).await;
                2
            };
            person.until_reason("RefreshTokenSpent").await;
            person.case.stays_quiet(Duration::from_millis(500)).await;
            assert_eq!(person.issuer.requests(), asked, "{name}: it was sent again");
            assert_eq!(person.issuer.reused(), 0, "{name}");
            person.end().await;
        }))
        .await;
    }));
}

/// A tool that applies the old state Secret while a request is in flight.
#[test]
fn a_new_refresh_token_is_stored_over_a_spent_one_that_was_put_back_meanwhile() {
    run(in_both_modes(async |mode| {
        let mut person = Person::new(mode, "r-race", json!({})).await;
        let (first, _) = person.stored().await;
        person.begin(json!({})).await;
        assert!(person.until_served(None).await);
        let store = |call: &Call| call.words() == "patch secrets state";
        let seen = AtomicUsize::new(0);
        // The first one sets the mark, the second one stores.
        let (come, go) = person
            .case
            .wire
            .hold_first(move |call| store(call) && seen.fetch_add(1, Ordering::SeqCst) == 1);
        let wish = person.case.place.request_renewal("c").await;
        come.notified().await;
        person.put(&first).await;
        go.notify_one();
        assert!(person.until_served(Some(&wish)).await);
        eventually(LATER, "the newest refresh token", async || {
            let (token, _) = person.stored().await;
            let current = person.issuer.family().current.clone();
            if current == Some(token) {
                Ok(())
            } else {
                Err("another one")
            }
        })
        .await;
        person.whole(0).await;
        person.end().await;
    }));
}
