//! What the outside sees of the process: logs, metrics, health.

pub mod admin;
pub mod health;
pub mod lines;
pub mod logs;
pub mod metrics;
pub mod server;
