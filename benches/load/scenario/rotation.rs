//! Renewals at their renewal time: requests, reconciliations and CPU of each.

use std::time::{Duration, Instant};

use crate::{
    Result,
    contender::Contender,
    issuer::IssuerBehaviour,
    options::Options,
    process::Usage,
    report::{Bar, Quantity, Report, percentile, real},
    scenario::{cold::strangers, fill, report_cpu, report_events, report_requests},
    world::{Limits, World},
};

/// Lifetime of the tokens, in seconds.
const LIFETIME: u64 = 120;
/// How long the API server is measured before the operator starts: it also does some work without clients.
const ALONE: Duration = Duration::from_secs(10);
/// Maximum share of the API server's CPU, compared with a rival.
const HALF: f64 = 0.5;

pub(super) async fn run(
    options: &Options,
    own: &Contender,
    rivals: &[Contender],
    report: &mut Report,
) -> Result<()> {
    let ours = once(options, own, report).await?;
    for rival in rivals {
        let theirs = once(options, rival, report).await?;
        report.add(
            ("rotation", own.name.as_str()),
            format!("CPU of the API server, beside {}", rival.name),
            Quantity::times(ours / theirs),
            Bar::AtMost(HALF),
        );
    }
    Ok(())
}

/// Returns the milliseconds of CPU that a renewal costs the API server, without those that it needs without an operator.
async fn once(options: &Options, contender: &Contender, report: &mut Report) -> Result<f64> {
    let (row, own) = (("rotation", contender.name.as_str()), contender.is_own());
    let mut world = World::start(options, contender, Limits::Open).await?;
    let (objects, lifetime) = (options.small(), options.lifetime.unwrap_or(LIFETIME));
    let behaviour = |lifetime| IssuerBehaviour {
        lifetime,
        ..IssuerBehaviour::default()
    };
    world.issuer.set(behaviour(lifetime)).await?;
    world.refresh = lifetime / 2;
    world.grow(objects).await?;
    let alone = alone(&world).await?;
    // No token is renewed before this: apicred renews at half of the lifetime less a tenth of it and a round, a rival at half.
    let renewed_from =
        Instant::now() + Duration::from_secs(lifetime * if own { 38 } else { 49 } / 100);
    fill(&mut world, objects).await?;
    if own {
        // The next tokens have a long lifetime: there is one round, and no second one after it.
        world.issuer.set(behaviour(3_600)).await?;
        world.at_rest().await?;
    } else {
        // A rival that requests tokens at fixed times never finishes, and one that is too slow for these times is never at rest.
        world.rests_within(Duration::from_secs(10)).await?;
    }
    // The work of both while they wait does not belong to the cost of a renewal.
    tokio::time::sleep_until(renewed_from.into()).await;
    let (place, before) = (
        world.traffic.read(&world.plane)?,
        world.issuer.stats().await?,
    );
    let (reconciliations, usage, server) = (
        world.reconciles().await?,
        world.usage()?,
        world.server_usage()?,
    );
    let began = Instant::now();
    world
        .until_posts(before.posts + objects, Duration::from_secs(2 * lifetime))
        .await?;
    if own {
        world.at_rest().await?;
    } else {
        world.rests_within(Duration::from_secs(5)).await?;
    }
    let took = began.elapsed().as_secs_f64();
    let (after, server_after) = (world.usage()?, world.server_usage()?);
    let stats = world.issuer.stats().await?;
    let reconciliations = world.reconciles().await? - reconciliations;
    world.traffic.read(&world.plane)?;
    let tokens = stats.posts - before.posts;
    report.note(format!(
        "{tokens} renewals of {objects} objects in {took:.0} s; tokens of {lifetime} s"
    ));
    let each = |value: f64| value / real(tokens.max(1));
    let tally = world.traffic.since(place);
    let published = if own {
        tally.published()
    } else {
        tally.publishing()
    };
    report.add(
        row,
        "POSTs a renewal",
        Quantity::count(real(tokens) / real(published.max(1))),
        contender.bar(Bar::Count(1.0)),
    );
    report.add(
        row,
        "reconciliations a renewal",
        Quantity::count(each(reconciliations)),
        contender.bar(Bar::Count(2.0)),
    );
    let (reads, writes) = (
        contender.bar(Bar::Count(1.0)),
        contender.bar(Bar::Count(2.0)),
    );
    report_requests(report, row, &tally, tokens, (reads, writes));
    let mine = ("operator", contender.bar(Bar::AtMost(1.0)));
    report_cpu(report, row, mine, (usage, after), tokens);
    let theirs = ("API server", Bar::None);
    report_cpu(report, row, theirs, (server, server_after), tokens);
    let behalf = each((server_after.cpu - server.cpu - alone * took) * 1e3);
    report.note(format!(
        "without an operator the API server takes {:.0} ms of CPU a second",
        alone * 1e3
    ));
    report.add(
        row,
        "CPU of the API server, a token, without that",
        Quantity::milliseconds(behalf),
        Bar::None,
    );
    let gets = tally.times("get", "secrets");
    report.add(
        row,
        "reads in the API server, p99",
        Quantity::milliseconds(percentile(&gets, 99)),
        Bar::None,
    );
    report_size(report, row, (usage, after));
    for (what, count) in [
        (
            "connections to the issuer that were opened",
            stats.accepted - before.accepted,
        ),
        ("connections to the issuer that stand", stats.open),
    ] {
        report.add(row, what, Quantity::count(real(count)), Bar::None);
    }
    report_events(&world, report).await?;
    strangers(&world, report, (row.0, contender)).await?;
    Ok(behalf)
}

/// Seconds of CPU per second that the API server takes while no operator runs.
async fn alone(world: &World) -> Result<f64> {
    let (began, before) = (Instant::now(), world.server_usage()?);
    tokio::time::sleep(ALONE).await;
    Ok((world.server_usage()?.cpu - before.cpu) / began.elapsed().as_secs_f64())
}

/// Memory and descriptors, before and after the round.
fn report_size(report: &mut Report, row: (&'static str, &str), (before, after): (Usage, Usage)) {
    report.add(row, "RSS", Quantity::mebibytes(after.rss), Bar::None);
    report.add(
        row,
        "RSS, its part without files",
        Quantity::mebibytes(after.anon),
        Bar::None,
    );
    report.add(row, "RSS, peak", Quantity::mebibytes(after.peak), Bar::None);
    let descriptors = (f64::from(before.descriptors), f64::from(after.descriptors));
    report.add(
        row,
        "descriptors before the round",
        Quantity::count(descriptors.0),
        Bar::None,
    );
    report.add(
        row,
        "descriptors after the round",
        Quantity::count(descriptors.1),
        Bar::None,
    );
}
