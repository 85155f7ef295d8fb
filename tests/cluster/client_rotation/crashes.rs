//! SIGKILL at every request of a rotation: of a certificate and of a client secret at Entra ID, and of a key by its registration
//! (RFC 7592).
//!
//! A rotation without a disturbance is recorded first: the requests that the operator sends to the API server and to the issuer. Then there is
//! a rotation for each of these requests, whose operator is killed before the request arrives, or after it took effect with the answer lost.
//! A healthy operator completes them all. Operators that are killed watch one namespace each; those before and after them watch all.

mod stages;

use std::collections::BTreeMap;

use dev_issuer::{CredentialKind, Point};

use super::{Rig, registration::with_key};
use crate::support::{World, run};
use stages::{recorded, replayed};

/// The kind of credential that is rotated.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rotated {
    Certificate,
    Secret,
    Key,
}

/// The receiver of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum To {
    ApiServer,
    Issuer,
}

/// A request of a rotation: the first of its name, the second, …
#[derive(Clone, Debug, PartialEq)]
struct Request {
    to: To,
    name: String,
    nth: usize,
}

/// Where a rotation is cut.
#[derive(Clone, Debug)]
struct Cut {
    of: Rotated,
    request: Request,
    when: Point,
}

/// The result of a rotation that was planned to be cut.
#[derive(Debug)]
struct Ended {
    cut: Cut,
    /// There was such a request, and it was the last one.
    killed: bool,
    /// A user had to store another registration access token.
    helped: bool,
}

impl Rotated {
    /// A client that is rotated on request. Its first credential is adopted.
    async fn rig<'w>(self, world: &'w World, label: &str) -> Rig<'w> {
        let kind = match self {
            Self::Key => return with_key(world, label).await.0,
            Self::Certificate => CredentialKind::Certificate,
            Self::Secret => CredentialKind::Secret,
        };
        let rig = Rig::of(world, label, kind).await;
        rig.adopt(&rig.at_issuer(kind)[0]).await;
        rig
    }

    /// The minimum number of requests of each rotation: a recording with fewer is not complete.
    fn least(self) -> [(&'static str, usize); 7] {
        let (add, remove, token) = match self {
            Self::Certificate => ("addKey", "removeKey", "oauth2/v2.0/token"),
            Self::Secret => ("addPassword", "removePassword", "oauth2/v2.0/token"),
            // One update adds a key, the other one removes a key.
            Self::Key => ("PUT /generic/register/", "PUT /generic/register/", "token"),
        };
        let changes = if self == Self::Key { 2 } else { 1 };
        [
            ("GET secrets/shared-client", 5),
            // `Adding`, `Added`, `Switched`, `Retiring`, `Steady`.
            ("PATCH secrets/shared-client", 5),
            ("PATCH apiclients/shared/status", 1),
            ("POST events", 1),
            (add, changes),
            (remove, changes),
            // Three trials.
            (token, 3),
        ]
    }
}

impl Request {
    /// Whether it leaves no state behind. A token that did not arrive does not count.
    fn only_asks(&self) -> bool {
        self.name.starts_with("GET ") || self.name.ends_with("/token")
    }

    /// The points at which a rotation is cut for this request. A status or an event decides nothing later, and a read leaves no state: a kill after
    /// one of them is a kill before the next request.
    fn points(&self) -> &'static [Point] {
        let reports = self.name.ends_with("/status") || self.name.ends_with(" events");
        if reports || self.only_asks() {
            &[Point::Received]
        } else {
            &[Point::Received, Point::BeforeAnswer]
        }
    }
}

/// Where a rotation is cut. Reads of the API server in a row, with no write between them, find and leave the same state: only the
/// first of them is cut. The operator reads the Secret before each step, also before steps that only wait.
fn cuts(of: Rotated, requests: Vec<Request>) -> Vec<Cut> {
    let mut cuts = Vec::new();
    let mut reads = false;
    for request in requests {
        let again = request.to == To::ApiServer && request.only_asks();
        if !(reads && again) {
            cuts.extend(request.points().iter().map(|when| Cut {
                of,
                request: request.clone(),
                when: *when,
            }));
        }
        reads = again;
    }
    cuts
}

/// Gives each request its number among those of its name.
fn numbered(to: To, names: Vec<String>) -> Vec<Request> {
    let mut counts = BTreeMap::<String, usize>::new();
    let number = |name: String| {
        let nth = counts.entry(name.clone()).or_default();
        *nth += 1;
        Request {
            to,
            nth: *nth,
            name,
        }
    };
    names.into_iter().map(number).collect()
}

/// A recording contains most of a rotation.
fn is_plausible(of: Rotated, requests: &[Request]) {
    for (name, least) in of.least() {
        let all = requests.iter().filter(|r| r.name.contains(name));
        let all = all.count();
        assert!(all >= least, "{of:?}: {all} requests {name}: {requests:#?}");
    }
}

async fn cut_everywhere(of: Rotated) -> Vec<Ended> {
    let world = World::own().await;
    let requests = recorded(&world, of).await;
    is_plausible(of, &requests);
    let count = requests.len();
    let cuts = cuts(of, requests);
    println!("{of:?}: {count} requests, {} cuts", cuts.len());
    let ended = replayed(&world, &cuts).await;
    came(&ended);
    ended
}

#[test]
fn a_crash_at_any_request_of_a_certificate_s_rotation_leaves_one_that_works() {
    run(cut_everywhere(Rotated::Certificate));
}

#[test]
fn a_crash_at_any_request_of_a_secret_s_rotation_leaves_one_that_works() {
    run(cut_everywhere(Rotated::Secret));
}

#[test]
fn a_crash_at_any_request_of_a_key_s_rotation_leaves_one_that_works() {
    let ended = run(cut_everywhere(Rotated::Key));
    cost_a_token_if_they_must(&ended);
}

/// Requests that depend on timing, such as the number of status writes, or of reads of the Secret while a rotation waits, may be fewer
/// than in the recording. The first request of each name is sent, and most of the others.
fn came(ended: &[Ended]) {
    let missed = ended.iter().filter(|ended| !ended.killed);
    let missed: Vec<_> = missed.map(|ended| &ended.cut).collect();
    println!(
        "{} of {} did not come: {missed:?}",
        missed.len(),
        ended.len()
    );
    let first = missed.iter().find(|cut| cut.request.nth == 1);
    assert!(first.is_none(), "{first:?} did not come");
    assert!(missed.len() * 4 < ended.len(), "{missed:?} did not come");
}

/// A kill between the answer to an update of a registration and the write of its token costs the token: it exists nowhere else. The other
/// requests of the rotation itself cost nothing. Other requests, such as a status write, may meet an update in flight.
fn cost_a_token_if_they_must(ended: &[Ended]) {
    let mut writes = Vec::new();
    for ended in ended {
        let Cut { request, when, .. } = &ended.cut;
        let is_answer = *when == Point::BeforeAnswer;
        if request.to == To::Issuer {
            let updates = request.name.starts_with("PUT ");
            assert_eq!(ended.helped, updates && is_answer, "{ended:?}");
        } else if request.name == "PATCH secrets/shared-client" {
            assert!(!(ended.helped && is_answer), "{ended:?}");
            writes.extend(ended.helped.then_some(request));
        }
    }
    assert_eq!(writes.len(), 2, "the writes of a new token: {writes:?}");
}
