//! Logs how many objects are not ready.

use std::{sync::Arc, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::snapshot::readiness;
use crate::controller::context::Context;
use crate::{ConditionType, plan::journal::summary};

/// The interval between two counts.
const COUNT: Duration = Duration::from_hours(1);

/// How long the first reconciles may take before the first count.
const FIRST_COUNT_AFTER: Duration = Duration::from_secs(10);

/// Logs how many objects are not ready: soon after the start, since a state that the status already shows is not logged again, and then every hour.
pub(in crate::controller) async fn count(context: Arc<Context>) {
    while !context.health.unlisted().is_empty() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(FIRST_COUNT_AFTER).await;
    loop {
        count_once(&context);
        tokio::time::sleep(COUNT).await;
    }
}

fn count_once(context: &Context) {
    let ready = |conditions: &[Condition]| {
        let ready = ConditionType::Ready.find(conditions);
        ready
            .filter(|c| c.status != "True")
            .map(|c| c.reason.clone())
    };
    let credentials = context.credentials.state();
    let not_ready = credentials
        .iter()
        .filter(|packed| packed.shown.ready == Some(false));
    let not_ready: Vec<String> = not_ready
        .filter_map(|packed| ready(&packed.status()?.conditions))
        .collect();
    report_count("credentials", credentials.len(), &not_ready);
    let issuers = readiness(context);
    let all = issuers.len();
    let readiness = issuers.into_iter().filter_map(|(_, readiness)| readiness);
    let not_ready = readiness.filter(|readiness| readiness.ready != Some(true));
    let not_ready: Vec<String> = not_ready.map(|readiness| readiness.reason).collect();
    report_count("issuers", all, &not_ready);
}

fn report_count(what: &'static str, all: usize, not_ready: &[String]) {
    let (count, reasons) = summary(not_ready.iter().map(String::as_str));
    if count == 0 {
        tracing::info!(all, not_ready = 0, "all {what} are ready");
    } else {
        tracing::warn!(
            all,
            not_ready = count,
            reasons,
            "{count} of {all} {what} are not ready: {reasons}"
        );
    }
}
