//! Barriers at which a test may stop a request, so that the test can act while the request is in flight.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::watch;

/// Where a request can be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// After the request was read and recorded, before it is checked.
    Received,
    /// After the request took effect and was recorded, before anything is sent.
    BeforeAnswer,
}

/// Returns true if a request, such as `GET /generic/keys`, matches.
type Is = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// The requests that stop at a barrier.
enum Which {
    /// Token requests of this client; `*`: of any.
    Client(String),
    /// One request: this many matching requests pass before it.
    One { is: Is, before: AtomicUsize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Shut,
    Open,
    /// Requests that reach it, and requests that wait at it, get no answer.
    Cut,
}

struct Barrier {
    which: Which,
    point: Point,
    reached: watch::Sender<usize>,
    state: watch::Sender<State>,
}

impl Barrier {
    fn new(which: Which, point: Point) -> Arc<Self> {
        Arc::new(Self {
            which,
            point,
            reached: watch::Sender::new(0),
            state: watch::Sender::new(State::Shut),
        })
    }

    fn is_shut(&self) -> bool {
        *self.state.borrow() == State::Shut
    }

    /// Waits while it is shut. False: the request gets no answer.
    async fn pass(&self) -> bool {
        if self.is_shut() {
            self.reached.send_modify(|count| *count += 1);
        }
        let mut state = self.state.subscribe();
        let left = state.wait_for(|state| *state != State::Shut).await;
        left.is_ok_and(|state| *state == State::Open)
    }

    /// Whether this request matches. Counts it.
    fn is_of(&self, request: &str) -> bool {
        let Which::One { is, before } = &self.which else {
            return false;
        };
        // The counter wraps after the matching one.
        is(request) && before.fetch_sub(1, Ordering::SeqCst) == 0
    }
}

/// A shut barrier. Every request that reaches it waits, until [`Hold::release`], [`Hold::cut`], or until the hold is dropped.
#[must_use = "a hold that is dropped holds nothing"]
pub struct Hold(Arc<Barrier>);

impl Hold {
    /// Waits until a request has reached the barrier.
    pub async fn reached(&self) {
        self.reached_by(1).await;
    }

    /// Waits until this many requests have reached the barrier, including those that have left since.
    pub async fn reached_by(&self, requests: usize) {
        let mut reached = self.0.reached.subscribe();
        // The sender is a part of `self`, so only the count ends the wait.
        let _ = reached.wait_for(|count| *count >= requests).await;
    }

    /// Opens the barrier permanently.
    pub fn release(&self) {
        self.0.state.send_replace(State::Open);
    }

    /// Closes the connection of each request that has reached the barrier: it gets no answer, and one that was [`Point::Received`] has no
    /// effect.
    pub fn cut(&self) {
        self.0.state.send_replace(State::Cut);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.0.is_shut() {
            self.release();
        }
    }
}

/// All barriers, and the recorded requests.
#[derive(Default)]
pub(crate) struct Holds {
    barriers: Mutex<Vec<Arc<Barrier>>>,
    /// None if no record was requested.
    record: Mutex<Option<Vec<String>>>,
}

impl Holds {
    pub(crate) fn shut(&self, client: &str, point: Point) -> Hold {
        self.add(Which::Client(client.to_owned()), point)
    }

    /// Shuts a barrier for one request: this many matching requests pass before it.
    pub(crate) fn shut_for_one(&self, is: Is, before: usize, point: Point) -> Hold {
        let before = AtomicUsize::new(before);
        self.add(Which::One { is, before }, point)
    }

    fn add(&self, which: Which, point: Point) -> Hold {
        let barrier = Barrier::new(which, point);
        let mut barriers = self.barriers();
        barriers.retain(|barrier| barrier.is_shut());
        barriers.push(Arc::clone(&barrier));
        Hold(barrier)
    }

    fn barriers(&self) -> MutexGuard<'_, Vec<Arc<Barrier>>> {
        self.barriers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self) -> MutexGuard<'_, Option<Vec<String>>> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records requests from now on.
    pub(crate) fn begin_record(&self) {
        *self.record() = Some(Vec::new());
    }

    /// The recorded requests.
    pub(crate) fn recorded(&self) -> Vec<String> {
        self.record().clone().unwrap_or_default()
    }

    /// Records a request, and returns the barriers for it alone.
    pub(crate) fn arrived(&self, request: &str) -> Own {
        if let Some(record) = &mut *self.record() {
            record.push(request.to_owned());
        }
        let barriers = self.barriers();
        let own = barriers.iter().filter(|barrier| barrier.is_of(request));
        Own(own.map(Arc::clone).collect())
    }

    /// Passes every barrier at this point, and waits at those that are shut.
    pub(crate) async fn pass(&self, client: Option<&str>, point: Point) {
        let barriers: Vec<_> = {
            let barriers = self.barriers();
            let concerns = |barrier: &&Arc<Barrier>| {
                let of = match &barrier.which {
                    Which::Client(of) => of == "*" || Some(of.as_str()) == client,
                    Which::One { .. } => false,
                };
                barrier.point == point && of
            };
            barriers.iter().filter(concerns).map(Arc::clone).collect()
        };
        for barrier in barriers {
            barrier.pass().await;
        }
    }
}

/// The barriers of one request.
pub(crate) struct Own(Vec<Arc<Barrier>>);

impl Own {
    /// Passes those at this point. False: the request gets no answer.
    pub(crate) async fn pass(&self, point: Point) -> bool {
        for barrier in self.0.iter().filter(|barrier| barrier.point == point) {
            if !barrier.pass().await {
                return false;
            }
        }
        true
    }
}
