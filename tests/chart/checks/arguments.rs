//! `extraArgs`: flags on which other objects of the chart depend, and flags that the operator would refuse at its start, are refused with the fix.

use serde_json::json;

use super::{accepts, environment, operator};
use crate::support::{objects, refuses, run};

#[test]
fn what_the_chart_owns_cannot_be_set_beside_its_values() {
    run(async {
        for (values, expected) in [
            (
                json!({ "extraArgs": ["--leader-elect=false"] }),
                ["--leader-elect belongs to the chart", "remove it"],
            ),
            (
                json!({ "extraArgs": ["--leader-elect"] }),
                ["--leader-elect belongs to the chart", "remove it"],
            ),
            (
                json!({ "extraArgs": ["--admin-listen=0.0.0.0:9090"] }),
                [
                    "--admin-listen belongs to the chart",
                    "listenAddress and metrics.port",
                ],
            ),
            (
                json!({ "extraArgs": ["--watch-namespace=a"] }),
                [
                    "--watch-namespace belongs to the chart",
                    "use the value watchNamespaces",
                ],
            ),
            (
                json!({ "extraArgs": ["--help"] }),
                ["--help belongs to the chart", "remove it"],
            ),
            (
                json!({ "extraArgs": ["--otlp-endpoint=x:4318"] }),
                ["--otlp-endpoint is not a URL", "http://HOST:PORT"],
            ),
            (
                json!({ "extraArgs": ["--otlp-endpoint", "x:4318"] }),
                ["--otlp-endpoint is not a URL", "http://HOST:PORT"],
            ),
            (
                json!({ "extraArgs": ["--otlp-endpoint=http://u:p@x:4318"] }),
                ["--otlp-endpoint is not a URL", "http://HOST:PORT"],
            ),
            (
                json!({ "extraArgs": ["--identity-endpoint=metadata"] }),
                ["--identity-endpoint is not a URL", "http://HOST:PORT"],
            ),
            (
                json!({ "extraArgs": ["--fast-rotations=true"] }),
                ["--fast-rotations has no value", "write it alone"],
            ),
            (
                json!({ "extraArgs": ["--arc-folder"] }),
                ["--arc-folder has no value", "--arc-folder=VALUE"],
            ),
            (
                json!({ "extraArgs": ["--metrics-per-credential=true"] }),
                ["--metrics-per-credential has no value", "write it alone"],
            ),
        ] {
            refuses(&values, &expected).await;
        }
        for values in [
            json!({ "extraArgs": ["--arc-folder", "/arc", "--fast-rotations", "--identity-endpoint=http://169.254.1.1/msi"] }),
            json!({ "extraEnv": [{ "name": "APICRED_CA_FILE", "value": "/more/ca.pem" }, { "name": "B" }] }),
            json!({ "extraArgs": ["--log-filter=debug", "--concurrency", "4", "--metrics-per-credential"] }),
            json!({ "watchNamespaces": ["a"], "clusterIssuers": true }),
            json!({ "clusterIssuers": true }),
        ] {
            let objects = objects(&values).await;
            let args = objects.container()["args"].as_array().expect("arguments");
            let args: Vec<&str> = args.iter().filter_map(|a| a.as_str()).collect();
            let output = operator(&args, &environment(&objects));
            assert!(accepts(&output), "{values}: {output}");
        }
    });
}
