//! The decision's rules, as tables and as properties.

mod decision;
mod fingerprint;
mod outcome;
mod schedule;
mod status;
