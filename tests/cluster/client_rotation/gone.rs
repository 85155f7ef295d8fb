//! A client is deleted with everything that belongs to it, or names another Secret, while the issuer makes a client secret.

use dev_issuer::{CredentialKind, Effect, Fault, Hold, Point, Surface};
use futures::future::join_all;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::DeleteParams};
use serde_json::{Value, json};
use testenv::eventually;

use super::{Rig, rig::SOURCE, soon};
use crate::support::{Guarded, LATER, World, run, unique};

const KIND: CredentialKind = CredentialKind::Secret;

/// What is deleted.
#[derive(Clone, Copy, Debug)]
enum Way {
    Namespace,
    /// The client, its Secret, and what manages it, as `kubectl delete -f` does it.
    Together,
    /// The same, and the issuer refuses the removal.
    Refused,
    /// The same, and the issuer is busy for a while, and loses an answer.
    Busy,
}

impl Way {
    const ALL: [Self; 4] = [Self::Namespace, Self::Together, Self::Refused, Self::Busy];

    const fn label(self) -> &'static str {
        match self {
            Self::Namespace => "gone-namespace",
            Self::Together => "gone-together",
            Self::Refused => "gone-refused",
            Self::Busy => "gone-busy",
        }
    }

    /// The faults of the removal.
    fn faults(self) -> Vec<Fault> {
        let status = |status| Effect::Status {
            status,
            body: None,
            retry_after: None,
        };
        match self {
            Self::Namespace | Self::Together => Vec::new(),
            Self::Refused => vec![Fault::new(status(403)).on(Surface::Graph)],
            Self::Busy => vec![
                Fault::new(status(503)).on(Surface::Graph).times(2),
                Fault::new(Effect::Drop).on(Surface::Graph).times(1),
            ],
        }
    }
}

/// The issuer has made a client secret, and its answer is held. `then`: the faults of the requests after it.
async fn made<'w>(world: &'w World, label: &str, then: Vec<Fault>) -> (Rig<'w>, Hold) {
    let mut rig = Rig::with_secret(world, label, soon()).await;
    rig.start(None, &rig.place.namespace.clone()).await;
    rig.place.ready("a").await;
    rig.place.ready("graph-rotator").await;
    rig.until("the first reconciliation", |s| s.rotation_state.is_some())
        .await;
    let adds = |request: &str| request.ends_with("/addPassword");
    let hold = rig.place.issuer.hold_one(adds, 0, Point::BeforeAnswer);
    rig.request().await;
    hold.reached().await;
    for fault in then {
        rig.place.issuer.fault(fault);
    }
    (rig, hold)
}

async fn goes(world: &World, way: Way) {
    let (rig, hold) = made(world, way.label(), way.faults()).await;
    let all: Vec<String> = rig.at_issuer(KIND);
    assert_eq!(all.len(), 2, "{way:?}");
    let params = DeleteParams::default();
    match way {
        Way::Namespace => {
            let namespaces: Api<Namespace> = Api::all(world.admin.clone());
            let deleted = namespaces.delete(&rig.place.namespace, &params).await;
            deleted.expect("it goes");
        }
        Way::Together | Way::Refused | Way::Busy => {
            rig.place.delete_client("shared").await;
            rig.place.delete("graph-rotator").await;
            for secret in [SOURCE, "token-of-the-owner"] {
                let deleted = rig.place.secrets().delete(secret, &params).await;
                deleted.expect("it goes");
            }
        }
    }
    let gone = async || {
        let source = rig
            .place
            .secrets()
            .get_opt(SOURCE)
            .await
            .expect("an answer");
        source.is_none().then_some(())
    };
    eventually(LATER, format!("{way:?}: the Secret is deleted"), gone).await;
    hold.release();
    let log = || rig.operator.as_ref().map_or(String::new(), Guarded::output);
    let (removed, named) = (
        "a credential of a client was removed at the issuer",
        "it stays valid there; remove it at the issuer",
    );
    let expected = if let Way::Refused = way {
        named
    } else {
        removed
    };
    let message = async || {
        let log = log();
        let last = log.lines().rev().take(3).collect::<Vec<_>>().join("\n");
        log.contains(expected).then_some(()).ok_or(last)
    };
    eventually(LATER, format!("{way:?}: {expected}"), message).await;
    let left = rig.at_issuer(KIND);
    if let Way::Refused = way {
        assert_eq!(left, all, "{way:?}");
        assert!(log().contains(&left[1]), "{way:?}: its key ID");
    } else {
        assert_eq!(left, all[..1], "{way:?}");
        assert!(!log().contains(named), "{way:?}: nobody has to do anything");
    }
}

#[test]
fn a_client_secret_that_comes_when_all_is_deleted_is_removed_or_named() {
    run(async {
        let world = World::own().await;
        join_all(Way::ALL.map(|way| goes(&world, way))).await;
    });
}

#[test]
fn a_client_secret_that_comes_when_the_client_names_another_secret_is_stored_in_the_one_before() {
    run(async {
        let world = World::own().await;
        let (rig, hold) = made(&world, "another-secret", Vec::new()).await;
        let mine = unique();
        rig.place.put_secret("another", "value", &mine).await;
        let by = json!({ "metadata": { "annotations": { "apicred.dev/rotate-by": "shared" } } });
        rig.place.edit_secret("another", by).await;
        rig.point_at(json!({ "secrets": [{ "name": "another", "key": "value" }] }))
            .await;
        hold.release();
        let stored = async || {
            let source = rig.source().await;
            let has = source.data.unwrap_or_default().contains_key("value-next");
            has.then(|| source.metadata.annotations.unwrap_or_default())
        };
        let noted = eventually(LATER, "the client secret in the Secret before", stored).await;
        let record: Value = serde_json::from_str(&noted["apicred.dev/rotation"]).expect("a record");
        let made = record["next"]["id"].as_str().expect("its ID").to_owned();
        assert!(rig.at_issuer(KIND).contains(&made));
        let event = async || {
            let all = rig.events("RotationBlocked").await;
            let is_it = |note: &&String| note.contains(&made) && note.contains("another Secret");
            all.iter().find(is_it).map(|_| ())
        };
        eventually(LATER, "an event with its key ID", event).await;
        // The other one is not changed: its value has not obtained a token.
        let other = rig.place.secrets().get("another").await.expect("it");
        let data = other.data.unwrap_or_default();
        assert_eq!(data.len(), 1);
        assert_eq!(data["value"].0, mine.as_bytes());
    });
}
