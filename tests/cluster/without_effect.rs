//! Input without an effect, and messages about its source: annotations without effect, writers, issuers of the other kind.

use apicred::api::ClusterTokenIssuer;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use testenv::eventually;

use crate::{
    logs::messages,
    service_accounts::service_account,
    support::{LATER, World, condition, run},
};

fn annotated(key: &str, value: impl Into<Value>) -> Value {
    json!({ "metadata": { "annotations": { key: value.into() } } })
}

#[test]
fn an_annotation_that_has_no_effect_is_reported_on_its_object_until_it_goes() {
    run(async {
        let world = World::shared().await;
        let place = world.place("annotations").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        // On the credential, and on each of its Secrets.
        place
            .edit("c", annotated("apicred.dev/renewRequestedAt", "now"))
            .await;
        place
            .edit_secret(
                "source",
                annotated("apicred.dev/secret-expire-at", "2027-06-30"),
            )
            .await;
        let reported = place
            .until("c", "both annotations", |c| {
                condition(c, "AnnotationsIgnored").filter(|a| {
                    [
                        "did you mean apicred.dev/renew-requested-at?",
                        "on Secret source",
                    ]
                    .iter()
                    .all(|part| a.message.contains(part))
                })
            })
            .await;
        assert_eq!(reported.reason, "AnnotationUnknown");
        let meant = "did you mean apicred.dev/secret-expires-at?";
        assert!(reported.message.contains(meant), "{}", reported.message);
        // The event is sent after the status is written.
        testenv::eventually(crate::support::SOON, "the event", async || {
            let events = place.events("c").await;
            let reported = events
                .iter()
                .any(|(_, reason, _)| reason == "AnnotationUnknown");
            reported.then_some(()).ok_or(format!("{events:?}"))
        })
        .await;
        place
            .edit("c", annotated("apicred.dev/renewRequestedAt", Value::Null))
            .await;
        place
            .edit_secret(
                "source",
                annotated("apicred.dev/secret-expire-at", Value::Null),
            )
            .await;
        place
            .until("c", "silence", |c| {
                condition(c, "AnnotationsIgnored").is_none().then_some(())
            })
            .await;
        assert_eq!(place.posts(), 1, "a note is no reason for a token");
    });
}

#[test]
fn an_annotation_without_effect_is_reported_on_an_issuer_and_for_a_service_account() {
    run(async {
        let world = World::shared().await;
        let place = world.place("annotated").await;
        // An annotation that has only the prefix of apicred.
        place
            .edit_secret("source", annotated("apicerd.dev/allowed-issuers", "x"))
            .await;
        service_account(
            &place,
            "absent-minded",
            json!({ "apicred.dev/allowed-audience": "x" }),
        )
        .await;
        let account = json!({ "client": {
            "id": place.client, "secrets": null, "serviceAccount": { "name": "absent-minded" },
        } });
        place.create("account", account).await;
        place
            .create("secret", json!({ "target": { "secretName": "other" } }))
            .await;
        for (name, part) in [
            (
                "account",
                "on ServiceAccount absent-minded the annotation apicred.dev/allowed-audience is not known; did you mean apicred.dev/allowed-audiences?",
            ),
            (
                "secret",
                "on Secret source the annotation apicerd.dev/allowed-issuers is not known; did you mean apicred.dev/allowed-issuers?",
            ),
        ] {
            place
                .until(name, "what was meant", |c| {
                    let reported = condition(c, "AnnotationsIgnored")?.message;
                    reported.contains(part).then_some(())
                })
                .await;
            // The condition and its event are one line of the log.
            let lines = messages(world, Some(&place.namespace), name);
            let about = lines.iter().filter(|l| l.ends_with("AnnotationUnknown"));
            assert!(about.count() <= 1, "{lines:?}");
            let log = world.lines_about(Some(&place.namespace), name);
            let twice = log.iter().filter(|l| l["reason"] == "AnnotationUnknown");
            assert!(twice.count() <= 1, "{log:?}");
        }
        let issuer = async |value: Value| {
            let change = Patch::Merge(annotated("apicred.dev/allowed-issuers", value));
            let params = PatchParams::default();
            let issuers = place.issuers();
            let patched = issuers.patch(&place.issuer_name, &params, &change).await;
            patched.expect("an annotation");
        };
        issuer(json!("https://login.example")).await;
        place
            .until_issuer_reports(
                "AnnotationUnknown",
                &["apicred.dev/allowed-issuers belongs on the Secret"],
            )
            .await;
        let ready = place.issuer_ready().await;
        eventually(LATER, "an event", async || {
            let events = place.events_in("default", &place.issuer_name).await;
            let reported = events
                .iter()
                .any(|e| e.0 == "Warning" && e.1 == "AnnotationUnknown");
            reported.then_some(()).ok_or_else(|| format!("{events:?}"))
        })
        .await;
        issuer(Value::Null).await;
        eventually(LATER, "silence", async || {
            let conditions = place
                .issuer_ready()
                .await
                .status
                .unwrap_or_default()
                .conditions;
            (conditions.len() == 1)
                .then_some(())
                .ok_or_else(|| format!("{conditions:?}"))
        })
        .await;
        let generation = |issuer: &ClusterTokenIssuer| issuer.metadata.generation;
        assert_eq!(generation(&ready), generation(&place.issuer_ready().await));
    });
}

#[test]
fn a_warning_that_stands_does_not_go_because_its_time_became_unreadable() {
    run(async {
        let world = World::shared().await;
        let place = world.place("unreadable-end").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 10);
        let soon = soon.strftime("%Y-%m-%d").to_string();
        for (value, part) in [(soon.as_str(), ""), ("next year", "is not a time")] {
            place
                .edit_secret("source", annotated("apicred.dev/secret-expires-at", value))
                .await;
            place
                .until("c", value, |c| {
                    condition(c, "ClientCredentialExpiring")
                        .filter(|w| w.reason == "SecretExpiring" && w.message.contains(part))
                })
                .await;
        }
    });
}

#[test]
fn an_issuer_of_the_other_kind_is_named() {
    run(async {
        let world = World::shared().await;
        let place = world.place("other-kind").await;
        let mut reference = place.spec(json!({}))["issuerRef"].clone();
        reference["kind"] = json!("TokenIssuer");
        place.create("c", json!({ "issuerRef": reference })).await;
        let reported = place.not_ready("c", "IssuerNotFound").await;
        assert!(
            reported.contains("but a ClusterTokenIssuer of this name does"),
            "{reported}"
        );
    });
}

#[test]
fn a_writer_that_undoes_each_token_is_named() {
    run(async {
        let world = World::shared().await;
        let place = world.place("undone").await;
        place.create("c", json!({})).await;
        let mut view = place.ready("c").await;
        let params = PatchParams {
            field_manager: Some("secrets-sync".to_owned()),
            ..PatchParams::default()
        };
        // The first ones are repaired at once.
        let contested = async || {
            let c = place.credentials().get("c").await.expect("it is there");
            let reported = |kind| condition(&c, kind).filter(|c| c.reason == "TargetContested");
            reported("Ready").or_else(|| reported("RenewalFailing"))
        };
        for _ in 0..10 {
            let theirs = Patch::Merge(json!({ "data": { "token": "dW5kb25l" } }));
            let written = place.secrets().patch("token", &params, &theirs).await;
            written.expect("a write");
            let came = eventually(LATER, "a repair or a report", async || {
                if let Some(reported) = contested().await {
                    return Ok(Err(reported));
                }
                let now = place.view("token").await?;
                let repaired = now.token != view.token && now.token != "undone";
                repaired.then_some(Ok(now)).ok_or("neither yet".to_owned())
            })
            .await;
            match came {
                Ok(now) => view = now,
                Err(reported) => {
                    let manager = "field manager secrets-sync";
                    assert!(reported.message.contains(manager), "{}", reported.message);
                    return;
                }
            }
        }
        panic!("ten repairs and no report");
    });
}
