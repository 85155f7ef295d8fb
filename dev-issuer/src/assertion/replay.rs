//! Ids of assertions that were there before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::{Assertion, Bad, LEEWAY};

/// Ids that were used, until the end of their assertions.
#[derive(Default)]
pub(crate) struct Replays(Mutex<HashMap<(String, String), i64>>);

impl Replays {
    /// Takes the id in. One that was there before is a copy (RFC 7523 section 3, point 7).
    pub(crate) fn first_time(&self, assertion: &Assertion<'_>, now: i64) -> Result<(), Bad> {
        let id = assertion.claim("jti").filter(|id| !id.is_empty());
        let id = id.ok_or(Bad::Malformed)?.to_owned();
        let issuer = assertion.claim("iss").unwrap_or_default().to_owned();
        let end = assertion.number("exp").unwrap_or(now);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, end| *end + LEEWAY > now);
        match seen.insert((issuer, id), end) {
            None => Ok(()),
            Some(_) => Err(Bad::Replayed),
        }
    }

    /// The same where an id is not a must, as with Google.
    pub(crate) fn if_named(&self, assertion: &Assertion<'_>, now: i64) -> Result<(), Bad> {
        if assertion.claims.get("jti").is_some() {
            self.first_time(assertion, now)
        } else {
            Ok(())
        }
    }
}
