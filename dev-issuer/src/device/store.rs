//! Active device codes (RFC 8628).

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::user_code;
use crate::config::Config;
use crate::ids::uti;
use crate::signin::Realm;

/// RFC 8628 section 3.5.
const SLOWER_BY: SignedDuration = SignedDuration::from_secs(5);
/// A poll may be this much too early, because requests have different delays.
const TOLERANCE: SignedDuration = SignedDuration::from_millis(50);
/// How long a code is remembered after its expiry.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(1);

/// The request of a device.
#[derive(Clone)]
pub(crate) struct DeviceRequest {
    pub(crate) realm: Realm,
    pub(crate) client_id: String,
    pub(crate) scope: String,
    /// The API, at the generic issuer.
    pub(crate) audience: Option<String>,
    /// The requested claims, at Entra.
    pub(crate) claims: Option<String>,
}

/// The values that are returned to the device.
pub(crate) struct Handed {
    pub(crate) device_code: String,
    /// What the user types.
    pub(crate) user_code: String,
}

/// The result of a poll.
pub(crate) enum Poll {
    /// The user has not decided yet.
    Pending,
    /// The same, and the poll was too early; the next pause must be longer.
    TooEarly,
    /// The poll was too early again: the code is not valid any more.
    Refused,
    Declined,
    Expired,
    /// No such code, or a code of another client.
    Unknown,
    /// Approved by the user of this name. The code is removed.
    Approved(DeviceRequest, String),
}

enum Decision {
    Open,
    Approved(String),
    Declined,
}

struct Entry {
    device_code: String,
    user_code: String,
    request: DeviceRequest,
    decision: Decision,
    expires: Timestamp,
    pause: SignedDuration,
    last_poll: Option<Timestamp>,
    violations: u32,
}

/// All device codes.
#[derive(Default)]
pub(crate) struct Devices(Mutex<Vec<Entry>>);

impl Devices {
    pub(crate) fn start(&self, request: DeviceRequest, config: &Config, now: Timestamp) -> Handed {
        let seconds = |n: u64| SignedDuration::from_secs(i64::try_from(n).unwrap_or(i64::MAX));
        let handed = Handed {
            device_code: format!("{}{}", uti(), uti()),
            user_code: user_code::random(),
        };
        let mut all = self.lock();
        all.retain(|entry| now.duration_since(entry.expires) < REMEMBERED);
        all.push(Entry {
            device_code: handed.device_code.clone(),
            user_code: handed.user_code.clone(),
            request,
            decision: Decision::Open,
            expires: now
                .checked_add(seconds(config.device_lifetime_seconds))
                .unwrap_or(Timestamp::MAX),
            pause: seconds(config.device_interval_seconds),
            last_poll: None,
            violations: 0,
        });
        handed
    }

    /// The answer to a device. `patient` issuers allow any polling rate.
    pub(crate) fn poll(
        &self,
        device_code: &str,
        (realm, client_id): (&Realm, &str),
        patient: bool,
        now: Timestamp,
    ) -> Poll {
        let mut all = self.lock();
        let found = all.iter().position(|entry| {
            let request = &entry.request;
            entry.device_code == device_code
                && request.realm == *realm
                && request.client_id == client_id
        });
        let Some(index) = found else {
            return Poll::Unknown;
        };
        let entry = &mut all[index];
        if entry.expires <= now {
            return Poll::Expired;
        }
        if !patient && entry.is_early(now) {
            if entry.violations > 1 {
                all.remove(index);
                return Poll::Refused;
            }
            return Poll::TooEarly;
        }
        match &entry.decision {
            Decision::Open => Poll::Pending,
            Decision::Declined => Poll::Declined,
            Decision::Approved(_) => {
                let entry = all.remove(index);
                match entry.decision {
                    Decision::Approved(user) => Poll::Approved(entry.request, user),
                    Decision::Open | Decision::Declined => Poll::Unknown,
                }
            }
        }
    }

    /// The request for a code that a user typed, if it still waits.
    pub(crate) fn waiting(&self, user_code: &str, now: Timestamp) -> Option<DeviceRequest> {
        let mut all = self.lock();
        open(&mut all, user_code, now).map(|entry| entry.request.clone())
    }

    /// Decides; `None` declines. Returns whether there was such a code.
    pub(crate) fn decide(&self, user_code: &str, user: Option<String>, now: Timestamp) -> bool {
        let mut all = self.lock();
        let Some(entry) = open(&mut all, user_code, now) else {
            return false;
        };
        entry.decision = user.map_or(Decision::Declined, Decision::Approved);
        true
    }

    /// Codes that wait for a user, oldest first, with their clients.
    pub(crate) fn pending(&self, now: Timestamp) -> Vec<(String, String)> {
        let all = self.lock();
        let waits = |e: &&Entry| matches!(e.decision, Decision::Open) && e.expires > now;
        let pair = |e: &Entry| (e.user_code.clone(), e.request.client_id.clone());
        all.iter().filter(waits).map(pair).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Records a poll, and makes the pause longer if it was too early.
    fn is_early(&mut self, now: Timestamp) -> bool {
        let since = self.last_poll.replace(now);
        let early = since.is_some_and(|last| now.duration_since(last) + TOLERANCE < self.pause);
        if early {
            self.violations += 1;
            self.pause += SLOWER_BY;
        }
        early
    }
}

/// The entry of a code as users type it: in any case, with or without the dash.
fn open<'e>(all: &'e mut [Entry], typed: &str, now: Timestamp) -> Option<&'e mut Entry> {
    let typed = user_code::plain(typed);
    all.iter_mut().find(|entry| {
        user_code::plain(&entry.user_code) == typed
            && matches!(entry.decision, Decision::Open)
            && entry.expires > now
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: (&Realm, &str) = (&Realm::Generic, "tv");

    fn start(devices: &Devices, now: Timestamp) -> Handed {
        let request = DeviceRequest {
            realm: Realm::Generic,
            client_id: "tv".to_owned(),
            scope: String::new(),
            audience: None,
            claims: None,
        };
        let config = Config {
            device_lifetime_seconds: 60,
            device_interval_seconds: 5,
            ..Config::default()
        };
        devices.start(request, &config, now)
    }

    #[test]
    fn a_device_that_polls_too_fast_must_slow_down_or_is_refused() {
        let devices = Devices::default();
        let now = Timestamp::now();
        let code = start(&devices, now).device_code;
        let at = |ms: i64| devices.poll(&code, ME, false, now + SignedDuration::from_millis(ms));
        assert!(matches!(at(0), Poll::Pending), "the first poll is free");
        assert!(matches!(at(4_960), Poll::Pending));
        assert!(matches!(at(9_000), Poll::TooEarly));
        assert!(matches!(at(19_000), Poll::Pending), "10 s now");
        assert!(
            matches!(at(25_000), Poll::Refused),
            "5 s are not enough any more"
        );
        assert!(matches!(at(59_000), Poll::Unknown));

        let code = start(&devices, now).device_code;
        for _ in 0..9 {
            assert!(matches!(devices.poll(&code, ME, true, now), Poll::Pending));
        }
        let end = now + SignedDuration::from_secs(60);
        assert!(matches!(devices.poll(&code, ME, true, end), Poll::Expired));
    }

    #[test]
    fn a_decision_is_made_once_and_fetched_once_by_the_right_client() {
        let devices = Devices::default();
        let now = Timestamp::now();
        let (first, second) = (start(&devices, now), start(&devices, now));
        assert_eq!(devices.pending(now).len(), 2);
        let typed = first.user_code.to_lowercase().replace('-', " ");
        assert!(devices.waiting(&typed, now).is_some());
        assert!(devices.decide(&typed, Some("ada".to_owned()), now));
        assert!(!devices.decide(&typed, None, now), "decided already");
        let poll = |code: &str, client| devices.poll(code, client, false, now);
        let other = (&Realm::Generic, "radio");
        assert!(matches!(poll(&first.device_code, other), Poll::Unknown));
        let tenant = Realm::Entra("t".to_owned());
        assert!(matches!(
            poll(&first.device_code, (&tenant, "tv")),
            Poll::Unknown
        ));
        let Poll::Approved(request, user) = poll(&first.device_code, ME) else {
            panic!("not approved");
        };
        assert_eq!((request.client_id.as_str(), user.as_str()), ("tv", "ada"));
        assert!(matches!(poll(&first.device_code, ME), Poll::Unknown));

        assert!(devices.decide(&second.user_code, None, now));
        assert!(matches!(poll(&second.device_code, ME), Poll::Declined));
        assert!(devices.pending(now).is_empty());
        let third = start(&devices, now);
        let end = now + SignedDuration::from_secs(60);
        assert!(!devices.decide(&third.user_code, None, end));
        assert!(devices.pending(end).is_empty());
    }
}
