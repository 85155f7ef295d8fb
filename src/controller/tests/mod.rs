//! The two synchronous tables of the shell: who refers to what, and what is known of Secrets. And what bounds a reconcile, who may
//! ask when, and how an answer is stored.

mod index;
mod limiter;
mod reconcile;
mod secrets;
mod secrets_model;
mod state_secret;
