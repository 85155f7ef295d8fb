//! Lists, watches and calls for Secrets in any order, compared with a model of the API server.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::secrets::{all, meta, name, version};
use crate::{
    controller::cache::{calls_under_way::Transient, changes::Part, secrets::Secrets},
    fixtures::at,
};

/// UID and version of a Secret.
type There = Option<(u64, u64)>;

/// A call without a response: its number, and its result as soon as the server has processed it.
type Sent = (u64, Option<There>);

/// A server with one Secret, the calls to it, and the events and lists that it delivers.
#[derive(Default)]
struct Server {
    revision: u64,
    uids: u64,
    /// UID and version.
    secret: There,
    /// Everything that happened: the revision, the UID, and whether it was deleted.
    history: Vec<(u64, u64, bool)>,
    /// The length of the history that the watch has delivered.
    shown: usize,
    /// The list that is being received: its content, and the length of the history when it was created.
    list: Option<(There, usize)>,
    writes: Vec<Sent>,
    reads: Vec<Sent>,
}

impl Server {
    fn put(&mut self) {
        self.revision += 1;
        let uid = self.secret.map_or_else(
            || {
                self.uids += 1;
                self.uids
            },
            |(uid, _)| uid,
        );
        self.secret = Some((uid, self.revision));
        self.history.push((self.revision, uid, false));
    }

    fn remove(&mut self) {
        if let Some((uid, _)) = self.secret.take() {
            self.revision += 1;
            self.history.push((self.revision, uid, true));
        }
    }
}

fn numbered((uid, version): (u64, u64)) -> ObjectMeta {
    meta("a", &uid.to_string(), &version.to_string())
}

/// One step of the model.
fn step(server: &mut Server, secrets: &mut Secrets, part: &Part, choice: u8, which: usize) {
    let a = name("a");
    let pick = |len: usize| which.checked_rem(len).unwrap_or_default();
    match choice {
        0 => server.put(),
        1 => server.remove(),
        // The watch delivers the next event, unless a list is being received.
        2 | 3 if server.list.is_none() => {
            if let Some((version, uid, deleted)) = server.history.get(server.shown).copied() {
                server.shown += 1;
                if deleted {
                    secrets.delete(&numbered((uid, version)));
                } else {
                    secrets.apply(&numbered((uid, version)), at(1));
                }
            }
        }
        4 => server.writes.push((secrets.call_begins(&a), None)),
        5 => {
            // The server processes a write: a create or a patch, which always succeeds here.
            let at = pick(server.writes.len());
            if server
                .writes
                .get(at)
                .is_some_and(|(_, done)| done.is_none())
            {
                server.put();
                server.writes[at].1 = Some(server.secret);
            }
        }
        6 => {
            // A write is answered, or abandoned if the server has not processed it.
            let one = pick(server.writes.len());
            let answered = (one < server.writes.len()).then(|| server.writes.remove(one));
            if let Some((number, done)) = answered {
                let made = done.flatten().map(numbered);
                secrets.write_ends(&a, number, made.as_ref(), at(1));
            }
        }
        7 => {
            // The doubts are raised, or another task raises one.
            let doubtful = !secrets.take_doubtful().is_empty();
            if doubtful || which.is_multiple_of(4) {
                server.reads.push((secrets.call_begins(&a), None));
            }
        }
        8 => {
            let there = server.secret;
            if let Some((_, done)) = server.reads.iter_mut().find(|(_, done)| done.is_none()) {
                *done = Some(there);
            }
        }
        9 => {
            let one = pick(server.reads.len());
            let read = server.reads.get(one);
            let done = read.is_some_and(|(_, done)| done.is_some());
            if let Some((number, Some(found))) = done.then(|| server.reads.remove(one)) {
                secrets.read_ends(&a, number, found.map(numbered).as_ref(), at(1));
            }
        }
        // The watch fails and lists again; the list is created now and received later.
        10 if server.list.is_none() => {
            server.list = Some((server.secret, server.history.len()));
            secrets.begin(part);
        }
        11 => {
            if let Some((there, length)) = server.list.take() {
                server.shown = length;
                if let Some(there) = there {
                    secrets.listed(part, &numbered(there));
                }
                secrets.finish(part, at(1));
            }
        }
        _ => {}
    }
}

/// All pending messages arrive, each doubt is resolved, and a write that the watch has not delivered is read, as
/// [`crate::controller::cache::doubts`] does it.
fn settle(server: &mut Server, secrets: &mut Secrets, part: &Part) {
    let a = name("a");
    for choice in [11, 8, 9, 6] {
        for _ in 0..64 {
            step(server, secrets, part, choice, 0);
        }
    }
    for (number, _) in std::mem::take(&mut server.reads) {
        secrets.read_given_up(&a, number);
    }
    while server.shown < server.history.len() {
        step(server, secrets, part, 2, 0);
    }
    while !secrets.take_doubtful().is_empty() {
        let read = secrets.call_begins(&a);
        secrets.read_ends(&a, read, server.secret.map(numbered).as_ref(), at(2));
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(8_000))]

    /// For any order of writes, responses, events, lists and reads: when nothing is in progress, the cache equals the server.
    /// For a watch of everything and for a watch of a namespace.
    #[test]
    fn at_rest_the_cache_is_what_the_server_has(
        steps in proptest::collection::vec((0_u8..12, 0_usize..8), 0..60),
        namespaced in proptest::bool::ANY,
    ) {
        let part = if namespaced { Part::from("secops") } else { all() };
        let (mut server, mut secrets) = (Server::default(), Secrets::default());
        secrets.begin(&part);
        secrets.finish(&part, at(0));
        for (choice, which) in steps {
            step(&mut server, &mut secrets, &part, choice, which);
        }
        settle(&mut server, &mut secrets, &part);
        let expected = server.secret.map(|(_, version)| version.to_string());
        proptest::prop_assert_eq!(version(&secrets, "a"), expected);
        proptest::prop_assert_eq!(secrets.transient(), Transient::default());
    }
}
