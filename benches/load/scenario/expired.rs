//! The operator did not run, and all tokens have expired.

use std::time::Duration;

use crate::{
    Result,
    contender::Contender,
    issuer::IssuerBehaviour,
    options::Options,
    process::Usage,
    report::{Bar, Quantity, Report, real},
    scenario::{fill, report_cpu, report_events, report_requests},
    world::{Limits, World},
};

/// Requests per second that the issuer object allows.
const RATE: u32 = 200;

pub(super) async fn run(options: &Options, own: &Contender, report: &mut Report) -> Result<()> {
    let row = ("expired", own.name.as_str());
    let mut world = World::start(options, own, Limits::Open).await?;
    let objects = options.size();
    // Long enough that no token is renewed before all credentials have their first one.
    let lifetime = 60 + objects as u64 / 40;
    let behaviour = |lifetime| IssuerBehaviour {
        lifetime,
        ..IssuerBehaviour::default()
    };
    world.issuer.set(behaviour(lifetime)).await?;
    fill(&mut world, objects).await?;
    world.stop_operator().await?;
    world.issuer.set(behaviour(3_600)).await?;
    world.set_limits(Limits::Rate(RATE)).await?;
    tokio::time::sleep(Duration::from_secs(lifetime + 1)).await;

    let (place, posts) = (
        world.traffic.read(&world.plane)?,
        world.issuer.stats().await?.posts,
    );
    let began = jiff::Timestamp::now();
    world.start_operator().await?;
    let end = world.published(place, objects).await?;
    let seconds = end.duration_since(began).as_secs_f64();
    let ideal = real(objects) / f64::from(RATE);
    report.note(format!("{objects} credentials, issuer allows {RATE}/s"));
    report.add(
        row,
        "until all are renewed",
        Quantity::seconds(seconds),
        Bar::AtMost(1.1 * ideal),
    );
    report.add(
        row,
        "speed",
        Quantity::per_second(real(objects) / seconds),
        Bar::None,
    );
    let posts = world.issuer.stats().await?.posts - posts;
    report.add(
        row,
        "POSTs a token",
        Quantity::count(real(posts) / real(objects)),
        Bar::Count(1.0),
    );
    let reconciliations = world.reconciles().await? / real(objects);
    report.add(
        row,
        "reconciliations a token",
        Quantity::count(reconciliations),
        Bar::None,
    );
    let usage = world.usage()?;
    let mine = (Usage::default(), usage);
    report_cpu(report, row, ("operator", Bar::None), mine, objects);
    report.add(row, "RSS, peak", Quantity::mebibytes(usage.peak), Bar::None);
    let tally = world.traffic.since(place);
    report_requests(report, row, &tally, objects, (Bar::None, Bar::AtMost(2.0)));
    report_events(&world, report).await
}
