//! A client secret that the issuer has created and that can no longer be stored in a Secret: it is removed at the issuer.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    driver::Driver,
    issuer::{ClientPlace, GraphToken},
};
use crate::rotation::{
    Class, Fault, Kind, Registry, Rotating,
    graph::{self, Address, Graph},
};

/// The removal is tried for this number of waits between two writes to an application: replicas do not know immediately what
/// was created a short time ago.
const PAUSES: u32 = 12;

/// The result of one attempt.
enum Tried {
    Removed,
    /// The issuer does not know it, or does not know it yet.
    NotThere,
}

impl Driver {
    /// Removes it at the issuer, with the token that requested it: the source of another token may be deleted as well. Returns
    /// whether the removal is certain.
    pub(super) async fn withdraw(&mut self, id: &str) -> bool {
        let Some(((rotating, place), token)) = self.of.clone().zip(self.held_by.take()) else {
            return false;
        };
        let pace = self.context.settings.rotation.pace.between_writes;
        let own = Duration::try_from(pace).unwrap_or_default();
        let until = Instant::now() + own * PAUSES;
        let (mut pause, mut may_be_gone) = (own, false);
        loop {
            sleep(pause).await;
            match remove((&rotating, &place), &token, id).await {
                Ok(Tried::Removed) => return true,
                Ok(Tried::NotThere) if may_be_gone => return true,
                Ok(Tried::NotThere) => pause = own,
                Err(fault) => {
                    tracing::debug!(
                        namespace = self.key.namespace,
                        name = self.key.name,
                        "a client secret that is in no Secret could not be removed: {}",
                        fault.message
                    );
                    if !passes(fault.class) {
                        return false;
                    }
                    may_be_gone |= fault.may_have_happened;
                    let requested = fault.retry_after.map(Duration::try_from);
                    pause = requested.and_then(Result::ok).unwrap_or(own).max(own);
                }
            }
            if Instant::now() + pause > until || self.context.refreshes.are_awaited() {
                return false;
            }
        }
    }
}

/// Whether another attempt may help. An application that is not found may be unknown to one replica only.
const fn passes(class: Class) -> bool {
    matches!(
        class,
        Class::Throttled | Class::Conflict | Class::Transient | Class::NoApplication
    )
}

async fn remove(
    (rotating, place): (&Rotating, &ClientPlace),
    token: &GraphToken,
    id: &str,
) -> Result<Tried, Fault> {
    let Registry::Graph(base) = &rotating.registry else {
        return Ok(Tried::NotThere);
    };
    let graph = Graph::new(base.clone());
    let address = Address::Client(&rotating.client_id);
    let answer = place.call(token, |call| graph.remove_password(address, id, call));
    let answer = answer.await?;
    graph::removed(&answer, Kind::Secret, place.context.clock.now())?;
    let removed = (200..300).contains(&answer.status);
    Ok(if removed {
        Tried::Removed
    } else {
        Tried::NotThere
    })
}
