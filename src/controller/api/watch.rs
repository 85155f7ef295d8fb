//! One list and watch of one kind. It replaces the watcher of kube, which stores a page of complete objects before they can be
//! trimmed. This one reads one object at a time, so its memory use does not depend on what other users store.

use std::{pin::Pin, time::Duration};

use futures::{AsyncBufRead, AsyncBufReadExt, Stream, stream};
use http::Request as HttpRequest;
use kube::{
    Client, Resource,
    api::{ListParams, WatchParams},
    core::Request,
    runtime::watcher::Event,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::list_body::{ListBody, Part};

/// The server ends a watch after this many seconds. The value is below 240 s, after which some load balancers silently drop idle connections.
const WATCH_SECONDS: u32 = 200;
/// A watch without data for this much longer than the server's timeout is considered dead.
const MARGIN: Duration = Duration::from_secs(5);
/// A watch that the server ends within this time without sending anything counts as failed.
const EARLY: Duration = Duration::from_secs(5);
/// The number of objects per page. Their size is not relevant here; the server has to build the page.
const PAGE: u32 = 500;
/// The maximum size of a buffer that is retained between two events.
const BUFFER: usize = 256 * 1024;

/// What is listed and watched.
pub(in crate::controller) struct Source {
    client: Client,
    request: Request,
    fields: Option<String>,
    metadata: bool,
    opened: Option<Opened>,
}

/// Called when the server has opened a watch: a quiet watch delivers no event that shows this.
type Opened = Box<dyn Fn() + Send + Sync>;

/// Why a list or watch failed, without text from the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::controller) struct WatchError(pub(in crate::controller) &'static str);

/// The function that decodes an object from its JSON.
pub(in crate::controller) type Read<T> = fn(&[u8]) -> Result<T, serde_json::Error>;

type Body = Pin<Box<dyn AsyncBufRead + Send>>;

impl Source {
    /// Complete objects at this URL of the API.
    pub(in crate::controller) fn objects(client: &Client, url: &str) -> Self {
        Self {
            client: client.clone(),
            request: Request::new(url),
            fields: None,
            metadata: false,
            opened: None,
        }
    }

    /// Only the metadata of the objects.
    pub(in crate::controller) fn metadata(client: &Client, url: &str) -> Self {
        Self {
            metadata: true,
            ..Self::objects(client, url)
        }
    }

    /// Only the objects that this field selector matches.
    pub(in crate::controller) fn only(self, fields: String) -> Self {
        Self {
            fields: Some(fields),
            ..self
        }
    }

    /// Calls this function each time a watch is opened.
    pub(in crate::controller) fn on_open(self, opened: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            opened: Some(Box::new(opened)),
            ..self
        }
    }

    /// Sends a list request without a resourceVersion: any API server answers it with the newest state.
    async fn list(&self, page: Option<&str>) -> Result<Body, kube::Error> {
        let params = ListParams {
            field_selector: self.fields.clone(),
            limit: Some(PAGE),
            continue_token: page.map(str::to_owned),
            ..ListParams::default()
        };
        let request = if self.metadata {
            self.request.list_metadata(&params)
        } else {
            self.request.list(&params)
        };
        self.send(request.map_err(kube::Error::BuildRequest)?).await
    }

    async fn watch(&self, version: &str) -> Result<Body, kube::Error> {
        let params = WatchParams {
            field_selector: self.fields.clone(),
            timeout: Some(WATCH_SECONDS),
            bookmarks: true,
            ..WatchParams::default()
        };
        let request = if self.metadata {
            self.request.watch_metadata(&params, version)
        } else {
            self.request.watch(&params, version)
        };
        self.send(request.map_err(kube::Error::BuildRequest)?).await
    }

    async fn send(&self, request: HttpRequest<Vec<u8>>) -> Result<Body, kube::Error> {
        Ok(Box::pin(self.client.request_stream(request).await?))
    }
}

enum State {
    Start,
    /// The next page of a list must be requested.
    Page(Option<String>),
    /// A page is being received.
    Items(Box<Page>),
    /// The list is complete up to this version, or a watch ended at this version.
    Listed(String),
    Watching(Box<Watching>),
}

struct Page {
    body: Body,
    list: ListBody,
    metadata: ListMetadata,
}

struct Watching {
    version: String,
    body: Body,
    opened: Instant,
    /// Whether the server has sent anything.
    heard: bool,
    line: Vec<u8>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ListMetadata {
    resource_version: String,
    #[serde(rename = "continue")]
    more: String,
}

/// An event of a watch.
#[derive(Deserialize)]
struct WatchEvent<'a> {
    r#type: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: ListMetadata,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

/// Lists, then watches. Never ends. After an error the next poll is the next attempt.
pub(in crate::controller) fn watch<T>(
    source: Source,
    read: Read<T>,
) -> impl Stream<Item = Result<Event<T>, WatchError>> + Send + 'static
where
    T: Resource + Send + 'static,
{
    stream::unfold(
        (source, State::Start),
        move |(source, mut state)| async move {
            loop {
                let (item, next) = step(&source, read, state).await;
                state = next;
                if let Some(item) = item {
                    return Some((item, (source, state)));
                }
            }
        },
    )
}

type Step<T> = (Option<Result<Event<T>, WatchError>>, State);

async fn step<T: Resource>(source: &Source, read: Read<T>, state: State) -> Step<T> {
    match state {
        State::Start => (Some(Ok(Event::Init)), State::Page(None)),
        State::Page(page) => match source.list(page.as_deref()).await {
            Ok(body) => {
                let page = Page {
                    body,
                    list: ListBody::default(),
                    metadata: ListMetadata::default(),
                };
                (None, State::Items(Box::new(page)))
            }
            Err(error) => (Some(Err(broken(&error, "the list failed"))), State::Start),
        },
        State::Items(mut page) => match page.next(read).await {
            Ok(Some(object)) => (Some(Ok(Event::InitApply(object))), State::Items(page)),
            Ok(None) => match page.metadata {
                ListMetadata { more, .. } if !more.is_empty() => (None, State::Page(Some(more))),
                ListMetadata {
                    resource_version, ..
                } if !resource_version.is_empty() => {
                    (Some(Ok(Event::InitDone)), State::Listed(resource_version))
                }
                _ => (
                    Some(Err(WatchError("the server gave no resourceVersion"))),
                    State::Start,
                ),
            },
            Err(broken) => (Some(Err(broken)), State::Start),
        },
        State::Listed(version) => match source.watch(&version).await {
            Ok(body) => {
                if let Some(opened) = &source.opened {
                    opened();
                }
                let watching = Watching {
                    version,
                    body,
                    opened: Instant::now(),
                    heard: false,
                    line: Vec::new(),
                };
                (None, State::Watching(Box::new(watching)))
            }
            Err(error) => {
                let what = broken(&error, "the watch could not be opened");
                let next = match error {
                    kube::Error::Api(status) if status.code == 410 => State::Start,
                    _ => State::Listed(version),
                };
                (Some(Err(what)), next)
            }
        },
        State::Watching(watching) => watching.step(read).await,
    }
}

impl Page {
    /// The next object; `None` at the end of the page.
    async fn next<T>(&mut self, read: Read<T>) -> Result<Option<T>, WatchError> {
        loop {
            let input = self.body.fill_buf().await;
            let input = input.map_err(|_| WatchError("the connection broke during the list"))?;
            if input.is_empty() {
                return Err(WatchError("the list ended early"));
            }
            let part = self.list.read(input);
            let (size, part) = part.map_err(|_| WatchError("the answer is not a list"))?;
            let malformed = |_| WatchError("the list contains something that is not an object");
            let next = match part {
                None => None,
                Some(Part::Item(item)) => Some(read(item).map(Some).map_err(malformed)),
                Some(Part::End) => Some(Ok(None)),
                Some(Part::Metadata(metadata)) => {
                    self.metadata = serde_json::from_slice(metadata).map_err(malformed)?;
                    None
                }
            };
            self.body.as_mut().consume(size);
            if let Some(next) = next {
                return next;
            }
        }
    }
}

impl Watching {
    async fn step<T: Resource>(mut self: Box<Self>, read: Read<T>) -> Step<T> {
        self.line.clear();
        self.line.shrink_to(BUFFER);
        let silence = Duration::from_secs(WATCH_SECONDS.into()) + MARGIN;
        let line = self.body.read_until(b'\n', &mut self.line);
        match tokio::time::timeout(silence, line).await {
            // The rest is an incomplete line of an event; the next watch delivers the event again.
            Ok(Ok(_)) if self.line.last() != Some(&b'\n') => self.ended(),
            Ok(Ok(_)) => self.event(read),
            Ok(Err(_)) => self.again("the connection broke"),
            Err(_) => self.again("the server was silent for too long"),
        }
    }

    /// Handles the end of a watch: the server ends watches after their timeout.
    fn ended<T>(self) -> Step<T> {
        if !self.heard && self.opened.elapsed() < EARLY {
            return self.again("the server ended it at once");
        }
        (None, State::Listed(self.version))
    }

    fn again<T>(self, why: &'static str) -> Step<T> {
        (Some(Err(WatchError(why))), State::Listed(self.version))
    }

    fn event<T: Resource>(mut self: Box<Self>, read: Read<T>) -> Step<T> {
        self.heard = true;
        let line = std::mem::take(&mut self.line);
        let Ok(WatchEvent { r#type, object }) = serde_json::from_slice(&line) else {
            return self.again("the server sent something that is not an event");
        };
        let event = match r#type {
            "ADDED" | "MODIFIED" => read(object.get().as_bytes()).map(Event::Apply),
            "DELETED" => read(object.get().as_bytes()).map(Event::Delete),
            "BOOKMARK" => match serde_json::from_str::<Bookmark>(object.get()) {
                Ok(bookmark) if !bookmark.metadata.resource_version.is_empty() => {
                    self.version = bookmark.metadata.resource_version;
                    self.line = line;
                    return (None, State::Watching(self));
                }
                _ => return self.again("the server gave no resourceVersion"),
            },
            _ => {
                let code = serde_json::from_str::<Status>(object.get()).map_or(0, |s| s.code);
                return if code == 410 {
                    (
                        Some(Err(WatchError("too old; listing again"))),
                        State::Start,
                    )
                } else {
                    self.again("the server ended it with an error")
                };
            }
        };
        let Ok(Event::Apply(object) | Event::Delete(object)) = &event else {
            return self.again("the server sent something that is not an object");
        };
        let Some(version) = object.meta().resource_version.clone() else {
            return (
                Some(Err(WatchError("the server gave no resourceVersion"))),
                State::Start,
            );
        };
        self.version = version;
        self.line = line;
        (event.ok().map(Ok), State::Watching(self))
    }
}

fn broken(error: &kube::Error, otherwise: &'static str) -> WatchError {
    let kube::Error::Api(status) = error else {
        return WatchError(otherwise);
    };
    WatchError(match status.code {
        401 => "not authenticated; is the service account token valid?",
        403 => "forbidden; the operator's role lacks list and watch on this kind",
        404 => "the kind is not known to the server; are the CRDs installed?",
        410 => "too old; listing again",
        429 => "the server is busy",
        _ => "the server refused",
    })
}
