//! The operator is stopped while the issuer makes a client secret.

use std::time::Duration;

use dev_issuer::{CredentialKind, Effect, Fault, Surface};
use futures::future::join_all;
use serde_json::Value;
use testenv::eventually;

use super::{Rig, soon};
use crate::support::{LATER, World, run};

const KIND: CredentialKind = CredentialKind::Secret;
/// The grace period of the chart's pods.
const GRACE: Duration = Duration::from_secs(30);
/// How long the issuer needs for the answer, in milliseconds.
const SLOW: u64 = 4_000;

/// What happens to the answer.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Late,
    /// The client secret is made, and the answer does not arrive.
    Lost,
    /// No answer is sent for as long as the operator waits.
    Never,
}

impl Answer {
    const ALL: [Self; 3] = [Self::Late, Self::Lost, Self::Never];

    const fn label(self) -> &'static str {
        match self {
            Self::Late => "stopped-late",
            Self::Lost => "stopped-lost",
            Self::Never => "stopped-never",
        }
    }

    fn fault(self) -> Fault {
        let fault = match self {
            Self::Late => Fault::latency(SLOW),
            Self::Lost => Fault {
                effect: Effect::Drop,
                ..Fault::latency(SLOW)
            },
            Self::Never => Fault::new(Effect::Hang),
        };
        fault.on(Surface::Graph).times(1)
    }
}

async fn stopped(world: &World, answer: Answer) {
    let mut rig = Rig::with_secret(world, answer.label(), soon()).await;
    let first = rig.at_issuer(KIND);
    rig.adopt(&first[0]).await;
    let request = rig.request().await;
    // The application is read before.
    let read = Fault::new(Effect::None).on(Surface::Graph).times(1);
    rig.place.issuer.fault(read);
    rig.place.issuer.fault(answer.fault());
    let alone = rig.place.namespace.clone();
    rig.start(None, &alone).await;
    let request_seen = async || (rig.place.issuer.pending_faults() == 0).then_some(());
    eventually(LATER, format!("{answer:?}: the request"), request_seen).await;
    let mut operator = rig.operator.take().expect("it runs");
    operator.signal("TERM").await;
    let status = operator.wait(GRACE).await;
    assert!(status.success(), "{answer:?}: {status:?}");

    let source = rig.source().await;
    let noted = source.metadata.annotations.unwrap_or_default();
    let record: Value = serde_json::from_str(&noted["apicred.dev/rotation"]).expect("a record");
    let made: Vec<String> = rig.at_issuer(KIND);
    let made: Vec<&String> = made.iter().filter(|id| **id != first[0]).collect();
    let stored = source.data.unwrap_or_default().contains_key("value-next");
    match answer {
        Answer::Late => {
            assert!(stored, "{record}");
            assert_eq!(record["next"]["id"].as_str(), Some(made[0].as_str()));
        }
        Answer::Lost => assert!(!stored && made.len() == 1, "{record} {made:?}"),
        Answer::Never => assert!(!stored && made.is_empty(), "{record} {made:?}"),
    }
    let state = if stored { "Added" } else { "Adding" };
    assert_eq!(record["state"]["name"], state, "{answer:?}");

    rig.place.issuer.clear_faults();
    rig.start(None, &alone).await;
    rig.place.ready("a").await;
    let ended = rig.followed_through(&request).await;
    assert!(!ended, "{answer:?}: the operator ended");
    rig.is_whole(KIND, &request).await;
    let kept = rig.at_issuer(KIND);
    // The credential that is left is the new one only if it was stored.
    let same = made.iter().any(|id| **id == kept[0]);
    assert_eq!(same, stored, "{answer:?}: {made:?} {kept:?}");
}

#[test]
fn an_operator_that_is_stopped_while_a_client_secret_is_made_leaves_no_orphan() {
    run(async {
        let world = World::own().await;
        join_all(Answer::ALL.map(|answer| stopped(&world, answer))).await;
    });
}
