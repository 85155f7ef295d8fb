//! The environment of the tests.
//!
//! | module | contains |
//! |---|---|
//! | [`World`] | a control plane with the chart in it, an issuer, and the operator as a process |
//! | [`Place`] | a namespace with a client, an issuer object and a client secret, for one test |
//! | [`Recorder`] | every state of a Secret, and what must hold for all of them (O1, O2, O4) |
//! | [`audit`] | the operator's requests to the API server, from the server's audit log (O7) |
//! | [`keys`] | keys and certificates of clients |
//! | [`Listener`] | a token endpoint that records the requests |
//! | [`git`] | a git server that accepts the tokens of a GitHub App |
//! | [`canaries`] | the search for leaked secrets and tokens (O10) |

mod audit;
pub(crate) mod canaries;
mod deeds;
pub(crate) mod git;
pub(crate) mod keys;
pub(crate) mod listener;
mod operator;
mod place;
mod process;
mod recorder;
mod view;
pub(crate) mod world;

use std::{
    future::Future,
    hash::{BuildHasher, Hasher, RandomState},
    sync::LazyLock,
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
pub(crate) use listener::{ANSWER, Listener, issuer_of, reply};
pub(crate) use operator::{ALLOW_CIDR, Operator, PROGRAM};
pub(crate) use place::{Place, condition, is_well, merge, typed};
pub(crate) use process::Guarded;
pub(crate) use recorder::Recorder;
use testenv::eventually;
pub(crate) use view::SecretView;
pub(crate) use world::{NAMESPACE, World};

/// For work of the operator that takes moments. Long, because a small machine runs many tests at once; a test that
/// passes never waits for it.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// For work that must wait for a renewal, a timeout or the controllers of Kubernetes.
pub(crate) const LATER: Duration = Duration::from_secs(90);

/// One runtime for all tests: the clients of a shared world must outlive the test that made them.
static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    // Fails only if a client has already selected the same provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Runtime::new().expect("threads to run on")
});

/// Runs a test to its end.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    RUNTIME.block_on(test)
}

/// Waits until the clock shows a later second than the creation of an object. The API server stores creations in whole
/// seconds: of two objects of one second, neither is older.
pub(crate) async fn a_second_after(created: &ObjectMeta) {
    let created = created
        .creation_timestamp
        .as_ref()
        .expect("a time of creation");
    let created = created.0.as_second();
    eventually(SOON, "the next second", async || {
        jiff::Timestamp::now().as_second() > created
    })
    .await;
}

/// Sixteen hexadecimal digits that no other test has.
pub(crate) fn unique() -> String {
    // Each RandomState has its own keys.
    format!("{:016x}", RandomState::new().build_hasher().finish())
}
