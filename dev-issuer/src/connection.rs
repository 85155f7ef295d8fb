//! Connections: accepted, secured or plain, served with HTTP/1.1 and HTTP/2, one task each.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::Extensions;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// The transport of bytes.
#[derive(Clone)]
pub(crate) enum Transport {
    /// Without TLS, as link-local metadata services do it.
    Plain,
    Tls(Arc<ServerConfig>),
}

/// The connection of a request.
#[derive(Clone, Default)]
pub(crate) struct Connection {
    cut: Arc<Notify>,
    /// The client's certificate chain, its own first. Empty without one.
    peer: Arc<[CertificateDer<'static>]>,
}

impl Connection {
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Closes it without an answer. Never returns: the waiting task ends with the connection.
    pub(crate) async fn cut(self) -> Response {
        self.cut.notify_one();
        std::future::pending().await
    }

    /// The client's certificates from the handshake, with proof of the key. They are not checked yet.
    pub(crate) fn peer(&self) -> &Arc<[CertificateDer<'static>]> {
        &self.peer
    }
}

/// Serves until it is dropped. All connections end with it.
pub(crate) async fn serve(listener: TcpListener, transport: Transport, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(secure(transport.clone(), router.clone(), stream));
                }
                // For example: no more file descriptors. This may be temporary.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn secure(transport: Transport, router: Router, stream: TcpStream) {
    // Small answers must not wait for more data.
    let _ = stream.set_nodelay(true);
    let config = match transport {
        Transport::Plain => return converse(router, stream, Connection::default()).await,
        Transport::Tls(config) => config,
    };
    match TlsAcceptor::from(config).accept(stream).await {
        Ok(stream) => {
            let peer = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let this = Connection {
                peer: peer.iter().map(|c| c.clone().into_owned()).collect(),
                ..Connection::default()
            };
            converse(router, stream, this).await;
        }
        Err(error) => tracing::debug!(%error, "TLS handshake failed"),
    }
}

async fn converse<S>(router: Router, stream: S, this: Connection)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(this.clone());
        router.clone().oneshot(request.map(Body::new))
    });
    let builder = Builder::new(TokioExecutor::new());
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = serving => if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
        },
        () = this.cut.notified() => tracing::debug!("connection cut by a scripted fault"),
    }
}
