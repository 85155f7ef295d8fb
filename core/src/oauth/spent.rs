//! Refresh tokens that apicred has used, as keyed digests.
//!
//! A backup, a GitOps tool or a secret manager may write one of them back into the state Secret. It is then recognized and not sent.

use std::collections::VecDeque;

use jiff::Timestamp;

/// Most remembered tokens of other writers. These are the ones that are restored: Git and secret managers store the token that a user gave them.
const MOST_GIVEN: usize = 16;
/// Most remembered tokens that the issuer sent. A backup of the cluster contains one of them.
const MOST_ISSUED: usize = 64;
/// Prefix of the digest of a token that another writer stored.
const GIVEN: &str = "given:";

/// A refresh token that was spent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Spent {
    /// Keyed digest.
    pub digest: String,
    /// When it was used, in whole seconds.
    pub at: Timestamp,
    /// True if another writer stored it in the Secret.
    pub given: bool,
}

impl Spent {
    /// A token that was just used.
    pub fn new(digest: &str, at: Timestamp, given: bool) -> Self {
        Self {
            digest: digest.to_owned(),
            at: crate::whole_second(at),
            given,
        }
    }
}

/// Most tokens that a process remembers in memory, and most of one namespace: less than a megabyte.
const MOST_REMEMBERED: usize = 8192;
const MOST_OF_A_NAMESPACE: usize = 256;

/// The tokens that a process has used, independent of the Secrets: a restore of a namespace also restores the old notes,
/// including those on targets, and a copy of a state Secret has its own notes.
#[derive(Debug, Default)]
pub struct Memory(VecDeque<(String, Spent)>);

impl Memory {
    /// A token of this namespace was used.
    pub fn note(&mut self, namespace: &str, spent: &Spent) {
        if self.find(&spent.digest).is_some() {
            return;
        }
        let own = |(n, _): &(String, Spent)| n == namespace;
        if self.0.iter().filter(|e| own(e)).count() >= MOST_OF_A_NAMESPACE
            && let Some(oldest) = self.0.iter().position(own)
        {
            self.0.remove(oldest);
        }
        if self.0.len() >= MOST_REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((namespace.to_owned(), spent.clone()));
    }

    /// The entry of this token, if it was used.
    pub fn find(&self, digest: &str) -> Option<&Spent> {
        let mut all = self.0.iter().map(|(_, spent)| spent);
        all.find(|spent| spent.digest == digest)
    }

    /// The issuer has issued it again.
    pub fn forget(&mut self, digest: &str) {
        self.0.retain(|(_, spent)| spent.digest != digest);
    }

    /// The number of remembered tokens.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if none is remembered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads an annotation: `DIGEST@SECONDS`, separated by blanks. Entries that cannot be read are ignored.
pub fn read(text: &str) -> Vec<Spent> {
    let entry = |word: &str| {
        let (digest, at) = word.split_once('@')?;
        let at = Timestamp::from_second(at.parse().ok()?).ok()?;
        let given = digest.strip_prefix(GIVEN);
        Some(Spent::new(given.unwrap_or(digest), at, given.is_some()))
    };
    bounded(text.split_ascii_whitespace().filter_map(entry).collect())
}

/// Writes an annotation.
pub fn write(all: &[Spent]) -> String {
    let word = |s: &Spent| {
        let given = if s.given { GIVEN } else { "" };
        format!("{given}{}@{}", s.digest, s.at.as_second())
    };
    all.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Both lists as one.
pub fn merge(one: &[Spent], other: &[Spent]) -> Vec<Spent> {
    other.iter().cloned().fold(one.to_vec(), add)
}

/// A list with one more, oldest first.
pub fn add(mut all: Vec<Spent>, one: Spent) -> Vec<Spent> {
    if !all.iter().any(|s| s.digest == one.digest) {
        all.push(one);
    }
    bounded(all)
}

fn bounded(mut all: Vec<Spent>) -> Vec<Spent> {
    all.sort_by_key(|s| s.at);
    for (given, most) in [(true, MOST_GIVEN), (false, MOST_ISSUED)] {
        let count = all.iter().filter(|s| s.given == given).count();
        let mut excess = count.saturating_sub(most);
        all.retain(|s| {
            let goes = s.given == given && excess > 0;
            excess -= usize::from(goes);
            !goes
        });
    }
    all
}
