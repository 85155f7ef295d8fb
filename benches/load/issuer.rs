//! The token server: as fast as possible, with a latency and a rate that can be changed while it runs. It is a
//! separate process, and prints its addresses on its standard output.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::Result;

/// A token is about as long as a token of Entra ID.
const TOKEN_BYTES: usize = 1_400;

/// The addresses of a server.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Addresses {
    pub(crate) token_url: String,
    pub(crate) control: String,
    pub(crate) ca_pem: String,
}

/// How it answers.
#[derive(Clone, Copy, Deserialize, Serialize)]
pub(crate) struct IssuerBehaviour {
    /// Time that an answer takes.
    pub(crate) latency_ms: u64,
    /// Requests per second, above which it answers 429; `None`: no limit.
    pub(crate) rate: Option<u32>,
    /// Lifetime of its tokens, in seconds.
    pub(crate) lifetime: u64,
}

impl Default for IssuerBehaviour {
    fn default() -> Self {
        Self {
            latency_ms: 0,
            rate: None,
            lifetime: 3_600,
        }
    }
}

/// Counts of requests so far.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Stats {
    /// Token requests, including refused ones.
    pub(crate) posts: usize,
    /// Those that were answered with 429.
    pub(crate) throttled: usize,
    /// Number of different clients.
    pub(crate) clients: usize,
    /// Requests of the client with the most requests.
    pub(crate) most: u32,
    /// Connections that were opened.
    pub(crate) accepted: usize,
    /// Open connections.
    pub(crate) open: usize,
    /// Requests over HTTP/2.
    pub(crate) http2: usize,
    /// Maximum number of concurrent requests.
    pub(crate) crowd: usize,
}

#[derive(Default)]
struct State {
    behaviour: IssuerBehaviour,
    stats: Stats,
    by_client: HashMap<String, u32>,
    now: usize,
    bucket: Option<(f64, Instant)>,
}

type Shared = Arc<Mutex<State>>;

fn with<T>(state: &Shared, use_it: impl FnOnce(&mut State) -> T) -> T {
    use_it(&mut state.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Serves until its standard input ends, which happens when the harness ends, in whatever way.
pub(crate) async fn serve() -> Result<()> {
    let authority = testenv::tls::Authority::new("bench issuer")?;
    let certificate = authority.loopback_certificate()?;
    let chain = vec![CertificateDer::from_pem_slice(
        certificate.certificate_pem.as_bytes(),
    )?];
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes())?;
    let mut tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tls = TlsAcceptor::from(Arc::new(tls));
    let tokens = TcpListener::bind("127.0.0.1:0").await?;
    let control = TcpListener::bind("127.0.0.1:0").await?;
    let addresses = Addresses {
        token_url: format!("https://{}/token", tokens.local_addr()?),
        control: format!("http://{}", control.local_addr()?),
        ca_pem: authority.ca_pem().to_owned(),
    };
    println!("{}", serde_json::to_string(&addresses)?);
    let state = Shared::default();
    let (mut stdin, mut rest) = (tokio::io::stdin(), Vec::new());
    tokio::select! {
        _ = stdin.read_to_end(&mut rest) => {}
        () = accept(tokens, Some(tls), Arc::clone(&state)) => {}
        () = accept(control, None, state) => {}
    }
    Ok(())
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Shared) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let state = Arc::clone(&state);
        match tls.clone() {
            None => tokio::spawn(converse(stream, state, false)),
            Some(tls) => tokio::spawn(async move {
                if let Ok(stream) = tls.accept(stream).await {
                    with(&state, |s| {
                        s.stats.accepted += 1;
                        s.stats.open += 1;
                    });
                    converse(stream, Arc::clone(&state), true).await;
                    with(&state, |s| s.stats.open -= 1);
                }
            }),
        };
    }
}

async fn converse<S>(stream: S, state: Shared, tokens: bool)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move {
            Ok::<_, Infallible>(if tokens {
                token(request, state).await
            } else {
                control(request, state).await
            })
        }
    });
    let builder = Builder::new(TokioExecutor::new());
    // A broken connection is an error of the client.
    let _ = builder
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

type Answer = Response<axum::body::Body>;

fn json(status: StatusCode, body: String) -> Answer {
    let mut answer = Response::new(axum::body::Body::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    answer
}

async fn body(request: Request<Incoming>) -> Bytes {
    axum::body::to_bytes(axum::body::Body::new(request.into_body()), 1 << 20)
        .await
        .unwrap_or_default()
}

async fn token(request: Request<Incoming>, state: Shared) -> Answer {
    let http2 = request.version() == http::Version::HTTP_2;
    let basic = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|v| {
            STANDARD
                .decode(v.to_str().ok()?.strip_prefix("Basic ")?)
                .ok()
        })
        .and_then(|v| String::from_utf8(v).ok())
        .and_then(|v| Some(v.split_once(':')?.0.to_owned()));
    let form = body(request).await;
    let client = basic.unwrap_or_else(|| {
        url::form_urlencoded::parse(&form)
            .find(|(name, _)| name == "client_id")
            .map(|(_, id)| id.into_owned())
            .unwrap_or_default()
    });
    let (behaviour, number, throttled) = with(&state, |s| {
        let mine = s.by_client.entry(client.clone()).or_default();
        *mine += 1;
        s.stats.most = s.stats.most.max(*mine);
        s.stats.clients = s.by_client.len();
        s.stats.posts += 1;
        s.stats.http2 += usize::from(http2);
        let throttled = s.behaviour.rate.is_some_and(|rate| s.is_too_fast(rate));
        s.stats.throttled += usize::from(throttled);
        s.now += 1;
        s.stats.crowd = s.stats.crowd.max(s.now);
        (s.behaviour, s.stats.posts, throttled)
    });
    if behaviour.latency_ms > 0 {
        tokio::time::sleep(Duration::from_millis(behaviour.latency_ms)).await;
    }
    with(&state, |s| s.now -= 1);
    if throttled {
        let mut answer = json(
            StatusCode::TOO_MANY_REQUESTS,
            r#"{"error":"temporarily_unavailable"}"#.to_owned(),
        );
        answer
            .headers_mut()
            .insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        return answer;
    }
    let mut token = format!("bench.{client}.{number}.");
    token.extend(std::iter::repeat_n('x', TOKEN_BYTES - token.len()));
    let lifetime = behaviour.lifetime;
    json(
        StatusCode::OK,
        format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{lifetime}}}"#),
    )
}

impl State {
    /// A token bucket that holds the requests of a fifth of a second.
    fn is_too_fast(&mut self, rate: u32) -> bool {
        let (rate, now) = (f64::from(rate), Instant::now());
        let (left, since) = self.bucket.unwrap_or((rate / 5.0, now));
        let left = (left + now.duration_since(since).as_secs_f64() * rate).min(rate / 5.0);
        let enough = left >= 1.0;
        self.bucket = Some((if enough { left - 1.0 } else { left }, now));
        !enough
    }
}

async fn control(request: Request<Incoming>, state: Shared) -> Answer {
    if request.method() == http::Method::POST {
        let Ok(behaviour) = serde_json::from_slice(&body(request).await) else {
            return json(StatusCode::BAD_REQUEST, "{}".to_owned());
        };
        with(&state, |s| {
            s.behaviour = behaviour;
            s.bucket = None;
        });
    }
    let stats = with(&state, |s| s.stats.clone());
    json(
        StatusCode::OK,
        serde_json::to_string(&stats).unwrap_or_default(),
    )
}
