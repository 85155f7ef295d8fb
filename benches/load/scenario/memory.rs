//! Resident memory with all objects: at rest, while all is listed again, and with Secrets of others.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};

use crate::{
    Result,
    contender::Contender,
    options::Options,
    process::{Usage, forget_peak},
    report::{Bar, Quantity, Report, real},
    scenario::fill,
    world::{CONCURRENCY, Limits, World},
};

const IDLE: f64 = 64.0;
const RELIST: f64 = 96.0;
const FOREIGN: f64 = 8.0;
/// Time until buffers are released after work.
const SETTLE: Duration = Duration::from_secs(10);

pub(super) async fn run(options: &Options, own: &Contender, report: &mut Report) -> Result<()> {
    let row = ("memory", own.name.as_str());
    let mut world = World::start(options, own, Limits::Open).await?;
    let objects = options.size();
    fill(&mut world, objects).await?;
    world.at_rest().await?;
    let usage = settled(&world).await?;
    report.note(format!("{objects} credentials, each with its Secret"));
    let report_rss = |report: &mut Report, when: &str, usage: Usage, bar| {
        report.add(
            row,
            format!("RSS {when}"),
            Quantity::mebibytes(usage.rss),
            bar,
        );
        let anon = format!("RSS {when}, without files");
        report.add(row, anon, Quantity::mebibytes(usage.anon), Bar::None);
    };
    report_rss(
        report,
        "idle, after the first tokens",
        usage,
        Bar::AtMost(IDLE),
    );
    report.add(
        row,
        "peak of the first tokens",
        Quantity::mebibytes(usage.peak),
        Bar::None,
    );
    report.note(format!(
        "{} descriptors, {} threads",
        usage.descriptors, usage.threads
    ));

    relist(&mut world).await?;
    let usage = settled(&world).await?;
    report.add(
        row,
        "peak while all is listed again",
        Quantity::mebibytes(usage.peak),
        Bar::AtMost(RELIST),
    );
    report_rss(report, "idle, after that", usage, Bar::None);

    let alone = restarted(&mut world).await?;
    report_rss(report, "idle, after a restart", alone, Bar::AtMost(IDLE));
    report.add(
        row,
        "peak of a restart",
        Quantity::mebibytes(alone.peak),
        Bar::None,
    );
    foreign(&world, options.foreign()).await?;
    let live = settled(&world).await?;
    let added = live.rss - alone.rss;
    let count = options.foreign();
    report.note(format!(
        "{count} Secrets of others, 1 KiB and managed fields each"
    ));
    report.add(
        row,
        "more by Secrets of others, as they come",
        Quantity::mebibytes(added),
        Bar::None,
    );
    let among = restarted(&mut world).await?;
    report.add(
        row,
        "more by Secrets of others, after a restart",
        Quantity::mebibytes(among.rss - alone.rss),
        Bar::AtMost(FOREIGN),
    );
    let anon = among.anon - alone.anon;
    report.add(
        row,
        "the same, without files",
        Quantity::mebibytes(anon),
        Bar::None,
    );
    report.add(
        row,
        "peak of a restart among them",
        Quantity::mebibytes(among.peak),
        Bar::None,
    );
    report.add(
        row,
        "bytes a Secret of others",
        Quantity::bytes((among.anon - alone.anon) * 1_048_576.0 / real(count)),
        Bar::None,
    );
    Ok(())
}

/// The usage of the operator after some seconds at rest.
async fn settled(world: &World) -> Result<Usage> {
    tokio::time::sleep(SETTLE).await;
    world.usage()
}

async fn restarted(world: &mut World) -> Result<Usage> {
    world.stop_operator().await?;
    world.start_operator().await?;
    world.at_rest().await?;
    settled(world).await
}

/// A restart of the API server: its watch cache starts empty, so that every watch must list. The peak is measured from
/// here.
async fn relist(world: &mut World) -> Result<()> {
    let place = world.traffic.read(&world.plane)?;
    forget_peak(world.pid()?)?;
    world.plane.stop_apiserver();
    world.plane.start_apiserver().await?;
    let began = Instant::now();
    loop {
        world.check_running()?;
        world.traffic.read(&world.plane)?;
        let sums = world.traffic.since(place).sums();
        let listed = |what: &str| sums.get(what).is_some_and(|n| *n > 0);
        if listed("list apicredentials") && listed("list secrets") {
            break;
        }
        if began.elapsed() > Duration::from_mins(2) {
            return Err(format!("the operator did not list again: {sums:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    world.at_rest().await
}

/// Secrets like those of helm, cert-manager and users.
async fn foreign(world: &World, count: usize) -> Result<()> {
    let namespaces = world.all_namespaces();
    let labels: BTreeMap<String, String> = [
        ("app.kubernetes.io/managed-by", "Helm"),
        ("app.kubernetes.io/name", "something-of-somebody"),
        ("app.kubernetes.io/instance", "release"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .into();
    let notes: BTreeMap<String, String> = [
        ("meta.helm.sh/release-name", "release".to_owned()),
        ("example.com/what-it-is", "x".repeat(200)),
    ]
    .map(|(k, v)| (k.to_owned(), v))
    .into();
    let (labels, notes, namespaces) = (&labels, &notes, &namespaces);
    stream::iter(0..count)
        .map(|number| async move {
            let namespace = &namespaces[number % namespaces.len()];
            let secret = Secret {
                metadata: ObjectMeta {
                    name: Some(format!("foreign-{number}")),
                    labels: Some(labels.clone()),
                    annotations: Some(notes.clone()),
                    ..ObjectMeta::default()
                },
                data: Some([("value".to_owned(), ByteString(vec![b'x'; 1_024]))].into()),
                ..Secret::default()
            };
            let api: Api<Secret> = Api::namespaced(world.admin.clone(), namespace);
            api.create(&PostParams::default(), &secret).await?;
            Ok::<_, crate::Error>(())
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}
