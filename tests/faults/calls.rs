//! A call of the API server, and its possible faults.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::Request;
use kube::client::Body;
use tokio::sync::{Notify, Semaphore};

use crate::stream::StreamFault;

/// The subject of a request, with the names of RBAC and audit logs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Call {
    /// `get`, `list`, `watch`, `create`, `patch`, …
    pub(crate) verb: &'static str,
    /// With its subresource: `apicredentials/status`.
    pub(crate) resource: String,
    /// Empty for lists and creates.
    pub(crate) name: String,
}

impl Call {
    pub(crate) fn of(request: &Request<Body>) -> Self {
        let uri = request.uri();
        let parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        // `api/v1/…` or `apis/group/version/…`
        let skip = if parts[0] == "api" { 2 } else { 3 };
        let mut rest = parts.get(skip..).unwrap_or_default();
        if rest.first() == Some(&"namespaces") && rest.len() > 2 {
            rest = &rest[2..];
        }
        let kind = (*rest.first().unwrap_or(&"")).to_owned();
        let name = (*rest.get(1).unwrap_or(&"")).to_owned();
        let resource = rest
            .get(2)
            .map_or_else(|| kind.clone(), |sub| format!("{kind}/{sub}"));
        let watch = uri.query().is_some_and(|q| q.contains("watch=true"));
        let verb = match request.method().as_str() {
            "GET" if watch => "watch",
            "GET" if name.is_empty() => "list",
            "GET" => "get",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            _ => "delete",
        };
        Self {
            verb,
            resource,
            name,
        }
    }

    /// Neither a list nor a watch.
    pub(crate) fn is_single(&self) -> bool {
        !matches!(self.verb, "list" | "watch")
    }

    pub(crate) fn writes(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch")
    }

    /// As text.
    pub(crate) fn text(&self) -> String {
        format!("{} {} {}", self.verb, self.resource, self.name)
    }
}

/// The fault that a request gets.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// A program in between answers, and the server does not receive the request: status, headers, body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// The server executes it, and this answer is sent instead.
    DoneBut(u16, String),
    /// The server executes it, and half of its answer arrives.
    Half,
    /// The connection breaks before the request is sent.
    Reset,
    /// The connection breaks after the server has executed it.
    Lost,
    /// No answer arrives, and the server does not receive the request.
    Hole,
    /// The server executes it, and its answer does not arrive.
    HoleAfter,
    /// The server executes it, and its answer is delivered when this is notified.
    LateAfter(Arc<Notify>),
    /// The server executes it, and the connection breaks when this is notified.
    LostAfter(Arc<Notify>),
    /// The server executes it, and the end of its answer arrives when this is closed.
    Paused(Arc<Semaphore>),
    /// It takes this long.
    Slow(Duration),
    /// It is held back until this is notified.
    Held(Arc<Notify>),
    /// The work that makes the request panics before it is sent.
    Panic,
    /// The operator is killed before the request is sent.
    Crash,
    /// The operator is killed after the server has executed it.
    CrashAfter,
    /// The watch opens, and its stream has this fault.
    Stream(StreamFault),
}

impl Fault {
    /// An answer in the form of the API server.
    pub(crate) fn status(code: u16, reason: &str, headers: &[(&'static str, &str)]) -> Self {
        Self::Answer(code, owned(headers), failure(code, reason))
    }
}

fn owned(headers: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let json = [("content-type", "application/json")];
    let all = json.iter().chain(headers);
    all.map(|(name, value)| (*name, (*value).to_owned()))
        .collect()
}

/// The body of an error.
pub(crate) fn failure(code: u16, reason: &str) -> String {
    serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("a test answers {code}"), "reason": reason, "code": code,
    })
    .to_string()
}

/// One request that the operator made.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) call: Call,
    pub(crate) at: Instant,
    /// The status that the server answered; none if it did not get the request, or has not answered yet.
    pub(crate) answered: Option<u16>,
    /// Whether it had a fault.
    pub(crate) spoilt: bool,
}

impl Entry {
    /// Whether it failed. A missing answer does not count.
    pub(crate) fn is_trouble(&self) -> bool {
        self.spoilt || self.answered.is_some_and(|code| code >= 400 && code != 404)
    }
}
