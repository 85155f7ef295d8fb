//! Label values of metrics are lists in one file. A value that is missing there would not be counted.

use std::collections::BTreeSet;

use apicred::telemetry::metrics::OPERATIONS;

/// The operations of requests to the Kubernetes API in a piece of code: the text after the metrics.
fn operations(code: &str) -> BTreeSet<String> {
    let calls = code.split("metrics,").skip(1);
    calls
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn each_operation_has_its_series_and_each_series_an_operation() {
    let sample = "call(&context.metrics, \"get_secret\", || x); called(\n    &context.metrics,\n    \"patch_pod\",\n)";
    assert_eq!(
        operations(sample),
        ["get_secret".to_owned(), "patch_pod".to_owned()].into()
    );
    // The whole text: names are strings, and `product` omits strings.
    let named: BTreeSet<String> = super::files()
        .iter()
        .filter(|(path, _)| path.starts_with("controller/") && !super::is_test(path))
        .flat_map(|(_, text)| operations(text))
        .collect();
    let listed: BTreeSet<String> = OPERATIONS.list().iter().map(ToString::to_string).collect();
    assert_eq!(named, listed);
}
