//! A soak of chaos: replicas of the operator work on many credentials while processes are killed and stopped and users
//! change things, according to a plan that a seed determines. At the end everything must be correct. `make chaos`, docs/reliability.md.
//!
//! ```text
//! seed ─▶ plan ─┬▶ world: control plane, issuer (this program, other mode), replicas   faults
//!               └▶ changes: by users to cast, the credentials and their Secrets
//!                     └──▶ oracles: the cluster against the issuer's journal ─▶ table, exit code
//! ```
//!
//! | Variable | Meaning | Default |
//! |---|---|---|
//! | `CHAOS_SECONDS` | how long faults and changes last | 300 |
//! | `CHAOS_CREDENTIALS` | number of credentials | 100 |
//! | `CHAOS_REPLICAS` | replicas of the operator | 2 |
//! | `CHAOS_SEED` | decides which fault and change happens when | a new one, printed |

#![allow(clippy::too_many_lines, reason = "a table of cases is one function")]

mod cast;
mod changes;
mod excuse;
mod issuer;
mod oracles;
mod picture;
mod plan;
mod replicas;
mod world;

#[path = "../cluster/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "written for tests/cluster; this target uses a part of it"
)]
mod support;

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use futures::future::join3;
use tokio::time::{Instant, sleep_until};

use changes::Users;
use oracles::Oracles;
use plan::{Options, Plan, plan};
use world::World;

/// Start, recovery and cleanup take no longer than this.
const BESIDES: Duration = Duration::from_mins(12);

fn main() -> ExitCode {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new().expect("threads to run on");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, folder, port] = arguments.as_slice()
        && mode == "issuer"
    {
        let port = port.parse().expect("a port");
        runtime.block_on(issuer::serve(Path::new(folder), port));
        return ExitCode::SUCCESS;
    }
    let options = options();
    println!(
        "chaos: {options:?}; run it again with CHAOS_SEED={}",
        options.seed
    );
    let whole = options.length + BESIDES;
    let done = runtime.block_on(async { tokio::time::timeout(whole, soak(options)).await });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(_) => {
            eprintln!("chaos: not done after {} s", whole.as_secs());
            ExitCode::FAILURE
        }
    }
}

/// From the environment.
fn options() -> Options {
    let number = |name: &str, default: u64| match std::env::var(name) {
        Ok(text) => text.parse().expect("CHAOS_ variables are numbers"),
        Err(_) => default,
    };
    let count = |name: &str, default| usize::try_from(number(name, default)).expect("a number");
    let random = RandomState::new().build_hasher().finish() % 1_000_000;
    Options {
        seed: number("CHAOS_SEED", random),
        length: Duration::from_secs(number("CHAOS_SECONDS", 300)),
        replicas: count("CHAOS_REPLICAS", 2).max(1),
        credentials: count("CHAOS_CREDENTIALS", 100).max(1),
    }
}

/// Runs it; returns true if everything is correct.
async fn soak(options: Options) -> bool {
    let world = World::start(options).await;
    let users = Users::new(options.credentials);
    world.apply(&world.prepared.objects()).await;
    let oracles = Oracles::of(&world, &users, options);
    let work = async {
        oracles.idle().await;
        users.settle_in(&world).await;
        oracles.settles("at the start").await;
        let began = Instant::now();
        suffer(&world, &users, plan(options), began).await;
        println!("chaos: faults and changes are over");
        users.put_in_order(&world).await;
        oracles.settles("at the end").await;
        oracles.ends().await;
        users.leave(&world).await;
        oracles.leaves_nothing().await;
    };
    tokio::select! {
        () = work => {}
        () = world.supervise() => {}
        () = world.follow_leader() => {}
        () = oracles.watch() => {}
    }
    oracles.print()
}

/// All faults and changes of the plan, at their times. A fault that ends late delays the next one of its kind.
async fn suffer(world: &World, users: &Users, plan: Plan, began: Instant) {
    let run = async |faults: Vec<(Duration, plan::Fault)>| {
        for (at, fault) in faults {
            sleep_until(began + at).await;
            world.strike(fault).await;
        }
    };
    let changes = async {
        let mut under_way = futures::stream::FuturesUnordered::new();
        for (at, change, number) in plan.changes {
            under_way.push(async move {
                sleep_until(began + at).await;
                users.change(world, change, number).await;
            });
        }
        while futures::StreamExt::next(&mut under_way).await.is_some() {}
    };
    join3(run(plan.replicas), run(plan.servers), changes).await;
}
