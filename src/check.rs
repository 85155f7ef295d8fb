//! `apicred check` reports whether an operator is ready and whether a replica leads. `helm test` runs it, because the image has no
//! shell.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use url::{Host, Url};

/// Time limit for one answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Pause before the next try. Each try uses a new connection, so that a Service can route it to any of the replicas.
const PAUSE: Duration = Duration::from_millis(500);
/// Largest answer that is read: with gauges for thousands of credentials, the metrics are megabytes.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Queries the admin server of an operator, or of several behind one address, until one leads and all queried ones are ready.
///
/// # Errors
/// The problem and the next step, if the problem persists for this time; at once if the address is not that of an admin server.
pub async fn check(admin: &Url, patience: Duration) -> Result<String, String> {
    if admin.scheme() != "http" || !admin.username().is_empty() || admin.password().is_some() {
        let (scheme, host) = (admin.scheme(), admin.host_str().unwrap_or("HOST"));
        return Err(format!(
            "--admin is an address with {scheme}, and the admin server of apicred answers plain HTTP without a user; give http://{host}:PORT"
        ));
    }
    let end = Instant::now() + patience;
    loop {
        let found = try_once(admin).await;
        if found.is_ok() || Instant::now() >= end {
            return found;
        }
        sleep(PAUSE).await;
    }
}

/// One try.
async fn try_once(admin: &Url) -> Result<String, String> {
    let (status, body) = get(admin, "readyz").await?;
    if status != 200 {
        return Err(format!(
            "the operator is not ready: {}; read its log",
            body.trim()
        ));
    }
    let (status, metrics) = get(admin, "metrics").await?;
    if status != 200 {
        return Err(format!(
            "the metrics of the operator cannot be read (status {status}: {}); try again, and read its log",
            metrics.trim()
        ));
    }
    let leads = metrics.lines().any(|line| line == "apicred_leader 1");
    if !leads {
        return Err(
            "no replica leads; read the log of the operator, and its Lease (kubectl get lease)"
                .to_owned(),
        );
    }
    let ours = env!("CARGO_PKG_VERSION");
    let theirs = version(&metrics).unwrap_or("unknown");
    if theirs != ours {
        return Err(format!(
            "the leader has version {theirs}, and this is {ours}; wait for the rollout (kubectl rollout status deployment)"
        ));
    }
    Ok(format!("apicred {ours} is ready, and a replica leads"))
}

/// The label `version` of the build.
fn version(metrics: &str) -> Option<&str> {
    let line = metrics
        .lines()
        .find(|line| line.starts_with("apicred_build_info{"))?;
    let (_, rest) = line.split_once("version=\"")?;
    rest.split_once('"').map(|(version, _)| version)
}

/// Gets a page and returns its status and body. It uses HTTP/1.0, so that the body ends with the connection.
async fn get(admin: &Url, page: &str) -> Result<(u16, String), String> {
    let unreachable = |why: &str| {
        format!(
            "{admin} does not answer ({why}); check that the Service has endpoints and that no network policy is in the way"
        )
    };
    let (Some(host), Some(port)) = (admin.host(), admin.port_or_known_default()) else {
        return Err(format!("{admin} names no host; give http://HOST:PORT"));
    };
    let host = match host {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    let exchange = async {
        let mut stream = TcpStream::connect((host.as_str(), port)).await?;
        let request = format!("GET /{page} HTTP/1.0\r\nhost: apicred\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(LARGEST).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = match timeout(ANSWER, exchange).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(unreachable(&error.to_string())),
        Err(_) => return Err(unreachable("no answer in 5 s")),
    };
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| unreachable("not HTTP"))?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
    status
        .map(|status| (status, body.to_owned()))
        .ok_or_else(|| unreachable("not HTTP"))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Answers each request for `/readyz` and `/metrics` with the result of the function for the number of the request.
    async fn served(answers: impl Fn(usize, &str) -> String + Send + 'static) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            for number in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 1024];
                let read = stream.read(&mut head).await.unwrap();
                let head = String::from_utf8_lossy(&head[..read]).into_owned();
                let page = head.split(' ').nth(1).unwrap_or_default();
                let _ = stream.write_all(answers(number, page).as_bytes()).await;
            }
        });
        Url::parse(&format!("http://127.0.0.1:{port}")).unwrap()
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\n{body}")
    }

    fn metrics(leader: u8, version: &str) -> String {
        ok(&format!(
            "# HELP x\napicred_build_info{{version=\"{version}\",revision=\"r\"}} 1\napicred_leader {leader}\n"
        ))
    }

    const NOW: Duration = Duration::ZERO;
    const OURS: &str = env!("CARGO_PKG_VERSION");

    #[tokio::test]
    async fn a_replica_that_leads_is_found_behind_one_address() {
        // The first two requests go to a standby.
        let admin = served(|number, page| match (page, number) {
            ("/readyz", _) => ok("ok\n"),
            (_, 0..2) => metrics(0, OURS),
            _ => metrics(1, OURS),
        })
        .await;
        let reported = check(&admin, Duration::from_secs(30)).await.unwrap();
        assert!(
            reported.contains(OURS) && reported.contains("leads"),
            "{reported}"
        );
    }

    #[tokio::test]
    async fn what_is_wrong_is_reported() {
        let standby = served(|_, page| {
            if page == "/readyz" {
                ok("ok\n")
            } else {
                metrics(0, OURS)
            }
        });
        let older = served(|_, page| {
            if page == "/readyz" {
                ok("ok\n")
            } else {
                metrics(1, "0.0.1")
            }
        });
        let unready =
            served(|_, _| "HTTP/1.0 503 Service Unavailable\r\n\r\nmissing: secrets\n".to_owned());
        let busy = served(|_, page| match page {
            "/readyz" => ok("ok\n"),
            _ => "HTTP/1.0 503 Service Unavailable\r\n\r\ntoo many requests\n".to_owned(),
        });
        let other = served(|_, _| "SSH-2.0-x\r\n".to_owned());
        for (admin, words) in [
            (standby.await, ["no replica leads", "lease"]),
            (older.await, ["0.0.1", OURS]),
            (unready.await, ["not ready", "missing: secrets"]),
            (busy.await, ["metrics", "503: too many requests"]),
            (other.await, ["not HTTP", "endpoints"]),
        ] {
            let reported = check(&admin, NOW).await.unwrap_err();
            for word in words {
                assert!(reported.contains(word), "no {word:?} in {reported}");
            }
        }
        // No request is sent if the address has a user.
        let mut leader = served(|_, page| match page {
            "/readyz" => ok("ok\n"),
            _ => metrics(1, OURS),
        })
        .await;
        assert!(check(&leader, NOW).await.is_ok());
        let begun = Instant::now();
        leader.set_username("robot").unwrap();
        let secure = Url::parse("https://127.0.0.1:1").unwrap();
        for wrong in [leader, secure, Url::parse("file:///tmp/x").unwrap()] {
            let reported = check(&wrong, Duration::from_mins(1)).await.unwrap_err();
            for word in ["--admin", wrong.scheme(), "plain HTTP", "http://"] {
                assert!(reported.contains(word), "no {word:?} in {reported}");
            }
        }
        assert!(
            begun.elapsed() < Duration::from_mins(1),
            "it is not tried again"
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let unused = Url::parse(&format!("http://127.0.0.1:{port}")).unwrap();
        let reported = check(&unused, NOW).await.unwrap_err();
        assert!(reported.contains("endpoints"), "{reported}");
    }
}
