//! An issuer that rotates refresh tokens and treats a second use as theft, with a script of its next answers.
//! It keeps connections open, as real ones do.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::{
    hostile::certificate,
    support::{keys, listener::read_request},
};

/// The only client that is registered.
pub(crate) const CLIENT: &str = "user-app";

/// Its action for the next request.
#[derive(Clone)]
pub(crate) enum Act {
    /// Rotates and sends this answer, in which `NEW` is replaced by the new refresh token: status line, content type,
    /// body.
    Grant(&'static str, &'static str, String),
    /// Rotates, and sends only this many bytes of the usual answer.
    GrantPart(usize),
    /// Rotates, and closes without an answer.
    GrantAndClose,
    /// Rotates, and sends nothing.
    GrantAndHang,
    /// Rotates, and sends the usual answer after this time.
    GrantLate(Duration),
    /// Closes, and has issued nothing.
    Close,
    /// Refuses with this status and body.
    Refuse(&'static str, &'static str),
}

/// The state of the issuer.
#[derive(Default)]
pub(crate) struct Family {
    /// The refresh token that may be used; none after a second use.
    pub(crate) current: Option<String>,
    /// Used ones, with the time of their use.
    spent: Vec<(String, Instant)>,
    /// Uses of a used one, after the grace period.
    pub(crate) reused: usize,
    /// Refresh tokens that it received.
    pub(crate) requests: Vec<String>,
    pub(crate) connections: usize,
    /// Refresh tokens that clients have revoked.
    pub(crate) revoked: usize,
    pub(crate) script: VecDeque<Act>,
    /// For how long a used one may be sent again.
    pub(crate) grace: Duration,
    /// Lifetime of its access tokens, in seconds.
    pub(crate) lifetime: u32,
    issued: usize,
}

impl Family {
    fn rotate(&mut self, sent: &str) -> String {
        self.spent.push((sent.to_owned(), Instant::now()));
        self.next()
    }

    fn next(&mut self) -> String {
        self.issued += 1;
        // Long enough to differ from words in the search for leaks.
        let token = format!("rt~{}~{}", crate::support::unique(), self.issued);
        self.current = Some(token.clone());
        token
    }

    /// Whether this may be used now.
    fn decide(&mut self, sent: &str, client: &str) -> bool {
        // RFC 6749 section 5.2: issued to another client.
        if client != CLIENT {
            return false;
        }
        if self.current.as_deref() == Some(sent) {
            return true;
        }
        if let Some((_, at)) = self.spent.iter().find(|(t, _)| t == sent) {
            if self.current.is_some() && at.elapsed() < self.grace {
                return true;
            }
            self.reused += 1;
            self.current = None;
        }
        false
    }
}

/// A running issuer; its threads end with the process.
pub(crate) struct Rotating {
    pub(crate) url: String,
    pub(crate) ca: String,
    family: Arc<Mutex<Family>>,
}

impl Rotating {
    pub(crate) fn start() -> Self {
        let authority = keys::authority();
        let config = certificate(&authority, "127.0.0.1", 2999);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let family = Arc::new(Mutex::new(Family {
            lifetime: 3600,
            ..Family::default()
        }));
        let shared = Arc::clone(&family);
        std::thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let (family, config) = (Arc::clone(&shared), Arc::clone(&config));
                std::thread::spawn(move || serve(stream, config, &family));
            }
        });
        Self {
            url: format!("https://{address}/token"),
            ca: authority.pem(),
            family,
        }
    }

    pub(crate) fn family(&self) -> MutexGuard<'_, Family> {
        self.family.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A refresh token as a sign-in leaves it.
    pub(crate) fn sign_in(&self) -> String {
        self.family().next()
    }

    /// The actions for the next requests.
    pub(crate) fn script(&self, acts: impl IntoIterator<Item = Act>) {
        self.family().script.extend(acts);
    }

    pub(crate) fn requests(&self) -> usize {
        self.family().requests.len()
    }

    pub(crate) fn reused(&self) -> usize {
        self.family().reused
    }

    pub(crate) fn connections(&self) -> usize {
        self.family().connections
    }
}

/// The bytes of an answer, and whether the connection stays open.
enum Reply {
    Say(String),
    Part(String),
    Late(Duration, String),
    Hang,
    Close,
}

/// Serves one connection. Errors are those of a client that closed it.
fn serve(tcp: TcpStream, config: Arc<ServerConfig>, family: &Mutex<Family>) {
    let _ = tcp.set_read_timeout(Some(Duration::from_mins(2)));
    let connection = ServerConnection::new(config).expect("a configuration");
    let mut stream = StreamOwned::new(connection, tcp);
    let mut first = true;
    while let Some(request) = read(&mut stream) {
        let reply = {
            let mut family = family.lock().unwrap_or_else(PoisonError::into_inner);
            family.connections += usize::from(std::mem::take(&mut first));
            answer(&mut family, &request)
        };
        if let Reply::Late(wait, _) = &reply {
            std::thread::sleep(*wait);
        }
        match reply {
            Reply::Say(text) | Reply::Late(_, text) => {
                if stream.write_all(text.as_bytes()).is_err() || stream.flush().is_err() {
                    return;
                }
            }
            Reply::Part(text) => {
                let _ = stream.write_all(text.as_bytes());
                let _ = stream.flush();
                return;
            }
            Reply::Hang => std::thread::sleep(Duration::from_mins(1)),
            Reply::Close => return,
        }
    }
}

/// Reads one request; returns its body.
fn read(stream: &mut impl Read) -> Option<String> {
    let request = read_request(stream)?;
    let (_, body) = request.split_once("\r\n\r\n")?;
    Some(body.to_owned())
}

fn answer(family: &mut Family, body: &str) -> Reply {
    let form: std::collections::HashMap<String, String> =
        url::form_urlencoded::parse(body.as_bytes())
            .into_owned()
            .collect();
    let field = |name: &str| form.get(name).cloned().unwrap_or_default();
    if form.contains_key("token") {
        family.revoked += 1;
        family.current = None;
        return Reply::Say(say("200 OK", "application/json", "{}"));
    }
    let (sent, client) = (field("refresh_token"), field("client_id"));
    family.requests.push(sent.clone());
    let act = family.script.pop_front();
    match act {
        Some(Act::Close) => return Reply::Close,
        Some(Act::Refuse(status, body)) => {
            return Reply::Say(say(status, "application/json", body));
        }
        _ => {}
    }
    if !family.decide(&sent, &client) {
        let refused = r#"{"error":"invalid_grant"}"#;
        return Reply::Say(say("400 Bad Request", "application/json", refused));
    }
    let new = family.rotate(&sent);
    let usual = format!(
        r#"{{"refresh_token":"{new}","access_token":"at~{}","token_type":"Bearer","expires_in":{}}}"#,
        crate::support::unique(),
        family.lifetime
    );
    let usual = say("200 OK", "application/json", &usual);
    match act {
        Some(Act::Grant(status, kind, body)) => {
            Reply::Say(say(status, kind, &body.replace("NEW", &new)))
        }
        Some(Act::GrantPart(most)) => Reply::Part(usual[..most.min(usual.len())].to_owned()),
        Some(Act::GrantLate(wait)) => Reply::Late(wait, usual),
        Some(Act::GrantAndClose) => Reply::Close,
        Some(Act::GrantAndHang) => Reply::Hang,
        _ => Reply::Say(usual),
    }
}

fn say(status: &str, kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
