//! SIGTERM while a request is in flight: the operator completes its work, and still receives edits and deletions.
//! Nothing is written for an old spec.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use dev_issuer::Point;
use serde_json::{Value, json};
use testenv::eventually;

use crate::{
    calls::Fault,
    late::creates_a_target,
    scenario::{Case, world},
    support::{LATER, Place, SecretView, run},
};

/// The change of a user during the request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Deed {
    Nothing,
    Edit,
    Suspend,
    Delete,
    DeleteWithRetain,
}

const DEEDS: [Deed; 5] = [
    Deed::Nothing,
    Deed::Edit,
    Deed::Suspend,
    Deed::Delete,
    Deed::DeleteWithRetain,
];

impl Deed {
    fn spec(self) -> Value {
        match self {
            Self::DeleteWithRetain => json!({ "deletionPolicy": "Retain" }),
            _ => json!({}),
        }
    }

    async fn is_done(self, place: &Place) {
        let edit = match self {
            Self::Nothing => return,
            Self::Edit => json!({ "spec": { "scopes": ["api://other/.default"] } }),
            Self::Suspend => json!({ "spec": { "suspend": true } }),
            Self::Delete | Self::DeleteWithRetain => return place.delete("c").await,
        };
        place.edit("c", edit).await;
    }

    /// How many credentials are known after it is seen.
    fn leaves(self) -> usize {
        usize::from(!matches!(self, Self::Delete | Self::DeleteWithRetain))
    }
}

/// Makes the change, and waits until the operator has seen it: its watch reports changes in their order.
async fn seen(case: &Case, deed: Deed) {
    deed.is_done(&case.place).await;
    let fence = json!({ "target": { "secretName": "fence" } });
    case.place.create("fence", fence).await;
    let what = format!("{}: {deed:?} is seen", case.name);
    eventually(LATER, what, async || {
        let index = case.probe.sizes().index;
        if index == deed.leaves() + 1 {
            Ok(())
        } else {
            Err(index)
        }
    })
    .await;
}

/// The content of the Secret afterwards.
async fn left(case: &Case) -> Option<SecretView> {
    let secret = case.place.secrets().get_opt("token").await;
    let secret = secret.expect("an answer")?;
    Some(SecretView::of(&secret).expect("a whole Secret"))
}

#[test]
fn a_first_token_that_comes_during_a_drain_is_written_only_for_the_spec_that_requested_it() {
    run(async {
        for deed in DEEDS {
            let mut case =
                Case::new(world().await, &format!("drain-{deed:?}").to_lowercase()).await;
            let place = Arc::clone(&case.place);
            let hold = place.issuer.hold(&place.client, Point::Received);
            case.start();
            place.create("c", deed.spec()).await;
            hold.reached().await;
            let ended = case.drain();
            seen(&case, deed).await;
            hold.release();
            assert_eq!(ended.await.expect("it ends"), Ok(()), "{deed:?}");
            let there = left(&case).await.is_some();
            assert_eq!(there, deed == Deed::Nothing, "{deed:?}");
            assert_eq!(place.posts(), 1, "{deed:?}");
        }
    });
}

#[test]
fn a_renewal_that_comes_during_a_drain_is_written_only_for_the_spec_that_requested_it() {
    run(async {
        for deed in [
            Deed::Nothing,
            Deed::Edit,
            Deed::Suspend,
            Deed::DeleteWithRetain,
        ] {
            let mut case =
                Case::new(world().await, &format!("renew-{deed:?}").to_lowercase()).await;
            let place = Arc::clone(&case.place);
            case.start();
            place.create("c", deed.spec()).await;
            let first = case.until_ready(None).await;
            let hold = place.issuer.hold(&place.client, Point::Received);
            place.request_renewal("c").await;
            hold.reached().await;
            let ended = case.drain();
            seen(&case, deed).await;
            hold.release();
            assert_eq!(ended.await.expect("it ends"), Ok(()), "{deed:?}");
            let token = left(&case).await.map(|view| view.token);
            let same = token.as_ref() == Some(&first.token);
            assert_eq!(same, deed != Deed::Nothing, "{deed:?}");
        }
    });
}

#[test]
fn a_write_that_is_repeated_during_a_drain_is_repeated_only_while_it_is_wanted() {
    run(async {
        for deed in DEEDS {
            let mut case = Case::new(world().await, &format!("busy-{deed:?}").to_lowercase()).await;
            let place = Arc::clone(&case.place);
            let busy = Arc::new(AtomicBool::new(true));
            let tried = Arc::new(tokio::sync::Notify::new());
            let (still, reported) = (Arc::clone(&busy), Arc::clone(&tried));
            let mut fits = creates_a_target();
            case.wire.rule(move |call| {
                let refused = fits(call) && still.load(Ordering::SeqCst);
                refused.then(|| {
                    reported.notify_one();
                    Fault::status(429, "TooManyRequests", &[])
                })
            });
            case.start();
            place.create("c", deed.spec()).await;
            tried.notified().await;
            let ended = case.drain();
            seen(&case, deed).await;
            busy.store(false, Ordering::SeqCst);
            assert_eq!(ended.await.expect("it ends"), Ok(()), "{deed:?}");
            let there = left(&case).await.is_some();
            assert_eq!(there, deed == Deed::Nothing, "{deed:?}");
        }
    });
}
