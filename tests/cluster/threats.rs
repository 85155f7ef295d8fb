//! The threats of docs/threat-model.md, each tried by its attacker: a user of the real API server with exactly the
//! rights of the threat.
//!
//! | module | contains |
//! |---|---|
//! | [`attacker`] | a user with a separate role, the objects of this user, and everything that the user can read |
//! | [`secrets`] | T1, T4, T12, T15: get, overwrite or adopt a Secret |
//! | [`consent`] | T17, T18, T19: send a token or a dedicated Secret elsewhere, request more than the limits of an issuer allow |
//! | [`objects`] | T3, T5: references out of the namespace, types, labels and annotations |
//! | [`network`] | T2, T11: addresses, http, weak keys |
//! | [`answers`] | T6, T10: an issuer that echoes secrets and forges claims |
//! | [`crowd`] | T7, T8: thousands of broken objects, refused credentials |
//! | [`memory`] | T7: objects as large as the API server accepts them |
//! | [`rights`] | T9, T13, T14: the operator's own rights, webhooks, the admin port |
//! | [`deletion`] | T16: deletions during a request |

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
