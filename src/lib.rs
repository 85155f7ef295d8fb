//! apicred: a Kubernetes operator that keeps valid OAuth 2.0 access tokens in Secrets.
//!
//! The steps of a renewal, and the file of each step:
//!
//! ```text
//! watch     credentials · issuers · Secrets (metadata) · namespaces (metadata)   controller/cache/streams.rs, index.rs
//! observe   the credential, its issuer, the current target, the source secrets   controller/reconcile/observe.rs
//! plan      plan(credential, observed, now) -> Plan                              core: plan/
//! execute   the step that the plan names                                         controller/reconcile/execute.rs
//! acquire   grant + client auth -> request -> issuer -> answer -> Token          controller/token/acquire.rs
//!             request bytes, answer bytes                                        core: oauth/
//!             the one request                                                    http/
//!             who may request what, and which secret may be sent where           core: credential/binding.rs
//!             addresses that may be connected to, and rate limits                issuer/
//! write     Token -> Secret, guarded by owner and resourceVersion                core: publish/
//!             the one write                                                      controller/target/publish.rs
//! record    status, events on changes                                            core: plan/status.rs
//!             and their writes                                                   controller/reconcile/record.rs
//! schedule  requeue at the time that the plan returned                           core: plan/schedule.rs
//! ```
//!
//! `Reconciliation` (`controller/reconciliation.rs`) carries what was observed and the memory through the steps.
//!
//! `core` is the package `apicred-core`: it decides and does no I/O, and its modules are re-exported here. [`controller`] is
//! the Kubernetes shell around it, [`http`] the one client that sends to issuers, [`leader`] the leader election,
//! [`telemetry`] has logs, metrics and health, [`environment`] leaves out empty variables, [`arguments`] hides values of the command line, [`kubeconfig`] reads
//! the kubeconfig, [`app`] wires everything.

#![cfg_attr(
    test,
    allow(clippy::too_many_lines, reason = "a table of cases is one function")
)]

pub mod app;
pub mod arguments;
pub mod check;
pub mod clock;
pub mod controller;
pub mod environment;
pub mod http;
pub mod issuer;
pub mod kubeconfig;
pub mod leader;
mod recent;
#[cfg(test)]
mod scripted;
pub mod telemetry;

#[cfg(test)]
use apicred_core::fixtures;
pub use apicred_core::{
    ConditionStatus, ConditionType, Reason, StoredReason, api, bounded, credential, input, limits,
    oauth, plan, printable, proxy, publish, rotation, whole_second,
};
