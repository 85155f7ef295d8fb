//! Several client secrets, and objects that a renewal needs and that are removed before it is due.

use std::time::Duration;

use dev_issuer::Secret;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use testenv::eventually;

use crate::{
    service_accounts::{cluster_issuer, service_account},
    support::{Place, SOON, World, condition, is_well, keys, run, unique},
};

/// Waits until a condition has this status and reason; returns its message.
async fn condition_of(
    place: &Place,
    name: &str,
    kind: &str,
    (status, reason): (&str, &str),
) -> String {
    place
        .until(name, &format!("{kind}={status}/{reason}"), |c| {
            let found = condition(c, kind)?;
            (found.status == status && found.reason == reason).then_some(found.message)
        })
        .await
}

async fn well(place: &Place, name: &str) {
    place
        .until(name, "no trouble", |c| is_well(c).then_some(()))
        .await;
}

async fn event(place: &Place, name: &str, kind: &str, reason: &str) {
    eventually(SOON, format!("an event {reason}"), async || {
        let events = place.events(name).await;
        let found = events.iter().any(|e| e.0 == kind && e.1 == reason);
        found.then_some(()).ok_or_else(|| format!("{events:?}"))
    })
    .await;
}

fn refs(names: &[(&str, &str)]) -> Value {
    names
        .iter()
        .map(|(name, key)| json!({ "name": name, "key": key }))
        .collect()
}

#[test]
fn a_new_secret_that_the_issuer_did_not_know_yet_is_used_without_help() {
    run(async {
        let world = World::shared().await;
        let place = world.place("propagation").await;
        place.add_client(place.oauth_client().lifetime(Duration::from_secs(24)));
        let next = format!("next~{}", unique());
        place.put_secret("new", "value", &next).await;
        let list = refs(&[("new", "value"), ("source", "client-secret")]);
        let client = json!({ "client": { "id": place.client, "secrets": list } });
        place.create("c", client).await;
        place.ready("c").await;
        let reported = condition_of(
            &place,
            "c",
            "ClientCredentialExpiring",
            ("True", "ClientCredentialRefused"),
        )
        .await;
        assert!(
            reported.contains("key value of Secret new") && reported.contains("Secret source"),
            "{reported}"
        );
        event(&place, "c", "Warning", "ClientCredentialRefused").await;
        let listed = place
            .until("c", "the refused source", |c| {
                c.status.as_ref()?.refused().first().cloned()
            })
            .await;
        let (name, key) = (listed.reference.name, listed.reference.key);
        assert_eq!((name.as_str(), key.as_str()), ("new", "value"));
        assert_eq!(listed.reason, "ClientSecretRefused");
        assert!(listed.at.is_some() && listed.reference.resource_version.is_some());

        // The secret is active at the issuer now; the Secret and the credential do not change.
        let both = vec![Secret::new(&place.secret), Secret::new(&next)];
        place.issuer.set_secrets(&place.client, both).unwrap();
        place
            .until("c", "the new secret in use, and no fault", |c| {
                let status = c.status.as_ref()?;
                let used = status.client_in_use().as_deref() == Some("new/value");
                let clean = status.refused().is_empty()
                    && condition(c, "ClientCredentialExpiring").is_none();
                (used && clean).then_some(())
            })
            .await;
        event(&place, "c", "Normal", "ClientCredentialAccepted").await;
    });
}

#[test]
fn a_mistyped_new_secret_is_reported_at_once_and_the_old_one_serves_on() {
    run(async {
        let world = World::shared().await;
        let place = world.place("mistyped").await;
        place.create("c", json!({})).await;
        let first = place.ready("c").await;
        let wrong = format!("wrong~{}", unique());
        place.put_secret("new", "value", &wrong).await;
        let list = |key: &str| refs(&[("new", key), ("source", "client-secret")]);
        // No renewal is due for half an hour. First a missing key: no request is sent for it.
        let posts = place.posts();
        let spec = |key: &str| json!({ "spec": { "client": { "secrets": list(key) } } });
        place.edit("c", spec("valeu")).await;
        let expiring = "ClientCredentialExpiring";
        condition_of(&place, "c", expiring, ("True", "ClientSecretKeyMissing")).await;
        assert_eq!(place.posts(), posts);
        assert_eq!(place.ready("c").await.token, first.token);
        place.edit("c", spec("value")).await;
        condition_of(&place, "c", expiring, ("True", "ClientCredentialRefused")).await;
        place.ready("c").await;
        assert_eq!(
            place.posts(),
            posts + 2,
            "the new one and the old one, once"
        );
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        assert_eq!(place.posts(), posts + 2);

        // A label on it is not a new secret.
        place
            .edit_secret(
                "new",
                json!({ "metadata": { "labels": { "team": "blue" } } }),
            )
            .await;
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        assert_eq!(place.posts(), posts + 2);

        // After the correction it is used at once; the old one can be deleted.
        let next = format!("next~{}", unique());
        let both = vec![Secret::new(&place.secret), Secret::new(&next)];
        place.issuer.set_secrets(&place.client, both).unwrap();
        place.put_secret("new", "value", &next).await;
        place
            .until("c", "the new secret in use", |c| {
                (c.status.as_ref()?.client_in_use()? == "new/value").then_some(())
            })
            .await;
        // A missing one is reported while another one works.
        let params = DeleteParams::default();
        place.secrets().delete("source", &params).await.unwrap();
        condition_of(&place, "c", expiring, ("True", "ClientSecretMissing")).await;
        let rest = refs(&[("new", "value")]);
        place
            .edit("c", json!({ "spec": { "client": { "secrets": rest } } }))
            .await;
        place
            .until("c", "no fault", |c| {
                let now = c.status.as_ref()?.observed_generation == c.metadata.generation;
                (now && condition(c, expiring).is_none()).then_some(())
            })
            .await;
    });
}

#[test]
fn what_was_refused_survives_a_restart() {
    run(async {
        let mut world = World::own().await;
        world.start_operator().await;
        let place = world.place("refused-restart").await;
        let wrong = format!("wrong~{}", unique());
        place.put_secret("new", "value", &wrong).await;
        let list = refs(&[("new", "value"), ("source", "client-secret")]);
        let client = json!({ "client": { "id": place.client, "secrets": list } });
        place.create("c", client).await;
        place.ready("c").await;
        let expiring = "ClientCredentialExpiring";
        condition_of(&place, "c", expiring, ("True", "ClientCredentialRefused")).await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        let before = place.credentials().get("c").await.unwrap();
        world.kill_operator().await;
        let mark = world.mark();
        world.start_operator().await;
        place.operator_has_seen_it().await;
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        assert_eq!(place.credentials().get("c").await.unwrap(), before);
        assert_eq!(place.posts(), 2);
        assert_eq!(world.since(mark, &place).count("get", "secrets"), 0);
    });
}

/// The renewal is reported as one that will fail, the token stays, nothing is sent or read; and everything is normal again after
/// `back` has undone the change.
async fn reported(
    (world, place): (&World, &Place),
    name: &str,
    reason: &str,
    go: impl AsyncFnOnce(),
    back: impl AsyncFnOnce(),
) {
    well(place, name).await;
    world.stays_quiet(place, Duration::from_millis(500)).await;
    let (mark, posts) = (world.mark(), place.posts());
    go().await;
    let reported = condition_of(place, name, "RenewalFailing", ("True", reason)).await;
    let credential = place.credentials().get(name).await;
    let credential = credential.expect("a credential");
    let renew = credential.status.as_ref().and_then(|s| s.renew_at.as_ref());
    let renew = renew.expect("the time of a renewal").0.to_string();
    assert!(reported.contains(&renew), "when does it fail? {reported}");
    let ready = condition(&credential, "Ready").map(|c| c.status);
    assert_eq!(ready.as_deref(), Some("True"), "the token is good");
    assert!(condition(&credential, "Stalled").is_none());
    event(place, name, "Warning", reason).await;
    world.stays_quiet(place, Duration::from_secs(1)).await;
    assert_eq!(place.posts(), posts, "{reason}: a request was sent");
    let tally = world.since(mark, place);
    assert_eq!(
        tally.count("get", "secrets"),
        0,
        "{reason}: {:?}",
        tally.sums()
    );
    assert_eq!(
        tally.count("patch", "apicredentials/status"),
        1,
        "{reason}: {:?}",
        tally.sums()
    );
    back().await;
    well(place, name).await;
}

#[test]
fn a_permission_of_an_issuer_that_is_taken_away_is_reported_at_once() {
    run(async {
        let world = World::shared().await;
        let place = world.place("permission").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        let issuer = async |change: Value| {
            let mut spec = place.entra_issuer();
            for (name, value) in change.as_object().unwrap() {
                spec[name] = value.clone();
            }
            place.put_issuer(spec).await;
        };
        let usual = async || issuer(json!({})).await;
        let only = |names: &[&str]| json!({ "allowedNamespaces": { "names": names } });
        let there = (world, &place);
        reported(
            there,
            "c",
            "NotAuthorizedByIssuer",
            async || issuer(only(&["elsewhere"])).await,
            usual,
        )
        .await;
        reported(
            there,
            "c",
            "ScopeNotAllowed",
            async || issuer(json!({ "allowedScopes": ["api://other/.default"] })).await,
            usual,
        )
        .await;
        // With a label of the namespace.
        let namespaces: Api<Namespace> = Api::all(place.kube.clone());
        let label = async |value: Value| {
            let patch = json!({ "metadata": { "labels": { "tokens": value } } });
            let params = PatchParams::default();
            namespaces
                .patch(&place.namespace, &params, &Patch::Merge(patch))
                .await
                .expect("a label");
        };
        label(json!("yes")).await;
        let selector = json!({ "selector": { "matchLabels": { "tokens": "yes" } } });
        issuer(json!({ "allowedNamespaces": selector })).await;
        place.issuer_ready().await;
        reported(
            there,
            "c",
            "NotAuthorizedByIssuer",
            async || label(Value::Null).await,
            async || label(json!("yes")).await,
        )
        .await;
        // The issuer itself.
        let params = DeleteParams::default();
        place
            .issuers()
            .delete(&place.issuer_name, &params)
            .await
            .unwrap();
        condition_of(&place, "c", "RenewalFailing", ("True", "IssuerNotFound")).await;
        usual().await;
        well(&place, "c").await;
        assert_eq!(place.posts(), 1);
    });
}

#[test]
fn a_certificate_that_goes_is_reported_at_once() {
    run(async {
        let world = World::shared().await;
        let place = world.place("certificate-gone").await;
        let own = keys::keys(keys::Kind::Rsa, "client", None);
        place.add_client(place.oauth_client().certificate(own.certificate.clone()));
        place.put_tls("certificate", &own).await;
        let client = json!({ "client": {
            "id": place.client, "secrets": null, "certificates": [{ "secretName": "certificate" }],
        } });
        place.create("c", client).await;
        place.ready("c").await;
        reported(
            (world, &place),
            "c",
            "SourceMissing",
            async || {
                let params = DeleteParams::default();
                place
                    .secrets()
                    .delete("certificate", &params)
                    .await
                    .unwrap();
            },
            async || {
                place.put_tls("certificate", &own).await;
            },
        )
        .await;
        assert_eq!(place.posts(), 1, "the same certificate is no new one");
    });
}

#[test]
fn a_service_account_that_goes_is_reported_at_once() {
    run(async {
        let world = World::shared().await;
        let place = world.place("account-gone").await;
        let (issuer, jwks) = cluster_issuer(world).await;
        place.issuer.trust_issuer(&issuer, &jwks).expect("keys");
        let subject = format!("system:serviceaccount:{}:workload", place.namespace);
        let audience = "api://AzureADTokenExchange";
        place.add_client(place.oauth_client().federated(&issuer, &subject, audience));
        let client = json!({ "client": {
            "id": place.client, "secrets": null, "serviceAccount": { "name": "workload" },
        } });
        // It is created after its credential, and is used at once.
        place.create("c", client).await;
        place.not_ready("c", "ServiceAccountMissing").await;
        service_account(&place, "workload", Value::Null).await;
        place.ready("c").await;
        let posts = place.posts();
        reported(
            (world, &place),
            "c",
            "ServiceAccountMissing",
            async || {
                let accounts: Api<ServiceAccount> =
                    Api::namespaced(place.kube.clone(), &place.namespace);
                let params = DeleteParams::default();
                accounts.delete("workload", &params).await.unwrap();
            },
            async || service_account(&place, "workload", Value::Null).await,
        )
        .await;
        assert_eq!(place.posts(), posts);
    });
}

#[test]
fn requested_renewals_have_a_gap_and_the_last_request_is_not_lost() {
    run(async {
        let world = World::shared().await;
        let place = world.place("requests").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        let begun = jiff::Timestamp::now();
        let mut renewal_id = String::new();
        for _ in 0..60 {
            renewal_id = place.request_renewal("c").await;
        }
        place
            .until("c", "the last request served", |c| {
                let handled = c.status.as_ref()?.last_handled_renew_request.as_deref();
                (handled == Some(renewal_id.as_str())).then_some(())
            })
            .await;
        let seconds = jiff::Timestamp::now().duration_since(begun).as_secs();
        let most = 1 + 2 + seconds / 10;
        assert!(
            i64::try_from(place.posts()).unwrap() <= most,
            "{} requests in {seconds} s",
            place.posts()
        );
        assert_eq!(world.operator_logs().matches("panicked").count(), 0);
    });
}
