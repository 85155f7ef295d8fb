//! Token endpoints that stall, send too much, send wrong lengths, redirect, or present the wrong certificate (F50 to F54, F57). The content
//! of a body is tested by `issuer_faults` and the unit tests; these tests are about the transport.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::json;
use testenv::eventually;

use crate::{
    scenario::{Case, Mode, in_both_modes, world},
    support::{LATER, keys, merge, run},
};

/// A good answer, of an opaque token.
const GOOD: &str = r#"{"access_token":"opaque-31d0b7a5","token_type":"Bearer","expires_in":3600}"#;
/// Longer than apicred waits for an exchange.
const LONG: Duration = Duration::from_secs(40);

/// The behaviour on one connection.
#[derive(Clone)]
pub(crate) enum Act {
    /// Sends these bytes, and closes the connection.
    Say(Vec<u8>),
    /// Sends these bytes, and then nothing, with the connection open.
    Hang(Vec<u8>),
    /// Sends these bytes, one a second.
    Drip(Vec<u8>),
    /// Sends a head, and a gigabyte in chunks.
    Flood,
    /// HTTP/2, with these frames instead of an answer.
    Frames(Vec<u8>),
    /// Does not answer in the TLS handshake.
    Mute,
    /// Presents a certificate for this name, valid until this year, signed by the known authority or by another one.
    Show(&'static str, i32, bool),
}

/// A scripted endpoint; its threads end with the process. After the end of the script it answers correctly.
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) ca: String,
    requests: Arc<AtomicUsize>,
}

impl Endpoint {
    pub(crate) fn start(script: Vec<Act>) -> Self {
        let (authority, stranger) = (keys::authority(), keys::authority());
        let good = certificate(&authority, "127.0.0.1", 2999);
        let complete = script.into_iter().map(|act| {
            let config = match &act {
                Act::Show(name, until, true) => certificate(&authority, name, *until),
                Act::Show(name, until, false) => certificate(&stranger, name, *until),
                Act::Frames(_) => {
                    let mut config = ServerConfig::clone(&good);
                    config.alpn_protocols = vec![b"h2".to_vec()];
                    Arc::new(config)
                }
                _ => Arc::clone(&good),
            };
            (act, config)
        });
        let mut script: VecDeque<_> = complete.collect();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let next = script.pop_front();
                let (act, config) =
                    next.unwrap_or_else(|| (Act::Say(answer(GOOD)), Arc::clone(&good)));
                let count = Arc::clone(&count);
                std::thread::spawn(move || serve(stream, config, act, &count));
            }
        });
        Self {
            url: format!("https://{address}/token"),
            ca: authority.pem(),
            requests,
        }
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

pub(crate) fn certificate(by: &keys::Authority, name: &str, last_year: i32) -> Arc<ServerConfig> {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, by).expect("a certificate");
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("PEM");
    let config = ServerConfig::builder().with_no_client_auth();
    Arc::new(
        config
            .with_single_cert(chain, key)
            .expect("a certificate that can be used"),
    )
}

fn answer(body: &str) -> Vec<u8> {
    head(
        "200 OK",
        &format!("content-length: {}\r\nconnection: close", body.len()),
        body,
    )
}

fn head(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}\r\n\r\n{body}")
        .into_bytes()
}

/// Handles one connection. Errors are those of a client that closed it, which is expected.
fn serve(tcp: TcpStream, config: Arc<ServerConfig>, act: Act, count: &AtomicUsize) {
    let _ = tcp.set_read_timeout(Some(LONG));
    if matches!(act, Act::Mute) {
        return std::thread::sleep(LONG);
    }
    let connection = ServerConnection::new(config).expect("a configuration");
    let mut stream = StreamOwned::new(connection, tcp);
    let mut request = [0; 16 * 1024];
    let first = match stream.read(&mut request) {
        Ok(read) if read > 0 => &request[..read],
        _ => return,
    };
    count.fetch_add(1, Ordering::SeqCst);
    let _ = match act {
        Act::Say(bytes) => stream.write_all(&bytes).and_then(|()| {
            stream.conn.send_close_notify();
            stream.flush()
        }),
        Act::Hang(bytes) => stream
            .write_all(&bytes)
            .and_then(|()| stream.flush())
            .map(|()| {
                std::thread::sleep(LONG);
            }),
        Act::Drip(bytes) => bytes.iter().try_for_each(|byte| {
            std::thread::sleep(Duration::from_secs(1));
            stream.write_all(&[*byte]).and_then(|()| stream.flush())
        }),
        Act::Flood => {
            let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
            let first = head("200 OK", "transfer-encoding: chunked", "");
            stream
                .write_all(&first)
                .and_then(|()| (0..16 * 1024).try_for_each(|_| stream.write_all(&chunk)))
        }
        Act::Frames(frames) => crate::h2::play(&mut stream, first, &frames),
        Act::Mute | Act::Show(..) => Ok(()),
    };
}

/// A credential of an issuer at this endpoint.
pub(crate) async fn at(mode: Mode, name: &str, endpoint: &Endpoint) -> Case {
    let mut case = Case::within(world().await, name, mode).await;
    let oauth2 =
        json!({ "entra": null, "oauth2": { "tokenUrl": endpoint.url }, "caBundle": endpoint.ca });
    let spec = merge(case.place.entra_issuer(), oauth2);
    case.place.put_issuer(spec).await;
    case.start();
    case.place.create("c", json!({})).await;
    case
}

/// All of these in both modes, at once.
pub(crate) async fn each<const N: usize>(cases: [(&str, &str, Act); N]) {
    let scenarios = cases.iter().flat_map(|(name, reason, act)| {
        Mode::BOTH.map(|mode| Box::pin(once(mode, name, reason, act.clone())))
    });
    join_all(scenarios).await;
}

/// The endpoint does this once: it is reported with this reason, and the next attempt at its time succeeds.
async fn once(mode: Mode, name: &str, reason: &str, act: Act) {
    // Without a handshake no request must be sent.
    let silent = matches!(act, Act::Mute | Act::Show(..));
    let endpoint = Endpoint::start(vec![act]);
    let mut case = at(mode, name, &endpoint).await;
    eventually(LATER, format!("{name}: {reason}"), async || {
        let events = case.place.events("c").await;
        let reported = events.iter().any(|e| e.0 == "Warning" && e.1 == reason);
        if reported {
            Ok(())
        } else {
            Err(format!("{events:?}"))
        }
    })
    .await;
    // If an answer contained a token, the next request is sent only after minutes, or if a user requests it.
    if ["MalformedAnswer", "AnswerIncomplete"].contains(&reason) {
        case.place.request_renewal("c").await;
    }
    let view = case.until_ready(None).await;
    assert_eq!(view.token, "opaque-31d0b7a5");
    let most = if silent { 1 } else { 2 };
    let sent = endpoint.requests();
    assert!(sent <= most, "O3: {name}: {sent} requests");
    case.stays_quiet(Duration::from_millis(500)).await;
    case.stop().await;
}

#[test]
fn an_endpoint_that_stalls_anywhere_ends_by_the_deadline_of_the_exchange() {
    run(async {
        let open = head("200 OK", "content-length: 80", "{\"access_");
        each([
            ("f50-mute", "IssuerTimeout", Act::Mute),
            ("f50-accepts", "IssuerTimeout", Act::Hang(Vec::new())),
            (
                "f50-continue",
                "IssuerTimeout",
                Act::Hang(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
            ),
            ("f50-headers", "AnswerIncomplete", Act::Hang(open)),
            ("f50-drip", "IssuerTimeout", Act::Drip(answer(GOOD))),
        ])
        .await;
    });
}

#[test]
fn an_endpoint_that_lies_about_its_body_or_drowns_us_is_reported_and_outlived() {
    run(async {
        let long = head("200 OK", "content-length: 1073741824", GOOD);
        let half = head("200 OK", "content-length: 300", GOOD);
        let short = head("200 OK", "content-length: 20\r\nconnection: close", GOOD);
        let zip = head(
            "200 OK",
            "content-encoding: gzip\r\nconnection: close",
            "\u{1f}\u{8b}bomb",
        );
        let heads = head("200 OK", &format!("x-bomb: {}", "b".repeat(1 << 20)), GOOD);
        each([
            ("f51-flood", "AnswerTooLarge", Act::Flood),
            ("f51-lies-long", "AnswerIncomplete", Act::Say(long)),
            ("f50-half-close", "AnswerIncomplete", Act::Say(half)),
            ("f51-lies-short", "MalformedAnswer", Act::Say(short)),
            ("f51-gzip", "MalformedAnswer", Act::Say(zip)),
            ("f51-heads", "AnswerTooLarge", Act::Say(heads)),
        ])
        .await;
    });
}

#[test]
fn no_redirect_of_any_kind_is_followed() {
    run(async {
        let elsewhere = Endpoint::start(Vec::new());
        let to = |status: &str, location: &str| {
            let headers = format!("location: {location}\r\ncontent-length: 0\r\nconnection: close");
            Act::Say(head(status, &headers, ""))
        };
        let plain = elsewhere.url.replace("https", "http");
        let metadata = "http://169.254.169.254/latest";
        each([
            ("f53-301", "RedirectRefused", {
                to("301 Moved", &elsewhere.url)
            }),
            ("f53-302", "RedirectRefused", to("302 Found", &plain)),
            ("f53-303", "RedirectRefused", {
                to("303 See Other", &elsewhere.url)
            }),
            ("f53-307", "RedirectRefused", {
                to("307 Temporary", metadata)
            }),
            ("f53-308", "RedirectRefused", {
                to("308 Permanent", "/token")
            }),
        ])
        .await;
        assert_eq!(elsewhere.requests(), 0, "a redirect was followed");
    });
}

#[test]
fn a_certificate_that_is_not_the_issuers_gets_no_secret() {
    run(async {
        each([
            (
                "f54-name",
                "TlsFailed",
                Act::Show("other.example", 2999, true),
            ),
            (
                "f54-expired",
                "TlsFailed",
                Act::Show("127.0.0.1", 2021, true),
            ),
            (
                "f54-unknown",
                "TlsFailed",
                Act::Show("127.0.0.1", 2999, false),
            ),
        ])
        .await;
    });
}

/// The server closes the connection that the first token left open, as an idle one; the next request must
/// not fail because of it.
#[test]
fn a_connection_that_the_server_closed_while_idle_costs_no_failure() {
    run(in_both_modes(async |mode| {
        let keep = head("200 OK", &format!("content-length: {}", GOOD.len()), GOOD);
        let fresh = GOOD.replace("31d0", "42e1");
        let next = answer(&fresh);
        let endpoint = Endpoint::start(vec![Act::Say(keep), Act::Say(next)]);
        let mut case = at(mode, "f54-idle", &endpoint).await;
        let first = case.until_ready(None).await;
        case.place.request_renewal("c").await;
        let second = case.place.another_token("token", &first).await;
        assert_eq!(second.token, "opaque-42e1b7a5");
        let events = case.place.events("c").await;
        assert!(events.iter().all(|e| e.0 == "Normal"), "{events:?}");
        case.stop().await;
    }));
}

/// A cache before the issuer returns stored answers, with less lifetime each time (F57).
#[test]
fn an_issuer_that_repeats_its_token_gets_few_requests_and_nothing_is_written() {
    run(in_both_modes(async |mode| {
        let left = |seconds: u32| {
            let body = GOOD.replace("3600", &seconds.to_string());
            Act::Say(answer(&body))
        };
        let script = vec![left(3600), left(1700), left(1600), left(1500)];
        let endpoint = Endpoint::start(script);
        let mut case = at(mode, "f57", &endpoint).await;
        let first = case.until_ready(None).await;
        // After half of its lifetime: due, and the issuer returns the same token.
        case.pass(jiff::SignedDuration::from_secs(1850)).await;
        eventually(LATER, "an answer that repeats", async || {
            endpoint.requests() == 2
        })
        .await;
        for _ in 0..5 {
            case.nudge().await;
            case.stays_quiet(Duration::from_millis(300)).await;
        }
        assert_eq!(
            endpoint.requests(),
            2,
            "it is asked again after a while, not at once"
        );
        let view = case.place.view("token").await.expect("the Secret");
        assert_eq!(view.version, first.version, "nothing was written");
        case.stop().await;
    }));
}
