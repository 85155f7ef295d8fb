//! The chart: what helm renders for which values, and what a real API server makes of it. Upgrades of a running operator are in
//! `tests/cluster/upgrade.rs`.

#![allow(clippy::too_many_lines, reason = "a table of cases is one function")]

mod checks;
mod flux;
mod install;
mod kustomize;
mod names;
mod objects;
mod sets;
mod support;
mod values;
