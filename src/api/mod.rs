//! The three kinds people write, their statuses, and the names apicred writes into the cluster.
//!
//! Shapes and bounds only: what a field *means* is decided in [`crate::credential`]. Optional fields stay
//! optional in the stored object (no schema defaults), so a GitOps tool never sees a field it did not write.

// KubeSchema expands each type a second time inside a function; the lint sees those copies.
#![expect(unreachable_pub, reason = "copies made by the KubeSchema derive")]
#![allow(
    clippy::duplicated_attributes,
    reason = "each printcolumn has its own type_"
)]

pub mod crd;
mod credential;
mod issuer;
pub mod names;
mod status;

pub use credential::{
    ApiCredential, ApiCredentialSpec, Client, ClientCredentials, DeletionPolicy, Grant,
    InlineEntra, IssuerKind, IssuerRef, SecretKeyRef, SecretType, Target,
};
pub use issuer::{
    AllowedNamespaces, BasicAuthentication, BasicEncoding, ClientAuthentication, Cloud,
    ClusterTokenIssuer, ClusterTokenIssuerSpec, EntraIssuer, IssuerStatus, Limits, Network,
    OAuth2Issuer, OidcIssuer, PostAuthentication, TokenIssuer, TokenIssuerSpec,
};
pub use status::{ApiCredentialStatus, AttemptResult, LastAttempt};
