//! The pure part of apicred: it decides and computes, and does no I/O.
//!
//! Every function takes its inputs as arguments, including the current time, and returns data. This crate never sends a request, never reads a
//! file, the environment or a clock, and has no Kubernetes client. The operator and its `kubectl` plugin are the shells that do these things.
//!
//! | Module | Purpose |
//! |---|---|
//! | [`api`] | the kinds of `apicred.dev`, their statuses, and the CRDs that describe them |
//! | [`credential`] | parses the spec of a kind into valid values, or reports each invalid field; decides which secret may be sent where |
//! | [`input`] | reads text, JSON, numbers and times from outside, with the tolerance that real servers need |
//! | [`oauth`] | builds token requests and reads the answers: grants, client authentication, lifetimes, error classes |
//! | [`plan`] | decides the next step for a credential, its time, and the content of its status |
//! | [`publish`] | builds the content and the metadata of a target Secret, and decides who owns it |
//! | [`rotation`] | decides the steps that rotate a client's own secret or certificate at the issuer |

#![cfg_attr(
    test,
    allow(clippy::too_many_lines, reason = "a table of cases is one function")
)]
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "tests read files and print"
    )
)]

pub mod api;
mod condition_type;
pub mod credential;
#[cfg(any(test, feature = "fixtures"))]
#[doc(hidden)]
pub mod fixtures;
pub mod input;
pub mod limits;
pub mod oauth;
pub mod plan;
mod printable;
pub mod proxy;
pub mod publish;
mod reason;
pub mod rotation;
mod stored_reason;
mod time;

pub use condition_type::{ConditionStatus, ConditionType};
pub use printable::{bounded, printable};
pub use reason::Reason;
pub use stored_reason::StoredReason;
pub use time::whole_second;
