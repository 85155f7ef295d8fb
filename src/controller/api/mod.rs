//! Calls of the API server: each call has a deadline and a metric, and its error has a kind. Lists and watches. The check
//! whether a standby has the permissions of a leader.

pub(super) mod calls;
pub(super) mod existence;
pub(super) mod finalizer;
pub(super) mod ids;
pub(super) mod list_body;
pub(super) mod pods;
pub(super) mod preflight;
pub(super) mod retry;
pub(super) mod undeclared;
pub(super) mod watch;
