//! Watches a target Secret for as long as a test runs, so that every state is seen.

use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::{
    WatchStreamExt,
    watcher::{self, Event, watcher},
};
use tokio::task::JoinHandle;

use super::{Place, SecretView};

/// A state in which the Secret was seen.
#[derive(Clone, Debug)]
pub(crate) struct Sighting {
    pub(crate) at: Timestamp,
    /// None: the Secret did not exist.
    pub(crate) view: Option<Result<SecretView, String>>,
}

/// Records every state of one Secret.
pub(crate) struct Recorder {
    seen: Arc<Mutex<Vec<Sighting>>>,
    task: JoinHandle<()>,
}

impl Recorder {
    /// Starts recording.
    pub(crate) fn of(place: &Place, secret: &str) -> Self {
        let seen = Arc::<Mutex<Vec<Sighting>>>::default();
        let notes = Arc::clone(&seen);
        let config = watcher::Config::default().fields(&format!("metadata.name={secret}"));
        let stream = watcher(place.secrets(), config).default_backoff();
        let task = tokio::spawn(async move {
            let mut stream = std::pin::pin!(stream);
            while let Some(event) = stream.next().await {
                let view = match event {
                    Ok(Event::Apply(secret) | Event::InitApply(secret)) => Some(view(&secret)),
                    Ok(Event::Delete(_)) => None,
                    _ => continue,
                };
                let at = Timestamp::now();
                notes
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(Sighting { at, view });
            }
        });
        Self { seen, task }
    }

    /// What was seen so far.
    pub(crate) fn sightings(&self) -> Vec<Sighting> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Stops, and checks the rules that always hold: the Secret was complete and its token valid at every
    /// moment (O1), each token was issued for this client by this issuer (O2), and for one request the expiry never
    /// decreased (O4). Returns the tokens in order, each once.
    pub(crate) fn finish(self, place: &Place) -> Vec<SecretView> {
        self.task.abort();
        let issued: Vec<String> = place
            .issuer
            .token_requests_of(&place.client)
            .into_iter()
            .filter_map(|r| r.uti)
            .collect();
        let mut tokens: Vec<SecretView> = Vec::new();
        for Sighting { at, view } in self.sightings() {
            let Some(view) = view else { continue };
            let view = match view {
                Ok(view) => view,
                Err(fault) => unreachable!("O1: the Secret was not whole: {fault}"),
            };
            assert!(
                view.expires_at > at,
                "O1: the Secret held a token that had ended: {view:?}"
            );
            assert!(
                issued.iter().any(|id| id == view.token_id()),
                "O2: token {} was never issued to {}; these were: {issued:?}",
                view.token_id(),
                place.client
            );
            if let Some(last) = tokens.last() {
                assert!(
                    last.fingerprint() != view.fingerprint() || last.expires_at <= view.expires_at,
                    "O4: the end went down from {} to {}",
                    last.expires_at,
                    view.expires_at
                );
            }
            if tokens.last().is_none_or(|last| last.token != view.token) {
                tokens.push(view);
            }
        }
        tokens
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn view(secret: &Secret) -> Result<SecretView, String> {
    SecretView::of(secret)
}
