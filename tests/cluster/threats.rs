//! The threats of docs/threat-model.md, each tried by its attacker: a user of the real API server with exactly the
//! rights that the threat gives him.
//!
//! | room | holds |
//! |---|---|
//! | [`attacker`] | a user with a role of his own, what he makes, and what he can read |
//! | [`secrets`] | T1, T4, T12, T15: to get, overwrite or adopt a Secret |
//! | [`consent`] | T17, T18, T19: to lead a token or a dedicated Secret elsewhere, to ask for more than an issuer's limits |
//! | [`objects`] | T3, T5: references out of the namespace, types, labels and annotations |
//! | [`network`] | T2, T11: addresses, http, weak keys |
//! | [`answers`] | T6, T10: an issuer that echoes secrets and forges claims |
//! | [`crowd`] | T7, T8: thousands of broken objects, refused credentials |
//! | [`memory`] | T7: objects that are as large as the API server takes them |
//! | [`rights`] | T9, T13, T14: the operator's own rights, webhooks, the admin port |
//! | [`deletion`] | T16: what is deleted in flight |

mod answers;
mod attacker;
mod consent;
mod crowd;
mod deletion;
mod memory;
mod network;
mod notify_rights;
mod objects;
mod rights;
mod secrets;
mod tls;
