//! The target Secret of a token: its data ([`data()`]), its labels and annotations ([`Dress`]), the record of the token in
//! its annotations ([`Record`]), and who owns it ([`ownership`]).
//!
//! Writes are a create, or a strategic merge patch that carries the resourceVersion it was decided on. Not
//! server-side apply: an apply cannot be told to create only, so it would merge a token into a Secret that
//! somebody else made a moment ago; and a create followed by applies leaves the created fields with a second
//! manager entry that no apply can remove. What apply would refuse with a 409 is read from `managedFields`
//! instead, at the very resourceVersion that the patch then demands ([`ownership::Hands`]).

mod dress;
mod formats;
pub mod ownership;
mod record;
pub mod rejection;
#[cfg(test)]
mod tests;
mod write;

pub use dress::{Dress, DressKeys, dress, noted_type};
pub use formats::{Recovered, data, recover};
pub use record::{ENDLESS, Record, RefusedSource, SourceMark, SourceUse};
pub use write::{create, render_patch, rotate_patch, take_over_patch};

/// The part of an object reference that apicred needs of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Owner {
    /// Name of the credential.
    pub name: String,
    /// UID of the credential.
    pub uid: String,
}
