//! What is written, what it wears, and whose it is.

mod formats;
mod ownership;
mod record;
mod rejection;
mod template;
mod write;
