//! Leader election: one operator works, the others are on standby. A Lease records the leader. [`election`] decides, `hold` calls the API server, and
//! the rest of the process checks [`Authority`] before it acts.
//!
//! A lease cannot stop a process that is paused and continues later. So each request and each write checks the authority first, the loss of the
//! lease ends the process, and every write of a token contains the resourceVersion on which it was decided.

mod authority;
pub mod election;
mod hold;
pub mod predecessors;
mod refusal;
#[cfg(test)]
pub(crate) mod tests;

pub use authority::{Authority, NoAuthority};
pub use hold::{HeldLease, Lease, Lost};
