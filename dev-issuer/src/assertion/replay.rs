//! IDs of assertions that were used before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::{Assertion, Bad, LEEWAY};

/// IDs that were used, until their assertions expire.
#[derive(Default)]
pub(crate) struct Replays(Mutex<HashMap<(String, String), i64>>);

impl Replays {
    /// Records the ID. If it was used before, the assertion is a copy (RFC 7523 section 3, point 7).
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

    /// The same for issuers that do not require an ID, such as Google.
    pub(crate) fn if_named(&self, assertion: &Assertion<'_>, now: i64) -> Result<(), Bad> {
        if assertion.claims.get("jti").is_some() {
            self.first_time(assertion, now)
        } else {
            Ok(())
        }
    }
}
