//! One operator works, the others stand by: a Lease says who. [`election`] decides, `hold` asks the API server.
//!
//! A lease cannot keep a paused process from waking up and going on; nothing can. So losing it ends the process, and
//! every write of a token carries the version that it was decided on.

pub mod election;
mod hold;

pub use hold::{Lease, Lost, Standing};
