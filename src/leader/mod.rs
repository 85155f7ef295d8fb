//! One operator works, the others stand by: a Lease says who. [`election`] decides, `hold` asks the API server,
//! [`Authority`] is what the rest of the process asks before it acts.
//!
//! No lease can stop a process that is paused and goes on later. So each request and each write checks the authority
//! first, the loss of the lease ends the process, and every write of a token carries the version that it was decided on.

mod authority;
pub mod election;
mod hold;
#[cfg(test)]
pub(crate) mod tests;

pub use authority::{Authority, NoAuthority};
pub use hold::{Lease, Lost, Standing};
