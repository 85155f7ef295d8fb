//! A listener that can stop and start again on its port.

use std::net::SocketAddr;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::connection::{Transport, serve};
use crate::error::Error;

const BACKLOG: u32 = 1024;

/// An address that is bound, not yet served: the published URLs may contain its port.
pub(crate) struct Bound {
    address: SocketAddr,
    listener: TcpListener,
}

/// A listener that serves. It stops when this is dropped.
pub(crate) struct Listener {
    address: SocketAddr,
    transport: Transport,
    router: Router,
    running: Mutex<Running>,
}

enum Running {
    Up(JoinHandle<()>),
    /// Bound, not listening: a connection is refused, and no other program can take the port. `None` if even that failed.
    Down(Option<TcpSocket>),
}

impl Bound {
    pub(crate) fn to(address: SocketAddr) -> Result<Self, Error> {
        let listener = listen(address)?;
        let address = listener
            .local_addr()
            .map_err(|source| Error::Listen { address, source })?;
        Ok(Self { address, listener })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn serve(self, transport: Transport, router: Router) -> Listener {
        let serving = serve(self.listener, transport.clone(), router.clone());
        Listener {
            address: self.address,
            transport,
            router,
            running: Mutex::new(Running::Up(tokio::spawn(serving))),
        }
    }
}

impl Listener {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn stop(&self) {
        let mut running = self.running.lock().await;
        if let Running::Up(task) = &mut *running {
            task.abort();
            // Its listener is closed only when the task has ended.
            let _ = task.await;
            *running = Running::Down(bind(self.address).ok());
        }
    }

    pub(crate) async fn start_again(&self) -> Result<(), Error> {
        let mut running = self.running.lock().await;
        let Running::Down(socket) = &mut *running else {
            return Ok(());
        };
        let address = self.address;
        let listener = match socket.take() {
            Some(socket) => socket
                .listen(BACKLOG)
                .map_err(|source| Error::Listen { address, source })?,
            None => listen(address)?,
        };
        let serving = serve(listener, self.transport.clone(), self.router.clone());
        *running = Running::Up(tokio::spawn(serving));
        Ok(())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Running::Up(task) = self.running.get_mut() {
            task.abort();
        }
    }
}

/// With address reuse: connections of the previous run may stay in the kernel for a minute.
fn bind(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv6() {
        TcpSocket::new_v6()?
    } else {
        TcpSocket::new_v4()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    bind(address)
        .and_then(|socket| socket.listen(BACKLOG))
        .map_err(|source| Error::Listen { address, source })
}
