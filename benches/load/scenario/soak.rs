//! Many renewals, one after the other: nothing may grow, and no renewal may be late.

use std::time::{Duration, Instant};

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

/// A token that is valid for an hour is renewed every half hour, 48 times a day. One of 24 s is renewed about every 11.5 s: 10 minutes contain
/// as many renewals.
const LIFETIME: u64 = 24;
/// As many credentials as the machine can easily renew in that time.
const MOST: usize = 500;
const SAMPLE: Duration = Duration::from_secs(5);
/// A renewal that is later than this is overdue.
const LATE: f64 = 5.0;
/// Descriptors may differ by those of one watch that is being reopened.
const DESCRIPTORS: f64 = 8.0;
/// Memory may differ by the granularity of the allocator.
const GROWTH: f64 = 4.0;

pub(super) async fn run(options: &Options, own: &Contender, report: &mut Report) -> Result<()> {
    let row = ("soak", own.name.as_str());
    let mut world = World::start(options, own, Limits::Open).await?;
    let objects = options.size().min(MOST);
    let lifetime = options.lifetime.unwrap_or(LIFETIME);
    world
        .issuer
        .set(IssuerBehaviour {
            lifetime,
            ..IssuerBehaviour::default()
        })
        .await?;
    fill(&mut world, objects).await?;
    // Two rounds until caches and pools have their size.
    let warm = world.issuer.stats().await?.posts + 2 * objects;
    let two_rounds = Duration::from_secs(5 * lifetime);
    world.until_posts(warm, two_rounds).await?;

    let place = world.traffic.read(&world.plane)?;
    let (began, before) = (Instant::now(), world.issuer.stats().await?);
    let first = world.usage()?;
    let reconciliations = world.reconciles().await?;
    let mut samples: Vec<Usage> = Vec::new();
    let mut late: f64 = 0.0;
    while began.elapsed() < Duration::from_mins(options.soak_minutes()) {
        tokio::time::sleep(SAMPLE).await;
        world.check_running()?;
        samples.push(world.usage()?);
        late = late.max(world.gauge("apicred_overdue_seconds").await?);
        world.traffic.read(&world.plane)?;
    }
    let stats = world.issuer.stats().await?;
    let (tokens, last) = (stats.posts - before.posts, world.usage()?);
    let half = samples.len() / 2;
    let mean = |part: &[Usage], of: fn(&Usage) -> f64| {
        part.iter().map(of).sum::<f64>() / real(part.len().max(1))
    };
    let grown = |of| mean(&samples[half..], of) - mean(&samples[..half], of);
    report.note(format!(
        "{tokens} renewals of {objects} credentials in {} min, tokens of {} s, over TLS with a CA of its own; {} connections to the issuer, {} of them open",
        options.soak_minutes(),
        lifetime,
        stats.accepted,
        stats.open
    ));
    report.add(row, "renewals", Quantity::count(real(tokens)), Bar::None);
    report.add(
        row,
        "descriptors, second half less first",
        Quantity::count(grown(|u| f64::from(u.descriptors))),
        Bar::Count(DESCRIPTORS),
    );
    report.add(
        row,
        "descriptors at the end",
        Quantity::count(f64::from(last.descriptors)),
        Bar::None,
    );
    report.add(
        row,
        "threads, second half less first",
        Quantity::count(grown(|u| f64::from(u.threads))),
        Bar::Count(1.0),
    );
    report.add(
        row,
        "RSS, second half less first",
        Quantity::mebibytes(grown(|u| u.rss)),
        Bar::AtMost(GROWTH),
    );
    report.add(
        row,
        "RSS at the end",
        Quantity::mebibytes(last.rss),
        Bar::None,
    );
    report.add(
        row,
        "latest reconciliation, seconds overdue",
        Quantity::seconds(late),
        Bar::AtMost(LATE),
    );
    let opened = real(stats.accepted - before.accepted);
    report.add(
        row,
        "connections opened to the issuer",
        Quantity::count(opened),
        Bar::None,
    );
    let each = |value: f64| value / real(tokens.max(1));
    report_cpu(report, row, ("operator", Bar::None), (first, last), tokens);
    let reconciliations = world.reconciles().await? - reconciliations;
    report.add(
        row,
        "reconciliations a renewal",
        Quantity::count(each(reconciliations)),
        Bar::Count(2.05),
    );
    let tally = world.traffic.since(place);
    report_requests(report, row, &tally, tokens, (Bar::None, Bar::None));
    report_events(&world, report).await
}
