//! The issuer as its clients see it: over TLS, with its own CA.

#![allow(clippy::too_many_lines, reason = "a table of cases is one function")]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails; clippy.toml exempts test functions, not their helpers"
)]

mod api;
mod arc;
mod browser;
mod certificates;
mod checks;
mod device;
mod faults;
mod federated;
mod generic;
mod grants;
mod graph;
mod holds;
mod identity;
mod identity_assertion;
mod lifecycle;
mod mtls;
mod on_behalf_of;
mod other_ways;
mod passwords;
mod policies;
mod private_key_jwt;
mod program;
mod quiet;
mod refresh_policies;
mod revocation;
mod signer;
mod signin;
mod static_keys;
mod support;
mod tokens;
mod user_tokens;
