//! Rate limiters of issuers and the queue before them; concurrency limits of namespaces.

pub(super) mod issuers;
pub(super) mod namespaces;
