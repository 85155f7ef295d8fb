//! The two synchronous tables of the shell: the references between objects, and the known facts of Secrets. Also the limits of
//! a reconcile, the order of requests, and how an answer is stored.

mod index;
mod limiter;
mod reconcile;
mod secrets;
mod secrets_model;
mod state_secret;
