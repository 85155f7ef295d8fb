//! The stages of many rotations at once: they reach a rest state, they are cut, they are completed.

use std::time::Duration;

use dev_issuer::{CredentialKind, Hold, Point};
use futures::{StreamExt, future::join_all, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::DeleteParams};
use testenv::eventually;

use super::{
    super::{Rig, registration::with_scope, rig::Reader},
    Cut, Ended, Request, Rotated, To, numbered,
};
use crate::{
    clients::by_client,
    crash::victim::requests_in,
    support::{LATER, World},
};

/// Rotations that go from stage to stage together.
const TOGETHER: usize = 16;
/// Operators that run at once, each with its own rotation. An operator waits most of the time.
const AT_ONCE: usize = 8;
/// Pause between two calls of a reader. There are many readers.
const NOW_AND_THEN: Duration = Duration::from_millis(500);
/// A rotation has completed its work if nothing was sent for so many times [`A_MOMENT`].
const CALM: usize = 20;
const A_MOMENT: Duration = Duration::from_millis(50);

/// A rotation in progress.
struct Ride<'w> {
    rig: Rig<'w>,
    /// The request of the rotation, from the second stage on.
    request: String,
}

impl<'w> Ride<'w> {
    async fn new(world: &'w World, of: Rotated, label: &str) -> Self {
        let rig = of.rig(world, label).await;
        let request = String::new();
        Self { rig, request }
    }

    /// Waits until the credentials have tokens and nothing is to be rotated.
    async fn rests(&mut self, of: Rotated) {
        // There is one operator, and many rotations wait for it.
        self.rig.place.any_token("token-a").await;
        self.rig.place.ready("a").await;
        match of {
            // The age of a key that apicred did not make is not known: it is replaced at once.
            Rotated::Key => {
                let request = self.rig.request().await;
                self.rig.followed_through(&request).await;
                self.rig.rotated(&request).await;
            }
            Rotated::Secret => {
                self.rig.place.any_token("token-of-the-owner").await;
                self.rig.place.ready("graph-rotator").await;
            }
            Rotated::Certificate => {}
        }
        eventually(LATER, "a client that rests", async || {
            let noted = self.rig.source().await.metadata.annotations;
            let noted = noted.is_some_and(|all| all.contains_key("apicred.dev/rotation"));
            let status = self.rig.status().await;
            let steady = status.rotation_state.as_deref() == Some("Steady");
            let known = status.keys.len() == 1;
            if noted && steady && known {
                Ok(())
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await;
    }

    /// A request to the issuer, the same for each client.
    fn name_at_issuer(&self) -> impl Fn(&str) -> String + Send + Sync + 'static {
        let issuer = &self.rig.place.issuer;
        let (app, tenant) = (self.rig.app.clone(), issuer.tenant().to_owned());
        let object = issuer.object_id(&app);
        move |request| {
            let request = request.replace(&object, "OBJECT").replace(&app, "CLIENT");
            request.replace(&tenant, "TENANT")
        }
    }

    /// What the operator has sent so far.
    fn sent(&self) -> Vec<Request> {
        let operator = self.rig.operator.as_ref().expect("an operator");
        let mut to_server = requests_in(&operator.output());
        // Whether an issuer is usable is not a part of a rotation.
        to_server.retain(|name| !name.contains("clustertokenissuers"));
        let to_issuer = self.rig.place.issuer.recorded_requests();
        let to_issuer = to_issuer
            .iter()
            .map(|request| self.name_at_issuer()(request));
        let mut all = numbered(To::ApiServer, to_server);
        all.extend(numbered(To::Issuer, to_issuer.collect()));
        all
    }

    /// Holds the request at which the operator is killed, if it goes to the issuer.
    fn hold(&self, cut: &Cut) -> Option<Hold> {
        let Request { to, name, nth } = cut.request.clone();
        let named = self.name_at_issuer();
        let is = move |request: &str| named(request) == name;
        let issuer = &self.rig.place.issuer;
        (to == To::Issuer).then(|| issuer.hold_one(is, nth - 1, cut.when))
    }

    /// Begins the rotation, and returns its requests.
    async fn into_record(mut self) -> Vec<Request> {
        self.rig.place.issuer.record_requests();
        let alone = self.rig.place.namespace.clone();
        self.rig.start(None, &alone).await;
        assert!(!self.rig.followed_through(&self.request).await);
        let (mut sent, mut calm) = (self.sent(), 0);
        while calm < CALM {
            tokio::time::sleep(A_MOMENT).await;
            let now = self.sent();
            calm = if now == sent { calm + 1 } else { 0 };
            sent = now;
        }
        self.rig.kill().await;
        self.goes().await;
        sent
    }

    /// Begins the rotation, and kills its operator. Returns true if the operator was killed.
    async fn is_cut(&mut self, cut: &Cut) -> bool {
        let when = match cut.when {
            Point::Received => "before",
            Point::BeforeAnswer => "after",
        };
        let hold = self.hold(cut);
        let at = (cut.request.name.as_str(), cut.request.nth, when);
        let alone = self.rig.place.namespace.clone();
        let dies = hold.is_none().then_some(at);
        self.rig.start(dies, &alone).await;
        let held = async {
            match &hold {
                Some(hold) => hold.reached().await,
                None => std::future::pending().await,
            }
        };
        let killed = tokio::select! {
            () = held => true,
            ended = self.rig.followed_through(&self.request) => ended,
        };
        self.rig.kill().await;
        if let Some(hold) = hold {
            hold.cut();
        }
        killed
    }

    /// Follows the rotation to its end: one credential is at the issuer, the same as in the Secret, and it gets tokens. Returns true if a user
    /// had to help.
    async fn ends(&mut self, of: Rotated) -> bool {
        let (rig, request) = (&mut self.rig, self.request.as_str());
        let (ended, helped) = match of {
            Rotated::Key => rig.followed_with_help(request).await,
            _ => (rig.followed_through(request).await, false),
        };
        assert!(!ended, "a healthy operator ended");
        let spec = match of {
            Rotated::Key => with_scope("b"),
            _ => by_client("b"),
        };
        match of {
            Rotated::Key => rig.is_left_with_one_key(request).await,
            Rotated::Secret => rig.is_left_with_one(CredentialKind::Secret, request).await,
            Rotated::Certificate => {
                rig.is_left_with_one(CredentialKind::Certificate, request)
                    .await;
            }
        }
        // A token requested with the credential that is in the Secret now.
        rig.place.create("b", spec).await;
        rig.place.any_token("token-b").await;
        rig.place.ready("b").await;
        helped
    }

    /// Removes everything, so that the next operators have no work with it.
    async fn goes(self) {
        let place = &self.rig.place;
        let params = DeleteParams::background();
        let issuer = place.issuers().delete(&place.issuer_name, &params).await;
        issuer.expect("the issuer object goes");
        let namespaces: Api<Namespace> = Api::all(place.kube.clone());
        let gone = namespaces.delete(&place.namespace, &params).await;
        gone.expect("the namespace goes");
    }
}

/// Rotations that are about to begin, while no operator runs.
async fn requested<'w>(world: &'w World, all: &[(Rotated, String)]) -> Vec<Ride<'w>> {
    let rides = all.iter().map(|(of, label)| Ride::new(world, *of, label));
    let mut rides = join_all(rides).await;
    rides[0].rig.run().await;
    let mut operator = rides[0].rig.operator.take();
    join_all(
        rides
            .iter_mut()
            .zip(all)
            .map(|(ride, (of, _))| ride.rests(*of)),
    )
    .await;
    if let Some(operator) = &mut operator {
        operator.kill().await;
    }
    for ride in &mut rides {
        ride.request = ride.rig.request().await;
    }
    rides
}

/// The requests of a rotation without a disturbance.
pub(super) async fn recorded(world: &World, of: Rotated) -> Vec<Request> {
    let label = format!("{of:?}-whole").to_lowercase();
    let mut rides = requested(world, &[(of, label)]).await;
    rides.remove(0).into_record().await
}

/// One rotation for each cut.
pub(super) async fn replayed(world: &World, cuts: &[Cut]) -> Vec<Ended> {
    let mut ended = Vec::new();
    for (group, cuts) in cuts.chunks(TOGETHER).enumerate() {
        let label = |(n, cut): (usize, &Cut)| {
            let label = format!("{:?}-{}", cut.of, group * TOGETHER + n);
            (cut.of, label.to_lowercase())
        };
        let all: Vec<_> = cuts.iter().enumerate().map(label).collect();
        let mut rides = requested(world, &all).await;
        let readers: Vec<Reader> = rides
            .iter()
            .map(|ride| ride.rig.reader_each(NOW_AND_THEN))
            .collect();
        let killed = stream::iter(rides.iter_mut().zip(cuts))
            .map(|(ride, cut)| ride.is_cut(cut))
            .buffered(AT_ONCE);
        let killed: Vec<bool> = killed.collect().await;
        rides[0].rig.run().await;
        let ends = rides.iter_mut().zip(cuts);
        let helped = join_all(ends.map(|(ride, cut)| ride.ends(cut.of))).await;
        rides[0].rig.kill().await;
        for (ride, reader) in rides.into_iter().zip(readers) {
            let label = ride.rig.place.namespace.clone();
            ride.rig.served(reader, &label).await;
            ride.goes().await;
        }
        let results = cuts.iter().zip(killed).zip(helped);
        ended.extend(results.map(|((cut, killed), helped)| Ended {
            cut: cut.clone(),
            killed,
            helped,
        }));
    }
    ended
}
