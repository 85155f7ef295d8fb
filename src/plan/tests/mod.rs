//! The decision's rules, as tables and as properties.

mod decision;
mod decision_properties;
mod fingerprint;
mod outcome;
mod schedule;
mod status;
mod status_over_time;
mod warnings;
