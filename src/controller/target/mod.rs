//! The write of the target Secret.

pub(super) mod reformat;
pub(super) mod write;
