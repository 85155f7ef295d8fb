//! Checks queries in KQL with Microsoft's parser, the npm package `@kusto/language-service-next`.

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::Error;
use crate::npm::Package;

static PARSER: Package = Package {
    name: "kusto-parser",
    what: "the npm package @kusto/language-service-next",
    files: &[
        ("package.json", include_str!("../kusto/package.json")),
        (
            "package-lock.json",
            include_str!("../kusto/package-lock.json"),
        ),
        ("check.mjs", include_str!("../kusto/check.mjs")),
    ],
};

/// The faults of these queries, one line for each, with the number of the query (from 1) and its line; empty if
/// all queries are valid.
///
/// `tables` has the columns of each table, as `NAME: TYPE, NAME: TYPE`. It takes some seconds.
pub async fn query_faults(
    tables: &BTreeMap<&str, &str>,
    queries: &[&str],
) -> Result<String, Error> {
    let installed = PARSER.install().await?;
    let failed = |error| Error::io("running", &installed.node, error);
    let mut parser = tokio::process::Command::new(&installed.node)
        .arg(installed.folder.join("check.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let input = json!({ "tables": tables, "queries": queries }).to_string();
    if let Some(mut stdin) = parser.stdin.take() {
        stdin.write_all(input.as_bytes()).await.map_err(failed)?;
    }
    let output = parser.wait_with_output().await.map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Command {
        command: "node check.mjs".to_owned(),
        status: output.status.to_string(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
