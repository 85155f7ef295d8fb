//! From a plan to a token: material of the request, the exchange, refresh tokens, the discovery cache, revocation.

pub(super) mod account_token;
pub(super) mod acquire;
pub(super) mod digest_key;
pub(super) mod endpoints;
pub(super) mod flights;
pub(super) mod hint;
pub(super) mod identity;
pub(super) mod materials;
pub(super) mod orphans;
pub(super) mod refresh;
pub(super) mod refreshes;
pub(super) mod revoke;
pub(super) mod state_secret;
