//! Sends identical requests in flight once. Identical means: same namespace, same request in all fields, same values of the
//! same Secrets. Therefore no credential receives a token, or a token error, that it could not have received with its own request.

use crate::Reason;
use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tracing::Instrument;

use crate::oauth::{Class, Token, TokenError};

type Call = Shared<BoxFuture<'static, Result<Arc<Token>, TokenError>>>;

/// The data that determines a request: [`crate::plan::fingerprint::in_flight`].
pub(in crate::controller) type RequestKey = String;

/// Requests in flight.
#[derive(Default)]
pub(in crate::controller) struct SingleFlight {
    open: Mutex<HashMap<RequestKey, Call>>,
}

impl SingleFlight {
    /// Waits for an identical request in flight, or starts this one. The request runs in its own task: it completes even if its
    /// caller is cancelled.
    pub(in crate::controller) async fn run(
        self: &Arc<Self>,
        key: RequestKey,
        request: impl Future<Output = Result<Token, TokenError>> + Send + 'static,
    ) -> Result<Arc<Token>, TokenError> {
        let call = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(call) = open.get(&key) {
                call.clone()
            } else {
                let (calls, done) = (Arc::clone(self), key.clone());
                let sent = async move {
                    let result = request.await.map(Arc::new);
                    calls
                        .open
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .remove(&done);
                    result
                };
                let task = tokio::spawn(sent.in_current_span());
                let (calls, done) = (Arc::clone(self), key.clone());
                let call = async move {
                    if let Ok(result) = task.await {
                        return result;
                    }
                    calls
                        .open
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .remove(&done);
                    let step = "the request was abandoned; apicred tries again";
                    Err(TokenError::local(
                        Class::Transient,
                        Reason::InternalError,
                        step,
                    ))
                }
                .boxed()
                .shared();
                open.insert(key, call.clone());
                call
            }
        };
        call.await
    }
}
