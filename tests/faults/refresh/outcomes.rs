//! The outcome after a refresh request: it took effect, it did not, or this is unknown.

use std::{sync::atomic::Ordering, time::Duration};

use futures::future::join_all;
use jiff::SignedDuration;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::super::user::{MARK, User};
use crate::{
    hostile::{Act as Raw, Endpoint},
    refresh_issuer::{Act, CLIENT},
    scenario::in_both_modes,
    support::{keys, run},
};

#[test]
fn an_outcome_that_is_unknown_is_never_taken_for_a_token_error() {
    let text = "text/plain";
    let cases: Vec<(&'static str, Act)> = vec![
        (
            "503",
            Act::Grant(
                "503 Service Unavailable",
                text,
                "upstream connect error or disconnect/reset before headers".to_owned(),
            ),
        ),
        ("502", Act::Grant("502 Bad Gateway", text, String::new())),
        (
            "504",
            Act::Grant("504 Gateway Timeout", text, String::new()),
        ),
        ("499", Act::Grant("499 Client Closed", text, String::new())),
        (
            "500",
            Act::Grant(
                "500 Oops",
                "application/json",
                r#"{"error":"server_error"}"#.to_owned(),
            ),
        ),
        (
            "200",
            Act::Grant("200 OK", "text/html", "<html>".to_owned()),
        ),
        ("close", Act::GrantAndClose),
        ("part", Act::GrantPart(60)),
    ];
    run(in_both_modes(async |mode| {
        let scenarios = cases.clone().into_iter().map(async |(name, act)| {
            let mut user = User::new(
                mode,
                &format!("r-unknown-{name}"),
                json!({ "reuse": "Never" }),
            )
            .await;
            user.issuer.script([act]);
            user.begin(json!({})).await;
            assert!(!user.until_served(None).await, "{name}");
            user.case.pass(SignedDuration::from_hours(2)).await;
            user.case.stays_quiet(Duration::from_secs(1)).await;
            let seen = (user.issuer.requests(), user.issuer.reused());
            assert_eq!(seen, (1, 0), "{name}");
            user.end().await;
        });
        join_all(scenarios).await;
    }));
}

/// A gateway that states that the endpoint did not get the request, and connections that were refused before the request.
/// The target does not show any more that a token is valid, but workloads may still use it, and a second use may revoke it.
#[test]
fn a_target_that_was_edited_or_deleted_causes_no_last_try_while_its_token_is_valid() {
    run(in_both_modes(async |mode| {
        let cases = [("r-deleted", true), ("r-edited", false)];
        join_all(cases.map(async |(name, deleted)| {
            let mut user = User::new(mode, name, json!({})).await;
            user.case.frozen.store(true, Ordering::SeqCst);
            user.begin(json!({})).await;
            assert!(user.until_served(None).await, "{name}");
            user.issuer.script([Act::GrantAndClose]);
            let secrets = user.case.place.secrets();
            if deleted {
                let deleted = secrets.delete("token", &DeleteParams::default()).await;
                deleted.expect("a target that is deleted");
            } else {
                let data = Patch::Merge(json!({ "stringData": { "token": "edited" } }));
                let params = PatchParams::default();
                let edited = secrets.patch("token", &params, &data).await;
                edited.expect("a target that is edited");
            }
            user.until_requests(2).await;
            user.case.pass(SignedDuration::from_mins(30)).await;
            user.until_reason("RefreshOutcomeUnknown").await;
            user.case.stays_quiet(Duration::from_secs(1)).await;
            assert_eq!(user.issuer.requests(), 2, "{name}: it was sent again");
            assert_eq!(user.issuer.reused(), 0, "{name}");
            user.end().await;
        }))
        .await;
    }));
}

#[test]
fn a_request_that_was_not_processed_costs_no_sign_in() {
    run(in_both_modes(async |mode| {
        let mut user = User::new(mode, "r-refused", json!({ "reuse": "Never" })).await;
        // No program listens.
        let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("https://{}/token", gone.local_addr().expect("an address"));
        drop(gone);
        let (ca, tokens) = (user.issuer.ca.clone(), json!({ "reuse": "Never" }));
        user.put_issuer(&url, &ca, tokens.clone()).await;
        user.begin(json!({})).await;
        user.until_reason("IssuerUnreachable").await;
        user.issuer.script([
            Act::Refuse("429 Too Many Requests", ""),
            Act::Refuse("503 Busy", r#"{"error":"temporarily_unavailable"}"#),
            Act::Refuse("401 Unauthorized", r#"{"error":"invalid_client"}"#),
            Act::Refuse("403 Forbidden", "<html>"),
        ]);
        let back = user.issuer.url.clone();
        user.put_issuer(&back, &ca, tokens).await;
        assert!(user.until_served(None).await, "the sign-in was lost");
        assert_eq!(user.issuer.requests(), 5);
        user.whole(0).await;
        user.end().await;
    }));
}

#[test]
fn an_http2_stream_that_was_refused_costs_no_sign_in() {
    // Length, type, flags, stream; then the payload (RFC 9113 sections 6.4 and 6.8).
    let reset = |code: u8| vec![0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, code];
    let goaway = |last: u8| vec![0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last, 0, 0, 0, 0];
    let cases = [
        ("refused", reset(7), true),
        ("goaway", goaway(0), true),
        ("internal", reset(2), false),
        ("goaway-late", goaway(1), false),
    ];
    run(in_both_modes(async |mode| {
        let scenarios = cases.clone().map(async |(name, frames, stored)| {
            let mut user =
                User::new(mode, &format!("r-h2-{name}"), json!({ "reuse": "Never" })).await;
            let endpoint = Endpoint::start(vec![Raw::Frames(frames)]);
            let tokens = json!({ "reuse": "Never" });
            user.put_issuer(&endpoint.url, &endpoint.ca, tokens).await;
            user.begin(json!({})).await;
            assert_eq!(user.until_served(None).await, stored, "{name}");
            user.end().await;
        });
        join_all(scenarios).await;
    }));
}

/// Two requests that were never sent: the key does not fit the algorithm.
#[test]
fn a_request_that_cannot_be_built_leaves_no_doubt() {
    run(in_both_modes(async |mode| {
        let mut user = User::new(mode, "r-unbuilt", json!({ "reuse": "Never" })).await;
        let pair = keys::keys(keys::Kind::Rsa, CLIENT, None);
        user.case.place.put_tls("pair", &pair).await;
        let by = |algorithm: &str| {
            json!({ "client": {
            "certificates": [{ "secretName": "pair", "algorithm": algorithm }],
        } })
        };
        user.case.start();
        let mut spec = User::spec(json!({}));
        spec["client"] = json!({
            "id": CLIENT, "secrets": null,
            "certificates": [{ "secretName": "pair", "algorithm": "RS256" }],
        });
        user.case.place.create("c", spec).await;
        assert!(user.until_served(None).await);
        let change = |algorithm| json!({ "spec": by(algorithm) });
        user.case.place.edit("c", change("ES256")).await;
        let renewal_id = user.case.place.request_renewal("c").await;
        user.until_reason("MaterialInvalid").await;
        let (_, notes) = user.stored().await;
        assert_eq!(notes[MARK], Value::Null, "{notes}");
        user.case.place.edit("c", change("RS256")).await;
        assert!(
            user.until_served(Some(&renewal_id)).await,
            "the sign-in was lost"
        );
        user.whole(0).await;
        user.end().await;
    }));
}
