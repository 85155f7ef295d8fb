//! `deletionPolicy: Revoke`: the token is revoked before the credential goes, and no deletion waits longer than a minute.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::{core::v1::Namespace, rbac::v1::ClusterRole};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PropagationPolicy},
};
use serde_json::{Value, json};
use testenv::eventually;

use crate::{
    clients::by_client,
    leader,
    support::{LATER, Listener, NAMESPACE, Place, SOON, World, condition, reply, run},
};

const FINALIZER: &str = "apicred.dev/revoke";
/// What somebody else keeps an object by.
const THEIRS: &str = "example.com/theirs";

pub(crate) fn revoke(target: &str) -> Value {
    json!({ "deletionPolicy": "Revoke", "target": { "secretName": target } })
}

/// An issuer whose revocation endpoint answers as `revocation` says, from the number of its requests so far.
pub(crate) fn issuer(revocation: impl Fn(usize) -> &'static str + Send + 'static) -> Listener {
    let (tokens, ends) = (AtomicUsize::new(0), AtomicUsize::new(0));
    Listener::replying(move |request| {
        if request.starts_with("POST /revoke ") {
            let status = revocation(ends.fetch_add(1, Ordering::SeqCst));
            return reply(status, "", b"");
        }
        let token = format!("t0ken-{}", tokens.fetch_add(1, Ordering::SeqCst));
        let token = json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 });
        reply("200 OK", "", token.to_string().as_bytes())
    })
}

fn spec_of(place: &Place, listener: &Listener) -> Value {
    json!({
        "oauth2": {
            "tokenUrl": listener.token_url,
            "revocationUrl": format!("{}/revoke", listener.origin()),
        },
        "caBundle": listener.ca_pem,
        "network": { "allowedCidrs": ["127.0.0.0/8"] },
        "allowedNamespaces": { "names": [place.namespace] },
    })
}

async fn offer(place: &Place, listener: &Listener) {
    place.put_issuer(spec_of(place, listener)).await;
}

/// A place whose issuer is this listener.
pub(crate) async fn place(world: &World, label: &str, listener: &Listener) -> Place {
    let place = world.place(label).await;
    offer(&place, listener).await;
    place
}

pub(crate) fn revoked(listener: &Listener, token: &str) -> bool {
    let requests = listener.requests();
    let mut ends = requests.iter().filter(|r| r.starts_with("POST /revoke "));
    ends.any(|r| r.contains(&format!("token={token}&")) || r.ends_with(&format!("token={token}")))
}

async fn finalizers(place: &Place, name: &str) -> Vec<String> {
    let object = place.credentials().get(name).await.expect("a credential");
    object.metadata.finalizers.unwrap_or_default()
}

pub(crate) async fn gone(place: &Place, name: &str, within: Duration) {
    eventually(within, format!("{name} is gone"), async || {
        match place.credentials().get_opt(name).await {
            Ok(None) => Ok(()),
            other => Err(format!("{:?}", other.map(|o| o.map(|o| o.metadata)))),
        }
    })
    .await;
}

/// The event about a token that was not revoked.
pub(crate) async fn warned(place: &Place, name: &str) -> String {
    eventually(SOON, "the event", async || {
        let events = place.events(name).await;
        let mut events = events.into_iter();
        let found = events.find(|(_, reason, _)| reason == "RevocationFailed");
        found.map(|(_, _, note)| note).ok_or("none")
    })
    .await
}

pub(crate) async fn no_warning(place: &Place, name: &str) {
    let events = place.events(name).await;
    assert!(
        events
            .iter()
            .all(|(_, reason, _)| reason != "RevocationFailed"),
        "{events:?}"
    );
}

#[test]
fn the_finalizer_comes_before_the_first_token_and_follows_the_policy() {
    run(async {
        let world = World::shared().await;
        let listener = issuer(|_| "200 OK");
        let place = place(world, "end-policy", &listener).await;
        place.create("c", revoke("token")).await;
        place.ready("c").await;
        assert_eq!(finalizers(&place, "c").await, [FINALIZER]);
        let adds = world.cluster.audit_events(|e| {
            e.uri.contains(&place.namespace)
                && e.verb == "patch"
                && e.uri.contains("/apicredentials/c")
                && !e.uri.contains("/status")
        });
        assert_eq!(adds.expect("an audit log").len(), 1, "one write");
        let theirs = json!({ "metadata": { "finalizers": [FINALIZER, THEIRS] } });
        place.edit("c", theirs).await;
        for (policy, expected) in [
            ("Delete", vec![THEIRS]),
            ("Revoke", vec![THEIRS, FINALIZER]),
            ("Retain", vec![THEIRS]),
            ("Revoke", vec![THEIRS, FINALIZER]),
        ] {
            place
                .edit("c", json!({ "spec": { "deletionPolicy": policy } }))
                .await;
            eventually(SOON, policy, async || {
                let now = finalizers(&place, "c").await;
                (now == expected)
                    .then_some(())
                    .ok_or_else(|| now.join(", "))
            })
            .await;
        }
        // Somebody takes it away by hand: it comes back.
        let none = json!({ "metadata": { "finalizers": [THEIRS] } });
        place.edit("c", none).await;
        eventually(SOON, "the finalizer", async || {
            finalizers(&place, "c")
                .await
                .contains(&FINALIZER.to_owned())
        })
        .await;
        let token = place.view("token").await.expect("a Secret").token;
        place.delete("c").await;
        eventually(SOON, "the revocation", async || revoked(&listener, &token)).await;
        eventually(SOON, "their finalizer alone", async || {
            finalizers(&place, "c").await == [THEIRS]
        })
        .await;
        let none = json!({ "metadata": { "finalizers": null } });
        place.edit("c", none).await;
        gone(&place, "c", SOON).await;
        no_warning(&place, "c").await;
        assert_eq!(
            listener
                .requests()
                .iter()
                .filter(|r| r.starts_with("POST /revoke "))
                .count(),
            1
        );
    });
}

#[test]
fn a_token_is_revoked_whichever_way_its_credential_is_deleted() {
    run(async {
        let world = World::shared().await;
        let listener = issuer(|n| {
            if n == 0 {
                "503 Service Unavailable"
            } else {
                "200 OK"
            }
        });
        let place = place(world, "end-ways", &listener).await;
        for (name, way, change) in [
            ("background", PropagationPolicy::Background, json!(null)),
            ("foreground", PropagationPolicy::Foreground, json!(null)),
            ("orphan", PropagationPolicy::Orphan, json!(null)),
            (
                "suspended",
                PropagationPolicy::Background,
                json!({ "suspend": true }),
            ),
        ] {
            place.create(name, revoke(name)).await;
            let token = place.ready(name).await.token;
            if !change.is_null() {
                place.edit(name, json!({ "spec": change })).await;
            }
            let params = DeleteParams {
                propagation_policy: Some(way),
                ..DeleteParams::default()
            };
            place
                .credentials()
                .delete(name, &params)
                .await
                .expect("a deletion");
            gone(&place, name, SOON).await;
            assert!(revoked(&listener, &token), "{name}");
            no_warning(&place, name).await;
        }
        // The Secret goes first, and stays away.
        place.create("first", revoke("first")).await;
        let token = place.ready("first").await.token;
        place
            .edit("first", json!({ "spec": { "suspend": true } }))
            .await;
        place
            .secrets()
            .delete("first", &DeleteParams::default())
            .await
            .expect("a deletion");
        place.operator_has_seen_it().await;
        place.delete("first").await;
        gone(&place, "first", SOON).await;
        assert!(revoked(&listener, &token));
    });
}

#[test]
fn what_cannot_be_revoked_goes_at_once_and_says_so() {
    run(async {
        let world = World::shared().await;
        let listener = issuer(|_| "400 Bad Request");
        let place = place(world, "end-cannot", &listener).await;
        // Without a token there is nothing to revoke, and nothing to report.
        let nothing = json!({ "client": { "secrets": [{ "name": "missing", "key": "k" }] } });
        let mut spec = revoke("nothing");
        spec["client"] = nothing["client"].clone();
        place.create("nothing", spec).await;
        place.not_ready("nothing", "ClientSecretMissing").await;
        place.delete("nothing").await;
        gone(&place, "nothing", SOON).await;
        no_warning(&place, "nothing").await;
        for name in ["refused", "secretless", "issuerless"] {
            place.create(name, revoke(name)).await;
            place.ready(name).await;
        }
        place.delete("refused").await;
        gone(&place, "refused", SOON).await;
        let note = warned(&place, "refused").await;
        assert!(
            note.contains("HTTP 400") && note.contains("stays valid until 2"),
            "{note}"
        );
        place
            .secrets()
            .delete("source", &DeleteParams::default())
            .await
            .expect("a deletion");
        place.operator_has_seen_it().await;
        place.delete("secretless").await;
        gone(&place, "secretless", SOON).await;
        let note = warned(&place, "secretless").await;
        assert!(note.contains("Secret source"), "{note}");
        place
            .issuers()
            .delete(&place.issuer_name, &DeleteParams::default())
            .await
            .expect("a deletion");
        place.operator_has_seen_it().await;
        place.delete("issuerless").await;
        gone(&place, "issuerless", SOON).await;
        let note = warned(&place, "issuerless").await;
        assert!(note.contains(&place.issuer_name), "{note}");
        let logs = world.operator_logs();
        assert!(
            logs.lines()
                .any(|l| l.contains("not revoked") && l.contains(&place.namespace))
        );
    });
}

#[test]
fn a_namespace_is_deleted_whatever_goes_first() {
    run(async {
        let world = World::shared().await;
        let listener = issuer(|_| "200 OK");
        let place = place(world, "end-namespace", &listener).await;
        for n in 0..10 {
            let name = format!("c{n}");
            place.create(&name, revoke(&name)).await;
        }
        for n in 0..10 {
            place.ready(&format!("c{n}")).await;
        }
        let namespaces: Api<Namespace> = Api::all(world.admin.clone());
        namespaces
            .delete(&place.namespace, &DeleteParams::default())
            .await
            .expect("a deletion");
        eventually(LATER, "the end of the namespace", async || {
            namespaces
                .get_opt(&place.namespace)
                .await
                .is_ok_and(|n| n.is_none())
        })
        .await;
        // Each token was revoked, or the log says that it was not.
        let logs = world.operator_logs();
        for n in 0..10 {
            let name = format!("\"c{n}\"");
            let about = |l: &&str| l.contains(&place.namespace) && l.contains(&name);
            let mut lines = logs.lines().filter(about);
            assert!(lines.any(|l| l.contains("revoked")), "{name}");
        }
    });
}

#[test]
fn two_hundred_deletions_behind_an_issuer_that_does_not_answer_end_at_their_deadline() {
    run(async {
        const MANY: usize = 200;
        let world = World::shared().await;
        let listener = issuer(|_| {
            // One connection at a time, and this one never ends.
            std::thread::sleep(Duration::from_mins(10));
            "200 OK"
        });
        let silent = place(world, "end-many", &listener).await;
        let names: Arc<Vec<String>> = Arc::new((0..MANY).map(|n| format!("c{n}")).collect());
        for name in names.iter() {
            silent.create(name, revoke(name)).await;
        }
        for name in names.iter() {
            silent.ready(name).await;
        }
        let well = issuer(|_| "200 OK");
        let other = place(world, "end-other", &well).await;
        other.create("c", revoke("token")).await;
        let token = other.ready("c").await.token;
        for name in names.iter() {
            silent.delete(name).await;
        }
        // Another namespace does not wait for them.
        other.delete("c").await;
        gone(&other, "c", SOON).await;
        assert!(revoked(&well, &token));
        for name in names.iter() {
            gone(&silent, name, LATER).await;
        }
        let note = warned(&silent, "c0").await;
        assert!(note.contains("not revoked in time"), "{note}");
        let (_, metrics) = world.operator().get("/metrics").await.expect("metrics");
        let timeouts = metrics
            .lines()
            .find_map(|l| l.strip_prefix("apicred_revocations_total{result=\"timeout\"} "))
            .and_then(|n| n.trim().parse::<usize>().ok());
        assert!(timeouts.is_some_and(|n| n >= MANY), "{timeouts:?}");
    });
}

/// Waits until the API server knows whether the operator may patch credentials.
async fn may_patch(world: &World, place: &Place, wanted: bool) {
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:apicred");
    let question = ["auth", "can-i", "patch", "apicredentials.apicred.dev"];
    let question = [question.as_slice(), &["-n", &place.namespace, &account]].concat();
    eventually(SOON, format!("patch: {wanted}"), async || {
        // Its exit code is the answer.
        world.cluster.kubectl(&question).await.is_ok() == wanted
    })
    .await;
}

#[test]
fn an_operator_that_comes_back_revokes_and_one_without_the_right_requests_no_token() {
    run(async {
        let mut world = World::own().await;
        let listener = issuer(|_| "200 OK");
        let place = place(&world, "end-restart", &listener).await;
        world.start_operator().await;
        place.create("c", revoke("token")).await;
        let token = place.ready("c").await.token;
        place.create("kept", revoke("kept")).await;
        place.ready("kept").await;
        place.create("stuck", revoke("stuck")).await;
        let stuck = place.ready("stuck").await.token;
        world.kill_operator().await;
        // Nobody removes the finalizer meanwhile but a person.
        place.delete("c").await;
        place.delete("kept").await;
        assert_eq!(finalizers(&place, "c").await, [FINALIZER]);
        place
            .edit("kept", json!({ "metadata": { "finalizers": null } }))
            .await;
        gone(&place, "kept", SOON).await;
        world.start_operator().await;
        gone(&place, "c", SOON).await;
        assert!(revoked(&listener, &token));

        let roles: Api<ClusterRole> = Api::all(world.admin.clone());
        let all = roles.get("apicred").await.expect("a role").rules;
        let all = all.unwrap_or_default();
        let less = all.iter().filter(|rule| {
            let list = |items: &Option<Vec<String>>, what: &str| {
                items.iter().flatten().any(|item| item == what)
            };
            !(list(&rule.resources, "apicredentials") && rule.verbs.iter().any(|v| v == "patch"))
        });
        let less: Vec<_> = less.cloned().collect();
        assert_eq!(less.len() + 1, all.len());
        let (params, before) = (PatchParams::default(), listener.requests().len());
        let patch = Patch::Merge(json!({ "rules": less }));
        roles
            .patch("apicred", &params, &patch)
            .await
            .expect("an edit");
        may_patch(&world, &place, false).await;
        place.create("later", revoke("later")).await;
        place.not_ready("later", "FinalizerForbidden").await;
        assert_eq!(
            listener.requests().len(),
            before,
            "no token that cannot be revoked"
        );
        // A finalizer that cannot be removed is reported where its owner looks.
        place.delete("stuck").await;
        eventually(SOON, "the event about the finalizer", async || {
            let events = place.events("stuck").await;
            let told = events.into_iter().find(|e| e.1 == "FinalizerForbidden");
            told.is_some_and(|(_, _, note)| note.contains("the deletion waits"))
        })
        .await;
        assert!(revoked(&listener, &stuck));
        let patch = Patch::Merge(json!({ "rules": all }));
        roles
            .patch("apicred", &params, &patch)
            .await
            .expect("an edit");
        may_patch(&world, &place, true).await;
        place.request_renewal("later").await;
        place.ready("later").await;
        // Between two tries there are 30 s at most.
        gone(&place, "stuck", LATER).await;
        let ends = listener.requests();
        let ends = ends.iter().filter(|r| r.contains(&stuck));
        assert_eq!(ends.count(), 1, "it was revoked once");
    });
}

/// A revocation counts towards the limits of its issuer, like a token request: a pause holds both.
#[test]
fn a_429_of_the_revocation_endpoint_pauses_the_client_and_its_revocations() {
    run(async {
        let world = World::shared().await;
        let listener = Listener::replying(|request| {
            if request.starts_with("POST /revoke ") {
                return reply("429 Too Many Requests", "retry-after: 3600\r\n", b"");
            }
            let token =
                json!({ "access_token": "b4sic.Zx81", "token_type": "Bearer", "expires_in": 3600 });
            reply("200 OK", "", token.to_string().as_bytes())
        });
        let place = place(world, "end-limits", &listener).await;
        let spec = |name: &str| {
            let parameters = json!([{ "name": "number", "value": name }]);
            let mut spec = revoke(name);
            spec["parameters"] = parameters;
            spec
        };
        place.create("first", spec("first")).await;
        place.ready("first").await;
        place.delete("first").await;
        let ends = || {
            let requests = listener.requests();
            let ends = requests.iter().filter(|r| r.starts_with("POST /revoke "));
            ends.count()
        };
        eventually(SOON, "the attempt", async || (ends() == 1).then_some(())).await;
        place.create("second", spec("second")).await;
        place.not_ready("second", "IssuerPaused").await;
        gone(&place, "first", LATER).await;
        let note = warned(&place, "first").await;
        assert!(note.contains("not revoked in time"), "{note}");
        assert_eq!(ends(), 1, "no second attempt in the pause");
    });
}

/// The first leader crashes between two attempts.
#[test]
fn the_next_leader_revokes_what_the_last_one_could_not() {
    run(async {
        let world = World::own().await;
        let first = leader::start(&world, "first").await;
        leader::leads(&world, "first", LATER).await;
        let open = Arc::new(AtomicBool::new(false));
        let opened = Arc::clone(&open);
        let listener = issuer(move |_| {
            if opened.load(Ordering::SeqCst) {
                "200 OK"
            } else {
                "503 Service Unavailable"
            }
        });
        let place = place(&world, "end-replicas", &listener).await;
        place.create("c", revoke("token")).await;
        let token = place.ready("c").await.token;
        let _second = leader::start(&world, "second").await;
        place.delete("c").await;
        let attempts = || {
            let requests = listener.requests();
            let ends = requests.iter().filter(|r| r.starts_with("POST /revoke "));
            ends.count()
        };
        eventually(SOON, "an attempt", async || (attempts() > 0).then_some(())).await;
        let object = place.credentials().get("c").await.expect("it waits");
        assert_eq!(
            object.metadata.finalizers.as_deref(),
            Some(&[FINALIZER.to_owned()][..])
        );
        let object = serde_json::to_value(&object).expect("JSON");
        let kstatus = testenv::kstatus(&[object]).await.expect("kstatus");
        assert_eq!(kstatus, ["Terminating"]);
        first.kill().await;
        open.store(true, Ordering::SeqCst);
        leader::leads(&world, "second", LATER).await;
        gone(&place, "c", LATER).await;
        assert!(revoked(&listener, &token));
        no_warning(&place, "c").await;
    });
}

/// Two client secrets, as in a rotation: the issuer knows the second one alone.
#[test]
fn the_client_secret_in_use_revokes_and_not_the_first_of_the_list() {
    run(async {
        const UNKNOWN: &str = "Jq8Wn3Xc6Zt1Rk9Vb4";
        let world = World::shared().await;
        let listener = Listener::replying(|request| {
            if request.contains(&format!("client_secret={UNKNOWN}")) {
                let error = json!({ "error": "invalid_client" });
                return reply("401 Unauthorized", "", error.to_string().as_bytes());
            }
            let token = json!({ "access_token": "t0ken-of-two", "token_type": "Bearer", "expires_in": 3600 });
            reply("200 OK", "", token.to_string().as_bytes())
        });
        let place = world.place("end-two").await;
        let mut spec = spec_of(&place, &listener);
        spec["oauth2"]["clientAuthentication"] = json!({ "post": {} });
        place.put_issuer(spec).await;
        place.put_secret("unknown", "k", UNKNOWN).await;
        let mut spec = revoke("token");
        spec["client"] = json!({ "secrets": [
            { "name": "unknown", "key": "k" }, { "name": "source", "key": "client-secret" }] });
        place.create("c", spec).await;
        place.ready("c").await;
        place.delete("c").await;
        gone(&place, "c", SOON).await;
        assert!(revoked(&listener, "t0ken-of-two"));
        let requests = listener.requests();
        let ends = requests.iter().filter(|r| r.starts_with("POST /revoke "));
        assert_eq!(ends.count(), 1, "by the one in use alone");
        no_warning(&place, "c").await;
    });
}

/// An issuer may give one token for equal requests. It ends with the last credential that has it.
#[test]
fn a_token_that_another_credential_has_is_not_revoked() {
    run(async {
        let world = World::shared().await;
        let listener = Listener::replying(|_| {
            let token = json!({ "access_token": "t0ken-for-all", "token_type": "Bearer", "expires_in": 3600 });
            reply("200 OK", "", token.to_string().as_bytes())
        });
        let place = place(world, "end-shared", &listener).await;
        place
            .create("stays", json!({ "target": { "secretName": "stays" } }))
            .await;
        place.create("goes", revoke("goes")).await;
        place.ready("stays").await;
        place.ready("goes").await;
        place.delete("goes").await;
        gone(&place, "goes", SOON).await;
        let note = warned(&place, "goes").await;
        assert!(
            note.contains("another credential has the same token"),
            "{note}"
        );
        assert!(!revoked(&listener, "t0ken-for-all"));
        // The last one that has it ends it.
        place
            .edit("stays", json!({ "spec": { "deletionPolicy": "Revoke" } }))
            .await;
        eventually(SOON, "the finalizer", async || {
            let there = finalizers(&place, "stays").await;
            (there == [FINALIZER]).then_some(()).ok_or("none")
        })
        .await;
        place.delete("stays").await;
        gone(&place, "stays", SOON).await;
        assert!(revoked(&listener, "t0ken-for-all"));
    });
}

#[test]
fn a_client_that_is_deleted_with_its_credentials_still_revokes_their_tokens() {
    run(async {
        let world = World::shared().await;
        let listener = issuer(|_| "200 OK");
        let place = place(world, "revoke-client", &listener).await;
        place.put_client("shared", json!({})).await;
        let mut spec = by_client("a");
        spec["deletionPolicy"] = json!("Revoke");
        place.create("a", spec).await;
        let token = place.ready("a").await.token;
        // As `kubectl delete -f` of a folder does it.
        place.delete_client("shared").await;
        let gone_client = |c: &apicred::api::ApiCredential| {
            let failing = condition(c, "RenewalFailing")?;
            (failing.reason == "ClientNotFound").then_some(())
        };
        place.until("a", "its client is gone", gone_client).await;
        assert!(!revoked(&listener, &token), "it is still in use");
        place.delete("a").await;
        gone(&place, "a", SOON).await;
        assert!(revoked(&listener, &token));
        no_warning(&place, "a").await;
    });
}
