//! Installs pinned npm packages into the cache folder.

use std::path::PathBuf;

use crate::Error;
use crate::cache::{Entry, Step, on_path, publish, run_step};
use crate::process::Launch;
use crate::progress::Progress;

/// Files with a `package-lock.json` that pins all packages.
pub(crate) struct Package {
    /// The name of its entry in the cache.
    pub(crate) name: &'static str,
    /// Its name in progress messages.
    pub(crate) what: &'static str,
    /// Name and text of each file.
    pub(crate) files: &'static [(&'static str, &'static str)],
}

/// The programs and files of installed packages.
pub(crate) struct Installed {
    pub(crate) node: PathBuf,
    /// The folder of the files and their `node_modules`.
    pub(crate) folder: PathBuf,
}

impl Package {
    /// Finds the packages in the cache, or installs exactly those of the lock file.
    pub(crate) async fn install(&self) -> Result<Installed, Error> {
        let advice = "install Node.js 20 or newer from https://nodejs.org/";
        let node = on_path("node", advice)?;
        let texts: Vec<&str> = self.files.iter().map(|(_, text)| *text).collect();
        let entry = Entry::new(self.name, &texts)?;
        let installed = Installed {
            node,
            folder: entry.folder.clone(),
        };
        // It is moved here as a whole, so an existing folder is complete.
        if entry.folder.is_dir() {
            return Ok(installed);
        }
        let _lock = entry.lock().await?;
        if entry.folder.is_dir() {
            return Ok(installed);
        }
        let npm = on_path("npm", advice)?;
        let mut progress = Progress::begin(
            format!("installing {}", self.what),
            "some seconds, and only once",
        );
        entry.open_workshop(self.files)?;
        let launch = Launch {
            name: "install",
            program: &npm,
            // No scripts of packages are run: no package needs one.
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
            let output = tail.to_lowercase();
            let network = [
                "enotfound",
                "econnrefused",
                "etimedout",
                "eai_again",
                "econnreset",
            ];
            let what = self.what.to_owned();
            return Err(if network.iter().any(|sign| output.contains(sign)) {
                Error::Download { what, tail }
            } else {
                Error::Build { what, log, tail }
            });
        }
        publish(&entry.workshop, &entry.folder)?;
        progress.done();
        Ok(installed)
    }
}
