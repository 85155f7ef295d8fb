//! An issuer that is not Entra: OAuth 2.0 according to RFC 6749, with discovery, so that no code may depend on
//! the specifics of Entra.

mod assertion;
mod authorization_code;
mod client_auth;
mod device_code;
mod discovery;
mod errors;
mod extension;
mod jwt_bearer;
mod password;
mod refresh_token;
mod registration;
mod revocation;
mod target;
mod token;
mod token_exchange;
mod user_grant;

pub(crate) use device_code::device_authorization;
pub(crate) use discovery::{keys, metadata};
pub(crate) use registration::{Registrations, serve as registration};
pub(crate) use revocation::revoke;
pub(crate) use target::check_scope;
pub(crate) use token::answer;
