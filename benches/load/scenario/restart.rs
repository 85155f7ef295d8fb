//! A restart when nothing is due.

use std::time::Instant;

use crate::{
    Result,
    contender::Contender,
    options::Options,
    report::{Bar, Quantity, Report, real},
    scenario::fill,
    world::{Limits, World},
};

pub(super) async fn run(
    options: &Options,
    contender: &Contender,
    report: &mut Report,
) -> Result<()> {
    let row = ("restart", contender.name.as_str());
    let mut world = World::start(options, contender, Limits::Open).await?;
    let objects = if contender.is_own() {
        options.size()
    } else {
        options.small()
    };
    fill(&mut world, objects).await?;
    world.at_rest().await?;
    world.stop_operator().await?;
    let place = world.traffic.read(&world.plane)?;
    let posts = world.issuer.stats().await?.posts;
    let began = Instant::now();
    world.start_operator().await?;
    let ready = began.elapsed();
    if contender.is_own() {
        // At rest is not sufficient: it must have reconciled every object without work to do.
        let mut reconciliations = 0.0;
        while reconciliations < real(objects) {
            world.check_running()?;
            if began.elapsed().as_secs() > 120 {
                return Err(format!(
                    "{reconciliations} reconciliations at {objects} objects in two minutes"
                )
                .into());
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            reconciliations = world.reconciles().await?;
        }
        let reconciled = began.elapsed();
        report.add(
            row,
            "until ready",
            Quantity::seconds(ready.as_secs_f64()),
            Bar::None,
        );
        report.add(
            row,
            "until each is reconciled",
            Quantity::seconds(reconciled.as_secs_f64()),
            Bar::None,
        );
        report.add(
            row,
            "reconciliations a credential",
            Quantity::count(reconciliations / real(objects)),
            Bar::None,
        );
    } else {
        tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    }
    world.at_rest().await?;
    let strict = contender.bar(Bar::Count(0.0));
    report.note(format!("{objects} objects"));
    let posts = world.issuer.stats().await?.posts - posts;
    let tally = world.traffic.since(place);
    report.add(row, "POSTs", Quantity::count(real(posts)), strict);
    report.add(
        row,
        "reads of the load's Secrets",
        Quantity::count(real(tally.secret_reads())),
        strict,
    );
    report.add(row, "writes", Quantity::count(real(tally.writes())), strict);
    report.add(
        row,
        "CPU of the operator",
        Quantity::seconds(world.usage()?.cpu),
        Bar::None,
    );
    report.note(format!("all requests: {:?}", tally.sums()));
    Ok(())
}
