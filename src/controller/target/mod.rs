//! The write of the target Secret.

pub(super) mod empty;
pub(super) mod last_good;
pub(super) mod metadata;
pub(super) mod publish;
pub(super) mod reformat;
pub(super) mod rejected;
mod wanted;
mod write;
