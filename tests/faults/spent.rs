//! A refresh token that was used or refused before is restored: by a user, a tool, or a backup.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures::future::join_all;
use serde_json::{Value, json};
use testenv::eventually;

use super::user::{KEY, STATE, User};
use crate::{
    calls::Call,
    refresh_issuer::{Act, CLIENT},
    scenario::in_both_modes,
    support::{LATER, condition, run},
};

#[test]
fn a_token_error_of_another_request_does_not_outlive_its_mistake() {
    run(in_both_modes(async |mode| {
        let mut user = User::new(mode, "r-typo", json!({})).await;
        user.begin(json!({})).await;
        assert!(user.until_served(None).await);
        let id = |id: &str| json!({ "spec": { "client": { "id": id } } });
        user.case.place.edit("c", id("typo")).await;
        user.until_reason("SignInRequired").await;
        let (_, notes) = user.stored().await;
        assert!(notes["apicred.dev/sign-in-required"].is_string(), "{notes}");
        let requests = user.issuer.requests();
        // The same request is not sent again, not even on request.
        user.case.place.request_renewal("c").await;
        user.case.stays_quiet(Duration::from_secs(1)).await;
        assert_eq!(user.issuer.requests(), requests);
        user.case.place.edit("c", id(CLIENT)).await;
        assert!(user.until_served(None).await);
        assert!(user.renew().await);
        let (_, notes) = user.stored().await;
        assert_eq!(
            notes["apicred.dev/sign-in-required"],
            Value::Null,
            "{notes}"
        );
        user.whole(0).await;
        user.end().await;
    }));
}

#[test]
fn a_used_refresh_token_that_is_restored_is_not_sent() {
    run(in_both_modes(async |mode| {
        let mut user = User::new(mode, "r-back", json!({})).await;
        let (first, _) = user.stored().await;
        user.begin(json!({})).await;
        assert!(user.until_served(None).await);
        let (second, _) = user.stored().await;
        assert!(user.renew().await);
        let (third, _) = user.stored().await;
        let requests = user.issuer.requests();
        // By an apply, which leaves the annotations; by a replace, which drops them; the first one and a later one.
        for (token, replaces) in [
            (&first, false),
            (&second, true),
            (&first, true),
            (&second, false),
        ] {
            let manager = if replaces {
                user.replace(token).await;
                "a-backup"
            } else {
                user.put(token).await;
                "a-git-tool"
            };
            let reported = user
                .until("the reason", |c| {
                    let message = |k| condition(c, k).filter(|c| c.reason == "RefreshTokenSpent");
                    let message = message("Ready").or_else(|| message("RenewalFailing"))?;
                    message.message.contains(manager).then_some(message.message)
                })
                .await;
            assert!(reported.contains("kubectl apicred login c"), "{reported}");
            user.case.place.request_renewal("c").await;
            user.case.stays_quiet(Duration::from_millis(500)).await;
            // A process that knows only the content of the Secret.
            user.case.kill().await;
            user.case.start();
            user.until_reason("RefreshTokenSpent").await;
            assert_eq!(user.issuer.requests(), requests, "a spent one was sent");
        }
        // The newest one, restored as well, is valid; and so is a new sign-in.
        user.put(&third).await;
        assert!(user.renew().await);
        user.whole(0).await;
        let again = user.issuer.sign_in();
        user.put(&again).await;
        assert!(user.renew().await);
        user.whole(0).await;
        user.end().await;
    }));
}

/// The annotations of a backup fit the refresh token in it: only data that is stored elsewhere shows that it is an old one.
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
            let mut user = User::new(mode, name, json!({})).await;
            user.begin(json!({})).await;
            assert!(user.until_served(None).await);
            assert!(user.renew().await);
            let secrets = user.case.place.secrets();
            let backup = secrets.get(STATE).await.expect("a state Secret");
            let target = secrets.get("token").await.expect("a target");
            assert!(user.renew().await);
            let newest = secrets.get(STATE).await.expect("a state Secret");
            let requests = user.issuer.requests();
            user.restore(&backup, in_place).await;
            if target_too {
                user.restore(&target, in_place).await;
            }
            let renewal_id = user.case.place.request_renewal("c").await;
            let reported = user.until_reason("RefreshTokenSpent").await;
            assert!(reported.contains("velero-server"), "{name}: {reported}");
            user.case.stays_quiet(Duration::from_millis(500)).await;
            assert_eq!(
                user.issuer.requests(),
                requests,
                "{name}: an old one was sent"
            );
            // The backup was wrong, and the newest one is still there.
            user.restore(&newest, in_place).await;
            assert!(user.until_served(Some(&renewal_id)).await, "{name}");
            user.whole(0).await;
            user.end().await;
        }))
        .await;
    }));
}

/// A restore of a namespace creates other objects with the same names, and a copy has its own annotations: no Secret shows which tokens were
/// used. The process that used them remembers them.
#[test]
fn a_process_knows_what_it_has_spent_for_another_credential() {
    run(in_both_modes(async |mode| {
        join_all([false, true].map(async |copied| {
            let name = if copied { "r-copied" } else { "r-namespace" };
            let mut user = User::new(mode, name, json!({})).await;
            user.begin(json!({})).await;
            assert!(user.until_served(None).await);
            let secrets = user.case.place.secrets();
            let backup = secrets.get(STATE).await.expect("a state Secret");
            let requests = if copied {
                // A user stores one sign-in for two credentials, and the other one uses it first.
                user.store_copy(&backup).await;
                user.case.place.create("d", User::spec(copy())).await;
                user.until_requests(2).await;
                user.case.place.request_renewal("c").await;
                2
            } else {
                assert!(user.renew().await);
                user.case.place.delete("c").await;
                user.restore(&backup, false).await;
                let next = json!({ "target": { "secretName": "next" } });
                user.case.place.create("c", User::spec(next)).await;
                2
            };
            user.until_reason("RefreshTokenSpent").await;
            user.case.stays_quiet(Duration::from_millis(500)).await;
            assert_eq!(
                user.issuer.requests(),
                requests,
                "{name}: it was sent again"
            );
            assert_eq!(user.issuer.reused(), 0, "{name}");
            user.end().await;
        }))
        .await;
    }));
}

/// Two credentials with one sign-in: while the request of one is in flight, and after it got no answer, the other one does not send.
#[test]
fn a_refresh_token_that_another_credential_is_sending_is_not_sent() {
    run(in_both_modes(async |mode| {
        let late = Act::GrantLate(Duration::from_secs(2));
        let cases = [
            ("r-both", json!({}), late, "RefreshTokenSpent"),
            // Without a published token, the other credential would make a last try if the issuer did not forbid it.
            (
                "r-both-lost",
                json!({ "reuse": "Never" }),
                Act::GrantAndClose,
                "RefreshOutcomeUnknown",
            ),
        ];
        join_all(cases.map(async |(name, tokens, act, reason)| {
            let mut user = User::new(mode, name, tokens).await;
            user.begin(json!({})).await;
            assert!(user.until_served(None).await, "{name}");
            let backup = user.case.place.secrets().get(STATE).await;
            user.store_copy(&backup.expect("a state Secret")).await;
            user.issuer.script([act]);
            user.case.place.create("d", User::spec(copy())).await;
            user.until_requests(2).await;
            user.case.place.request_renewal("c").await;
            user.until_reason(reason).await;
            user.case.stays_quiet(Duration::from_millis(500)).await;
            assert_eq!(user.issuer.requests(), 2, "{name}: it was sent again");
            assert_eq!(user.issuer.reused(), 0, "{name}");
            user.end().await;
        }))
        .await;
    }));
}

/// The changes of a second credential that uses the copy of a state Secret.
fn copy() -> Value {
    json!({
        "grant": { "refreshToken": { "secretRef": { "name": "copy", "key": KEY } } },
        "target": { "secretName": "other" },
    })
}

/// A tool that applies the old state Secret while a request is in flight.
#[test]
fn a_new_refresh_token_is_stored_over_a_spent_one_that_was_put_back_meanwhile() {
    run(in_both_modes(async |mode| {
        let mut user = User::new(mode, "r-race", json!({})).await;
        let (first, _) = user.stored().await;
        user.begin(json!({})).await;
        assert!(user.until_served(None).await);
        let store = |call: &Call| call.text() == "patch secrets state";
        let seen = AtomicUsize::new(0);
        // The first one sets the mark, the second one stores.
        let (come, go) = user
            .case
            .wire
            .hold_first(move |call| store(call) && seen.fetch_add(1, Ordering::SeqCst) == 1);
        let renewal_id = user.case.place.request_renewal("c").await;
        come.notified().await;
        user.put(&first).await;
        go.notify_one();
        assert!(user.until_served(Some(&renewal_id)).await);
        eventually(LATER, "the newest refresh token", async || {
            let (token, _) = user.stored().await;
            let current = user.issuer.family().current.clone();
            if current == Some(token) {
                Ok(())
            } else {
                Err("another one")
            }
        })
        .await;
        user.whole(0).await;
        user.end().await;
    }));
}
