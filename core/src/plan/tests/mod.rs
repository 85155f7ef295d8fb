//! The rules of the decision, as tables and as properties.

mod another;
mod decision;
mod decision_properties;
mod finalizer;
mod fingerprint;
mod fingerprint_fields;
mod github;
mod journal;
mod last_good;
mod notify;
mod out_of_sync;
mod outcome;
mod over;
mod pace;
mod repeated;
mod restart;
mod same_content;
mod schedule;
mod sources;
mod static_key;
mod status;
mod status_over_time;
mod unclear;
mod unusable;
mod warnings;
