//! What is written, with which labels and annotations, and who owns it.

mod copy_fault;
mod formats;
mod last_good;
mod ownership;
mod record;
mod rejection;
mod template;
mod write;
