//! Logs, metrics and health of the process.

pub mod admin;
pub mod health;
pub mod lines;
pub mod logs;
pub mod metrics;
pub mod server;
pub mod traces;
pub(crate) mod tries;
