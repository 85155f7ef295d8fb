//! A layer under the kube client: shows the operator one namespace as if it were the cluster, records each
//! request, and injects faults that a test names.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task,
    time::Instant,
};

use axum::body::Body as Answered;
use futures::{StreamExt, stream};
use http::{Request, Response};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, DynBody},
};
use tokio::sync::Notify;
use tower::{BoxError, Layer, Service};

use super::calls::{Call, Entry, Fault};

/// Returns the fault of a request, from its call. A rule counts matching earlier requests itself.
type Rule = Box<dyn FnMut(&Call) -> Option<Fault> + Send>;

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    journal: Vec<Entry>,
    dead: bool,
    /// For each answer that [`Wire::late_first`] delays: the trigger of its delivery, and a notification that it has arrived.
    late: Vec<(Arc<Notify>, Arc<Notify>)>,
}

struct Shared {
    /// The namespace and the cluster issuer that are shown.
    window: (String, String),
    state: Mutex<State>,
    died: Notify,
}

/// The layer between an operator and the API server. Clones are the same wire.
#[derive(Clone)]
pub(crate) struct Wire(Arc<Shared>);

impl Wire {
    /// A wire that shows one namespace and one cluster issuer.
    pub(crate) fn to(namespace: &str, issuer: &str) -> Self {
        Self(Arc::new(Shared {
            window: (namespace.to_owned(), issuer.to_owned()),
            state: Mutex::default(),
            died: Notify::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A rule about all requests from now on; the first rule that names a fault decides.
    pub(crate) fn rule(&self, rule: impl FnMut(&Call) -> Option<Fault> + Send + 'static) {
        self.state().rules.push(Box::new(rule));
    }

    /// Injects a fault into the `k`-th request (from 1 on) that fits, and no other.
    pub(crate) fn inject(&self, k: usize, fits: fn(&Call) -> bool, fault: Fault) {
        let mut seen = 0;
        self.rule(move |call| {
            seen += usize::from(fits(call));
            (fits(call) && seen == k).then(|| fault.clone())
        });
    }

    /// Holds back the first request that fits. Returns a receiver that reports its arrival, and a sender that releases it.
    pub(crate) fn hold_first(
        &self,
        fits: impl Fn(&Call) -> bool + Send + 'static,
    ) -> (Arc<Notify>, Arc<Notify>) {
        let (come, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (here, until) = (Arc::clone(&come), Arc::clone(&go));
        let mut done = false;
        self.rule(move |call| {
            let first = !done && fits(call);
            done |= first;
            first.then(|| {
                here.notify_one();
                Fault::Held(Arc::clone(&until))
            })
        });
        (come, go)
    }

    /// Delays the answer to the first request that fits. Returns one notification that the server has executed the
    /// request, and one that delivers the answer.
    pub(crate) fn late_first(
        &self,
        fits: impl FnMut(&Call) -> bool + Send + 'static,
    ) -> (Arc<Notify>, Arc<Notify>) {
        self.later_first(fits, Fault::LateAfter)
    }

    /// The same, and the second notification breaks the connection instead.
    pub(crate) fn lost_first(
        &self,
        fits: impl FnMut(&Call) -> bool + Send + 'static,
    ) -> (Arc<Notify>, Arc<Notify>) {
        self.later_first(fits, Fault::LostAfter)
    }

    fn later_first(
        &self,
        mut fits: impl FnMut(&Call) -> bool + Send + 'static,
        fault: fn(Arc<Notify>) -> Fault,
    ) -> (Arc<Notify>, Arc<Notify>) {
        let (done, deliver) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        self.state()
            .late
            .push((Arc::clone(&deliver), Arc::clone(&done)));
        let until = Arc::clone(&deliver);
        let mut seen = false;
        self.rule(move |call| {
            let first = !seen && fits(call);
            seen |= first;
            first.then(|| fault(Arc::clone(&until)))
        });
        (done, deliver)
    }

    /// Notifies that the server has executed the request whose answer waits for `deliver`.
    fn done(&self, deliver: &Arc<Notify>) {
        let state = self.state();
        let waiting = state.late.iter().filter(|(d, _)| Arc::ptr_eq(d, deliver));
        waiting.for_each(|(_, done)| done.notify_one());
    }

    /// All requests so far.
    pub(crate) fn journal(&self) -> Vec<Entry> {
        self.state().journal.clone()
    }

    /// Writes that the server has executed, by their subject.
    pub(crate) fn writes(&self) -> BTreeMap<String, usize> {
        let mut sums = BTreeMap::new();
        for entry in self.journal() {
            let done = entry.answered.is_some_and(|code| code < 300);
            if entry.call.writes() && done {
                *sums.entry(entry.call.text()).or_default() += 1;
            }
        }
        sums
    }

    /// Waits for the crash that a rule requested. No request passes from then on, until [`Wire::revive`].
    pub(crate) async fn died(&self) {
        self.0.died.notified().await;
    }

    /// The next operator may use it.
    pub(crate) fn revive(&self) {
        self.state().dead = false;
    }

    /// A client through this wire. It must be called on the runtime of the operator.
    pub(crate) fn client(&self, config: Config) -> Client {
        let builder = ClientBuilder::try_from(config).expect("a usable configuration");
        builder.with_layer(self).build()
    }

    /// The fault of a request, and its place in the journal.
    fn decide(&self, call: &Call) -> Option<(usize, Option<Fault>)> {
        let mut state = self.state();
        if state.dead {
            return None;
        }
        let mut fault = None;
        for rule in &mut state.rules {
            // Each rule counts, also if another one has decided.
            let more = rule(call);
            fault = fault.or(more);
        }
        state.journal.push(Entry {
            call: call.clone(),
            at: Instant::now(),
            answered: None,
            spoilt: fault.is_some(),
        });
        Some((state.journal.len() - 1, fault))
    }

    fn answered(&self, number: usize, code: u16) {
        if let Some(entry) = self.state().journal.get_mut(number) {
            entry.answered = Some(code);
        }
    }

    async fn die(&self) -> ! {
        self.state().dead = true;
        self.0.died.notify_one();
        std::future::pending().await
    }

    /// Narrows lists and watches of the whole cluster to the window.
    fn narrow(&self, request: &mut Request<Body>, call: &Call) {
        let (namespace, issuer) = &self.0.window;
        // A list of one namespace is already narrow.
        if call.is_single() || request.uri().path().contains("/namespaces/") {
            return;
        }
        let uri = request.uri();
        let query = uri.query().unwrap_or_default();
        let named = format!("/namespaces/{namespace}/");
        if uri.path().contains(&named) || query.contains("fieldSelector=") {
            // An operator of single namespaces narrows them itself.
            return;
        }
        let only = |name: &str| {
            let path = uri.path();
            format!("{path}?{query}&fieldSelector=metadata.name%3D{name}")
        };
        let resource = call.resource.as_str();
        let narrowed = match resource {
            "namespaces" => only(namespace),
            "clustertokenissuers" => only(issuer),
            _ => {
                let place = format!("namespaces/{namespace}/{resource}");
                format!("{}?{query}", uri.path().replace(resource, &place))
            }
        };
        *request.uri_mut() = narrowed.parse().expect("a path");
    }
}

impl<S> Layer<S> for Wire {
    type Service = Wired<S>;

    fn layer(&self, inner: S) -> Wired<S> {
        Wired {
            inner,
            wire: self.clone(),
        }
    }
}

/// The client's service with a wire in front.
pub(crate) struct Wired<S> {
    inner: S,
    wire: Wire,
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Answered>, BoxError>> + Send>>;

impl<S> Service<Request<Body>> for Wired<S>
where
    S: Service<Request<Body>, Response = Response<Box<DynBody>>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<Answered>;
    type Error = BoxError;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> task::Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Answering {
        let wire = self.wire.clone();
        let call = Call::of(&request);
        let Some((number, fault)) = wire.decide(&call) else {
            return Box::pin(std::future::pending());
        };
        wire.narrow(&mut request, &call);
        let stays = matches!(
            fault,
            Some(Fault::Answer(..) | Fault::Reset | Fault::Hole | Fault::Crash | Fault::Panic)
        );
        // A service's future sends nothing before it is polled, so a wait may be first.
        let answer = (!stays).then(|| self.inner.call(request));
        Box::pin(async move {
            match &fault {
                Some(Fault::Slow(time)) => tokio::time::sleep(*time).await,
                Some(Fault::Held(until)) => until.notified().await,
                _ => {}
            }
            let answer = match answer {
                None => None,
                Some(answer) => {
                    let answer = answer.await?;
                    wire.answered(number, answer.status().as_u16());
                    Some(answer.map(Answered::new))
                }
            };
            match (fault, answer) {
                (None | Some(Fault::Slow(_) | Fault::Held(_)), Some(answer)) => Ok(answer),
                (Some(Fault::Answer(code, headers, body)), _) => {
                    let mut answer = Response::builder().status(code);
                    for (name, value) in headers {
                        answer = answer.header(name, value);
                    }
                    Ok(answer.body(Answered::from(body))?)
                }
                (Some(Fault::DoneBut(code, body)), _) => {
                    let answer = Response::builder().status(code);
                    let answer = answer.header("content-type", "application/json");
                    Ok(answer.body(Answered::from(body))?)
                }
                (Some(Fault::Half), Some(answer)) => {
                    let (parts, body) = answer.into_parts();
                    let all = axum::body::to_bytes(body, usize::MAX).await?;
                    let half = all.slice(..all.len() / 2);
                    Ok(Response::from_parts(parts, Answered::from(half)))
                }
                (Some(Fault::Paused(go)), Some(answer)) => {
                    let (parts, body) = answer.into_parts();
                    let all = axum::body::to_bytes(body, usize::MAX).await?;
                    // The bracket that ends the object: its whole content is before it.
                    let end = all.iter().rposition(|b| *b == b'}').unwrap_or_default();
                    let rest = all.slice(end..);
                    let rest = stream::once(async move {
                        let _ = go.acquire().await;
                        Ok::<_, std::io::Error>(rest)
                    });
                    let begin = stream::iter([Ok(all.slice(..end))]);
                    Ok(Response::from_parts(
                        parts,
                        Answered::from_stream(begin.chain(rest)),
                    ))
                }
                (Some(Fault::LateAfter(deliver)), Some(answer)) => {
                    // The whole answer is here before the wait: the server may have stopped when it is delivered.
                    let (parts, body) = answer.into_parts();
                    let all = axum::body::to_bytes(body, usize::MAX).await?;
                    wire.done(&deliver);
                    deliver.notified().await;
                    Ok(Response::from_parts(parts, Answered::from(all)))
                }
                (Some(Fault::LostAfter(lose)), Some(_)) => {
                    wire.done(&lose);
                    lose.notified().await;
                    Err("the connection was reset by a test".into())
                }
                (Some(Fault::Stream(inject)), Some(answer)) => Ok(answer.map(|b| inject.body(b))),
                (Some(Fault::Panic), _) => unreachable!("a defect of a test"),
                (Some(Fault::Hole | Fault::HoleAfter), _) => std::future::pending().await,
                (Some(Fault::Crash | Fault::CrashAfter), _) => wire.die().await,
                _ => Err("the connection was reset by a test".into()),
            }
        })
    }
}

#[test]
fn a_call_is_read_off_its_path() {
    let call = |method: &str, uri: &str| {
        let request = Request::builder().method(method).uri(uri);
        Call::of(&request.body(Body::empty()).unwrap()).text()
    };
    for (method, uri, text) in [
        ("GET", "/api/v1/secrets?&limit=500", "list secrets "),
        ("GET", "/api/v1/secrets?&watch=true", "watch secrets "),
        ("GET", "/api/v1/namespaces?&limit=500", "list namespaces "),
        ("GET", "/api/v1/namespaces/a/secrets/b", "get secrets b"),
        ("POST", "/api/v1/namespaces/a/secrets", "create secrets "),
        (
            "PATCH",
            "/apis/apicred.dev/v1alpha1/namespaces/a/apicredentials/c/status",
            "patch apicredentials/status c",
        ),
        (
            "PATCH",
            "/apis/apicred.dev/v1alpha1/clustertokenissuers/i/status?fieldManager=x",
            "patch clustertokenissuers/status i",
        ),
    ] {
        assert_eq!(call(method, uri), text);
    }
}

/// A body in one frame, with the error type of kube's client.
struct Made(Option<bytes::Bytes>);

impl hyper::body::Body for Made {
    type Data = bytes::Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> task::Poll<Option<Result<hyper::body::Frame<Self::Data>, BoxError>>> {
        task::Poll::Ready(self.0.take().map(|all| Ok(hyper::body::Frame::data(all))))
    }
}

/// A service that answers each request with 201 and counts them.
#[derive(Clone, Default)]
struct Counting(Arc<std::sync::atomic::AtomicUsize>);

impl Service<Request<Body>> for Counting {
    type Response = Response<Box<DynBody>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), BoxError>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let count = Arc::clone(&self.0);
        Box::pin(async move {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let body: Box<DynBody> = Box::new(Made(Some(bytes::Bytes::from_static(b"made"))));
            Ok(Response::builder().status(201).body(body)?)
        })
    }
}

#[tokio::test]
async fn a_late_answer_is_done_at_once_and_delivered_when_notified() {
    let wire = Wire::to("a", "i");
    let (done, deliver) = wire.late_first(|call| call.verb == "create");
    let served = Counting::default();
    let mut wired = wire.layer(served.clone());
    let post = || {
        let request = Request::post("/api/v1/namespaces/a/secrets");
        request.body(Body::empty()).unwrap()
    };
    let late = tokio::spawn(wired.call(post()));
    done.notified().await;
    assert_eq!(served.0.load(std::sync::atomic::Ordering::SeqCst), 1);
    assert_eq!(
        wire.journal()[0].answered,
        Some(201),
        "the server has done it"
    );
    assert!(!late.is_finished(), "and the answer is not there yet");
    // Only the first one is late.
    assert_eq!(wired.call(post()).await.unwrap().status(), 201);
    assert!(!late.is_finished());
    deliver.notify_one();
    let answer = late.await.unwrap().unwrap();
    assert_eq!(answer.status(), 201);
    let body = axum::body::to_bytes(answer.into_body(), 100).await;
    assert_eq!(body.unwrap(), "made");
}
