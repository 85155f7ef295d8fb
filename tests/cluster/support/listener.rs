//! A token endpoint that only records the requests, byte by byte.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use testenv::tls::Authority;

/// Its answer to every request.
pub(crate) const ANSWER: &str =
    r#"{"access_token":"opaque-5f1c9d0b7a","token_type":"bearer","expires_in":"1200"}"#;

const PATH: &str = "/token?tenant=blue";

/// The issuer URL of a listener, from the `Host` header of this request.
pub(crate) fn issuer_of(request: &str) -> String {
    let host = request.lines().find_map(|l| l.strip_prefix("host: "));
    format!("https://{}", host.unwrap_or_default())
}

/// A listening endpoint; its thread ends with the process.
pub(crate) struct Listener {
    pub(crate) token_url: String,
    pub(crate) ca_pem: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Listener {
    /// Listens on loopback, over TLS and HTTP/1.1.
    pub(crate) fn start() -> Self {
        Self::answering("200 OK", |_| ANSWER.to_owned())
    }

    /// The same with an answer that depends on the request.
    pub(crate) fn answering(
        status: &'static str,
        answer: impl Fn(&str) -> String + Send + 'static,
    ) -> Self {
        Self::replying(move |request| reply(status, "", answer(request).as_bytes()))
    }

    /// The same with every byte of the answer ([`reply`]).
    pub(crate) fn replying(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        let authority = Authority::new("listener").expect("an authority");
        let certificate = authority.loopback_certificate().expect("a certificate");
        let chain = vec![
            CertificateDer::from_pem_slice(certificate.certificate_pem.as_bytes()).expect("PEM"),
        ];
        let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).expect("PEM");
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a usable certificate");
        let (config, listener) = (
            Arc::new(config),
            TcpListener::bind("127.0.0.1:0").expect("a port"),
        );
        let address = listener.local_addr().expect("an address");
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let notes = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                let connection =
                    ServerConnection::new(Arc::clone(&config)).expect("a usable configuration");
                let stream = StreamOwned::new(connection, stream);
                // The operator checks whether a server responds, with a request without content.
                let served = serve(stream, &answer);
                if let Some(request) = served.filter(|r| !r.starts_with("HEAD ")) {
                    notes
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(request);
                }
            }
        });
        Self {
            token_url: format!("https://{address}{PATH}"),
            ca_pem: authority.ca_pem().to_owned(),
            requests,
        }
    }

    /// Scheme, host and port.
    pub(crate) fn origin(&self) -> &str {
        self.token_url.strip_suffix(PATH).unwrap_or_default()
    }

    /// Head and body of each request.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// An answer; each of `headers` ends with a line break.
pub(crate) fn reply(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Reads one request to its end: head and body.
pub(crate) fn read_request(stream: &mut impl Read) -> Option<String> {
    let mut request = String::new();
    let mut part = [0; 4096];
    loop {
        let read = stream.read(&mut part).ok().filter(|n| *n > 0)?;
        request.push_str(&String::from_utf8_lossy(&part[..read]));
        let Some((head, body)) = request.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|l| {
            let line = l.to_ascii_lowercase();
            line.strip_prefix("content-length:")?.trim().parse().ok()
        });
        if body.len() >= length.unwrap_or(0_usize) {
            return Some(request);
        }
    }
}

/// Reads one request to its end and answers it.
fn serve(mut stream: impl Read + Write, answer: impl Fn(&str) -> Vec<u8>) -> Option<String> {
    let request = read_request(&mut stream)?;
    let whole = if request.starts_with("HEAD ") {
        reply("405 Method Not Allowed", "", b"")
    } else {
        answer(&request)
    };
    stream.write_all(&whole).ok()?;
    stream.flush().ok()?;
    Some(request)
}
