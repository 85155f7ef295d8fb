//! The target Secret of a token: its data ([`data()`]), its labels and annotations ([`Template`]), the record of the token in its annotations
//! ([`Record`]), and its owner ([`ownership`]). Never writes it: the shell does.
//!
//! Writes are a create, or a strategic merge patch with the resourceVersion on which it was decided. Server-side apply is not used, for two
//! reasons. An apply cannot be limited to creation, so it would merge a token into a Secret that another writer has just created. And a create
//! followed by applies leaves a second manager entry for the created fields, which no apply can remove. A conflict that an apply would report
//! with 409 is read from `managedFields` instead, at the resourceVersion that the patch requires ([`ownership::ForeignWrite`]).

pub mod copy_fault;
mod formats;
pub mod last_good;
pub mod ownership;
mod record;
pub mod rejection;
mod template;
#[cfg(test)]
mod tests;
mod write;

pub use formats::{Recovered, data, has_fields, recover};
pub use record::{ENDLESS, Record, RefusedSource, SourceMark, SourceUse};
pub use template::{ManagedKeys, Template, noted_type, template};
pub use write::{create, empty_patch, render_patch, rotate_patch, take_over_patch};

/// The fields of the owner reference that identify a credential.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Owner {
    /// Name of the credential.
    pub name: String,
    /// UID of the credential.
    pub uid: String,
}
