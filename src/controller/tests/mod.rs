//! The two synchronous tables of the shell: who refers to what, and what is known of Secrets.

mod index;
mod secrets;
