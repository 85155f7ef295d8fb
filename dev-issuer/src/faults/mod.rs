//! Scripted faults: the effect, the client, the number of requests.

mod effects;

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub(crate) use effects::{distort, replacement};

/// A fault that waits for its requests. Each request takes the first fault that matches it.
///
/// As JSON: `{"client": "demo", "times": 2, "latencyMs": 500, "effect": {"tooManyRequests": {"retryAfter": {"seconds": 7}}}}`;
/// an effect without settings is a word: `{"effect": "drop"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Fault {
    /// Only requests of this client; every request if not set.
    pub client: Option<String>,
    /// The part of the server to which it applies.
    pub on: Surface,
    /// How many requests it affects; all of them until it is cleared, if not set.
    pub times: Option<u32>,
    /// Waits this long before the request is checked.
    pub latency_ms: u64,
    /// The effect on the answer.
    pub effect: Effect,
}

/// A part of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Surface {
    /// The token endpoints.
    #[default]
    Token,
    /// Discovery documents and key sets. The client is not known there.
    Metadata,
    /// The protected API. The client is not known before the token was read.
    Api,
    /// The endpoints of managed identities.
    Identity,
    /// The endpoints at which sign-ins start: `authorize` and those for device codes.
    SignIn,
    /// The revocation endpoint.
    Revocation,
    /// Microsoft Graph. The client is not known before the token was read.
    Graph,
    /// The endpoints of a second request that completes a token. The client is not known there.
    SecondRequest,
    /// The updates of clients' registrations (RFC 7592).
    Registration,
}

/// The effect on the answer. Effects that state it replace the issuer's answer: no token is issued. The others change
/// an answer that was issued and recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
#[non_exhaustive]
pub enum Effect {
    /// None: for a delay alone.
    #[default]
    None,
    /// 429 instead of an answer; nothing is minted.
    TooManyRequests {
        /// The header, if any.
        #[serde(default)]
        retry_after: Option<RetryAfter>,
    },
    /// A status instead of an answer; nothing is minted.
    Status {
        /// The status, such as 503.
        status: u16,
        /// The body, as plain text.
        #[serde(default)]
        body: Option<String>,
        /// The header, if any.
        #[serde(default)]
        retry_after: Option<RetryAfter>,
    },
    /// A redirect instead of an answer; nothing is minted.
    Redirect {
        /// 301, 302, 307 or 308.
        status: u16,
        /// The target.
        location: String,
    },
    /// An OAuth error with status 200; nothing is minted.
    ErrorWith200,
    /// Entra's error with this number, with `suberror` and `claims` if they belong to it; nothing is minted.
    Aadsts {
        /// The number, such as 53003 for Conditional Access.
        code: u32,
    },
    /// Exactly this answer; nothing is minted.
    Custom {
        /// The status.
        status: u16,
        /// Headers, as pairs.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The body.
        #[serde(default)]
        body: String,
    },
    /// An error of the server after the request took effect; at token endpoints, at Graph and at registrations.
    ErrorAfter {
        /// The status, such as 500.
        status: u16,
    },
    /// The connection closes and the answer is lost, with all others on that connection.
    Drop,
    /// No answer until the faults are cleared; then the request is checked as usual.
    Hang,
    /// 200 and no body.
    Empty,
    /// 204.
    NoContent,
    /// 200 and a web page, as a proxy or a captive portal sends it.
    Html,
    /// The first half of the body, with a length that fits.
    Truncated,
    /// A body that is valid JSON but longer than a client should read; sent in chunks.
    Huge {
        /// Its length.
        #[serde(default = "two_mebibytes")]
        bytes: usize,
    },
    /// `access_token` and `expires_in` twice, first with other values.
    DuplicateKeys,
    /// No `access_token`.
    MissingAccessToken,
    /// Another `expires_in`; `expires_on` is removed, so that nothing else states the lifetime.
    ExpiresIn {
        /// The JSON to write there, such as `0`, `-1`, `"3599"`, `1e400`; no such field if not set.
        #[serde(default)]
        json: Option<String>,
    },
    /// Another `token_type`, such as `DPoP`.
    TokenType {
        /// The value.
        value: String,
    },
    /// A line break at the end of the token.
    TokenWithNewline,
    /// A gzip header with a body that is not compressed.
    GzipLie,
    /// The correct answer, byte by byte.
    Slow {
        /// Pause before each byte.
        #[serde(default = "one_second")]
        ms_per_byte: u64,
    },
}

/// A `Retry-After` header (RFC 9110 section 10.2.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RetryAfter {
    /// A number of seconds.
    Seconds(u64),
    /// A date, this many seconds from now (or ago).
    DateIn(i64),
    /// Any text, also one that no client can read.
    Text(String),
}

fn two_mebibytes() -> usize {
    2 * 1024 * 1024
}

fn one_second() -> u64 {
    1000
}

impl Fault {
    /// A fault for every token request until it is cleared.
    pub fn new(effect: Effect) -> Self {
        Self {
            effect,
            ..Self::default()
        }
    }

    /// Only a delay.
    pub fn latency(milliseconds: u64) -> Self {
        Self {
            latency_ms: milliseconds,
            ..Self::default()
        }
    }

    /// Only for this client.
    #[must_use]
    pub fn client(mut self, id: impl Into<String>) -> Self {
        self.client = Some(id.into());
        self
    }

    /// Only this many times.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// For another part of the server.
    #[must_use]
    pub fn on(mut self, surface: Surface) -> Self {
        self.on = surface;
        self
    }

    /// The name in the log.
    pub(crate) fn name(&self) -> String {
        let json = serde_json::to_value(&self.effect).unwrap_or_default();
        let name = match &json {
            serde_json::Value::Object(fields) => fields.keys().next().map(String::as_str),
            other => other.as_str(),
        };
        match name {
            Some("none") | None => "latency".to_owned(),
            Some(name) => name.to_owned(),
        }
    }
}

/// The waiting faults.
pub(crate) struct Faults {
    queue: Mutex<VecDeque<Fault>>,
    cleared: watch::Sender<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            queue: Mutex::default(),
            cleared: watch::Sender::new(0),
        }
    }
}

/// A fault that a request took.
pub(crate) struct Taken {
    pub(crate) fault: Fault,
    cleared: watch::Receiver<u64>,
}

impl Taken {
    /// Delay and hanging; returns when the request may continue.
    pub(crate) async fn delay(&mut self) {
        let latency = std::time::Duration::from_millis(self.fault.latency_ms);
        tokio::time::sleep(latency).await;
        if self.fault.effect == Effect::Hang {
            // An error means that the issuer is gone, and this task with it.
            let _ = self.cleared.changed().await;
        }
    }
}

impl Faults {
    pub(crate) fn add(&self, fault: Fault) {
        self.queue().push_back(fault);
    }

    pub(crate) fn clear(&self) {
        let mut queue = self.queue();
        queue.clear();
        self.cleared.send_modify(|count| *count += 1);
    }

    /// The number of requests that are still affected, without faults that affect all.
    pub(crate) fn pending(&self) -> u32 {
        let queue = self.queue();
        queue.iter().filter_map(|fault| fault.times).sum()
    }

    pub(crate) fn take(&self, surface: Surface, client: Option<&str>) -> Option<Taken> {
        let mut queue = self.queue();
        let index = queue.iter().position(|fault| {
            let named = fault.client.as_deref();
            fault.on == surface && (named.is_none() || named == client) && fault.times != Some(0)
        })?;
        let fault = queue.get_mut(index)?;
        if let Some(times) = &mut fault.times {
            *times -= 1;
        }
        let taken = Taken {
            fault: fault.clone(),
            // Under the same lock as `clear`, so that no clearing is missed.
            cleared: self.cleared.subscribe(),
        };
        queue.retain(|fault| fault.times != Some(0));
        Some(taken)
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, VecDeque<Fault>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
