//! The plan of a run: which fault and which change happens when. A pure function of the seed.

use std::time::Duration;

/// Options of a run, from the environment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    /// How long faults and changes last. Start, recovery and cleanup are not included.
    pub(crate) length: Duration,
    pub(crate) replicas: usize,
    pub(crate) credentials: usize,
}

/// A fault. Each ends after the given time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// SIGKILL of one replica.
    Kill(Victim),
    /// SIGKILL of all replicas at once.
    KillAll,
    /// SIGTERM of one replica.
    Terminate(Victim),
    /// SIGSTOP of one replica, SIGCONT after this time.
    Freeze(Victim, Duration),
    /// SIGKILL of a server, started again after this time.
    Down(Server, Duration),
    /// SIGSTOP of a server, SIGCONT after this time.
    Stall(Server, Duration),
}

/// Which replica a fault is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Victim {
    /// The one that led when it was last checked.
    Leader,
    /// The replica of this number, whether it leads or not.
    Number(usize),
}

/// A server that the operator depends on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Server {
    Api,
    Etcd,
    Issuer,
}

/// A change that a user makes to one credential.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// Deletes the target Secret.
    DeleteTarget,
    /// Writes another value into the target Secret.
    EditTarget,
    /// Deletes the credential and creates it again.
    Recreate,
    /// Requests another scope.
    Scope,
    /// Stores another client secret, static key or assertion in the source Secret.
    Source,
    /// Requests a renewal.
    Renew,
    /// Suspends the credential, or resumes it.
    Suspend,
    /// Sets a label.
    Label,
    /// Signs in again, if the outcome of the refresh token is unknown.
    SignIn,
    /// Restores the state Secret with a refresh token that was used before.
    Restore,
}

/// The faults and changes with their times since the start of the run.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Faults of replicas; one at a time.
    pub(crate) replicas: Vec<(Duration, Fault)>,
    /// Faults of servers; one at a time, and independent of those of replicas.
    pub(crate) servers: Vec<(Duration, Fault)>,
    /// Changes, with the number of the credential.
    pub(crate) changes: Vec<(Duration, Change, usize)>,
}

/// The plan of these options.
pub(crate) fn plan(options: Options) -> Plan {
    let mut random = Random(options.seed);
    let length = options.length;
    let mut sequence = |gap: (u64, u64), pick: &dyn Fn(&mut Random) -> (Fault, Duration)| {
        let (mut at, mut faults) = (Duration::from_secs(5), Vec::new());
        loop {
            let (fault, lasts) = pick(&mut random);
            if at + lasts >= length {
                return faults;
            }
            faults.push((at, fault));
            at += lasts + Duration::from_millis(random.between(gap.0, gap.1));
        }
    };
    let replicas = sequence((3_000, 12_000), &|random| {
        replica_fault(random, options.replicas)
    });
    let servers = sequence((3_000, 14_000), &server_fault);
    let mut changes = Vec::new();
    let mut at = Duration::from_secs(2);
    while at < length {
        let credential = random.below(options.credentials);
        changes.push((at, change(&mut random), credential));
        at += Duration::from_millis(random.between(100, 900));
    }
    Plan {
        replicas,
        servers,
        changes,
    }
}

/// A fault of a replica, and how long it lasts.
fn replica_fault(random: &mut Random, replicas: usize) -> (Fault, Duration) {
    let victim = if random.below(3) == 0 {
        Victim::Number(random.below(replicas))
    } else {
        Victim::Leader
    };
    let instant = Duration::ZERO;
    match random.below(10) {
        0..=3 => (Fault::Kill(victim), instant),
        4 => (Fault::KillAll, instant),
        5 | 6 => (Fault::Terminate(victim), instant),
        7 | 8 => {
            let time = random.time(2_000, 8_000);
            (Fault::Freeze(victim, time), time)
        }
        // Longer than the lease.
        _ => {
            let time = random.time(16_000, 26_000);
            (Fault::Freeze(victim, time), time)
        }
    }
}

/// A fault of a server, and how long it lasts.
fn server_fault(random: &mut Random) -> (Fault, Duration) {
    let (fault, time): (fn(Server, Duration) -> Fault, _) = match random.below(6) {
        0 | 1 => (Fault::Down, random.time(500, 3_000)),
        2 => (Fault::Down, random.time(3_000, 12_000)),
        3 | 4 => (Fault::Stall, random.time(2_000, 9_000)),
        _ => (Fault::Stall, random.time(9_000, 18_000)),
    };
    let server = match random.below(8) {
        0..=2 => Server::Api,
        3 | 4 => Server::Etcd,
        _ => Server::Issuer,
    };
    // The longest outages are the issuer's: no lease depends on it.
    let most = if server == Server::Issuer { 18 } else { 12 };
    let time = time.min(Duration::from_secs(most));
    (fault(server, time), time)
}

fn change(random: &mut Random) -> Change {
    match random.below(20) {
        0 | 1 => Change::DeleteTarget,
        2 | 3 => Change::EditTarget,
        4 | 5 => Change::Recreate,
        6..=8 => Change::Scope,
        9 | 10 => Change::Source,
        11 | 12 => Change::Renew,
        13 | 14 => Change::Suspend,
        15 | 16 => Change::Label,
        17 => Change::Restore,
        _ => Change::SignIn,
    }
}

/// `SplitMix64` (<https://prng.di.unimi.it/splitmix64.c>): small, and the same on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` up to, but without, `high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low)
    }

    /// A number below this one.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or_default()
    }

    /// A time between these numbers of milliseconds.
    fn time(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }
}
