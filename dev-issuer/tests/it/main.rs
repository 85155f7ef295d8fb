//! The issuer as its clients see it: over TLS, with its own CA.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails; clippy.toml exempts test functions, not their helpers"
)]

mod api;
mod arc;
mod browser;
mod checks;
mod device;
mod faults;
mod generic;
mod holds;
mod identity;
mod lifecycle;
mod mtls;
mod program;
mod quiet;
mod signin;
mod static_keys;
mod support;
mod tokens;
mod user_tokens;
