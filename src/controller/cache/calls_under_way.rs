//! Calls about a Secret that are not answered yet, and what the watch shows meanwhile.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// A call about a Secret: a write, or a read of its metadata.
#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) number: u64,
    /// The version that was known when the call began.
    pub(super) before: Option<String>,
    /// The version that the watch has shown last since then.
    pub(super) shown: Option<String>,
    /// The version of the last deletion that the watch has shown since then.
    pub(super) deleted: Option<String>,
    /// Since then a list or a read did not find the Secret: it was deleted at an unknown version, or is not made yet.
    pub(super) unlisted: bool,
}

/// What a write has come to, when it was answered or given up.
#[derive(Debug, Default, PartialEq)]
pub(in crate::controller) struct Finished {
    /// The version that the watch has shown last since the write began.
    pub(in crate::controller) shown: Option<String>,
    /// The watch has not shown the version that was written yet.
    pub(in crate::controller) owed: bool,
}

/// How many entries the parts of the cache have that must be empty at rest.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::controller) struct Transient {
    /// Calls under way, and names noted while a list is received.
    pub(in crate::controller) calls: usize,
    pub(in crate::controller) noted: usize,
    pub(in crate::controller) doubtful: usize,
}

impl UnderWay {
    /// Is this answer older than a deletion that the watch has shown since the call began?
    pub(super) fn is_outdated(&self, meta: &ObjectMeta) -> bool {
        let version = meta.resource_version.as_deref().unwrap_or_default();
        let deleted = self.deleted.as_deref();
        deleted.is_some_and(|deleted| !newer(version, deleted))
    }
}

/// Is version `a` later than `b`? Versions of one resource are numbers that only grow (KEP-5504); should one not
/// be a number, the later news wins.
pub(in crate::controller) fn newer(a: &str, b: &str) -> bool {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a > b,
        _ => a != b,
    }
}
