//! What is written, what it wears, and whose it is.

mod dress;
mod ownership;
mod record;
mod write;
