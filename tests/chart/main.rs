//! The chart: what helm renders for which values, and what a real API server makes of it. Upgrades of a running operator are in
//! `tests/cluster/upgrade.rs`.

mod install;
mod kustomize;
mod names;
mod objects;
mod sets;
mod support;
mod values;
