//! The write of the target Secret.

pub(super) mod empty;
pub(super) mod metadata;
pub(super) mod publish;
pub(super) mod reformat;
