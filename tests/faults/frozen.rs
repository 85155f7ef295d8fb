//! Connections that are dead and do not say so (F12, F13): a relay between the operator and the API server stops
//! to carry what it has, without an end and without a reset.

use std::{net::SocketAddr, path::Path, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::{
    life::{Case, world},
    support::run,
};

/// The bound on a silent connection in this test. In the program it is 230 s, longer than any watch.
const SILENCE: Duration = Duration::from_secs(5);

/// Carries connections to the API server until it is frozen.
struct Relay {
    address: SocketAddr,
    /// How often it was frozen; each time all connections that stand then are dead.
    frozen: watch::Sender<usize>,
}

impl Relay {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (frozen, freezes) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut freezes = freezes.clone();
                freezes.mark_unchanged();
                let server = server.clone();
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(&server).await else {
                        return;
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = freezes.changed() => {
                            // Both ends stay open, and nothing moves any more.
                            std::future::pending::<()>().await;
                        }
                    }
                });
            }
        });
        Self { address, frozen }
    }

    fn freeze(&self) {
        self.frozen.send_modify(|times| *times += 1);
    }
}

/// The kubeconfig, with another address in it.
fn through(relay: &Relay, kubeconfig: &Path, path: &Path) {
    let text = std::fs::read_to_string(kubeconfig).expect("a kubeconfig");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    config["clusters"][0]["cluster"]["server"] = json!(format!("https://{}", relay.address));
    std::fs::write(path, config.to_string()).expect("a kubeconfig");
}

#[test]
fn connections_that_are_dead_and_silent_are_given_up_and_cost_nothing() {
    run(async {
        let world = world().await;
        let server = world.cluster.server_url().replace("https://", "");
        let relay = Relay::to(server).await;
        let folder = tempfile::tempdir().expect("a folder");
        let kubeconfig = folder.path().join("config");
        through(&relay, world.operator_kubeconfig(), &kubeconfig);
        let mut case = Case::new(world, "f13-frozen").await;
        case.kubeconfig = kubeconfig;
        case.silence = Some(SILENCE);
        case.start();
        case.place.create("c", json!({})).await;
        let mut last = case.until_ready(None).await;
        for round in 1..=2 {
            case.stays_quiet(Duration::from_millis(300)).await;
            relay.freeze();
            // Told on a watch that is dead.
            let wish = case.place.request_renewal("c").await;
            last = case.until_ready(Some((&last, Some(&wish)))).await;
            assert_eq!(case.place.posts(), 1 + round, "O3");
        }
        case.stays_quiet(Duration::from_secs(1)).await;
        case.stop().await;
    });
}
