//! An issuer that is not Entra: OAuth 2.0 as RFC 6749 has it, with discovery, so that nothing may rely on
//! Entra's ways.

mod client_auth;
mod discovery;
mod errors;
mod token;

pub(crate) use discovery::{keys, metadata};
pub(crate) use token::answer;
