//! OAuth 2.0 token requests and their answers. Never sends a request.
//!
//! [`request()`] builds the bytes of a request. [`answer`] reads the answer: a token, or a failure with its class and a next
//! step. [`grant`] contains the grants, `client_auth` the client authentication methods, [`discovery`] the authorization
//! server metadata, and [`sign_in`] the flows in which a user signs in.

mod aadsts;
mod answer_fields;
mod answer_ids;
mod assertion;
pub mod bundle;
mod certificate_summary;
pub mod chain;
mod challenge;
mod classes;
mod client_auth;
mod client_chain;
mod client_key;
mod client_request;
pub mod consent;
pub mod discovery;
mod encode;
mod error_body;
mod error_kind;
mod explain;
mod gateway;
mod github_app;
pub mod grant;
mod granted;
mod hop;
mod issued;
mod issuer_clock;
mod jwk;
mod jwt;
mod keys;
mod lifetime;
mod managed_identity;
mod needs;
mod next_step;
pub mod pem;
mod possession;
mod private_jwk;
mod private_keys;
mod product_code;
pub mod redaction;
mod refused;
pub mod renewal;
mod request;
mod response;
mod revocation;
mod secret_encoding;
mod secret_form;
pub mod sign_in;
mod signing_key;
pub mod spent;
mod stated;
mod stored_assertion;
#[cfg(test)]
mod tests;
mod token;
mod token_error;
mod token_like;
mod unread;

pub use aadsts::LOOP;
pub use answer_fields::{Omitted, may_be_published};
pub use answer_ids::AnswerIds;
pub use challenge::{claims_of_challenge, claims_request};
pub use client_key::ClientKey;
pub use encode::basic;
pub use explain::explained;
pub(crate) use github_app::{LEVELS, permission};
pub use grant::{Grant, not_signed_in};
pub use granted::{Granted, granted, granted_in_part};
pub use hop::{GOOGLE_SCOPE, second_answer, second_request};
pub use jwk::thumbprint_of as jwk_thumbprint;
pub use jwt::{audiences, is_legacy_account_token};
pub use keys::{Identity, MAX_KEYS_SEARCHED, Validity, outside, with_private_keys};
#[cfg(test)]
pub(crate) use lifetime::claims_of;
pub(crate) use lifetime::is_guid;
pub use managed_identity::{AZURE_ARC, IMDS, Local, MAX_ARC_KEY, arc_key_file, identity_request};
pub use needs::{
    Material, Odd, RequiredInput, account_audience, file, odd_grant_input, secret_text,
};
pub use next_step::{NextStep, Note, Reader, Then};
pub(crate) use pem::LENIENT as LENIENT_BASE64;
pub use possession::{PROOF_AUDIENCE, proof_of_possession};
pub(crate) use possession::{hex, leaf};
pub use redaction::{SentSecrets, is_public};
pub use refused::stop_password;
pub use request::{
    Method, RequestContext, TlsIdentity, TokenEndpoint, TokenRequest, Unused, known_endpoint,
    request,
};
pub use response::{AnswerContext, RawAnswer, answer, answer_to, retry_after};
pub use revocation::{Revoked, revocation, revocation_answer};
pub(crate) use secret_form::form_in_header;
pub use signing_key::{Curve, KeyShape};
pub use stored_assertion::{expired_assertion, stored_assertion};
pub use token::{Answer, Claims, LifetimeSource, Token, end_after_fields, is_uncertain, uncertain};
pub use token_error::{Class, Stage, TokenError, error_code};

pub(crate) use unread::compression;
pub use unread::{broken_off, coding, too_large};
