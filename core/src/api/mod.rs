//! The kinds that users write, their statuses, and all names that apicred writes into the cluster.
//!
//! This module contains only shapes and bounds. [`crate::credential`] decides the *meaning* of a field. Optional fields have no schema
//! default, so a GitOps tool never sees a field that it did not write.

// KubeSchema expands each type a second time inside a function; the lint sees those copies.
#![expect(unreachable_pub, reason = "copies made by the KubeSchema derive")]
#![allow(
    clippy::duplicated_attributes,
    reason = "each printcolumn has its own type_"
)]

mod api_client;
mod client;
mod client_authentication;
pub mod crd;
mod crd_text;
mod credential;
mod duration;
mod grant;
mod issuer;
pub mod names;
pub mod parameter;
mod rotation;
mod rules;
mod static_key;
mod status;
mod target;

pub use api_client::{ApiClient, ApiClientSpec, ApiClientStatus, ClientRef};
pub use client::{
    AsAssertion, AssertionClient, CertificateClient, Client, ClientSecret, KeyClient,
    ManagedIdentityClient, MtlsClient, PublicClient, SecretKeyRef, ServiceAccountToken,
    SigningAlgorithm, Thumbprint,
};
pub use client_authentication::{
    BasicAuthentication, BasicEncoding, ClientAuthentication, PostAuthentication, SecretAlgorithm,
    SecretJwtAuthentication,
};
pub use credential::{
    ApiCredential, ApiCredentialSpec, ApiPreset, EndpointVersion, Expectation, InlineEntra,
    IssuerKind, IssuerRef,
};
pub use grant::{
    ClientCredentials, Extension, Grant, GrantKey, JwtBearer, OnBehalfOf, Password, RefreshToken,
    ScopePlace, SignedAssertion, TokenExchange, TokenSource,
};
pub use issuer::{
    AllowedNamespaces, AssertionAudience, AzureContainerRegistry, CaBundleKind, CaBundleRef, Cloud,
    ClusterTokenIssuer, ClusterTokenIssuerSpec, EntraIssuer, FromEnvironment, GitHubApp,
    GoogleServiceAccount, IdentityEndpoint, IssuerStatus, Limits, ManagedIdentity, Network,
    OAuth2Issuer, OidcIssuer, RefreshTokens, Reuse, SecondRequest, TokenIssuer, TokenIssuerSpec,
};
pub use parameter::{ExtensionParameter, Parameter};
pub use rotation::{Adoption, ClientKey, KeyAlgorithm, ManagementRef, Rotation, RotationKey};
pub use static_key::StaticKey;
pub use status::{
    ApiCredentialStatus, AttemptResult, ClientStatus, LastAttempt, RefusedRef, SourceRef, UsedRef,
};
pub use target::{
    DeletionPolicy, NotifyPods, PodSelector, SecretType, Target, TargetFormat, TargetKey,
};
