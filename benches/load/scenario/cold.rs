//! Objects without a token: how fast all of them get one, and at what cost.

use std::time::Instant;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    Result,
    contender::Contender,
    issuer::IssuerBehaviour,
    options::Options,
    process::Usage,
    report::{Bar, Quantity, Report, real},
    scenario::{fill, report_cpu, report_events, report_requests},
    world::{CONCURRENCY, Limits, World},
};

/// Tokens per second of the fastest rival, with its defaults and at its best (docs/performance.md).
const RIVAL_DEFAULT: f64 = 9.9;
const RIVAL_BEST: f64 = 119.0;
/// Maximum time of a start, as a multiple of the time of the bare writes.
const OVERHEAD: f64 = 1.3;

pub(super) async fn run(
    options: &Options,
    contender: &Contender,
    report: &mut Report,
) -> Result<()> {
    let modes: &[(Limits, &str)] = if contender.is_own() {
        &[
            (Limits::Open, "issuer object without limits"),
            (Limits::Default, "issuer object as it is by default, 120/s"),
        ]
    } else {
        &[(Limits::Open, "as its folder sets it up")]
    };
    for (limits, name) in modes {
        let mut world = World::start(options, contender, *limits).await?;
        let behaviour = IssuerBehaviour {
            latency_ms: 20,
            ..IssuerBehaviour::default()
        };
        world.issuer.set(behaviour).await?;
        let open = *limits == Limits::Open;
        once(options, contender, &mut world, report, (name, open)).await?;
    }
    Ok(())
}

async fn once(
    options: &Options,
    contender: &Contender,
    world: &mut World,
    report: &mut Report,
    (name, open): (&str, bool),
) -> Result<()> {
    let row = ("cold", contender.name.as_str());
    let objects = options.small();
    world.grow(objects).await?;
    let place = world.traffic.read(&world.plane)?;
    let server = world.server_usage()?;
    let seconds = fill(world, objects).await?;
    let (usage, after) = (world.usage()?, world.server_usage()?);
    let speed = real(objects) / seconds;
    report.note(format!(
        "{objects} objects, issuer answers in 20 ms; {name}"
    ));
    report.add(
        row,
        "until all have a token",
        Quantity::seconds(seconds),
        Bar::None,
    );
    if open && contender.is_own() {
        for (what, bar) in [
            ("speed, 10 x the rival", 10.0 * RIVAL_DEFAULT),
            ("speed, 1.5 x its best", 1.5 * RIVAL_BEST),
        ] {
            report.add(row, what, Quantity::per_second(speed), Bar::AtLeast(bar));
        }
    } else {
        report.add(row, "speed", Quantity::per_second(speed), Bar::None);
    }
    let stats = world.issuer.stats().await?;
    report.add(
        row,
        "POSTs a token",
        Quantity::count(real(stats.posts) / real(objects)),
        contender.bar(Bar::Count(1.0)),
    );
    let nothing = Usage::default();
    report_cpu(
        report,
        row,
        ("operator", Bar::None),
        (nothing, usage),
        objects,
    );
    report_cpu(
        report,
        row,
        ("API server", Bar::None),
        (server, after),
        objects,
    );
    report.add(row, "RSS, peak", Quantity::mebibytes(usage.peak), Bar::None);
    report.add(
        row,
        "connections to the issuer",
        Quantity::count(real(stats.accepted)),
        Bar::None,
    );
    report.note(format!(
        "{} of {} POSTs over HTTP/2",
        stats.http2, stats.posts
    ));
    let tally = world.traffic.since(place);
    report_requests(report, row, &tally, objects, (Bar::None, Bar::None));
    report_events(world, report).await?;
    strangers(world, report, ("cold", contender)).await
}

/// Every Secret must contain the token of its own client: the token server puts the client's id into it.
pub(super) async fn strangers(
    world: &World,
    report: &mut Report,
    (scenario, contender): (&'static str, &Contender),
) -> Result<()> {
    let mut strangers = 0;
    for namespace in world.all_namespaces() {
        let api: Api<Secret> = Api::namespaced(world.admin.clone(), &namespace);
        for secret in api.list(&ListParams::default()).await? {
            let name = secret.metadata.name.unwrap_or_default();
            let Some(number) = name.strip_prefix("token-") else {
                continue;
            };
            let mine = format!("bench.client-{number}.");
            let data = secret.data.unwrap_or_default();
            let held = data
                .values()
                .any(|v| String::from_utf8_lossy(&v.0).contains(&mine));
            strangers += usize::from(!held);
        }
    }
    let row = (scenario, contender.name.as_str());
    report.add(
        row,
        "Secrets with another client's token",
        Quantity::count(real(strangers)),
        contender.bar(Bar::Count(0.0)),
    );
    Ok(())
}

/// All objects, with an issuer that answers at once, compared with the same writes by a plain client.
pub(super) async fn unlimited(
    options: &Options,
    own: &Contender,
    report: &mut Report,
) -> Result<()> {
    let row = ("unlimited", own.name.as_str());
    let mut world = World::start(options, own, Limits::Open).await?;
    let objects = options.size();
    world.grow(objects).await?;
    let place = world.traffic.read(&world.plane)?;
    let (before, server) = (world.issuer.stats().await?.posts, world.server_usage()?);
    let seconds = fill(&mut world, objects).await?;
    let (usage, after) = (world.usage()?, world.server_usage()?);
    report.note(format!("{objects} objects, issuer answers at once"));
    report.add(
        row,
        "until all have a token",
        Quantity::seconds(seconds),
        Bar::None,
    );
    report.add(
        row,
        "speed",
        Quantity::per_second(real(objects) / seconds),
        Bar::None,
    );
    let posts = world.issuer.stats().await?.posts - before;
    report.add(
        row,
        "POSTs a token",
        Quantity::count(real(posts) / real(objects)),
        Bar::Count(1.0),
    );
    let nothing = Usage::default();
    report_cpu(
        report,
        row,
        ("operator", Bar::None),
        (nothing, usage),
        objects,
    );
    report_cpu(
        report,
        row,
        ("API server", Bar::None),
        (server, after),
        objects,
    );
    report.add(row, "RSS, peak", Quantity::mebibytes(usage.peak), Bar::None);
    let tally = world.traffic.since(place);
    report_requests(report, row, &tally, objects, (Bar::None, Bar::None));
    report_events(&world, report).await?;
    world.stop_operator().await?;
    let bare = bare(&world, objects).await?;
    report.add(
        row,
        "the same writes, sent bare",
        Quantity::seconds(bare),
        Bar::None,
    );
    report.add(
        row,
        "times the bare writes",
        Quantity::times(seconds / bare),
        Bar::AtMost(OVERHEAD),
    );
    Ok(())
}

/// Deletes what the operator wrote and writes it again: Secret and status, with as many concurrent requests as the operator's workers.
async fn bare(world: &World, objects: usize) -> Result<f64> {
    let kind = world.kind().await?;
    let mut work = Vec::with_capacity(objects);
    for namespace in world.all_namespaces() {
        let secrets: Api<Secret> = Api::namespaced(world.admin.clone(), &namespace);
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=apicred");
        for mut secret in secrets.list(&ours).await? {
            secret.metadata.resource_version = None;
            secret.metadata.uid = None;
            secret.metadata.creation_timestamp = None;
            secret.metadata.managed_fields = None;
            work.push((namespace.clone(), secret));
        }
        secrets
            .delete_collection(&DeleteParams::default(), &ours)
            .await?;
    }
    let objects_of = |namespace: &str| -> Api<DynamicObject> {
        Api::namespaced_with(world.admin.clone(), namespace, &kind)
    };
    let mut statuses = std::collections::HashMap::new();
    for namespace in world.all_namespaces() {
        for object in objects_of(&namespace).list(&ListParams::default()).await? {
            let number = object.metadata.name.unwrap_or_default();
            let number = number.trim_start_matches("load-").to_owned();
            statuses.insert(
                number,
                object.data.get("status").cloned().unwrap_or(Value::Null),
            );
        }
    }
    let statuses = &statuses;
    let objects_of = &objects_of;
    let began = Instant::now();
    stream::iter(work)
        .map(|(namespace, secret)| async move {
            let name = secret.metadata.name.clone().unwrap_or_default();
            let number = name.trim_start_matches("token-").to_owned();
            let mut status = statuses.get(&number).cloned().unwrap_or_default();
            // A status that differs from the present one. Otherwise it would not be a write.
            status["tokenId"] = json!(format!("bare-{number}"));
            let api: Api<Secret> = Api::namespaced(world.admin.clone(), &namespace);
            api.create(&PostParams::default(), &secret).await?;
            let body = json!({
                "apiVersion": "apicred.dev/v1alpha1",
                "kind": "ApiCredential",
                "metadata": { "name": format!("load-{number}") },
                "status": status,
            });
            let params = PatchParams::apply("apicred").force();
            objects_of(&namespace)
                .patch_status(&format!("load-{number}"), &params, &Patch::Apply(&body))
                .await?;
            Ok::<_, crate::Error>(())
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(began.elapsed().as_secs_f64())
}
