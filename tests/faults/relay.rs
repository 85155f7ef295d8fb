//! Forwards TCP connections, and stops to do so as networks and middleboxes do: without a FIN and without a reset.

use std::{net::SocketAddr, path::Path};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Its present state.
#[derive(Clone, Default)]
struct State {
    /// The target of new connections.
    to: String,
    /// Connections older than this are dead: both ends stay open, and no bytes are forwarded.
    dead: usize,
    /// Connections older than this are closed.
    cut: usize,
    /// No bytes are forwarded.
    paused: bool,
    made: usize,
}

/// Forwards connections to a server.
pub(crate) struct Relay {
    address: SocketAddr,
    state: watch::Sender<State>,
}

impl Relay {
    /// To `host:port`.
    pub(crate) async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let to = bare(server);
        let (state, _) = watch::channel(State {
            to,
            ..State::default()
        });
        let states = state.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let number = states.borrow().made;
                states.send_modify(|s| s.made += 1);
                tokio::spawn(carry(near, number, states.subscribe()));
            }
        });
        Self { address, state }
    }

    /// Its listening address, as `host:port`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// All present connections are dead without a reset; new ones are forwarded.
    pub(crate) fn freeze(&self) {
        self.state.send_modify(|s| s.dead = s.made);
    }

    /// No bytes are forwarded until [`Relay::go_on`].
    pub(crate) fn pause(&self) {
        self.state.send_modify(|s| s.paused = true);
    }

    pub(crate) fn go_on(&self) {
        self.state.send_modify(|s| s.paused = false);
    }

    /// Closes all connections; new ones are forwarded to this server.
    pub(crate) fn lead_to(&self, server: &str) {
        self.state.send_modify(|s| {
            s.to = bare(server);
            s.cut = s.made;
        });
    }

    /// Writes a kubeconfig that connects through it.
    pub(crate) fn kubeconfig(&self, usual: &Path, path: &Path) {
        let text = std::fs::read_to_string(usual).expect("a kubeconfig");
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        config["clusters"][0]["cluster"]["server"] = json!(format!("https://{}", self.address));
        std::fs::write(path, config.to_string()).expect("a kubeconfig");
    }
}

/// A URL without its scheme.
fn bare(url: &str) -> String {
    url.split("://").last().unwrap_or_default().to_owned()
}

async fn carry(near: TcpStream, number: usize, state: watch::Receiver<State>) {
    let to = state.borrow().to.clone();
    let Ok(far) = TcpStream::connect(to).await else {
        return;
    };
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let mut cut = state.clone();
    // The end of one half ends both: HTTP does not need half-open connections.
    tokio::select! {
        () = pump(near_in, far_out, number, state.clone()) => {}
        () = pump(far_in, near_out, number, state) => {}
        _ = cut.wait_for(|s| number < s.cut) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    number: usize,
    mut state: watch::Receiver<State>,
) {
    let mut part = [0; 16 * 1024];
    loop {
        let read = from.read(&mut part).await.unwrap_or_default();
        let moves = state
            .wait_for(|s| number >= s.dead && !s.paused)
            .await
            .is_ok();
        if read == 0 || !moves || to.write_all(&part[..read]).await.is_err() {
            return;
        }
    }
}
