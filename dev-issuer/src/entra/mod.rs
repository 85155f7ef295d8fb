//! The part that behaves like Microsoft Entra ID.
//!
//! `token` checks a request in the order in which Entra does: tenant, form, grant, client, secret, resource.
//! Another grant is a file next to `client_credentials` and a line in `token`; another client authentication
//! method is a branch in `client_auth`. Grants that need a user use `user_grant`. Grants without a
//! page use its check of earlier consent.

mod app_claims;
mod assertion;
mod assertion_errors;
mod authorization_code;
mod client_auth;
mod client_credentials;
mod device_code;
mod discovery;
mod errors;
mod on_behalf_of;
mod password;
mod policy;
mod refresh_token;
mod target;
mod tenant;
mod token;
mod user_errors;
mod user_grant;
mod user_scope;

pub(crate) use app_claims::{Application, app_claims};
pub(crate) use client_auth::{Found, find};
pub(crate) use device_code::device_code;
pub(crate) use discovery::{keys_v1, keys_v2, metadata_v1, metadata_v2};
pub(crate) use policy::error_answer;
pub(crate) use tenant::of_user as user_tenant;
pub(crate) use token::{answer, not_post};
pub(crate) use user_scope::check_user_scope;

/// Version of an endpoint. The resource determines the version of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}
