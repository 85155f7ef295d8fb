//! Rules that must hold during the run and at its end.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    changes::{GARBAGE, Loss, Users, stored},
    excuse::excuse,
    issuer::{Entry, families, journal},
    picture::{Picture, State, issued, state_of},
    plan::{Fault, Options},
    replicas::{Usage, errors},
    world::World,
};

/// Everything is correct again this long after the last fault. Waits after failures grow to a minute, a mark of a refresh
/// token is old after 50 s, and a Secret of a credential that was created again is taken over after 30 s.
const SETTLE: Duration = Duration::from_mins(4);
/// The interval at which remaining faults are shown.
const PATIENCE: Duration = Duration::from_secs(30);
/// Token requests of one client within ten seconds: a token of 24 s is renewed after 12 s, and two or three changes
/// and crashes in a row may each cost another one.
const STORM: usize = 8;
/// How much more memory than an idle process may be used, in MiB; this much is left after the largest list (docs/performance.md).
const GROWTH: u64 = 24;
/// How much the number of descriptors may grow: connections to issuers stay open for a while, at most as many as credentials
/// may request tokens at once (`--concurrency`, 32) for each of the two issuers of a namespace.
const DESCRIPTORS: u64 = 128;
/// ERROR lines that faults of this soak cause.
const KNOWN: [&str; 1] = ["the lease was lost"];

/// Checks a run.
pub(crate) struct Oracles<'a> {
    world: &'a World,
    users: &'a Users,
    options: Options,
    idle: Mutex<Usage>,
    seen: Mutex<Seen>,
    /// Violations.
    faults: Mutex<Vec<String>>,
    lines: Mutex<Vec<(String, String)>>,
    probes_failed: AtomicUsize,
}

/// Observations during the run.
#[derive(Default)]
struct Seen {
    samples: usize,
    /// Tokens that were in a Secret although they had expired, with the longest time since their expiry.
    expired: HashMap<String, i64>,
}

impl<'a> Oracles<'a> {
    pub(crate) fn of(world: &'a World, users: &'a Users, options: Options) -> Self {
        Self {
            world,
            users,
            options,
            idle: Mutex::default(),
            seen: Mutex::default(),
            faults: Mutex::default(),
            lines: Mutex::default(),
            probes_failed: AtomicUsize::default(),
        }
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "numbers and texts as they come"
    )]
    fn line(&self, name: &str, value: impl ToString) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push((name.to_owned(), value.to_string()));
    }

    fn fault(&self, what: String) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.push(what);
    }

    /// A count that must be zero.
    fn none(&self, name: &str, found: &[String]) {
        self.line(name, found.len());
        for one in found {
            self.fault(format!("{name}: {one}"));
        }
    }

    /// A number with a bound.
    fn at_most(&self, name: &str, number: u64, most: u64) {
        self.line(name, format!("{number} (at most {most})"));
        if number > most {
            self.fault(format!("{name}: {number}, and at most {most} are allowed"));
        }
    }

    /// Waits until all replicas are ready and measures them before there is any work.
    pub(crate) async fn idle(&self) {
        for replica in &self.world.replicas {
            testenv::eventually(Duration::from_mins(2), "a replica", async || {
                replica.probe("/readyz").await == Some(200)
            })
            .await;
        }
        let most = self.usage().await;
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = most;
    }

    /// The highest usage of any replica now.
    async fn usage(&self) -> Usage {
        let mut most = Usage::default();
        for replica in &self.world.replicas {
            most = most.max(replica.usage().await.unwrap_or_default());
        }
        most
    }

    /// Waits until every credential is correct or needs a sign-in.
    pub(crate) async fn settles(&self, when: &str) {
        let began = Instant::now();
        let mut wrong = vec!["nothing was seen".to_owned()];
        let mut shown = Duration::ZERO;
        while !wrong.is_empty() && began.elapsed() < SETTLE {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if began.elapsed() > shown + PATIENCE {
                shown += PATIENCE;
                let first = &wrong[..wrong.len().min(5)];
                println!("chaos: {} still wrong {when}: {first:#?}", wrong.len());
            }
            let Some(picture) = Picture::of(self.world).await else {
                continue;
            };
            let tokens = issued(&journal(&self.world.prepared.folder));
            let now = Timestamp::now();
            wrong.clear();
            for user in &self.users.all {
                match state_of(user, &picture, &tokens, now) {
                    State::Wrong(what) => wrong.push(format!("{}: {what}", user.role.name)),
                    State::Lost(loss) if is_fresh(&loss, now) => {
                        wrong.push(format!("{}: a refresh is in doubt", user.role.name));
                    }
                    State::Right | State::Lost(_) => {}
                }
            }
            wrong.extend(
                picture
                    .orphans()
                    .iter()
                    .map(|name| format!("orphan {name}")),
            );
        }
        let waited = began.elapsed().as_secs();
        println!(
            "chaos: settled {when} after {waited} s, {} wrong",
            wrong.len()
        );
        self.line(&format!("settled {when} after"), format!("{waited} s"));
        self.none(&format!("wrong {when}"), &wrong);
    }

    /// Checks what can be checked only at the end: refresh tokens, requests, logs, processes.
    pub(crate) async fn ends(&self) {
        let journal = journal(&self.world.prepared.folder);
        let Some(picture) = Picture::of(self.world).await else {
            return self.fault("the API server does not answer at the end".to_owned());
        };
        let tokens = issued(&journal);
        for user in &self.users.all {
            if let State::Lost(loss) = state_of(user, &picture, &tokens, Timestamp::now()) {
                self.users.lost(loss).await;
            }
        }
        self.check_refresh(&journal, &picture).await;
        self.check_requests(&journal);
        self.check_processes().await;
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let worst = seen.expired.values().max().copied().unwrap_or_default();
        let expired = seen.expired.len();
        let samples = seen.samples;
        drop(seen);
        self.line("samples of all Secrets during the run", samples);
        self.line("tokens seen expired during faults", expired);
        self.line("longest of these", format!("{worst} s"));
    }

    async fn check_refresh(&self, journal: &[Entry], picture: &Picture) {
        let reused: Vec<String> = journal
            .iter()
            .filter_map(|entry| match entry {
                Entry::Reused { at, refresh, .. } => Some(format!("{at} {}", refresh.text())),
                _ => None,
            })
            .collect();
        self.none("refresh tokens used twice", &reused);
        let families = families(journal);
        let happened = self.world.happened();
        let losses = self.users.losses.lock().await;
        let (mut excused, mut unexcused) = (BTreeMap::<String, usize>::new(), Vec::new());
        for loss in losses.values() {
            let family = families.get(&(loss.client.clone(), loss.family));
            match excuse(loss, family, journal, &happened) {
                Ok(excuse) => *excused.entry(excuse).or_default() += 1,
                Err(story) => unexcused.push(format!("{loss:?}\n{story}")),
            }
        }
        self.line("refresh families in all", families.len());
        for (excuse, count) in excused {
            self.line(&format!("families lost: {excuse}"), count);
        }
        self.none("families lost without need", &unexcused);
        // A refresh token that is neither the newest one nor reported would be used twice at some time.
        let mut stale = Vec::new();
        for user in self.users.all.iter().filter(|p| p.role.kind.is_refresh()) {
            let state = picture.secret(user, user.role.state());
            let Some(stored) = state.and_then(stored) else {
                stale.push(format!("{}: no refresh token", user.role.name));
                continue;
            };
            let current = families.get(&stored.key()).map_or(0, |f| f.current);
            if current != stored.generation && !losses.contains_key(&stored.key()) {
                stale.push(format!("{}: the newest is {current}", stored.text()));
            }
        }
        // The journal was read slightly before the picture, so a renewal may be in between.
        self.line(
            "refresh tokens in Secrets that are not the newest",
            stale.len(),
        );
    }

    fn check_requests(&self, journal: &[Entry]) {
        let mut by_client: HashMap<&str, Vec<Timestamp>> = HashMap::new();
        for entry in journal {
            if let Entry::Received { at, client, .. } = entry {
                by_client.entry(client).or_default().push(*at);
            }
        }
        let window = SignedDuration::from_secs(10);
        let crowd = |times: &[Timestamp]| {
            let within = |from: usize| {
                let rest = times[from..].iter();
                rest.take_while(|at| at.duration_since(times[from]) < window)
                    .count()
            };
            (0..times.len()).map(within).max().unwrap_or_default()
        };
        let busiest = by_client
            .iter()
            .map(|(client, times)| (crowd(times), *client))
            .max();
        let (most, client) = busiest.unwrap_or_default();
        let requests: usize = by_client.values().map(Vec::len).sum();
        self.line("token requests", requests);
        let name = format!("token requests of one client in 10 s ({client})");
        self.at_most(&name, as_u64(most), as_u64(STORM));
    }

    async fn check_processes(&self) {
        let mut ends: BTreeMap<String, usize> = BTreeMap::new();
        let (mut panics, mut unknown) = (Vec::new(), Vec::new());
        let (mut starts, mut most) = (0, Usage::default());
        for replica in &self.world.replicas {
            starts += replica.starts();
            most = most.max(replica.most());
            for (how, count) in replica.ends() {
                *ends.entry(how).or_default() += count;
            }
            for log in replica.logs() {
                let panicked = log.lines().filter(|line| line.contains("panicked"));
                panics.extend(panicked.map(str::to_owned));
                unknown.extend(errors(&log).into_iter().filter(|e| !is_known(e)));
            }
            for path in ["/livez", "/readyz"] {
                if replica.probe(path).await != Some(200) {
                    self.fault(format!(
                        "a replica does not answer 200 on {path} at the end"
                    ));
                }
            }
        }
        self.line("operator processes started", starts);
        self.line(
            "changes of leader",
            self.world.changes_of_leader.load(Ordering::SeqCst),
        );
        for (how, count) in ends {
            self.line(&format!("operator processes: {how}"), count);
            let well = ["ended well", "killed"].contains(&how.as_str());
            if !well && !is_known(&how) {
                self.fault(format!("{count} operator processes: {how}"));
            }
        }
        self.none("panics", &panics);
        self.none("unknown ERROR lines", &unknown);
        self.line("most memory of a replica", format!("{} MiB", most.rss));
        self.line("most descriptors of a replica", most.descriptors);
        self.line(
            "/livez not 200 while it ran",
            self.probes_failed.load(Ordering::SeqCst),
        );
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for happening in self.world.happened() {
            *kinds.entry(name_of(happening.fault)).or_default() += 1;
        }
        for (kind, count) in kinds {
            self.line(&format!("fault: {kind}"), count);
        }
        for (change, count) in self.users.done.lock().await.iter() {
            self.line(&format!("change: {change}"), count);
        }
        self.line("changes that failed", self.users.failed());
    }

    /// After all credentials are deleted: none of their Secrets exists, and no memory of them is left.
    pub(crate) async fn leaves_nothing(&self) {
        let began = Instant::now();
        let mut left = vec!["nothing was seen".to_owned()];
        while !left.is_empty() && began.elapsed() < SETTLE {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let Some(picture) = Picture::of(self.world).await else {
                continue;
            };
            left = picture.orphans();
            for replica in &self.world.replicas {
                let metrics = replica.get("/metrics").await.unwrap_or_default().1;
                let counted = metrics
                    .lines()
                    .filter(|l| l.starts_with("apicred_credentials{"));
                left.extend(counted.filter(|l| !l.ends_with(" 0")).map(str::to_owned));
            }
        }
        self.none("left after the deletion of everything", &left);
        let idle = *self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let end = self.usage().await;
        self.at_most("memory at the end in MiB", end.rss, idle.rss + GROWTH);
        let most = idle.descriptors + DESCRIPTORS;
        self.at_most("descriptors at the end", end.descriptors, most);
    }

    /// Reads all Secrets and probes during the run. Never returns.
    pub(crate) async fn watch(&self) {
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            for replica in &self.world.replicas {
                let frozen = || replica.frozen.load(Ordering::SeqCst);
                let before = frozen();
                let status = replica.probe("/livez").await;
                if status.is_some_and(|status| status != 200) && !before && !frozen() {
                    self.probes_failed.fetch_add(1, Ordering::SeqCst);
                }
            }
            let Some(picture) = Picture::of(self.world).await else {
                continue;
            };
            let tokens = issued(&journal(&self.world.prepared.folder));
            let now = Timestamp::now();
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.samples += 1;
            for user in self.users.all.iter().filter(|p| p.role.kind.has_issuer()) {
                let role = &user.role;
                let target = picture.secret(user, role.target());
                let token = target.and_then(|s| Picture::text(s, "token"));
                let Some(token) = token.filter(|token| token != GARBAGE) else {
                    continue;
                };
                match tokens.get(&token) {
                    None => self.fault(format!("{}: a token unknown to the issuer", role.name)),
                    Some(issued) if issued.client != role.name => {
                        self.fault(format!("{}: a token of {}", role.name, issued.client));
                    }
                    Some(issued) => {
                        let over = now.duration_since(issued.expires).as_secs();
                        if over > 0 && picture.is_renewed(user) {
                            let worst = seen.expired.entry(token).or_default();
                            *worst = over.max(*worst);
                        }
                    }
                }
            }
        }
    }

    /// Prints the table; returns true if everything is correct.
    pub(crate) fn print(&self) -> bool {
        let faults = self
            .faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, value) in lines.iter() {
            println!("{name:<56} {value}");
        }
        for fault in &faults {
            println!("WRONG: {fault}");
        }
        let seed = self.options.seed;
        let expected_part = if faults.is_empty() {
            "all is right"
        } else {
            "WRONG"
        };
        println!(
            "chaos: {expected_part}; seed {seed}, {} faults found",
            faults.len()
        );
        faults.is_empty()
    }
}

fn is_known(error: &str) -> bool {
    KNOWN.iter().any(|known| error.contains(known))
}

fn as_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn name_of(fault: Fault) -> String {
    let text = format!("{fault:?}");
    let words = text.split(['(', ',']).take(2).collect::<Vec<_>>();
    words.join(" ").trim_end_matches(')').to_owned()
}

/// Whether a write of its outcome may still be in progress.
fn is_fresh(loss: &Loss, now: Timestamp) -> bool {
    let young = SignedDuration::from_secs(50);
    loss.marked.is_some_and(|at| now.duration_since(at) < young)
}
