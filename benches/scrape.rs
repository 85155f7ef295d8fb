//! How long the page of a scrape takes with 10,000 credentials, and how large it is. `cargo bench --bench scrape`.
//!
//! The credentials are generated here: only the writing of the page is measured. The operator's source for the page is its cache
//! (`Each` in src/controller/reconcile/snapshot.rs), which only watches of an API server fill. A measurement with it would need 10,000
//! objects in a control plane, and minutes for a result of milliseconds. `Each` reads fields of objects in memory and makes no
//! copies; `cargo bench --bench load` measures the whole operator.

use std::time::{Duration, Instant};

use apicred::telemetry::metrics::{
    EachCredential, Format, Info, Metrics, Objects, OneCredential, Snapshot, Work,
};

const CREDENTIALS: usize = 10_000;
const ROUNDS: usize = 20;

/// Names as long as those of real objects.
struct Load(Vec<(String, String)>);

impl Load {
    fn new() -> Self {
        let name = |at: usize| {
            (
                format!("team-{:02}-production", at % 50),
                format!("defender-alerts-{at:05}"),
            )
        };
        Self((0..CREDENTIALS).map(name).collect())
    }
}

impl EachCredential for Load {
    fn each(&self, see: &mut dyn FnMut(&OneCredential<'_>)) {
        for (namespace, name) in &self.0 {
            see(&OneCredential {
                namespace,
                name,
                ready: true,
                expires_at: Some(1_800_003_600),
                renew_at: Some(1_800_001_800),
                min_lifetime: Some(900),
                client_expires_at: Some(1_900_000_000),
                client_expiring: false,
            });
        }
    }

    fn each_info(&self, see: &mut dyn FnMut(&OneCredential<'_>, &Info<'_>)) {
        let info = Info {
            issuer_kind: "ClusterTokenIssuer",
            issuer: "contoso",
            api: "DefenderForCloudApps",
            secret: "defender-alerts-token",
        };
        self.each(&mut |one| see(one, &info));
    }

    fn each_rotation(&self, _: &mut dyn FnMut([&str; 2], i64)) {}
}

fn main() {
    let metrics = Metrics::default();
    for per_credential in [false, true] {
        let snapshot = || Snapshot {
            leads: true,
            work: Some(Work::default()),
            objects: Some(Objects::default()),
            credentials: per_credential.then(|| Box::new(Load::new()) as Box<dyn EachCredential>),
        };
        let mut times: Vec<Duration> = Vec::new();
        let mut size = 0;
        for _ in 0..ROUNDS {
            let snapshot = snapshot();
            let begun = Instant::now();
            size = metrics.encode(&snapshot, Format::Prometheus).len();
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        println!(
            "scrape, {CREDENTIALS} credentials, metrics.perCredential {per_credential}: {:.1} ms (median of {ROUNDS}), {} KiB",
            times[ROUNDS / 2].as_secs_f64() * 1000.0,
            size / 1024,
        );
    }
}
