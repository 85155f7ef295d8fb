//! Active authorization codes (RFC 6749 section 4.1.2).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::Realm;
use crate::ids::uti;

/// RFC 6749 recommends at most ten minutes, and Entra uses about that.
const LIFETIME: SignedDuration = SignedDuration::from_mins(10);
/// How long a code is remembered after its expiry, so that a late use differs from a guess.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(1);

/// The consent of a user, and the values to which its code is bound.
#[derive(Clone)]
pub(crate) struct Consent {
    pub(crate) realm: Realm,
    pub(crate) client_id: String,
    /// Exactly as in the first request.
    pub(crate) redirect_uri: String,
    /// Of S256.
    pub(crate) challenge: Option<String>,
    pub(crate) scope: String,
    /// The API, at the generic issuer.
    pub(crate) audience: Option<String>,
    pub(crate) nonce: Option<String>,
    /// The requested claims, at Entra.
    pub(crate) claims: Option<String>,
    /// Name of the user.
    pub(crate) user: String,
}

/// Why a code is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadCode {
    Unknown,
    Expired,
    Used,
}

struct Entry {
    consent: Consent,
    expires: Timestamp,
    used: bool,
}

/// All codes.
#[derive(Default)]
pub(crate) struct Codes(Mutex<HashMap<String, Entry>>);

impl Codes {
    /// A new code.
    pub(crate) fn issue(&self, consent: Consent, now: Timestamp) -> String {
        let code = format!("{}.{}", uti(), uti());
        let mut codes = self.lock();
        codes.retain(|_, entry| now.duration_since(entry.expires) < REMEMBERED);
        let entry = Entry {
            consent,
            expires: now.checked_add(LIFETIME).unwrap_or(Timestamp::MAX),
            used: false,
        };
        codes.insert(code.clone(), entry);
        code
    }

    /// The consent of the code. The code is used up, whatever the result is.
    pub(crate) fn redeem(&self, code: &str, now: Timestamp) -> Result<Consent, BadCode> {
        let mut codes = self.lock();
        let entry = codes.get_mut(code).ok_or(BadCode::Unknown)?;
        if std::mem::replace(&mut entry.used, true) {
            return Err(BadCode::Used);
        }
        if entry.expires <= now {
            return Err(BadCode::Expired);
        }
        Ok(entry.consent.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consent() -> Consent {
        Consent {
            realm: Realm::Generic,
            client_id: "client".to_owned(),
            redirect_uri: "http://localhost/".to_owned(),
            challenge: None,
            scope: String::new(),
            audience: None,
            nonce: None,
            claims: None,
            user: "user".to_owned(),
        }
    }

    #[test]
    fn a_code_is_valid_for_ten_minutes_and_once() {
        let codes = Codes::default();
        let now = Timestamp::now();
        let (code, late) = (codes.issue(consent(), now), codes.issue(consent(), now));
        assert_ne!(code, late);
        let almost = now + SignedDuration::from_secs(599);
        assert!(codes.redeem(&code, almost).is_ok());
        assert_eq!(codes.redeem(&code, almost).err(), Some(BadCode::Used));
        let end = now + SignedDuration::from_mins(10);
        assert_eq!(codes.redeem(&late, end).err(), Some(BadCode::Expired));
        assert_eq!(codes.redeem("x", now).err(), Some(BadCode::Unknown));
        codes.issue(consent(), now + SignedDuration::from_hours(2));
        assert_eq!(codes.redeem(&code, now).err(), Some(BadCode::Unknown));
    }
}
