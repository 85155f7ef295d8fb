//! The two synchronous tables of the shell: who refers to what, and what is known of Secrets. And what holds a look.

mod index;
mod reconcile;
mod secrets;
