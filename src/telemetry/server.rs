//! An HTTP/1.1 server with limits: each connection serves one request within a deadline, and the number of connections is limited. The clients of the
//! admin port and of the plugin's callback port are not trusted.

use std::{
    cmp::Reverse,
    future::Future,
    io::{self, ErrorKind},
    net::IpAddr,
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::Router;
use hyper::{Request, body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{SemaphorePermit, watch},
    task::{AbortHandle, JoinSet},
};
use tower::ServiceExt;

/// A client that has not sent the head of its request by then is slow on purpose, or has disconnected.
const HEAD: Duration = Duration::from_secs(5);
/// Maximum number of bytes that are buffered of a request, and of a head.
const BUFFER: usize = 16 * 1024;
/// Maximum number of concurrent connections, over all clients. A probe and a scrape need one each.
const CONNECTIONS: usize = 64;
/// The same if file descriptors are scarce.
const FEW: usize = 8;
/// Pause after a failed accept, for example if no file descriptor is free, until the closed connections have released theirs.
const PAUSE: Duration = Duration::from_millis(10);

/// A permit that a request holds until its connection ends, so until its client has read the response.
pub type Hold = Arc<OnceLock<SemaphorePermit<'static>>>;

/// A connection that is served.
struct Open {
    peer: IpAddr,
    /// Whether its request has arrived.
    request_arrived: Arc<AtomicBool>,
    task: AbortHandle,
}

/// Serves until `stop` ends, and then finishes the requests in progress. A connection ends `deadline` after it was accepted, whatever it
/// does. At the limit, a connection is closed for each new one, so that a probe is always answered.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    deadline: Duration,
    stop: impl Future<Output = ()> + Send,
) {
    let (stopping, stopped) = watch::channel(false);
    let (mut tasks, mut open) = (JoinSet::new(), Vec::<Open>::new());
    let mut most = CONNECTIONS;
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        while tasks.try_join_next().is_some() {}
        open.retain(|o| !o.task.is_finished());
        match accepted {
            Ok((stream, peer)) => {
                if open.len() >= most {
                    close_one(&mut open);
                }
                let request_arrived = Arc::<AtomicBool>::default();
                let served = connection(
                    stream,
                    router.clone(),
                    Arc::clone(&request_arrived),
                    deadline,
                    stopped.clone(),
                );
                open.push(Open {
                    peer: peer.ip(),
                    request_arrived,
                    task: tasks.spawn(served),
                });
            }
            Err(e) if is_of_the_client(&e) => {}
            // No file descriptor is free. Requests to issuers need some as well, so from now on half as many connections are allowed.
            Err(_) => {
                most = (open.len() / 2).clamp(FEW, most);
                while open.len() > most {
                    close_one(&mut open);
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    stopping.send_replace(true);
    while tasks.join_next().await.is_some() {}
}

/// Serves one request.
async fn connection(
    stream: TcpStream,
    router: Router,
    request_arrived: Arc<AtomicBool>,
    deadline: Duration,
    mut stopped: watch::Receiver<bool>,
) {
    let hold = Hold::default();
    let service = router.map_request(move |mut request: Request<Incoming>| {
        request_arrived.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(Arc::clone(&hold));
        request
    });
    let mut served = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(BUFFER)
            // One request per connection: an idle connection would only occupy a place.
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
    );
    // Errors of a client are not reported.
    let _ = tokio::time::timeout(deadline, async {
        tokio::select! {
            _ = served.as_mut() => return,
            _ = stopped.wait_for(|s| *s) => {}
        }
        served.as_mut().graceful_shutdown();
        let _ = served.await;
    })
    .await;
}

/// Closes the connection whose loss does the least harm.
fn close_one(open: &mut Vec<Open>) {
    let known: Vec<(IpAddr, bool)> = open
        .iter()
        .map(|o| (o.peer, o.request_arrived.load(Ordering::Relaxed)))
        .collect();
    if let Some(at) = least_missed(&known) {
        open.remove(at).task.abort();
    }
}

/// Of these connections, oldest first, each with its client and whether its request has arrived: of the client with the most connections,
/// the oldest one without a request; if there is none, the oldest one. So a client with one connection keeps it longer than a client with
/// many.
fn least_missed(open: &[(IpAddr, bool)]) -> Option<usize> {
    let of_client = |ip: IpAddr| open.iter().filter(|(peer, _)| *peer == ip).count();
    (0..open.len()).min_by_key(|at| {
        let (peer, request_arrived) = open[*at];
        (Reverse(of_client(peer)), request_arrived, *at)
    })
}

/// Returns true if the client disconnected before it was accepted.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests;
