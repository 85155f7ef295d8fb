//! The chart: the objects that helm renders for given values, and the result on a real API server. Upgrades of a running operator are in
//! `tests/cluster/upgrade.rs`.

#![allow(clippy::too_many_lines, reason = "a table of cases is one function")]

mod aliases;
mod checks;
mod flux;
mod install;
mod kustomize;
mod names;
mod objects;
mod quoted;
mod sets;
mod support;
mod values;
