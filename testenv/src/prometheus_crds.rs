//! The CRDs of the Prometheus operator, from its Go module.

use std::path::PathBuf;

use crate::Error;
use crate::cache::{Entry, Step, on_path, publish, run_step};
use crate::process::Launch;
use crate::progress::Progress;

const GO_MOD: &str = include_str!("../prometheus-crds/go.mod");
const GO_SUM: &str = include_str!("../prometheus-crds/go.sum");
const MODULE: &str = "github.com/prometheus-operator/prometheus-operator";

/// A folder with a YAML file for each CRD, such as `monitoring.coreos.com_servicemonitors.yaml`. It is in the cache, or is
/// downloaded; `go.sum` pins the content.
pub async fn prometheus_crds() -> Result<PathBuf, Error> {
    let entry = Entry::new("prometheus-crds", &[GO_MOD, GO_SUM])?;
    if entry.folder.is_dir() {
        return Ok(entry.folder);
    }
    let _lock = entry.lock().await?;
    if entry.folder.is_dir() {
        return Ok(entry.folder);
    }
    let go = on_path("go", "install Go from https://go.dev/dl/")?;
    let what = "the CRDs of the Prometheus operator";
    let mut progress = Progress::begin(format!("downloading {what}"), "seconds, and only once");
    entry.open_workshop(&[("go.mod", GO_MOD), ("go.sum", GO_SUM)])?;
    let modules = entry.workshop.join("mod");
    let launch = Launch {
        name: "download",
        program: &go,
        args: ["mod", "download", MODULE].map(str::to_owned).into(),
        folder: &entry.workshop,
        env: vec![
            // A separate cache: its paths are known, and it can be removed.
            ("GOMODCACHE", modules.display().to_string()),
            ("GOFLAGS", "-modcacherw".to_owned()),
            ("GOWORK", "off".to_owned()),
        ],
    };
    if let Step::Failed { log, tail } = run_step(launch, &mut progress).await? {
        let what = what.to_owned();
        return Err(if tail.contains("dial tcp") {
            Error::Download { what, tail }
        } else {
            Error::Build { what, log, tail }
        });
    }
    let version = crate::go_build::required_version(GO_MOD, MODULE);
    let crds = format!("{MODULE}@{version}/example/prometheus-operator-crd");
    publish(&modules.join(crds), &entry.folder)?;
    let _ = std::fs::remove_dir_all(&entry.workshop);
    progress.done();
    Ok(entry.folder)
}
