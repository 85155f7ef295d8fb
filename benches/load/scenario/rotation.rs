//! Renewals that their time brings: requests, looks and CPU of each.

use std::time::{Duration, Instant};

use crate::{
    Result,
    contender::Contender,
    issuer::Manner,
    options::Options,
    report::{Bar, Report, percentile, real},
    scenario::{fill, tell_cpu, tell_events, tell_requests},
    world::{Limits, World},
};

/// Half a life must be well above the time of the first tokens, so that the first and the second round stay apart.
const LIFE: u64 = 120;

pub(super) async fn run(options: &Options, own: &Contender, report: &mut Report) -> Result<()> {
    let who = ("rotation", own.name.as_str());
    let mut world = World::start(options, own, Limits::Open).await?;
    let objects = options.small();
    let manner = |life| Manner {
        life,
        ..Manner::default()
    };
    world.issuer.set(manner(LIFE)).await?;
    fill(&mut world, objects).await?;
    // The tokens that come next live long: one round, and no second one behind it.
    world.issuer.set(manner(3_600)).await?;
    world.at_rest().await?;
    let (place, posts) = (
        world.traffic.read(&world.plane)?,
        world.issuer.stats().await?.posts,
    );
    let (looks, usage, server) = (
        world.reconciles().await?,
        world.usage()?,
        world.server_usage()?,
    );
    let began = Instant::now();
    world
        .asked(posts + objects, Duration::from_secs(2 * LIFE))
        .await?;
    world.at_rest().await?;
    let idle = began.elapsed();
    let (after, server_after) = (world.usage()?, world.server_usage()?);
    let stats = world.issuer.stats().await?;
    let tokens = stats.posts - posts;
    report.note(format!(
        "{tokens} renewals in {:.0} s, waiting included; tokens of {LIFE} s",
        idle.as_secs_f64()
    ));
    let each = |value: f64| value / real(tokens.max(1));
    let tally = world.traffic.since(place);
    let published = real(tally.published().max(1));
    report.add(
        who,
        "POSTs a renewal",
        real(tokens) / published,
        "",
        Bar::Count(1.0),
    );
    let looks = world.reconciles().await? - looks;
    report.add(who, "looks a renewal", each(looks), "", Bar::Count(2.0));
    tell_requests(
        report,
        who,
        &tally,
        tokens,
        (Bar::Count(1.0), Bar::Count(2.0)),
    );
    let (mine, theirs) = (("operator", Bar::AtMost(1.0)), ("API server", Bar::None));
    tell_cpu(report, who, mine, (usage, after), tokens);
    tell_cpu(report, who, theirs, (server, server_after), tokens);
    report.add(who, "RSS", after.rss, "MiB", Bar::None);
    let reads = tally.times("get", "secrets");
    report.add(
        who,
        "reads in the API server, p99",
        percentile(&reads, 99),
        "ms",
        Bar::None,
    );
    tell_events(&world, report).await
}
