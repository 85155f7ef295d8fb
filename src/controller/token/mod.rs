//! From a plan to a token: material for the request, the exchange, refresh tokens, the discovery cache, revocation.

pub(super) mod acquire;
mod attempt;
mod begun;
pub(super) mod denied;
pub(super) mod digest_key;
pub(super) mod discovery_cache;
pub(super) mod exchange;
pub(super) mod hint;
pub(super) mod hint_event;
pub(super) mod identity;
mod identity_assertion;
pub(super) mod inputs;
mod material;
pub(super) mod orphans;
pub(super) mod published;
pub(super) mod refresh;
pub(super) mod refresh_answer;
pub(super) mod refresh_token;
pub(super) mod refreshes;
pub(super) mod revoke;
pub(super) mod service_account_token;
pub(super) mod single_flight;
mod source_secret;
pub(super) mod state_secret;
