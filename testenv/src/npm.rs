//! Installs the pinned npm packages of the issuer into the cache folder.

use std::path::PathBuf;

use crate::Error;
use crate::cache::{Entry, Step, on_path, publish, run_step};
use crate::process::Launch;
use crate::progress::Progress;

const PACKAGE: &str = include_str!("../oidc-provider/package.json");
const LOCK: &str = include_str!("../oidc-provider/package-lock.json");
const SERVER: &str = include_str!("../oidc-provider/server.mjs");

/// What to run.
pub(crate) struct Installed {
    pub(crate) node: PathBuf,
    /// `server.mjs`, beside its `node_modules`.
    pub(crate) server: PathBuf,
}

/// Finds the packages in the cache, or installs exactly what the lock file names.
pub(crate) async fn issuer() -> Result<Installed, Error> {
    let advice = "install Node.js 20 or newer from https://nodejs.org/";
    let node = on_path("node", advice)?;
    let entry = Entry::new("oidc-provider", &[PACKAGE, LOCK, SERVER])?;
    let server = entry.folder.join("server.mjs");
    if server.is_file() {
        return Ok(Installed { node, server });
    }
    let _lock = entry.lock().await?;
    if server.is_file() {
        return Ok(Installed { node, server });
    }
    let npm = on_path("npm", advice)?;
    let what = "the npm package oidc-provider";
    let mut progress = Progress::begin(format!("installing {what}"), "some seconds, and only once");
    let files = [
        ("package.json", PACKAGE),
        ("package-lock.json", LOCK),
        ("server.mjs", SERVER),
    ];
    entry.open_workshop(&files)?;
    let launch = Launch {
        name: "install",
        program: &npm,
        // No script of a package is run: none of them needs one.
        args: [
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--omit=dev",
        ]
        .map(str::to_owned)
        .into(),
        folder: &entry.workshop,
        env: Vec::new(),
    };
    if let Step::Failed { log, tail } = run_step(launch, &mut progress).await? {
        let said = tail.to_lowercase();
        let network = [
            "enotfound",
            "econnrefused",
            "etimedout",
            "eai_again",
            "econnreset",
        ];
        let what = what.to_owned();
        return Err(if network.iter().any(|sign| said.contains(sign)) {
            Error::Download { what, tail }
        } else {
            Error::Build { what, log, tail }
        });
    }
    publish(&entry.workshop, &entry.folder)?;
    progress.done();
    Ok(Installed { node, server })
}
