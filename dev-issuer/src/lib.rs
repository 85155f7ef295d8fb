//! An Entra-shaped token service and a protected API, for trying out, teaching and testing.
//!
//! It answers like the token endpoint of Microsoft Entra ID (paths, checks, error bodies, claims), has
//! a plain OAuth 2.0 issuer beside it, and a small API that accepts only tokens it would be right to accept.
//! Everything is real but the directory: TLS with its own CA, RSA-signed JWTs, discovery and JWKS.
//!
//! ```text
//!  listener  an address that goes down and comes back; `connection`: TLS, HTTP/1.1 and HTTP/2, one task each
//!  server    which path leads where
//!    exchange   one token request: record, barriers, faults, answer
//!      ask        what the request says: form, Basic header, ids
//!      entra      the checks and answers of Entra ID, v1 and v2
//!      generic    the checks and answers of RFC 6749
//!      mtls       client certificates; `assertion`: what clients and other issuers sign
//!      claims     what goes into a token, and what a resource server checks
//!    signin     a user allows or denies: codes with PKCE; `device`: device codes
//!    api        the protected API, also with static keys
//!    graph      Microsoft Graph for the credentials of applications; `github`: tokens of a GitHub App
//!  identity  where a machine gets tokens of its managed identities, on listeners of their own
//!  refresh, users   refresh tokens that are out; people who may sign in
//!  faults, hold   what a test may do to a request
//!  log            what happened, without any secret
//!  issuer         `DevIssuer`, the handle that tests and the program hold
//! ```
//!
//! Never use it to protect anything: its secrets stand in a plain file.

mod admin;
mod answer;
mod api;
mod assertion;
mod claims;
mod config;
mod connection;
mod device;
mod entra;
mod error;
mod exchange;
mod faults;
mod form;
mod generic;
mod github;
mod graph;
mod hold;
mod identity;
mod ids;
mod issuer;
mod keys;
mod listener;
mod log;
mod mtls;
mod refresh;
mod second;
mod server;
mod signin;
mod state;
mod static_key;
mod tls;
mod token_request;
mod users;

pub use admin::Admin;
pub use claims::{Claims, Confirmation, InvalidToken};
pub use config::{
    AppService, AssertionAudience, AzureArc, Client, Cloud, Config, Federated, IdentityEndpoints,
    Installation, ManagedIdentity, Mtls, RefreshPolicy, Resource, Route, SamlAssertion, Secret,
    SubjectName, Tenant, TlsSubject, TrustedIssuer,
};
pub use device::PendingDevice;
pub use error::Error;
pub use faults::{Effect, Fault, RetryAfter, Surface};
pub use graph::{AppPolicy, CredentialKind, CredentialRecord, ReplicaLag};
pub use hold::{Hold, Point};
pub use issuer::DevIssuer;
pub use log::{ApiCallRecord, AuthMethod, Stats, TokenRequestRecord};
pub use users::User;
