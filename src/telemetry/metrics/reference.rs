//! `docs/metrics.md`, written from the table.

use std::collections::BTreeMap;

use super::{
    table::{Kind, Metric, Scope, TABLE},
    values::{MOST_ISSUERS, Values},
};

const INTRODUCTION: &str = "# Metrics

<!-- Written by `make metrics` from src/telemetry/metrics/table.rs. `make lint` compares. -->

The operator serves its metrics at `/metrics` on port 8080, as OpenMetrics or in the text format of Prometheus, as the `Accept` header
requests. All names begin with `apicred_`, except those of the process.

- Each label value in a list [below](#labels) has its series from the start, at 0. So `increase()` and `rate()` see the first
  failure.
- A standby process exports the metrics of [each process](#each-process), with `apicred_leader` 0, and no others: it does not know
  the objects. Until the first lists are complete, the leader has no series for numbers of objects.
- The replicas export the same names. Use `max` or `sum` over them: only the leader has values of objects.
- No secret, token or text of an issuer is a label value.
- The chart has alerts on them ([runbooks.md](runbooks.md)) and a dashboard (values `prometheusRule` and `grafanaDashboard`).
";

const LABELS: &str = "
## Labels
";

/// The page.
pub fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    section(&mut page, Scope::Process, "Each process", "");
    section(&mut page, Scope::Leader, "The leader", "");
    section(
        &mut page,
        Scope::Credential,
        "Each credential",
        "Only with the chart value `metrics.perCredential: true` (`--metrics-per-credential`): 10,000 credentials are 60,000 series. Each `ApiClient` with `rotation` has one more.\n\n",
    );
    page.push_str(LABELS);
    labels(&mut page);
    page
}

fn section(page: &mut String, scope: Scope, title: &str, text: &str) {
    page.push_str(&format!("\n## {title}\n{text}"));
    page.push_str("| Name | Type | Labels | Meaning | Since |\n|---|---|---|---|---|\n");
    for metric in TABLE.iter().filter(|m| m.scope == scope) {
        let Metric {
            name, help, since, ..
        } = metric;
        let kind = metric.kind.as_str();
        let labels: Vec<String> = (metric.labels.iter())
            .map(|label| format!("`{}`", label.name))
            .collect();
        let labels = labels.join(", ");
        page.push_str(&format!(
            "| `{name}` | {kind} | {labels} | {help} | {since} |\n"
        ));
    }
    let histograms = TABLE.iter().filter(|m| m.scope == scope);
    let bounds: Vec<String> = histograms.filter_map(bounds).collect();
    if !bounds.is_empty() {
        page.push_str("\nBounds of the histograms, in seconds:\n\n");
        page.push_str("| Name | Bounds |\n|---|---|\n");
        page.push_str(&bounds.concat());
    }
}

fn bounds(metric: &Metric) -> Option<String> {
    let Kind::Histogram(bounds) = metric.kind else {
        return None;
    };
    let bounds: Vec<String> = bounds.iter().map(f64::to_string).collect();
    Some(format!("| `{}` | {} |\n", metric.name, bounds.join(", ")))
}

/// Writes a row for each label, or for each list of values if a label has several.
fn labels(page: &mut String) {
    let mut rows = BTreeMap::<(&str, String), Vec<&str>>::new();
    for metric in TABLE {
        for label in metric.labels {
            let values = match label.values {
                Values::Fixed(list) => format!("`{}`", list.join("`, `")),
                Values::Reasons => {
                    "a reason of [troubleshooting.md](troubleshooting.md#reasons); `other` for one that this version does not know. Only reasons that occur have a series".to_owned()
                }
                Values::Issuers => format!(
                    "the name of a ClusterTokenIssuer; `inline` for `spec.entra`; `namespaced` for all TokenIssuers; `other` for ClusterTokenIssuers beyond {MOST_ISSUERS}, counted since the start of the process. A ClusterTokenIssuer with one of these three names counts there as well: give it another name"
                ),
                Values::Build | Values::Names => continue,
            };
            let of = rows.entry((label.name, values)).or_default();
            of.push(metric.name);
        }
    }
    page.push_str("| Label | Of | Values |\n|---|---|---|\n");
    for ((name, values), of) in rows {
        let of = of.join("`, `");
        page.push_str(&format!("| `{name}` | `{of}` | {values} |\n"));
    }
    page.push_str(
        "
- `grant` is the key in `spec.grant`, as in `allowedGrants` of an issuer. Requests of a managed identity count as `ClientCredentials`.
- `result` of a token request is `ok` or the error class: `invalid` (the request is wrong until a user changes it), `denied` (the client was
  refused), `needs_user` (a user must sign in or consent), `throttled`, `transient` (worth trying again soon, also if no answer came).
- `issuer_kind` of `apicred_credential_info` is `ClusterTokenIssuer`, `TokenIssuer`, `Entra` for `spec.entra`, or empty for a static
  key. `api` is empty if `spec.api` is not set.
",
    );
}
