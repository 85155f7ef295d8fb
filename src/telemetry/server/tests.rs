//! Hostile clients, over real sockets.

use std::net::{Ipv4Addr, SocketAddr};

use axum::{body::Body, routing::get};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
    task::JoinHandle,
};

use super::*;

/// A server with three pages: a short one, a long one, and one that is never answered.
async fn start(deadline: Duration) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/long", get(|| async { Body::from(vec![b'x'; 64 << 20]) }))
        .route("/never", get(std::future::pending::<&'static str>));
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, router, deadline, async {
        let _ = stopped.await;
    }));
    (address, stop, server)
}

async fn connect(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The client may have closed the connection already.
    let _ = stream.write_all(text.as_bytes()).await;
    stream
}

/// Reads until the end of a connection.
async fn end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn livez(address: SocketAddr) -> String {
    let mut stream = connect(address, "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    end(&mut stream).await
}

const LONG: Duration = Duration::from_hours(1);

#[tokio::test]
async fn a_probe_is_answered_among_any_number_of_slow_clients() {
    let (address, _stop, _server) = start(LONG).await;
    let mut held = Vec::new();
    for round in 0..4 {
        for text in [
            "",
            "GET",
            "GET /livez HTTP/1.1\r\nx: ",
            "GET /never HTTP/1.1\r\nhost: x\r\n\r\n",
        ] {
            for _ in 0..CONNECTIONS {
                held.push(connect(address, text).await);
            }
            let answer = livez(address).await;
            assert!(
                answer.starts_with("HTTP/1.1 200"),
                "{round} {text:?}: {answer}"
            );
        }
    }
    // All but the last ones were closed; only the last ones are open.
    let mut open = 0;
    for stream in &mut held {
        let mut byte = [0];
        let closed = tokio::select! {
            biased;
            _ = stream.read(&mut byte) => true,
            () = tokio::task::yield_now() => false,
        };
        open += usize::from(!closed);
    }
    assert!(open <= CONNECTIONS, "{open} connections");
}

#[tokio::test]
async fn a_request_head_that_does_not_end_is_neither_awaited_nor_stored() {
    let (address, _stop, _server) = start(LONG).await;
    // The server waits no longer than HEAD for a head, also if only half of it arrives.
    for text in ["", "GET /livez HTTP/1.1\r\nx: y\r\n"] {
        let mut stream = connect(address, text).await;
        let ended = tokio::time::timeout(HEAD * 6, end(&mut stream)).await;
        assert!(ended.is_ok(), "{text:?}");
    }
    // A head that is too long ends the connection, long before all of it was read.
    let mut stream = connect(address, "GET /livez HTTP/1.1\r\nx: ").await;
    let (part, mut sent) = ([b'y'; 1024], 0_usize);
    while sent < 64 << 20 && stream.write_all(&part).await.is_ok() {
        sent += part.len();
    }
    assert!(sent < 64 << 20, "64 MiB of a head were taken");
}

#[tokio::test]
async fn a_connection_ends_at_its_deadline_whatever_it_does() {
    let (address, _stop, _server) = start(Duration::from_millis(300)).await;
    for text in [
        "GET /never HTTP/1.1\r\nhost: x\r\n\r\n",
        "POST /never HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999\r\n\r\nx",
        "POST /livez HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "GET /never HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999\r\n\r\n",
    ] {
        let mut stream = connect(address, text).await;
        let ended = tokio::time::timeout(LONG, end(&mut stream)).await;
        assert!(ended.is_ok(), "{text:?}");
    }
    // A body without an end, and an answer that the client does not read.
    let mut stream = connect(
        address,
        "POST /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n",
    )
    .await;
    while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    let mut stream = connect(address, "GET /long HTTP/1.1\r\nhost: x\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all).await;
    assert!(
        all.len() < 64 << 20,
        "the whole answer was kept for {} bytes",
        all.len()
    );
    assert!(livez(address).await.ends_with("ok\n"));
}

#[tokio::test]
async fn a_connection_serves_one_request_and_a_stop_lets_it_finish() {
    let (address, stop, server) = start(LONG).await;
    let two = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2);
    let mut stream = connect(address, &two).await;
    let answer = end(&mut stream).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    // Idle connections and incomplete requests do not delay the shutdown.
    let _idle = connect(address, "").await;
    let _half = connect(address, "GET /livez").await;
    assert!(livez(address).await.ends_with("ok\n"));
    stop.send(()).unwrap();
    let ended = tokio::time::timeout(HEAD * 6, server).await;
    ended.expect("an end").expect("no panic");
}

#[test]
fn the_client_with_the_most_connections_loses_its_oldest_idle_one() {
    let ip = |n: u8| IpAddr::from([10, 0, 0, n]);
    let cases = [
        (vec![], None),
        (vec![(1, true)], Some(0)),
        // During a flood, a kubelet that waits for its answer keeps its connection, even before its request has arrived.
        (vec![(9, false), (1, false), (1, false), (1, true)], Some(1)),
        (vec![(9, false), (1, true), (1, true), (1, false)], Some(3)),
        (vec![(9, true), (1, true), (1, true)], Some(1)),
        // One connection each: the oldest one whose request has not arrived.
        (vec![(1, true), (2, false), (3, false)], Some(1)),
    ];
    for (open, victim) in cases {
        let open: Vec<(IpAddr, bool)> = open
            .iter()
            .map(|(n, request_arrived)| (ip(*n), *request_arrived))
            .collect();
        assert_eq!(least_missed(&open), victim, "{open:?}");
    }
}
