//! Calls for a Secret without a response so far, and what the watch delivers in the meantime.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// A call for a Secret: a write, or a read of its metadata.
#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) number: u64,
    /// The version that was known when the call started.
    pub(super) before: Option<String>,
    /// The last version that the watch delivered since then.
    pub(super) shown: Option<String>,
    /// The version of the last deletion that the watch delivered since then.
    pub(super) deleted: Option<String>,
    /// True if a later list or read did not find the Secret: it was deleted at an unknown version, or is not created yet.
    pub(super) unlisted: bool,
}

/// The result of a write that was answered or abandoned.
#[derive(Debug, Default, PartialEq)]
pub(in crate::controller) struct Finished {
    /// The last version that the watch delivered since the write started.
    pub(in crate::controller) shown: Option<String>,
    /// True if the watch has not delivered the written version yet.
    pub(in crate::controller) owed: bool,
}

/// The number of entries in the parts of the cache that must be empty when nothing is in progress.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::controller) struct Transient {
    /// Calls in progress, and names recorded while a list is received.
    pub(in crate::controller) calls: usize,
    pub(in crate::controller) noted: usize,
    pub(in crate::controller) doubtful: usize,
}

impl UnderWay {
    /// Whether this response is older than a deletion that the watch delivered since the call started.
    pub(super) fn is_outdated(&self, meta: &ObjectMeta) -> bool {
        let version = meta.resource_version.as_deref().unwrap_or_default();
        let deleted = self.deleted.as_deref();
        deleted.is_some_and(|deleted| !newer(version, deleted))
    }
}

/// Whether version `a` is later than version `b`. Versions of one resource are numbers that only increase (KEP-5504). If one is
/// not a number, the version that arrived later wins.
pub(in crate::controller) fn newer(a: &str, b: &str) -> bool {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a > b,
        _ => a != b,
    }
}
