//! The agent of Azure Arc: it writes a file that only authorized callers may read, and requires its content.
//! <https://learn.microsoft.com/azure/azure-arc/servers/managed-identity-authentication>

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::StatusCode;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::request::Parts;
use serde_json::json;

use super::imds::{bad, body, precautions};
use super::request::{IdentityRequest, Problem, default_of};
use super::{Endpoint, METADATA_PATH, granted, mint, refuse};
use crate::answer::Answer;
use crate::ids::{guid, uti};
use crate::log::AuthMethod;
use crate::state::Shared;

const VERSIONS: [&str; 2] = ["2019-11-01", "2020-06-01"];
/// The maximum number of open challenges; beyond it the oldest is removed.
const MOST_OPEN: usize = 64;

pub(super) struct Agent {
    folder: PathBuf,
    ignores_choice: bool,
    /// The content of the files whose challenge is open.
    open: Mutex<BTreeMap<u64, Key>>,
}

struct Key {
    path: PathBuf,
    content: String,
}

impl Agent {
    /// Creates the folder if it does not exist.
    pub(super) fn new(folder: &Path, ignores_choice: bool) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.canonicalize()?,
            ignores_choice,
            open: Mutex::default(),
        })
    }

    /// Writes a new key and returns the name of its file. A program that cannot read the folder cannot continue.
    fn challenge(&self) -> Answer {
        let key = Key {
            path: self.folder.join(format!("{}.key", guid())),
            content: format!("{}{}", uti(), uti()),
        };
        if let Err(error) = key.write() {
            tracing::warn!(%error, "cannot write a key file");
            let text = "The key file cannot be written";
            return refuse(StatusCode::INTERNAL_SERVER_ERROR, "server_error", text);
        }
        let realm = format!("Basic realm={}", key.path.display());
        let mut open = self.open();
        let next = open.last_key_value().map_or(0, |(number, _)| number + 1);
        open.insert(next, key);
        while open.len() > MOST_OPEN {
            open.pop_first();
        }
        let text = "Come again with the content of the file in the challenge";
        refuse(StatusCode::UNAUTHORIZED, "unauthorized", text).header(WWW_AUTHENTICATE, &realm)
    }

    /// Whether this is the content of one of the files. Each is valid for one answer.
    fn redeem(&self, content: &str) -> bool {
        let mut open = self.open();
        let same =
            |key: &Key| verify_slices_are_equal(key.content.as_bytes(), content.as_bytes()).is_ok();
        let found = open.iter().find_map(|(n, key)| same(key).then_some(*n));
        found.and_then(|number| open.remove(&number)).is_some()
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Key>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, shared: &Shared, wanted: &IdentityRequest) -> Result<Answer, Problem> {
        let resource = wanted.checked(&VERSIONS)?;
        let config = shared.config();
        let identity = if self.ignores_choice {
            default_of(&config)?
        } else {
            wanted.choose(&config)?
        };
        let minted = mint::token(shared, &config, identity, resource)?;
        let mut body = body(&minted, resource);
        if !self.ignores_choice {
            for (name, value) in wanted.choices() {
                body[name] = json!(value);
            }
        }
        Ok(granted(&body, &minted))
    }
}

impl Key {
    fn write(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&self.path)?.write_all(self.content.as_bytes())
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // The user of this program may have removed the folder.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Endpoint for Agent {
    const PATH: &str = METADATA_PATH;
    const RESOURCE_ID: &str = "msi_res_id";

    fn auth_method(&self, head: &Parts) -> AuthMethod {
        if head.headers.contains_key(AUTHORIZATION) {
            AuthMethod::ArcKey
        } else {
            AuthMethod::None
        }
    }

    fn decide(&self, shared: &Shared, head: &Parts, wanted: &IdentityRequest) -> Answer {
        if let Err(error_answer) = precautions(&head.headers) {
            return error_answer;
        }
        let given = head.headers.get(AUTHORIZATION);
        let content = given.and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
        if !content.is_some_and(|content| self.redeem(content)) {
            return self.challenge();
        }
        self.answer(shared, wanted)
            .unwrap_or_else(|problem| bad(&problem))
    }
}
