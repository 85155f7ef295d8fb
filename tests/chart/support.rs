//! Renders the chart with the real helm, and finds objects in the output.

use std::{future::Future, path::Path};

use serde_json::Value;

/// The folder of the chart.
pub(crate) const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/apicred");
/// Where the release is.
pub(crate) const NAMESPACE: &str = "apicred-system";

/// Runs a test to its end.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Runtime::new().expect("threads to run on");
    runtime.block_on(test)
}

/// A file of the chart.
pub(crate) fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(CHART).join(path)).expect("a file of the chart")
}

/// The output of `helm template` for a chart with these arguments, or its error.
pub(crate) async fn template_of(chart: &str, args: &[&str]) -> Result<String, String> {
    let begin = ["template", "apicred", chart, "--namespace", NAMESPACE];
    let output = testenv::run_helm(&[&begin, args].concat()).await;
    output.map(|o| o.stdout).map_err(|e| e.to_string())
}

/// The text of the chart with these arguments.
pub(crate) async fn text(args: &[&str]) -> String {
    template_of(CHART, args).await.expect("the chart renders")
}

/// The error for the chart with these arguments.
pub(crate) async fn refused(args: &[&str]) -> String {
    template_of(CHART, args).await.expect_err("it renders")
}

/// The error for the chart with these values.
pub(crate) async fn refused_values(values: &Value) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("values.json");
    std::fs::write(&path, values.to_string()).expect("a file");
    let path = path.display().to_string();
    refused(&["--set", "crds.install=false", "--values", &path]).await
}

/// Checks that these values are refused, and that the message contains these texts.
pub(crate) async fn refuses(values: &Value, expected: &[&str]) {
    let reported = refused_values(values).await;
    for expected_part in expected {
        assert!(
            reported.contains(expected_part),
            "{values}: no {expected_part:?} in {reported}"
        );
    }
}

/// The objects of the chart with these values, without the CRDs, which take most of the time.
pub(crate) async fn objects(values: &Value) -> Objects {
    objects_with(values, &[]).await
}

/// The same with more arguments.
pub(crate) async fn objects_with(values: &Value, args: &[&str]) -> Objects {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("values.json");
    std::fs::write(&path, values.to_string()).expect("a file");
    let path = path.display().to_string();
    let own = ["--set", "crds.install=false", "--values", &path];
    Objects::read(&text(&[&own, args].concat()).await)
}

/// Rendered objects.
pub(crate) struct Objects(pub(crate) Vec<Value>);

impl Objects {
    /// Reads what helm printed.
    pub(crate) fn read(text: &str) -> Self {
        let documents = text.split("\n---\n").filter(|d| d.contains("kind:"));
        Self(
            documents
                .map(|d| serde_saphyr::from_str(d).unwrap_or_else(|e| unreachable!("{e} in\n{d}")))
                .collect(),
        )
    }

    /// The objects of a kind.
    pub(crate) fn all(&self, kind: &str) -> Vec<&Value> {
        self.0.iter().filter(|o| o["kind"] == kind).collect()
    }

    /// The only object of a kind.
    pub(crate) fn one(&self, kind: &str) -> &Value {
        let all = self.all(kind);
        assert_eq!(all.len(), 1, "{kind}");
        all[0]
    }

    /// The pod of the Deployment.
    pub(crate) fn pod(&self) -> &Value {
        &self.one("Deployment")["spec"]["template"]
    }

    /// The operator's container.
    pub(crate) fn container(&self) -> &Value {
        &self.pod()["spec"]["containers"][0]
    }

    /// The value of a variable of the operator's container.
    pub(crate) fn env(&self, name: &str) -> Option<&str> {
        let all = self.container()["env"].as_array().expect("variables");
        let found = all.iter().find(|e| e["name"] == name)?;
        found["value"].as_str()
    }
}
