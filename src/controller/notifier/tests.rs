use jiff::Timestamp;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::names,
    controller::{Operator, cache::packed::PackedCredential},
    fixtures::{credential, object},
    plan::notify::PAGE,
    scripted::{Reply, client, operator, refuse},
    telemetry::metrics::{Format, Snapshot, Work},
};

/// A pod that was notified of the write.
fn pod(number: usize, written: Timestamp) -> Value {
    json!({ "metadata": {
        "name": format!("p-{number}"), "uid": "u",
        "annotations": { names::TOKEN_UPDATED_AT: written.to_string() },
    } })
}

/// An operator whose API server has this number of full pages of pods, and then `rest` pods.
fn with_pods(pages: usize, rest: usize, written: Timestamp) -> Operator {
    let api = move |_: &http::Method, uri: &http::Uri, _: &Value| {
        let mut query = uri.query().unwrap_or_default().split('&');
        let from = query.find_map(|part| part.strip_prefix("continue="));
        let page: usize = from.map_or(0, |from| from.parse().unwrap());
        let full = usize::try_from(PAGE).unwrap();
        let count = if page < pages { full } else { rest };
        let more = page < pages && (page + 1 < pages || rest > 0);
        let items: Vec<Value> = (0..count).map(|n| pod(page * full + n, written)).collect();
        Reply::Answer(
            200,
            json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": { "continue": if more { (page + 1).to_string() } else { String::new() } },
                "items": items,
            }),
        )
    };
    operator(client(api), &Arc::default())
}

/// The result for one write, and the number of failures that are counted.
async fn result(
    mut operator: Operator,
    written: Timestamp,
) -> (Option<Result<(), NotifyError>>, u64) {
    let store = &mut operator.writers.credentials;
    store.apply_watcher_event(&Event::Apply(PackedCredential::from(&object(&json!({})))));
    let (context, credential) = (&operator.context, credential());
    let write = Write {
        key: credential.key(),
        uid: credential.uid.clone(),
        selector: "app=a".to_owned(),
        written,
    };
    context.with_state(&write.key, &write.uid, |state| {
        state.notified.get_or_insert_default().handed(written);
    });
    let limiter = NamespaceLimiter::new(AT_ONCE, IN_A_NAMESPACE);
    let result = notify(context, &limiter, &write).await;
    let snapshot = Snapshot {
        leads: true,
        work: Some(Work::default()),
        ..Snapshot::default()
    };
    let page = context.metrics.encode(&snapshot, Format::Prometheus);
    let mut lines = page.lines();
    let failed = lines
        .find_map(|l| l.strip_prefix("apicred_pod_notifications_total{result=\"failed\"} "))
        .expect(&page);
    (result, failed.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_selector_that_matches_too_many_pods_counts_as_a_failure() {
    let written = Timestamp::from_second(1_800_000_000).unwrap();
    let too_many = Some(Err(NotifyError::TooMany));
    for (pages, rest, expected) in [
        (0, 0, (Some(Ok(())), 0)),
        (1, 20, (Some(Ok(())), 0)),
        // Exactly the maximum.
        (4, 0, (Some(Ok(())), 0)),
        (4, 1, (too_many.clone(), 1)),
        (9, 0, (too_many, 1)),
    ] {
        let operator = with_pods(pages, rest, written);
        assert_eq!(result(operator, written).await, expected, "{pages} {rest}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_pass_whose_list_failed_counts_once() {
    let written = Timestamp::from_second(1_800_000_000).unwrap();
    let broken = operator(client(|_, _, _| refuse(500)), &Arc::default());
    let (outcome, failed) = result(broken, written).await;
    let error_kind = outcome.unwrap().unwrap_err();
    assert!(!error_kind.lasts(), "{error_kind:?}");
    assert_eq!(failed, u64::try_from(PAUSES.len()).unwrap() + 1);
}
