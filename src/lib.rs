//! apicred: a Kubernetes operator that keeps OAuth 2.0 access tokens fresh in Secrets.
//!
//! How a rotation works, and where each step lives:
//!
//! ```text
//! watch     credentials · issuers · Secrets (metadata) · namespaces (metadata)   controller/streams.rs, index.rs
//! observe   the credential, its issuer, the present target, the source secrets   controller/observe.rs
//! plan      plan(credential, observed, now) -> Plan                              plan/            PURE
//! acquire   grant + client proof -> request -> issuer -> answer -> Token         controller/acquire.rs
//!             the bytes out and the bytes in                                     oauth/           PURE
//!             the one exchange                                                   oauth/http.rs
//!             who may ask whom, and which secret may go where                    credential/binding.rs PURE
//!             where issuer traffic may go, and how much of it                    issuer/
//! write     Token -> Secret, guarded by owner and resourceVersion                publish/         PURE
//!             the one write                                                      controller/write.rs
//! record    status, events on changes                                            plan/status.rs   PURE
//!             and their writes                                                   controller/record.rs
//! schedule  requeue at the moment that the plan named                            plan/schedule.rs PURE
//! ```
//!
//! [`input`] reads text, JSON, numbers and times from outside, [`api`] has the kinds, [`credential`] parses them into values that cannot be wrong, [`controller`] is the
//! Kubernetes shell around it all, [`leader`] keeps a second operator standing by, [`telemetry`] is what the outside sees, [`app`] wires it up.

pub mod api;
pub mod app;
pub mod clock;
pub mod controller;
pub mod credential;
#[cfg(test)]
mod fixtures;
pub mod input;
pub mod issuer;
pub mod leader;
pub mod oauth;
pub mod plan;
mod printable;
pub mod publish;
#[cfg(test)]
mod scripted;
pub mod telemetry;

pub use printable::printable;
