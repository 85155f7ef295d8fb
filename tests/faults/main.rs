//! The fault catalogue (docs/reliability.md) against the real API server, with the operator inside the test.
//!
//! Each case has its own operator, whose kube client uses a [`wire`]: it sees one namespace as if it
//! were the whole cluster, and one of its requests meets a fault. So hundreds of cases share a control plane. The rules that
//! always hold are in [`oracles`].

#![allow(clippy::too_many_lines, reason = "a table of cases is one function")]

mod admission;
mod answers;
mod busy;
mod calls;
mod clients;
mod crashes;
mod defect;
mod drain;
mod fenced;
mod frozen;
mod h2;
mod hostile;
mod identity;
mod inside;
mod late;
mod oracles;
mod page;
mod policies;
mod queue;
mod refresh;
mod refresh_issuer;
mod relay;
mod replicas;
mod restore;
mod scenario;
mod servers;
mod slow;
mod spent;
mod stream;
mod sync;
mod unreadable;
mod user;
mod watches;
mod wire;

#[path = "../cluster/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "written for tests/cluster; this target uses a part of it"
)]
mod support;
