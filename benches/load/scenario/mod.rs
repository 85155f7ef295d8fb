//! The scenarios, by name.

mod cold;
mod expired;
mod memory;
mod newcomer;
mod notify;
mod requests;
mod restart;
mod rotation;
mod soak;

use std::collections::BTreeMap;

use k8s_openapi::api::events::v1::Event;
use kube::{Api, api::ListParams};

use crate::{
    Result,
    contender::Contender,
    options::Options,
    process::Usage,
    report::{Bar, Quantity, Report, percentile, real},
    traffic::Tally,
    world::World,
};

/// Names and descriptions.
pub(crate) const ALL: [(&str, &str); 10] = [
    (
        "cold",
        "1,000 objects without a token, issuer 20 ms; rivals too",
    ),
    (
        "unlimited",
        "all objects without a token, issuer without limits, beside the same writes sent bare",
    ),
    (
        "memory",
        "resident memory: idle, while all is listed again, and with Secrets of others",
    ),
    (
        "restart",
        "requests that a restart costs when nothing is due; rivals too",
    ),
    (
        "rotation",
        "requests, reconciliations and CPU of a renewal that its time brings; rivals too",
    ),
    (
        "expired",
        "all tokens have ended while the operator was away, issuer allows 200/s",
    ),
    ("newcomer", "a new credential while all others renew"),
    (
        "notify",
        "requests and delay of pods that are notified of a new token",
    ),
    (
        "requests",
        "what one request costs the API server, by its kind",
    ),
    ("soak", "descriptors and memory over many renewals"),
];

/// Runs one scenario.
pub(crate) async fn run(
    name: &str,
    options: &Options,
    own: &Contender,
    rivals: &[Contender],
    report: &mut Report,
) -> Result<()> {
    let everyone = || std::iter::once(own).chain(rivals);
    match name {
        "cold" => {
            for contender in everyone() {
                cold::run(options, contender, report).await?;
            }
            Ok(())
        }
        "unlimited" => cold::unlimited(options, own, report).await,
        "memory" => memory::run(options, own, report).await,
        "restart" => {
            for contender in everyone() {
                restart::run(options, contender, report).await?;
            }
            Ok(())
        }
        "rotation" => rotation::run(options, own, rivals, report).await,
        "expired" => expired::run(options, own, report).await,
        "newcomer" => newcomer::run(options, own, report).await,
        "notify" => notify::run(options, own, report).await,
        "requests" => requests::run(options, own, report).await,
        "soak" => soak::run(options, own, report).await,
        other => Err(format!("no scenario {other}").into()),
    }
}

/// Creates all objects, then starts the operator and waits until each object has its token. Returns the seconds from the start
/// of the process to the end of the last write.
async fn fill(world: &mut World, objects: usize) -> Result<f64> {
    world.grow(objects).await?;
    let place = world.traffic.read(&world.plane)?;
    let began = jiff::Timestamp::now();
    world.start_operator().await?;
    let end = world.published(place, objects).await?;
    Ok(end.duration_since(began).as_secs_f64())
}

/// The requests of one kind of work, reported for each token.
fn report_requests(
    report: &mut Report,
    row: (&'static str, &str),
    tally: &Tally<'_>,
    tokens: usize,
    bars: (Bar, Bar),
) {
    let each = |count: usize| real(count) / real(tokens.max(1));
    report.add(
        row,
        "reads a token",
        Quantity::count(each(tally.reads())),
        bars.0,
    );
    report.add(
        row,
        "writes a token",
        Quantity::count(each(tally.writes())),
        bars.1,
    );
    if tally.refused() > 0 {
        let refused = real(tally.refused());
        report.add(
            row,
            "requests that were refused",
            Quantity::count(refused),
            Bar::None,
        );
    }
    report.note(format!("all requests: {:?}", tally.sums()));
    report.note(format!(
        "objects by how often their status was written: {:?}",
        tally.status_writes()
    ));
    for (verb, resource) in [
        ("get", "secrets"),
        ("create", "secrets"),
        ("patch", "secrets"),
        ("patch", "apicredentials/status"),
    ] {
        let times = tally.times(verb, resource);
        if !times.is_empty() {
            report.note(format!(
                "{verb} {resource}: p50 {:.1} ms, p99 {:.1} ms in the API server",
                percentile(&times, 50),
                percentile(&times, 99)
            ));
        }
    }
}

/// The reasons of the events in the namespaces of the load.
async fn report_events(world: &World, report: &mut Report) -> Result<()> {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for namespace in world.all_namespaces() {
        let api: Api<Event> = Api::namespaced(world.admin.clone(), &namespace);
        for event in api.list(&ListParams::default()).await? {
            *reasons.entry(event.reason.unwrap_or_default()).or_default() += 1;
        }
    }
    report.note(format!("events since the beginning: {reasons:?}"));
    Ok(())
}

/// CPU of a process between two moments, for each token.
fn report_cpu(
    report: &mut Report,
    row: (&'static str, &str),
    (what, bar): (&str, Bar),
    (before, after): (Usage, Usage),
    tokens: usize,
) {
    let each = |seconds: f64| seconds * 1e3 / real(tokens.max(1));
    let (all, system) = (after.cpu - before.cpu, after.system - before.system);
    report.add(
        row,
        format!("CPU of the {what}, a token"),
        Quantity::milliseconds(each(all)),
        bar,
    );
    report.note(format!("of these {:.2} ms in the kernel", each(system)));
}
