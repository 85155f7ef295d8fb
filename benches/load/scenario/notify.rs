//! The cost of notified pods (`spec.target.notifyPods`): one list and a patch for each pod that matches, for each write of a Secret.

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{
    Result,
    contender::Contender,
    options::Options,
    report::{Bar, Quantity, Report, percentile, real},
    scenario::{fill, report_cpu},
    world::{CONCURRENCY, Limits, World},
};

/// Credentials that notify pods.
const OBJECTS: usize = 100;
/// Pods of each credential.
const PODS: usize = 5;
/// The chart's `ClusterRole`, bound by the owner of each namespace.
const ROLE: &str = "apicred-notify-pods";

pub(super) async fn run(options: &Options, own: &Contender, report: &mut Report) -> Result<()> {
    let row = ("notify", own.name.as_str());
    let mut world = World::start(options, own, Limits::Open).await?;
    for namespace in world.all_namespaces() {
        let role = format!("--clusterrole={ROLE}");
        let account = "--serviceaccount=apicred-system:apicred";
        let bind = [
            "create",
            "rolebinding",
            ROLE,
            "-n",
            &namespace,
            &role,
            account,
        ];
        world.plane.kubectl(&bind).await?;
    }
    fill(&mut world, OBJECTS).await?;
    make_pods(&world).await?;
    ask_for_notification(&world).await?;
    world.at_rest().await?;

    let place = world.traffic.read(&world.plane)?;
    let before = world.usage()?;
    // Another client secret: every credential renews now.
    world.new_sources(1).await?;
    world.published(place, OBJECTS).await?;
    world.at_rest().await?;
    let after = world.usage()?;
    let tally = world.traffic.since(place);
    let each = |count: usize| real(count) / real(OBJECTS);
    let (lists, patches) = (
        tally.times("list", "pods").len(),
        tally.times("patch", "pods").len(),
    );
    report.add(
        row,
        "lists of pods a token",
        Quantity::count(each(lists)),
        Bar::Count(1.0),
    );
    report.add(
        row,
        "patches of pods a token",
        Quantity::count(each(patches)),
        Bar::Count(real(PODS)),
    );
    let (written, notified) = (
        tally.first_publications(),
        tally.first_answers("patch", "pods"),
    );
    let mut delays: Vec<f64> = notified
        .iter()
        .filter_map(|((namespace, pod), at)| {
            let number = pod.split('-').nth(1)?;
            let secret = written.get(&(namespace.clone(), format!("token-{number}")))?;
            Some(at.duration_since(*secret).as_secs_f64())
        })
        .collect();
    delays.sort_by(f64::total_cmp);
    for percent in [50, 99, 100] {
        let what = format!("Secret to annotation, p{percent}");
        report.add(
            row,
            what,
            Quantity::seconds(percentile(&delays, percent)),
            Bar::None,
        );
    }
    let missing = real(OBJECTS * PODS - delays.len());
    report.add(
        row,
        "pods that were not notified",
        Quantity::count(missing),
        Bar::Count(0.0),
    );
    report_cpu(
        report,
        row,
        ("operator", Bar::None),
        (before, after),
        OBJECTS,
    );
    Ok(())
}

/// The pods of each credential. No node runs here, so they stay pending.
async fn make_pods(world: &World) -> Result<()> {
    stream::iter((0..OBJECTS).flat_map(|number| (0..PODS).map(move |pod| (number, pod))))
        .map(|(number, pod)| async move {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": { "name": format!("pod-{number}-{pod}"), "labels": { "load": number.to_string() } },
                "spec": {
                    "containers": [{ "name": "app", "image": "app.example/app:1" }],
                    "automountServiceAccountToken": false,
                },
            }))?;
            let api: Api<Pod> = Api::namespaced(world.admin.clone(), &world.namespace_of(number));
            api.create(&PostParams::default(), &pod).await?;
            Ok::<_, crate::Error>(())
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}

/// Sets `target.notifyPods` of each credential.
async fn ask_for_notification(world: &World) -> Result<()> {
    let kind = world.kind().await?;
    for number in 0..OBJECTS {
        let namespace = world.namespace_of(number);
        let api: Api<DynamicObject> = Api::namespaced_with(world.admin.clone(), &namespace, &kind);
        let selector = json!({ "matchLabels": { "load": number.to_string() } });
        let patch = json!({ "spec": { "target": { "notifyPods": { "selector": selector } } } });
        let name = format!("load-{number}");
        api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
    }
    Ok(())
}
