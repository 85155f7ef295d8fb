//! A real Kubernetes control plane and a real OAuth issuer on this machine.
//!
//! etcd, kube-apiserver and kube-controller-manager run as ordinary processes on loopback, in a
//! separate folder. Nothing is mocked: RBAC, admission, CEL rules of CRDs, garbage collection,
//! namespaces and `TokenRequest` behave as they do in a cluster. There is no node, so no Pod runs.
//!
//! ```no_run
//! # async fn example() -> Result<(), testenv::Error> {
//! let cluster = testenv::ControlPlane::start(testenv::Options::default()).await?;
//! println!("{}", cluster.kubectl(&["get", "namespaces"]).await?);
//! # Ok(())
//! # }
//! ```
//!
//! The parts:
//!
//! | part | content |
//! |---|---|
//! | [`Programs`] | finds the programs, or builds them from the pinned Go modules |
//! | [`ControlPlane`] | starts the three servers and waits until they are ready |
//! | [`OidcProvider`] | an `OpenID` Connect issuer that this project did not write |
//! | [`Hydra`] | an OAuth issuer that this project did not write, in Go |
//! | [`kstatus()`] | how Flux and similar tools evaluate an object, with the library that they use |
//! | [`argo()`] | the result of a script of Argo CD for an object, with the interpreter that it uses |
//! | [`Prometheus`] | a server that scrapes, evaluates rules and answers queries; promtool |
//! | [`dashboard_faults`] | checks a dashboard against the types of Grafana |
//! | [`query_faults`] | the parser of Azure Monitor, for queries in KQL |
//! | [`prometheus_crds()`] | the kinds of the Prometheus operator, for objects of a chart |
//! | [`image()`] | assembles the operator's image from a finished binary, without a container engine |
//! | [`ConnectProxy`] | an HTTP proxy that opens connections, refuses, or hangs |
//! | [`audit`] | the requests that the API server recorded |
//! | [`tls`] | throw-away certificates |
//! | [`eventually`] | waits for a condition instead of a fixed time |
//!
//! Everything that is started here ends with its owner: on drop, on a signal, and when the owner is
//! killed without a chance to clean up. `process.rs` explains how.

pub mod audit;
mod cache;
mod connect_proxy;
mod control_plane;
mod error;
mod eventually;
mod go_build;
mod grafana;
mod http;
mod hydra;
mod image;
mod kubeconfig;
mod kubectl;
mod kusto;
mod npm;
mod oidc_provider;
mod ports;
mod process;
mod programs;
mod progress;
mod prometheus;
mod prometheus_crds;
mod scratch;
mod servers;
pub mod tls;
mod tools;

pub use audit::{AuditEvent, AuditMark};
pub use connect_proxy::{ConnectProxy, ConnectRequest, ProxyBehaviour};
pub use control_plane::{AnotherApiServer, Backup, Component, ControlPlane, Options};
pub use error::Error;
pub use eventually::{Check, eventually, wait_until};
pub use grafana::dashboard_faults;
pub use hydra::Hydra;
pub use image::{image, unpack_image};
pub use kubectl::{Output, run_helm, run_kubectl};
pub use kusto::query_faults;
pub use oidc_provider::{
    OidcClient, OidcClientAuth, OidcOptions, OidcProvider, OidcResource, SeenRequest,
};
pub use ports::free as free_port;
pub use programs::{Programs, helm};
pub use prometheus::{Prometheus, PrometheusPrograms};
pub use prometheus_crds::prometheus_crds;
pub use tools::{ArgoScript, FluxApply, argo, build_tools, kstatus};
