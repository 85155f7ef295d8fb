//! An Entra-like token service and a protected API, for trying out, teaching and testing.
//!
//! It answers like the token endpoint of Microsoft Entra ID (paths, checks, error bodies, claims). It also has
//! a plain OAuth 2.0 issuer, and a small API that accepts only valid tokens.
//! Everything is real except the directory: TLS with its own CA, RSA-signed JWTs, discovery and JWKS.
//!
//! ```text
//!  listener  an address that can stop and start again; `connection`: TLS, HTTP/1.1 and HTTP/2, one task each
//!  server    the routes
//!    exchange   one token request: record, barriers, faults, answer
//!      token_request   the content of the request: form, Basic header, IDs
//!      entra      the checks and answers of Entra ID, v1 and v2
//!      generic    the checks and answers of RFC 6749
//!      mtls       client certificates; `assertion`: what clients and other issuers sign
//!      claims     the content of a token, and the checks of a resource server
//!    signin     a user allows or denies: codes with PKCE; `device`: device codes
//!    api        the protected API, also with static keys
//!    graph      Microsoft Graph for the credentials of applications; `github`: tokens of a GitHub App
//!  identity  endpoints from which a machine gets tokens of its managed identities, on separate listeners
//!  refresh, users   active refresh tokens; users who may sign in
//!  faults, hold   effects of tests on a request
//!  log            a record of requests, without any secret
//!  issuer         `DevIssuer`, the handle for tests and the program
//! ```
//!
//! Never use it to protect anything: its secrets are in a plain file.

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
