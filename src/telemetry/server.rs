//! An HTTP/1.1 server with limits: each connection serves one request within a deadline, and the number of connections is limited. The clients of the
//! admin port and of the plugin's callback port are unknown.

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

/// A client that has not sent the head of its request by then is slow on purpose, or gone.
const HEAD: Duration = Duration::from_secs(5);
/// Most bytes that are kept of a request, and of a head.
const BUFFER: usize = 16 * 1024;
/// Connections at once, over all clients. A probe and a scrape need one each.
const CONNECTIONS: usize = 64;
/// The same where file descriptors are few.
const FEW: usize = 8;
/// Pause after a failed accept, such as for want of a file descriptor: until the connections that were closed are gone.
const PAUSE: Duration = Duration::from_millis(10);

/// What a request holds until its connection ends; a response counts as long as its client reads it.
pub type Hold = Arc<OnceLock<SemaphorePermit<'static>>>;

/// A connection that is served.
struct Open {
    peer: IpAddr,
    /// Has its request come?
    asked: Arc<AtomicBool>,
    task: AbortHandle,
}

/// Serves until `stop` ends, and then what is under way. A connection ends `deadline` after it was accepted, whatever it
/// does. At the limit a connection is closed for each new one, so that a probe is always answered.
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
                let asked = Arc::<AtomicBool>::default();
                let served = connection(
                    stream,
                    router.clone(),
                    Arc::clone(&asked),
                    deadline,
                    stopped.clone(),
                );
                open.push(Open {
                    peer: peer.ip(),
                    asked,
                    task: tasks.spawn(served),
                });
            }
            Err(e) if is_of_the_client(&e) => {}
            // File descriptors are used up. Requests to issuers need some as well: from now on half as many connections are allowed.
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
    asked: Arc<AtomicBool>,
    deadline: Duration,
    mut stopped: watch::Receiver<bool>,
) {
    let hold = Hold::default();
    let service = router.map_request(move |mut request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(Arc::clone(&hold));
        request
    });
    let mut served = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(BUFFER)
            // One request a connection: an idle one would only hold a place.
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

/// Closes the connection that is missed least.
fn close_one(open: &mut Vec<Open>) {
    let known: Vec<(IpAddr, bool)> = open
        .iter()
        .map(|o| (o.peer, o.asked.load(Ordering::Relaxed)))
        .collect();
    if let Some(at) = least_missed(&known) {
        open.remove(at).task.abort();
    }
}

/// Of these connections, oldest first, each with its client and whether its request has come: the oldest without a request
/// of the client that has the most of them; else the oldest of that client. A client with one connection outlasts a
/// client with many.
fn least_missed(open: &[(IpAddr, bool)]) -> Option<usize> {
    let of_client = |ip: IpAddr| open.iter().filter(|(peer, _)| *peer == ip).count();
    (0..open.len()).min_by_key(|at| {
        let (peer, asked) = open[*at];
        (Reverse(of_client(peer)), asked, *at)
    })
}

/// The client went away before it was accepted.
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
