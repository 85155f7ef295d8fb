//! The issuer of the soak: a separate program, which can be killed and stopped. It writes each request and each answer
//! into a journal before it continues, so that it remembers all of them after SIGKILL, and so that the soak can check them.
//!
//! No registration is needed: client secrets, assertions and first refresh tokens contain their client and a number.
//!
//! | Value | Form |
//! |---|---|
//! | client secret, subject token, assertion | `secret~CLIENT~NUMBER` |
//! | refresh token | `refresh~CLIENT~FAMILY~GENERATION` |
//! | access token | `access~CLIENT~NUMBER~CHANCE` |

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    cast::{GRACE, Kind},
    plan::Random,
};

/// Names of its files.
const JOURNAL: &str = "journal.jsonl";
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";

/// One line of the journal.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Entry {
    /// A request was read completely.
    Received {
        request: u64,
        at: Timestamp,
        client: String,
        /// The refresh token that it sent.
        refresh: Option<Refresh>,
    },
    /// The answer will contain this token.
    Issued {
        request: u64,
        at: Timestamp,
        token: String,
        client: String,
        scope: String,
        /// The number in the client secret, subject token or assertion.
        source: u64,
        expires: Timestamp,
        /// The refresh token in the same answer.
        next: Option<Refresh>,
    },
    /// A refresh token was used twice: its family is revoked.
    Reused {
        request: u64,
        at: Timestamp,
        refresh: Refresh,
    },
    /// The request is refused with this error.
    Refused { request: u64, error: String },
    /// The whole answer was passed to the kernel.
    Answered { request: u64, at: Timestamp },
}

/// A refresh token.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Refresh {
    pub(crate) client: String,
    /// Counts the sign-ins of a client.
    pub(crate) family: u64,
    /// Counts the refreshes since.
    pub(crate) generation: u64,
}

impl Refresh {
    /// The first one of a sign-in.
    pub(crate) fn first(client: &str, family: u64) -> Self {
        Self {
            client: client.to_owned(),
            family,
            generation: 0,
        }
    }

    pub(crate) fn text(&self) -> String {
        let (client, family, generation) = (&self.client, self.family, self.generation);
        format!("refresh~{client}~{family}~{generation}")
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("refresh~")?.split('~');
        Some(Self {
            client: parts.next()?.to_owned(),
            family: parts.next()?.parse().ok()?,
            generation: parts.next()?.parse().ok()?,
        })
    }

    pub(crate) fn key(&self) -> (String, u64) {
        (self.client.clone(), self.family)
    }
}

/// A client secret, subject token, assertion or static key of this number.
pub(crate) fn source(client: &str, number: u64) -> String {
    format!("secret~{client}~{number}")
}

/// Client and number in one of these.
pub(crate) fn parse_source(text: &str) -> Option<(&str, u64)> {
    let (client, number) = text.strip_prefix("secret~")?.split_once('~')?;
    Some((client, number.parse().ok()?))
}

/// What is needed to reach an issuer that was prepared in a folder.
pub(crate) struct Prepared {
    pub(crate) folder: PathBuf,
    pub(crate) ca_pem: String,
    pub(crate) port: u16,
}

/// Writes certificate and key, and chooses a port.
pub(crate) fn prepare(folder: &Path) -> Prepared {
    let authority = testenv::tls::Authority::new("soak issuer").expect("an authority");
    let certificate = authority.loopback_certificate().expect("a certificate");
    std::fs::write(folder.join(CERTIFICATE), &certificate.certificate_pem).expect("a file");
    std::fs::write(folder.join(KEY), &certificate.key_pem).expect("a file");
    Prepared {
        folder: folder.to_owned(),
        ca_pem: authority.ca_pem().to_owned(),
        port: testenv::free_port().expect("a port"),
    }
}

/// The entries of a journal, line by line. A line that a SIGKILL cut off is not an entry.
pub(crate) fn journal(folder: &Path) -> Vec<Entry> {
    let text = std::fs::read_to_string(folder.join(JOURNAL)).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[derive(Default)]
struct State {
    requests: u64,
    families: HashMap<(String, u64), Family>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Family {
    /// The newest generation.
    pub(crate) current: u64,
    /// When it replaced the one before.
    since: Option<Timestamp>,
    pub(crate) dead: bool,
}

impl State {
    fn replay(&mut self, entry: &Entry) {
        match entry {
            Entry::Received { request, .. } => self.requests = self.requests.max(*request),
            Entry::Issued {
                at,
                next: Some(next),
                ..
            } => {
                let family = self.families.entry(next.key()).or_default();
                if next.generation > family.current {
                    family.current = next.generation;
                    family.since = Some(*at);
                }
            }
            Entry::Reused { refresh, .. } => {
                self.families.entry(refresh.key()).or_default().dead = true;
            }
            Entry::Issued { .. } | Entry::Refused { .. } | Entry::Answered { .. } => {}
        }
    }
}

/// The families of refresh tokens at the end of a journal.
pub(crate) fn families(journal: &[Entry]) -> HashMap<(String, u64), Family> {
    let mut state = State::default();
    for entry in journal {
        state.replay(entry);
    }
    state.families
}

struct Issuer {
    state: Mutex<State>,
    journal: Mutex<File>,
    random: Mutex<Random>,
}

/// Serves until it is killed.
pub(crate) async fn serve(folder: &Path, port: u16) {
    let mut state = State::default();
    for entry in journal(folder) {
        state.replay(&entry);
    }
    let pem = |name: &str| std::fs::read(folder.join(name)).expect("a file");
    let chain = vec![CertificateDer::from_pem_slice(&pem(CERTIFICATE)).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_slice(&pem(KEY)).expect("a key");
    let tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a usable certificate");
    let tls = TlsAcceptor::from(Arc::new(tls));
    let mut journal = OpenOptions::new()
        .append(true)
        .create(true)
        .open(folder.join(JOURNAL))
        .expect("a journal");
    // Ends a line that SIGKILL cut off.
    journal.write_all(b"\n").expect("a write");
    let issuer = Arc::new(Issuer {
        random: Mutex::new(Random(state.requests)),
        state: Mutex::new(state),
        journal: Mutex::new(journal),
    });
    let listener = listen(port).await;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (issuer, tls) = (Arc::clone(&issuer), tls.clone());
        tokio::spawn(async move { converse(&issuer, tls, stream).await });
    }
}

async fn listen(port: u16) -> TcpListener {
    loop {
        // tokio sets SO_REUSEADDR, so that connections of the previous process do not matter.
        match TcpListener::bind(("127.0.0.1", port)).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Requests of HTTP/1.1 on one connection, one after the other.
async fn converse(issuer: &Issuer, tls: TlsAcceptor, stream: TcpStream) -> Option<()> {
    let _ = stream.set_nodelay(true);
    let mut stream = tls.accept(stream).await.ok()?;
    let mut read = Vec::new();
    loop {
        let (head, body) = loop {
            if let Some(request) = whole(&mut read) {
                break request;
            }
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
        };
        let (request, status, answer) = issuer.answer(&head, &body).await;
        let length = answer.len();
        let text = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{answer}"
        );
        stream.write_all(text.as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
        issuer.note(&Entry::Answered {
            request,
            at: Timestamp::now(),
        });
    }
}

/// Removes a complete request, if there is one: head and body.
fn whole(read: &mut Vec<u8>) -> Option<(String, String)> {
    let text = String::from_utf8_lossy(read).into_owned();
    let (head, rest) = text.split_once("\r\n\r\n")?;
    let length = head
        .lines()
        .find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let named = name.eq_ignore_ascii_case("content-length");
            named.then(|| value.trim().parse::<usize>().ok())?
        })
        .unwrap_or_default();
    let body = rest.get(..length)?;
    read.drain(..head.len() + 4 + length);
    Some((head.to_owned(), body.to_owned()))
}

impl Issuer {
    fn note(&self, entry: &Entry) {
        let line = serde_json::to_string(entry).expect("JSON") + "\n";
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.write_all(line.as_bytes()).expect("a write");
    }

    fn between(&self, low: u64, high: u64) -> u64 {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        random.between(low, high)
    }

    /// Returns the number of the request, a status and a body.
    async fn answer(&self, _head: &str, body: &str) -> (u64, &'static str, String) {
        let form: HashMap<String, String> = url::form_urlencoded::parse(body.as_bytes())
            .into_owned()
            .collect();
        let field = |name: &str| form.get(name).map(String::as_str);
        let refresh = field("refresh_token").and_then(Refresh::parse);
        let secret = field("assertion").or_else(|| field("client_secret"));
        let used_source = secret.and_then(parse_source);
        let client = used_source
            .map(|(client, _)| client)
            .unwrap_or_default()
            .to_owned();
        let request = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.requests += 1;
            state.requests
        };
        self.note(&Entry::Received {
            request,
            at: Timestamp::now(),
            client: client.clone(),
            refresh: refresh.clone(),
        });
        // Real issuers need some time, so that faults meet requests in flight.
        let most = if refresh.is_some() { 2_500 } else { 400 };
        tokio::time::sleep(Duration::from_millis(self.between(5, most))).await;
        let refused = |error: &str| {
            self.note(&Entry::Refused {
                request,
                error: error.to_owned(),
            });
            let body = format!(r#"{{"error":"{error}"}}"#);
            (request, "400 Bad Request", body)
        };
        let Some((_, number)) = used_source else {
            return refused("invalid_client");
        };
        if field("client_id").is_some_and(|id| id != client) {
            return refused("invalid_client");
        }
        if field("subject_token").is_some_and(|t| !t.starts_with(&format!("secret~{client}~"))) {
            return refused("invalid_request");
        }
        let is_refresh = field("grant_type") == Some("refresh_token");
        if is_refresh && refresh.as_ref().is_none_or(|r| r.client != client) {
            return refused("invalid_grant");
        }
        // Busy sometimes. Not for refresh tokens: their outcome would be unknown.
        if !is_refresh && self.between(0, 50) == 0 {
            return (request, "503 Service Unavailable", String::new());
        }
        let now = Timestamp::now();
        let refresh = refresh.filter(|_| is_refresh);
        let next = refresh.as_ref().map(|refresh| self.rotate(refresh, now));
        let Ok(next) = next.transpose() else {
            if let Some(refresh) = refresh {
                let at = now;
                self.note(&Entry::Reused {
                    request,
                    at,
                    refresh,
                });
            }
            return refused("invalid_grant");
        };
        let lifetime = self.between(24, 61);
        let token = format!("access~{client}~{request}~{}", self.between(1, u64::MAX));
        let scope = field("scope").unwrap_or_default().to_owned();
        let seconds = i64::try_from(lifetime).unwrap_or(60);
        self.note(&Entry::Issued {
            request,
            at: now,
            token: token.clone(),
            client,
            scope,
            source: number,
            expires: now + SignedDuration::from_secs(seconds),
            next: next.clone(),
        });
        let mut answer = serde_json::json!({
            "access_token": token, "token_type": "Bearer", "expires_in": lifetime,
        });
        if field("grant_type").is_some_and(|g| g.ends_with("token-exchange")) {
            answer["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token".into();
        }
        if let Some(next) = next {
            answer["refresh_token"] = next.text().into();
        }
        (request, "200 OK", answer.to_string())
    }

    /// The refresh token that follows this one; an error if this one was used before.
    fn rotate(&self, refresh: &Refresh, now: Timestamp) -> Result<Refresh, ()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let family = state.families.entry(refresh.key()).or_default();
        let next = |generation| Refresh {
            generation,
            ..refresh.clone()
        };
        if family.dead {
            return Err(());
        }
        if refresh.generation == family.current {
            family.current += 1;
            family.since = Some(now);
            return Ok(next(family.current));
        }
        let young = family.since.is_some_and(|s| now.duration_since(s) <= GRACE);
        let forgiving = Kind::of_client(&refresh.client) == Some(Kind::RefreshWindow);
        if forgiving && young && refresh.generation + 1 == family.current {
            return Ok(next(family.current));
        }
        family.dead = true;
        Err(())
    }
}
