//! An operator under measurement: apicred, or another one that a folder describes. All of them get the same load.

use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{Result, issuer::Addresses, process::read_if_there, report::Bar};

/// The folder that describes apicred, in the same format as those of rivals.
const OWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/load/apicred");

/// The content of a folder.
#[derive(Clone)]
pub(crate) struct Contender {
    pub(crate) name: String,
    /// `/bin/sh` runs it; `None`: apicred's program.
    pub(crate) command: Option<String>,
    /// Applied once.
    pub(crate) setup: String,
    /// Applied once in each namespace of the load.
    pub(crate) namespace: String,
    /// The objects for one token, created once for each token.
    pub(crate) load: String,
    pub(crate) folder: PathBuf,
}

impl Contender {
    /// This project's operator.
    pub(crate) fn own() -> Result<Self> {
        Self::read(Path::new(OWN), "apicred")
    }

    /// Another operator, with the name of the folder.
    pub(crate) fn rival(folder: &Path) -> Result<Self> {
        let folder = folder.canonicalize()?;
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let rival = Self::read(&folder, &name)?;
        if rival.command.is_none() {
            return Err(format!("{} holds no file `command`", folder.display()).into());
        }
        Ok(rival)
    }

    fn read(folder: &Path, name: &str) -> Result<Self> {
        let part = |file: &str| read_if_there(&folder.join(file));
        Ok(Self {
            name: name.to_owned(),
            command: part("command")?,
            setup: part("setup.yaml")?.unwrap_or_default(),
            namespace: part("namespace.yaml")?.unwrap_or_default(),
            load: part("load.yaml")?
                .ok_or_else(|| format!("{} holds no load.yaml", folder.display()))?,
            folder: folder.to_owned(),
        })
    }

    /// A target value that only applies to apicred; a rival's number is shown without one.
    pub(crate) fn bar(&self, bar: Bar) -> Bar {
        if self.is_own() { bar } else { Bar::None }
    }

    /// Returns true for apicred, whose metrics, status and limits are known.
    pub(crate) fn is_own(&self) -> bool {
        self.command.is_none()
    }
}

/// Replaces `{{name}}` with values.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    values
        .iter()
        .fold(template.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{{{name}}}}}"), value)
        })
}

/// The values that every template may use.
pub(crate) fn of_issuer(addresses: &Addresses) -> Result<[(&'static str, String); 3]> {
    Ok([
        ("token_url", addresses.token_url.clone()),
        ("ca_base64", STANDARD.encode(&addresses.ca_pem)),
        ("ca_json", serde_json::to_string(&addresses.ca_pem)?),
    ])
}
