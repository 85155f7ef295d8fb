//! apicred: a Kubernetes operator that keeps OAuth 2.0 access tokens fresh in Secrets.
//!
//! How a rotation works, and where each step lives:
//!
//! ```text
//! watch     credentials · issuers · Secrets (metadata) · namespaces (metadata)   controller/cache/streams.rs, index.rs
//! observe   the credential, its issuer, the present target, the source secrets   controller/reconcile/observe.rs
//! plan      plan(credential, observed, now) -> Plan                              core: plan/
//! acquire   grant + client proof -> request -> issuer -> answer -> Token         controller/token/acquire.rs
//!             the bytes out and the bytes in                                     core: oauth/
//!             the one exchange                                                   http/
//!             who may ask whom, and which secret may go where                    core: credential/binding.rs
//!             where issuer traffic may go, and how much of it                    issuer/
//! write     Token -> Secret, guarded by owner and resourceVersion                core: publish/
//!             the one write                                                      controller/target/publish.rs
//! record    status, events on changes                                            core: plan/status.rs
//!             and their writes                                                   controller/reconcile/record.rs
//! schedule  requeue at the moment that the plan named                            core: plan/schedule.rs
//! ```
//!
//! `core` is the package `apicred-core`: it decides and does nothing, and its modules are re-exported here. [`controller`] is
//! the Kubernetes shell around it, [`http`] the one client that sends to issuers, [`leader`] keeps a second operator standing by,
//! [`telemetry`] is what the outside sees, [`app`] wires it up.

pub mod app;
pub mod clock;
pub mod controller;
pub mod http;
pub mod issuer;
pub mod leader;
mod recent;
#[cfg(test)]
mod scripted;
pub mod telemetry;

#[cfg(test)]
use apicred_core::fixtures;
pub use apicred_core::{
    ConditionType, Reason, StoredReason, api, bounded, credential, input, limits, oauth, plan,
    printable, proxy, publish,
};
