//! Equal requests that are in flight at the same time are sent once. Equal means: same namespace, same request,
//! same secret; so nobody is handed a token that he could not have asked for himself.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};

use crate::oauth::{Class, Refusal, Token};

type Flight = Shared<BoxFuture<'static, Result<Arc<Token>, Refusal>>>;

/// Namespace, request digest with secret, issuer version.
pub(in crate::controller) type FlightKey = (String, String, String);

/// Requests in flight.
#[derive(Default)]
pub(in crate::controller) struct Flights {
    open: Mutex<HashMap<FlightKey, Flight>>,
}

impl Flights {
    /// Joins an equal request, or starts this one. A task of its own carries it, so that it lands even if the one
    /// who started it is cancelled.
    pub(in crate::controller) async fn join(
        self: &Arc<Self>,
        key: FlightKey,
        request: impl Future<Output = Result<Token, Refusal>> + Send + 'static,
    ) -> Result<Arc<Token>, Refusal> {
        let flight = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(flight) = open.get(&key) {
                flight.clone()
            } else {
                let (flights, done) = (Arc::clone(self), key.clone());
                let task = tokio::spawn(async move {
                    let result = request.await.map(Arc::new);
                    flights
                        .open
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .remove(&done);
                    result
                });
                let (flights, done) = (Arc::clone(self), key.clone());
                let flight = async move {
                    if let Ok(result) = task.await {
                        return result;
                    }
                    flights
                        .open
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .remove(&done);
                    let step = "the request was abandoned; apicred tries again";
                    Err(Refusal::local(Class::Transient, "InternalError", step))
                }
                .boxed()
                .shared();
                open.insert(key, flight.clone());
                flight
            }
        };
        flight.await
    }
}
