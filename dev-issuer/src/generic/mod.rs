//! An issuer that is not Entra: OAuth 2.0 as RFC 6749 has it, with discovery, so that nothing may rely on
//! Entra's ways.

mod assertion;
mod authorization_code;
mod client_auth;
mod device_code;
mod discovery;
mod errors;
mod more_grants;
mod refresh_token;
mod revocation;
mod token;
mod user_grant;

pub(crate) use device_code::device_authorization;
pub(crate) use discovery::{keys, metadata};
pub(crate) use revocation::revoke;
pub(crate) use token::{answer, check_scope};
