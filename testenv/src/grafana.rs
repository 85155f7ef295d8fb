//! Checks a Grafana dashboard against the types that Grafana publishes.

use std::os::unix::fs::symlink;
use std::process::Stdio;

use crate::Error;
use crate::npm::Package;
use crate::scratch::Scratch;

const TYPES: &str = include_str!("../grafana/types.ts");

/// The types and the compiler that checks them.
static SCHEMA: Package = Package {
    name: "grafana-schema",
    what: "the npm packages @grafana/schema and typescript",
    files: &[
        ("package.json", include_str!("../grafana/package.json")),
        (
            "package-lock.json",
            include_str!("../grafana/package-lock.json"),
        ),
    ],
};

/// The errors that the compiler reports for this dashboard; empty if it matches the types of a dashboard. Takes two
/// seconds.
pub async fn dashboard_faults(json: &str) -> Result<String, Error> {
    let installed = SCHEMA.install().await?;
    let scratch = Scratch::new("apicred-dashboard-")?;
    let folder = scratch.path();
    scratch.write("types.ts", TYPES)?;
    // A literal: the compiler then reports fields that do not exist.
    let source = format!(
        "import type {{ Dashboard }} from './types';\nexport const dashboard: Dashboard = {json};\n"
    );
    scratch.write("dashboard.ts", &source)?;
    let modules = folder.join("node_modules");
    symlink(installed.folder.join("node_modules"), &modules)
        .map_err(|error| Error::io("linking", &modules, error))?;
    let output = tokio::process::Command::new(&installed.node)
        .arg(modules.join("typescript/bin/tsc"))
        .args([
            "--noEmit",
            "--strict",
            "--skipLibCheck",
            "--pretty",
            "false",
        ])
        .args(["--target", "es2022", "--module", "nodenext"])
        .args(["--moduleResolution", "nodenext", "dashboard.ts"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| Error::io("running", &installed.node, error))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() || text.contains("dashboard.ts(") {
        return Ok(text);
    }
    // The fault is not in the dashboard.
    Err(Error::Command {
        command: "tsc dashboard.ts".to_owned(),
        status: output.status.to_string(),
        stderr: format!("{text}{}", String::from_utf8_lossy(&output.stderr)),
    })
}
