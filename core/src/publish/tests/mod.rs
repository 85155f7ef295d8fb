//! What is written, what it wears, and whose it is.

mod dress;
mod formats;
mod ownership;
mod record;
mod rejection;
mod write;
