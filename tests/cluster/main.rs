//! The whole operator against a real control plane and real issuers.
//!
//! The name of each test is the rule that must hold. The tests are one binary, so that they share a cluster and one link step; their
//! environment is in [`support`].

#![allow(clippy::too_many_lines, reason = "a table of cases is one function")]

mod admin;
mod alerts;
mod another_operator;
mod answer_fields;
mod argocd;
mod argocd_actions;
mod client_keys;
mod client_rotation;
mod clients;
mod clients_refused;
mod clouds;
mod company_ca;
mod conditions;
mod crash;
mod crd;
mod crd_addresses;
mod crd_messages;
mod discovery;
mod edited_issuers;
mod edits;
mod environment;
mod extension;
mod first_sources;
mod first_token;
mod flux;
mod formats;
mod github;
mod gitops;
mod going;
mod hydra;
mod image;
mod isolation;
mod issuer_faults;
mod last_good;
mod leader;
mod lease;
mod log_of_faults;
mod logs;
mod machine;
mod metrics;
mod microsoft_issuers;
mod mistakes;
mod namespaced;
mod notify;
mod notify_again;
mod odd_documents;
mod older_crd;
mod over;
mod plugin;
mod providers;
mod proxy;
mod renew;
mod restart;
mod revocation;
mod revocation_clients;
mod revocation_hosts;
mod revocation_late;
mod rotation;
mod second;
mod secrets;
mod service_accounts;
mod sign_in;
mod sign_in_consent;
mod sign_in_scopes;
mod sources;
mod step_up;
mod support;
mod systems;
mod target;
mod tenancy;
mod threats;
#[cfg(feature = "otel")]
mod traces;
mod upgrade;
mod usable_clients;
mod user_context;
mod versions;
mod without_a_trace;
mod without_effect;
