//! The lines of the log about faults: one at the start and one at the end of each.

use futures::future::join_all;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::logs::{messages, until_logged};
use crate::support::{World, a_second_after, condition, merge, run};

/// A fault of a credential: its name, the change of the usual spec that causes it, the condition, the reason, and the
/// patch that corrects it.
pub(crate) fn faults() -> Vec<(&'static str, Value, &'static str, &'static str, Value)> {
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(240);
    let later = soon + jiff::SignedDuration::from_hours(2400);
    let source = |name: &str| json!([{ "name": name, "key": "client-secret" }]);
    let ends = |at: jiff::Timestamp| json!([{ "name": "source", "key": "client-secret", "expiresAt": at.to_string() }]);
    let issuer = |name: &str| json!({ "kind": "ClusterTokenIssuer", "name": name });
    let fixed = |name: &str| json!({ "issuerRef": null, "client": null, "scopes": null, "static": { "tokenRef": { "name": name, "key": "client-secret" } } });
    vec![
        (
            "secret-missing",
            json!({ "client": { "secrets": source("absent") } }),
            "Ready",
            "ClientSecretMissing",
            json!({ "client": { "secrets": source("source") } }),
        ),
        (
            "source-missing",
            fixed("absent"),
            "Ready",
            "SourceMissing",
            fixed("legacy"),
        ),
        (
            "invalid",
            json!({ "client": { "id": "\u{a0}x" } }),
            "Ready",
            "InvalidSpec",
            json!({}),
        ),
        (
            "no-issuer",
            json!({ "issuerRef": issuer("nobody") }),
            "Ready",
            "IssuerNotFound",
            json!({}),
        ),
        (
            "roles",
            json!({ "expect": { "roles": ["Records.Write"] } }),
            "PermissionsMissing",
            "RolesMissing",
            json!({ "expect": { "roles": ["Records.Read"] } }),
        ),
        (
            "expiring",
            json!({ "client": { "secrets": ends(soon) } }),
            "ClientCredentialExpiring",
            "SecretExpiring",
            json!({ "client": { "secrets": ends(later) } }),
        ),
        (
            "short",
            json!({ "minLifetime": "24h" }),
            "LifetimeAtRisk",
            "LifetimeTooShort",
            json!({ "minLifetime": "5m" }),
        ),
    ]
}

#[test]
fn each_fault_of_a_credential_is_one_line_at_its_begin_and_one_at_its_end() {
    run(async {
        let world = World::shared().await;
        let place = world.place("faults").await;
        let key = "f4ults~0f~a~k3y~that~ends~n3ver";
        place.put_secret("legacy", "client-secret", key).await;
        let note = json!({ "metadata": { "annotations": { "apicred.dev/publish-by": "source-missing" } } });
        place.edit_secret("legacy", note).await;
        let cases = faults()
            .into_iter()
            .map(|(name, fault, kind, reason, corrected)| {
                let place = &place;
                async move {
                    let target = |mut spec: Value| {
                        spec["target"] = json!({ "secretName": name });
                        spec
                    };
                    place.create(name, target(fault.clone())).await;
                    let began = format!("began {kind} {reason}");
                    until_logged(world, place, name, &[&began]).await;
                    let line = world.lines_about(Some(&place.namespace), name);
                    let line = line
                        .iter()
                        .find(|l| l["change"] == "began")
                        .expect("a line");
                    let object = place.credentials().get(name).await.expect("it is there");
                    assert_eq!(line["level"], "WARN", "{line}");
                    assert_eq!(line["kind"], "ApiCredential", "{line}");
                    assert_eq!(line["uid"], json!(object.metadata.uid), "{line}");
                    assert_eq!(line["generation"], json!(1), "{line}");
                    let reported = condition(&object, kind).expect("the condition");
                    assert_eq!(line["message"], reported.message, "{line}");
                    assert_eq!(line["status"], reported.status, "{line}");
                    let change = patch(&place.spec(target(fault)), &place.spec(target(corrected)));
                    place.edit(name, json!({ "spec": change })).await;
                    let ended = format!("ended {kind} {reason}");
                    until_logged(world, place, name, &[&began, &ended]).await;
                    let ready = |c: &apicred::api::ApiCredential| condition(c, "Ready");
                    let ready = |c: &_| ready(c).filter(|c| c.status == "True");
                    place.until(name, "ready", ready).await;
                    // No other line contains the reason.
                    let lines = world.lines_about(Some(&place.namespace), name);
                    let named = lines.iter().filter(|l| l.to_string().contains(reason));
                    assert_eq!(named.count(), 2, "{lines:?}");
                }
            });
        join_all(cases).await;
    });
}

/// The merge patch that changes one object into another.
fn patch(from: &Value, to: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (from, to) else {
        return to.clone();
    };
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    let gone = gone.map(|name| (name.clone(), Value::Null));
    let kept = new.iter().map(|(name, value)| {
        let before = old.get(name).unwrap_or(&Value::Null);
        (name.clone(), patch(before, value))
    });
    Value::Object(gone.chain(kept).collect())
}

#[test]
fn faults_that_others_bring_and_take_away_are_one_line_each() {
    run(async {
        let world = World::shared().await;
        let place = world.place("others").await;
        place
            .put_secret("theirs", "token", "not-apicred-s-own")
            .await;
        let at = |secret: &str| json!({ "target": { "secretName": secret } });
        // A Secret of another owner, and one that an older credential names.
        place.create("not-owned", at("theirs")).await;
        until_logged(world, &place, "not-owned", &["began Ready SecretNotOwned"]).await;
        let older = place.create("a-older", at("one")).await;
        place.ready("a-older").await;
        a_second_after(&older.metadata).await;
        place.create("claimed", at("one")).await;
        until_logged(world, &place, "claimed", &["began Ready TargetClaimed"]).await;
        let params = DeleteParams::default();
        place
            .secrets()
            .delete("theirs", &params)
            .await
            .expect("it goes");
        place.delete("a-older").await;
        // Its owner was deleted: the garbage collector may have deleted it already.
        match place.secrets().delete("one", &params).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            gone => drop(gone.expect("it goes")),
        }
        let both = ["began Ready SecretNotOwned", "ended Ready SecretNotOwned"];
        until_logged(world, &place, "not-owned", &both).await;
        place.ready("claimed").await;
        let lines = messages(world, Some(&place.namespace), "claimed");
        assert_eq!(lines[0], "began Ready TargetClaimed", "{lines:?}");
        let ended = lines.last().expect("lines");
        assert!(ended.starts_with("ended Ready"), "{lines:?}");

        // A manager that applies the token.
        place.create("conflict", at("applied")).await;
        place.ready("conflict").await;
        let theirs = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "applied" }, "stringData": { "token": "theirs" },
        });
        let params = PatchParams::apply("gitops").force();
        let secrets = place.secrets();
        let applied = secrets
            .patch("applied", &params, &Patch::Apply(&theirs))
            .await;
        applied.expect("it is applied");
        until_logged(world, &place, "conflict", &["began Ready TargetConflict"]).await;

        // Limits of the issuer's administrator. No renewal is due for credentials that have a token.
        let allowed = |more: Value| merge(place.entra_issuer(), more);
        place
            .put_issuer(allowed(
                json!({ "allowedNamespaces": { "names": ["nobody"] } }),
            ))
            .await;
        place.create("denied", at("denied")).await;
        until_logged(
            world,
            &place,
            "denied",
            &["began Ready NotAuthorizedByIssuer"],
        )
        .await;
        place
            .put_issuer(allowed(
                json!({ "allowedScopes": ["api://other/.default"] }),
            ))
            .await;
        let changed = [
            "began Ready NotAuthorizedByIssuer",
            "changed Ready ScopeNotAllowed",
        ];
        until_logged(world, &place, "denied", &changed).await;
        place.put_issuer(allowed(json!({}))).await;
        let ended = [changed[0], changed[1], "ended Ready ScopeNotAllowed"];
        until_logged(world, &place, "denied", &ended).await;
    });
}
