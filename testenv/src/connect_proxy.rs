//! An HTTP proxy that opens connections (CONNECT) and does nothing else, like the proxies at the edge of a network.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Longest head of a request.
const MAX_HEAD: usize = 8192;

/// How it answers clients.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProxyBehaviour {
    /// Connects them.
    Open,
    /// Answers with this status.
    Refuse(u16),
    /// Reads the request and never answers.
    Hang,
}

/// The request of a client, and the answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectRequest {
    /// Host and port, as they were written.
    pub target: String,
    /// The status; `None` while there was no answer.
    pub status: Option<u16>,
}

/// A proxy on loopback. Its tunnels end with it.
pub struct ConnectProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// The required value of `Proxy-Authorization`.
    wants: Option<String>,
    behaviour: Mutex<ProxyBehaviour>,
    /// Addresses of targets whose names do not resolve to them.
    leads: Mutex<BTreeMap<String, SocketAddr>>,
    requests: Mutex<Vec<ConnectRequest>>,
    /// Counts how often all connections were closed.
    cuts: watch::Sender<u64>,
    /// Whether it listens.
    listens: watch::Sender<bool>,
}

impl ConnectProxy {
    /// Starts a proxy, for all clients or for one user with a password.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start(user: Option<(&str, &str)>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let basic = |(user, password)| STANDARD.encode(format!("{user}:{password}"));
        let shared = Arc::new(Shared {
            wants: user.map(|both| format!("Basic {}", basic(both))),
            behaviour: Mutex::new(ProxyBehaviour::Open),
            leads: Mutex::default(),
            requests: Mutex::default(),
            cuts: watch::Sender::new(0),
            listens: watch::Sender::new(true),
        });
        tokio::spawn(listen(listener, Arc::clone(&shared)));
        Ok(Self { address, shared })
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<ConnectRequest> {
        lock(&self.shared.requests).clone()
    }

    /// Applies from now on. All earlier connections are closed.
    pub fn behave(&self, behaviour: ProxyBehaviour) {
        *lock(&self.shared.behaviour) = behaviour;
        self.cut();
    }

    /// From now on, connections to this target (`host:port`) lead to this address, so that a public name leads to a local server.
    pub fn lead(&self, target: impl Into<String>, to: SocketAddr) {
        lock(&self.shared.leads).insert(target.into(), to);
    }

    /// Stops listening and ends all connections.
    pub async fn stop(&self) {
        self.shared.listens.send_replace(false);
        self.shared.listens.closed().await;
        self.cut();
    }

    /// Listens again, at the same address.
    ///
    /// # Errors
    /// If another program has taken the address.
    pub async fn start_again(&self) -> io::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        self.shared.listens.send_replace(true);
        tokio::spawn(listen(listener, Arc::clone(&self.shared)));
        Ok(())
    }

    fn cut(&self) {
        self.shared.cuts.send_modify(|n| *n += 1);
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.shared.listens.send_replace(false);
        self.cut();
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let mut listens = shared.listens.subscribe();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
            _ = listens.wait_for(|l| !l) => break,
        }
    }
    // Closed before `stop` continues: this receiver is dropped last.
    drop(listener);
}

/// Serves one connection, until it ends or all connections are closed.
async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    tokio::select! {
        _ = tunnel(stream, &shared) => {}
        _ = cuts.changed() => {}
    }
}

async fn tunnel(mut near: TcpStream, shared: &Shared) -> io::Result<()> {
    let head = head(&mut near).await?;
    let mut lines = head.lines();
    let target = lines
        .next()
        .and_then(|line| line.strip_prefix("CONNECT ")?.strip_suffix(" HTTP/1.1"))
        .unwrap_or_default()
        .to_owned();
    let given = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("proxy-authorization")
            .then(|| value.trim().to_owned())
    });
    let behaviour = *lock(&shared.behaviour);
    let mut far = None;
    let status = match behaviour {
        _ if target.is_empty() => 405,
        ProxyBehaviour::Hang => {
            note(shared, target, None);
            return std::future::pending().await;
        }
        ProxyBehaviour::Refuse(status) => status,
        ProxyBehaviour::Open if shared.wants.is_some() && given != shared.wants => 407,
        ProxyBehaviour::Open => match connect(shared, &target).await {
            Ok(stream) => {
                far = Some(stream);
                200
            }
            Err(_) => 502,
        },
    };
    note(shared, target, Some(status));
    near.write_all(format!("HTTP/1.1 {status} So\r\n\r\n").as_bytes())
        .await?;
    if let Some(mut far) = far {
        copy_bidirectional(&mut near, &mut far).await?;
    }
    Ok(())
}

async fn connect(shared: &Shared, target: &str) -> io::Result<TcpStream> {
    let elsewhere = lock(&shared.leads).get(target).copied();
    match elsewhere {
        Some(address) => TcpStream::connect(address).await,
        None => TcpStream::connect(target).await,
    }
}

fn note(shared: &Shared, target: String, status: Option<u16>) {
    lock(&shared.requests).push(ConnectRequest { target, status });
}

/// The head of a request. It is read byte by byte, so that the bytes after it remain unread.
async fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
