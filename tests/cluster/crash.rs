//! SIGKILL at every step of a first token and of a rotation.
//!
//! The victim runs the operator in its own process, with a client that counts requests and kills its own
//! process at the k-th, either before it is sent or after the server has answered and before the operator receives
//! the answer. This is done for k = 1, 2, … until a run ends without a crash, so that no step is missed. Then a healthy
//! operator takes over, and the state that it finds must be sufficient.

pub(crate) mod victim;

use std::time::Duration;

use dev_issuer::Point;
use serde_json::json;
use testenv::{OidcClient, OidcClientAuth, OidcOptions, OidcProvider, eventually};

use self::victim::{AT, ONLY, WHEN};
use crate::{
    providers::{NOWHERE, answers, signed_in, state, user},
    support::{
        Guarded, LATER, NAMESPACE, Place, Recorder, SOON, SecretView, World, condition, run,
    },
};

/// More steps than any run has.
const MOST: usize = 30;

#[test]
fn a_crash_at_any_step_of_a_first_token_loses_nothing() {
    run(async {
        let mut world = World::own().await;
        for when in ["before", "after"] {
            let mut crashes = 0;
            for at in 1..MOST {
                // The operator's own key is recreated too, so that crashes also occur at these steps.
                let _ = forget_digest_key(&world).await;
                let place = world.place("first").await;
                place.create("c", json!({})).await;
                let crashed = crash(&world, &place, (at, when), None).await;
                recover(&mut world, &place, None).await;
                place.delete("c").await;
                gone(&place).await;
                if !crashed {
                    break;
                }
                crashes += 1;
            }
            assert!(
                (5..MOST - 1).contains(&crashes),
                "{crashes} steps were cut {when} them"
            );
        }
    });
}

#[test]
fn a_crash_at_any_step_of_a_rotation_loses_nothing() {
    run(async {
        let mut world = World::own().await;
        for when in ["before", "after"] {
            let mut crashes = 0;
            for at in 1..MOST {
                let place = world.place("rotate").await;
                let old = requested(&mut world, &place).await;
                let crashed = crash(&world, &place, (at, when), Some(&old)).await;
                recover(&mut world, &place, Some(&old)).await;
                place.delete("c").await;
                gone(&place).await;
                if !crashed {
                    break;
                }
                crashes += 1;
            }
            assert!(
                (4..MOST - 1).contains(&crashes),
                "{crashes} steps were cut {when} them"
            );
        }
    });
}

#[test]
fn a_crash_while_the_issuer_answers_loses_nothing() {
    run(async {
        let mut world = World::own().await;
        for point in [Point::Received, Point::BeforeAnswer] {
            for rotation in [false, true] {
                let place = world.place("in-flight").await;
                let old = if rotation {
                    Some(overdue(&mut world, &place).await)
                } else {
                    place.create("c", json!({})).await;
                    None
                };
                let hold = place.issuer.hold(&place.client, point);
                world.start_operator().await;
                hold.reached().await;
                world.kill_operator().await;
                hold.release();
                recover(&mut world, &place, old.as_ref()).await;
                place.delete("c").await;
                gone(&place).await;
            }
        }
    });
}

/// An issuer that treats the second use of a refresh token as theft must never receive one, whenever the operator is killed.
#[test]
fn a_crash_at_any_step_of_a_refresh_never_uses_a_refresh_token_twice() {
    run(async {
        let mut world = World::own().await;
        let mut options = OidcOptions::default();
        let client = OidcClient::new("user", OidcClientAuth::Public).sign_in(NOWHERE);
        options.clients.push(client);
        let provider = OidcProvider::start(options).await.expect("an issuer");
        let mut lost = 0;
        for when in ["before", "after"] {
            let mut crashes = 0;
            for at in 1..MOST {
                let place = world.place("refresh").await;
                let mut spec = place.issuer_spec(json!({
                    "oidc": { "issuerUrl": provider.issuer_url() }, "caBundle": provider.ca_pem(),
                }));
                spec["entra"] = serde_json::Value::Null;
                place.put_issuer(spec).await;
                signed_in(&place, &provider, "user").await;
                place.create("c", user("user")).await;
                let crashed = crash(&world, &place, (at, when), None).await;
                world.start_operator().await;
                // Either everything continued, or the answer was lost with the process, and a sign-in is requested.
                let unknown = place
                    .until("c", "an end", |c| {
                        let ready = condition(c, "Ready")?;
                        match (ready.status.as_str(), ready.reason.as_str()) {
                            ("True", _) => Some(false),
                            (_, "RefreshOutcomeUnknown") => Some(true),
                            _ => None,
                        }
                    })
                    .await;
                if unknown {
                    lost += 1;
                    signed_in(&place, &provider, "user").await;
                }
                let view = place.ready("c").await;
                let live = provider.introspect(&view.token).await.expect("an answer");
                assert_eq!(live["active"], true, "the family lives");
                let (token, _) = state(&place).await;
                assert!(provider.is_alive(&token).await.expect("an answer"));
                world.stays_quiet(&place, Duration::from_millis(500)).await;
                world.kill_operator().await;
                let answers = answers(&provider, "user").await;
                assert!(
                    answers.iter().all(|(status, ..)| *status == 200),
                    "a second use at step {at} {when}: {answers:?}"
                );
                place.delete("c").await;
                gone(&place).await;
                if !crashed {
                    break;
                }
                crashes += 1;
            }
            assert!(
                (6..MOST - 1).contains(&crashes),
                "{crashes} steps were cut {when} them"
            );
        }
        // The mark is set and the new token is not stored: after the one write, before the other.
        assert!((1..=2).contains(&lost), "{lost} answers were lost");
    });
}

/// A credential whose renewal is due when an operator starts, because its renew time has passed.
async fn overdue(world: &mut World, place: &Place) -> SecretView {
    let lifetime = Duration::from_mins(1);
    place.add_client(
        place
            .oauth_client()
            .lifetime(lifetime)
            .refresh_in(Duration::from_secs(1)),
    );
    let old = published(world, place).await;
    // The next token must not be due again soon: a second renewal would count as unnecessary.
    place.add_client(place.oauth_client());
    let renew_at: jiff::Timestamp = old.annotations["apicred.dev/renew-at"]
        .parse()
        .expect("a time");
    eventually(SOON, "the renew point", async || {
        renew_at < jiff::Timestamp::now()
    })
    .await;
    old
}

/// A credential whose renewal is due when an operator starts, because a user requested it.
async fn requested(world: &mut World, place: &Place) -> SecretView {
    let old = published(world, place).await;
    place.request_renewal("c").await;
    old
}

/// A credential with its token, and no running operator.
async fn published(world: &mut World, place: &Place) -> SecretView {
    place.create("c", json!({})).await;
    world.start_operator().await;
    let view = place.ready("c").await;
    world.kill_operator().await;
    view
}

/// Runs a victim. Returns true if it crashed; if not, it has completed its work and is at rest.
async fn crash(
    world: &World,
    place: &Place,
    (at, when): (usize, &str),
    old: Option<&SecretView>,
) -> bool {
    let args = [
        "--exact",
        "crash::victim::victim",
        "--ignored",
        "--nocapture",
    ]
    .map(str::to_owned);
    let env = [
        (
            "KUBECONFIG",
            world.operator_kubeconfig().display().to_string(),
        ),
        (AT, at.to_string()),
        (WHEN, when.to_owned()),
        // Every second crash is in an operator of single namespaces: the even ones for crashes before a request, the odd ones for crashes after it.
        (
            ONLY,
            if (at % 2 == 0) == (when == "before") {
                place.namespace.clone()
            } else {
                String::new()
            },
        ),
    ];
    let program = std::env::current_exe().expect("this program has a path");
    let mut victim = Guarded::spawn(&program, &args, &env, world.next_log("victim")).await;
    // At rest: the work is done, and no further request was sent to the API server for a while.
    let mut mark = world.mark();
    let mut calm = 0;
    eventually(
        LATER,
        format!("the end of a victim at step {at}"),
        async || {
            if victim.ended().is_some() {
                return true;
            }
            let status = place
                .credentials()
                .get("c")
                .await
                .ok()
                .and_then(|c| c.status);
            let reported = status.and_then(|s| s.expires_at).map(|t| t.0);
            let view = place.view("token").await.ok();
            let done = view.is_some_and(|v| {
                reported == Some(v.expires_at) && old.is_none_or(|o| o.token != v.token)
            });
            let silent = world.all_since(mark).0.is_empty();
            mark = world.mark();
            calm = if done && silent { calm + 1 } else { 0 };
            // Twenty reads, each 50 ms after the one before.
            calm > 20
        },
    )
    .await;
    let crashed = victim.was_killed();
    assert!(
        crashed || victim.ended().is_none(),
        "the victim ended by itself: {}",
        victim.output()
    );
    if !crashed {
        victim.kill().await;
    }
    crashed
}

/// A healthy operator takes over: the token is valid, and at most one more token was requested than in a run without a
/// crash. A token that was published before is not requested again.
async fn recover(world: &mut World, place: &Place, old: Option<&SecretView>) {
    let recorder = Recorder::of(place, "token");
    let published = place.view("token").await.ok();
    let had_new = published
        .as_ref()
        .is_some_and(|v| old.is_none_or(|o| o.token != v.token));
    if let Some(old) = old {
        assert!(
            published.is_some(),
            "the old token {} was lost",
            old.token_id()
        );
    }
    let before = place.posts();
    world.start_operator().await;
    let view = match old {
        Some(old) => place.another_token("token", old).await,
        None => place.ready("c").await,
    };
    place.ready("c").await;
    assert_eq!(place.call("demo", "whoami", &view.token).await, 200);
    let usual = if old.is_some() { 2 } else { 1 };
    assert!(
        place.posts() <= usual + 1,
        "O3: {} POSTs in place of {usual}",
        place.posts()
    );
    if had_new {
        assert_eq!(
            place.posts(),
            before,
            "O3: the published token was good, and another one was requested"
        );
    }
    world.stays_quiet(place, Duration::from_millis(500)).await;
    world.kill_operator().await;
    recorder.finish(place);
}

async fn forget_digest_key(world: &World) -> Result<(), kube::Error> {
    let api: kube::Api<k8s_openapi::api::core::v1::Secret> =
        kube::Api::namespaced(world.admin.clone(), NAMESPACE);
    api.delete("apicred-digest-key", &kube::api::DeleteParams::default())
        .await
        .map(|_| ())
}

/// Waits until the credential of a round cannot disturb the next one.
async fn gone(place: &Place) {
    eventually(SOON, "the end of a credential", async || {
        place
            .credentials()
            .get_opt("c")
            .await
            .is_ok_and(|c| c.is_none())
    })
    .await;
}
