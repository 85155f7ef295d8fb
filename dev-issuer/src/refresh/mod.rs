//! Active refresh tokens (RFC 6749 section 6).
//!
//! All tokens that follow from one sign-in are a family. The policy determines the effect of a use on a token and its
//! family.

mod handle;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::config::RefreshPolicy;
use crate::ids::{guid, uti};
use crate::signin::Realm;

/// A token that is not used for this long has expired (<https://learn.microsoft.com/entra/identity-platform/refresh-tokens>).
const IDLE: SignedDuration = SignedDuration::from_hours(90 * 24);

/// The consent of a user, until it is revoked.
#[derive(Clone)]
pub(crate) struct Consented {
    pub(crate) realm: Realm,
    pub(crate) client_id: String,
    /// Name of the user.
    pub(crate) user: String,
    /// The originally granted scope; a refresh may request less.
    pub(crate) scope: String,
    /// The API that the sign-in named, at the generic issuer.
    pub(crate) audience: Option<String>,
    /// The `claims` of the sign-in, at Entra.
    pub(crate) claims: Option<String>,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadRefresh {
    /// Unknown, or a token of another client.
    Unknown,
    Expired,
    /// It was used before.
    Used,
    /// The consent was revoked, or the family was revoked because one of its tokens was used twice.
    Revoked,
}

struct Entry {
    consented: Consented,
    /// All tokens that follow from one sign-in.
    family: String,
    /// How many tokens of the family preceded it.
    generation: u64,
    expires: Timestamp,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    /// The time of the use.
    Used(Timestamp),
    Revoked,
}

/// All refresh tokens.
#[derive(Default)]
pub(crate) struct RefreshTokens(Mutex<All>);

#[derive(Default)]
struct All(HashMap<String, Entry>);

impl RefreshTokens {
    /// The first token of a sign-in.
    pub(crate) fn issue(&self, consented: Consented, now: Timestamp) -> String {
        self.lock().put(consented, (guid(), 0), now)
    }

    /// Uses a token: `decide` returns the answer for its consent. If it returns an error, the token stays unchanged. The second
    /// value is the token that replaces this one, unless this one stays.
    pub(crate) fn redeem<T, E: From<BadRefresh>>(
        &self,
        token: &str,
        client: (&Realm, &str),
        (policy, now): (RefreshPolicy, Timestamp),
        decide: impl FnOnce(&Consented) -> Result<T, E>,
    ) -> Result<(T, Option<String>), E> {
        let consented = self.lock().usable(token, client, (policy, now))?;
        let decided = decide(&consented)?;
        let mut all = self.lock();
        // Another request may have been faster.
        all.usable(token, client, (policy, now))?;
        Ok((decided, all.follow(token, policy, now)))
    }

    /// The consent of a token, in any state.
    pub(crate) fn consented(&self, token: &str) -> Option<Consented> {
        Some(self.lock().0.get(token)?.consented.clone())
    }

    /// Revokes the family of a token, if there is one.
    pub(crate) fn revoke_family(&self, token: &str) {
        let mut all = self.lock();
        if let Some(family) = all.0.get(token).map(|entry| entry.family.clone()) {
            all.end(&family);
        }
    }

    fn revoke_user(&self, user: &str) {
        for entry in self.lock().0.values_mut() {
            if entry.consented.user.eq_ignore_ascii_case(user) {
                entry.state = State::Revoked;
            }
        }
    }

    fn is_alive(&self, token: &str, now: Timestamp) -> bool {
        let all = self.lock();
        all.0.get(token).is_some_and(|entry| entry.is_good(now))
    }

    fn is_family_alive(&self, token: &str, now: Timestamp) -> bool {
        let all = self.lock();
        all.0.get(token).is_some_and(|known| {
            let mut relatives = all.0.values().filter(|e| e.family == known.family);
            relatives.any(|entry| entry.is_good(now))
        })
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn is_good(&self, now: Timestamp) -> bool {
        self.state == State::Good && now < self.expires
    }
}

impl All {
    fn put(
        &mut self,
        consented: Consented,
        (family, generation): (String, u64),
        now: Timestamp,
    ) -> String {
        let token = format!("{}.{}", uti(), uti());
        let entry = Entry {
            consented,
            family,
            generation,
            expires: now.checked_add(IDLE).unwrap_or(Timestamp::MAX),
            state: State::Good,
        };
        self.0.insert(token.clone(), entry);
        token
    }

    /// The consent of a token that this client may use now. If the token was stolen, its family is revoked here.
    fn usable(
        &mut self,
        token: &str,
        (realm, client_id): (&Realm, &str),
        (policy, now): (RefreshPolicy, Timestamp),
    ) -> Result<Consented, BadRefresh> {
        let entry = self.0.get(token).filter(|entry| {
            entry.consented.realm == *realm && entry.consented.client_id == client_id
        });
        let entry = entry.ok_or(BadRefresh::Unknown)?;
        let in_grace = |since: Timestamp| match policy {
            RefreshPolicy::Rotate { grace } => {
                let grace = SignedDuration::from_secs(i64::from(grace));
                now.duration_since(since) < grace && self.is_just_before_the_newest(entry)
            }
            RefreshPolicy::Reissue | RefreshPolicy::Keep => true,
            RefreshPolicy::RotateWithReuseDetection => false,
        };
        match entry.state {
            State::Revoked => Err(BadRefresh::Revoked),
            _ if entry.expires <= now => Err(BadRefresh::Expired),
            State::Good => Ok(entry.consented.clone()),
            State::Used(since) if in_grace(since) => Ok(entry.consented.clone()),
            State::Used(_) => {
                if policy == RefreshPolicy::RotateWithReuseDetection {
                    let family = entry.family.clone();
                    self.end(&family);
                }
                Err(BadRefresh::Used)
            }
        }
    }

    fn is_just_before_the_newest(&self, entry: &Entry) -> bool {
        let family = self.0.values().filter(|e| e.family == entry.family);
        let newest = family.map(|e| e.generation).max();
        newest.is_none_or(|newest| newest <= entry.generation + 1)
    }

    /// Marks it as used and creates the next one.
    fn follow(&mut self, token: &str, policy: RefreshPolicy, now: Timestamp) -> Option<String> {
        let entry = self.0.get_mut(token)?;
        match policy {
            RefreshPolicy::Keep => {
                entry.expires = now.checked_add(IDLE).unwrap_or(Timestamp::MAX);
                return None;
            }
            RefreshPolicy::Reissue => {}
            RefreshPolicy::Rotate { .. } | RefreshPolicy::RotateWithReuseDetection => {
                if entry.state == State::Good {
                    entry.state = State::Used(now);
                }
            }
        }
        let place = (entry.family.clone(), entry.generation + 1);
        let consented = entry.consented.clone();
        Some(self.put(consented, place, now))
    }

    fn end(&mut self, family: &str) {
        for entry in self.0.values_mut().filter(|entry| entry.family == family) {
            entry.state = State::Revoked;
        }
    }
}
