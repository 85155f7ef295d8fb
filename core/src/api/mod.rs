//! The kinds that users write, their statuses, and all names that apicred writes into the cluster.
//!
//! This module contains only shapes and bounds. [`crate::credential`] decides the *meaning* of a field. Optional fields have no schema
//! default, so a GitOps tool never sees a field that it did not write.

// The derive of KubeSchema repeats each type inside a function, and the lint also checks those copies.
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
mod endpoints;
mod grant;
mod issuer;
mod managed_identity;
pub mod names;
pub mod parameter;
mod preset;
mod rotation;
mod rules;
mod second_request;
mod selector;
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
    ApiCredential, ApiCredentialSpec, Expectation, InlineEntra, IssuerKind, IssuerRef,
};
pub use endpoints::{Cloud, EntraIssuer, GitHubApp, OAuth2Issuer, OidcIssuer};
pub use grant::{
    ClientCredentials, Extension, Grant, GrantKey, JwtBearer, OnBehalfOf, Password, RefreshToken,
    ScopePlace, SignedAssertion, TokenExchange, TokenSource,
};
pub use issuer::{
    AssertionAudience, CaBundleKind, CaBundleRef, ClusterTokenIssuer, ClusterTokenIssuerSpec,
    IssuerStatus, Limits, Network, RefreshTokens, Reuse, TokenIssuer, TokenIssuerSpec,
};
pub use managed_identity::{FromEnvironment, IdentityEndpoint, ManagedIdentity};
pub use parameter::{ExtensionParameter, Parameter};
pub use preset::{ApiPreset, EndpointVersion};
pub use rotation::{
    Adoption, ClientKey, KeyAlgorithm, ManagementRef, RegistrationKeys, Rotation, RotationKey,
};
pub use second_request::{AzureContainerRegistry, GoogleServiceAccount, SecondRequest};
pub use selector::{AllowedNamespaces, LabelCondition, LabelOperator, NamespaceSelector};
pub use static_key::StaticKey;
pub use status::{
    ApiCredentialStatus, AttemptResult, ClientStatus, LastAttempt, RefusedRef, SourceRef, UsedRef,
};
pub use target::{
    DeletionPolicy, NotifyPods, PodSelector, SecretType, Target, TargetFormat, TargetKey,
};
