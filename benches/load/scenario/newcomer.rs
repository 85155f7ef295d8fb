//! New credentials while all others renew: they must not wait behind the others.

use std::time::{Duration, Instant};

use crate::{
    Result,
    contender::Contender,
    issuer::IssuerBehaviour,
    options::Options,
    report::{Bar, Quantity, Report, percentile, real},
    scenario::fill,
    world::{Limits, World},
};

/// Time that the issuer takes to answer.
const ANSWER_MS: u64 = 20;
/// Time between two new credentials.
const EVERY: Duration = Duration::from_millis(200);
/// Maximum time of the measurement.
const WATCHED: Duration = Duration::from_mins(1);

pub(super) async fn run(options: &Options, own: &Contender, report: &mut Report) -> Result<()> {
    for (limits, name) in [(Limits::Open, "no limits"), (Limits::Rate(200), "200/s")] {
        once(options, own, report, limits, name).await?;
    }
    Ok(())
}

async fn once(
    options: &Options,
    own: &Contender,
    report: &mut Report,
    limits: Limits,
    name: &str,
) -> Result<()> {
    let row = ("newcomer", own.name.as_str());
    let mut world = World::start(options, own, Limits::Open).await?;
    let objects = options.size();
    world
        .issuer
        .set(IssuerBehaviour {
            latency_ms: ANSWER_MS,
            ..IssuerBehaviour::default()
        })
        .await?;
    fill(&mut world, objects).await?;
    world.set_limits(limits).await?;
    world.at_rest().await?;
    let place = world.traffic.read(&world.plane)?;
    let posts = world.issuer.stats().await?.posts;
    // Another client secret: every credential has to renew now.
    world.new_sources(1).await?;
    let began = Instant::now();
    let mut count = 0;
    while world.issuer.stats().await?.posts < posts + objects + count && began.elapsed() < WATCHED {
        world.check_running()?;
        world.grow(objects + count + 1).await?;
        count += 1;
        tokio::time::sleep(EVERY).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    let renewed = world.issuer.stats().await?.posts - posts;
    // The last new credentials get as much time as the detection of a standstill needs.
    let waited = Instant::now();
    let newcomers = |world: &World| -> Vec<f64> {
        let made = world.traffic.created("apicredentials");
        let first = world.traffic.since(place).first_publications();
        let mut times: Vec<f64> = (objects..objects + count)
            .filter_map(|number| {
                let namespace = world.namespace_of(number);
                let made = made.get(&(namespace.clone(), format!("load-{number}")))?;
                let had = first.get(&(namespace, format!("token-{number}")))?;
                Some(had.duration_since(*made).as_secs_f64())
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times
    };
    let times = loop {
        world.check_running()?;
        world.traffic.read(&world.plane)?;
        let times = newcomers(&world);
        if times.len() == count || waited.elapsed() > 2 * WATCHED {
            break times;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    report.note(format!(
        "{count} newcomers in {seconds:.0} s while {renewed} of {objects} renewed; issuer object: {name}"
    ));
    let bar = 2.0 + Duration::from_millis(ANSWER_MS).as_secs_f64();
    for (percent, bar) in [(50, Bar::None), (99, Bar::AtMost(bar)), (100, Bar::None)] {
        report.add(
            row,
            format!("object to Secret, p{percent}, {name}"),
            Quantity::seconds(percentile(&times, percent)),
            bar,
        );
    }
    let without = real(count - times.len());
    report.add(
        row,
        "newcomers without a token",
        Quantity::count(without),
        Bar::Count(0.0),
    );
    Ok(())
}
