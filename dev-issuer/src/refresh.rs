//! Refresh tokens that are out (RFC 6749 section 6).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::ids::{guid, uti};
use crate::issuer::DevIssuer;
use crate::signin::Realm;

/// Without use for so long, a token is dead (<https://learn.microsoft.com/entra/identity-platform/refresh-tokens>).
const IDLE: SignedDuration = SignedDuration::from_hours(90 * 24);

/// What a person agreed to, for as long as nobody takes it back.
#[derive(Clone)]
pub(crate) struct Standing {
    pub(crate) realm: Realm,
    pub(crate) client_id: String,
    /// Name of the user.
    pub(crate) user: String,
    /// What was granted at first; a refresh may ask for less.
    pub(crate) scope: String,
    /// The API that was named at first, at the generic issuer.
    pub(crate) audience: Option<String>,
}

/// What becomes of a token that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse<'a> {
    /// It stays good, as in Entra.
    Allowed,
    /// It dies; if it comes again, it was stolen, and all its successors die as well (RFC 9700 section 4.14.2).
    KillsFamily {
        /// The scope that is asked for now, which must not go beyond the first one (RFC 6749 section 6).
        asked: Option<&'a str>,
    },
}

/// Why a token is good for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadRefresh {
    /// Unknown, or not this client's.
    Unknown,
    Expired,
    /// It was used before, or a successor of it was.
    Used,
    /// Somebody took the consent back.
    Revoked,
    /// It asks for more than was granted. The token stays good.
    Wider,
}

struct Entry {
    standing: Standing,
    /// All tokens that follow from one sign-in.
    family: String,
    expires: Timestamp,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    Used,
    Revoked,
}

/// All refresh tokens.
#[derive(Default)]
pub(crate) struct RefreshTokens(Mutex<HashMap<String, Entry>>);

impl RefreshTokens {
    /// The first token of a sign-in.
    pub(crate) fn issue(&self, standing: Standing, now: Timestamp) -> String {
        put(&mut self.lock(), standing, guid(), now)
    }

    /// What the token stands for, and the one that takes its place.
    pub(crate) fn redeem(
        &self,
        token: &str,
        (realm, client_id): (&Realm, &str),
        reuse: Reuse<'_>,
        now: Timestamp,
    ) -> Result<(Standing, String), BadRefresh> {
        let mut all = self.lock();
        let mine = |entry: &&mut Entry| {
            entry.standing.realm == *realm && entry.standing.client_id == client_id
        };
        let entry = all.get_mut(token).filter(mine).ok_or(BadRefresh::Unknown)?;
        let family = entry.family.clone();
        match entry.state {
            State::Revoked => return Err(BadRefresh::Revoked),
            State::Used => {
                let relatives = all.values_mut().filter(|entry| entry.family == family);
                relatives.for_each(|entry| entry.state = State::Used);
                return Err(BadRefresh::Used);
            }
            State::Good if entry.expires <= now => return Err(BadRefresh::Expired),
            State::Good => {}
        }
        if let Reuse::KillsFamily { asked } = reuse {
            let granted = |part: &str| entry.standing.scope.split(' ').any(|g| g == part);
            if asked.is_some_and(|asked| !asked.split(' ').all(granted)) {
                return Err(BadRefresh::Wider);
            }
            entry.state = State::Used;
        }
        let standing = entry.standing.clone();
        let next = put(&mut all, standing.clone(), family, now);
        Ok((standing, next))
    }

    /// Ends the family of a token, if there is one.
    pub(crate) fn revoke_family(&self, token: &str) {
        let mut all = self.lock();
        let Some(family) = all.get(token).map(|entry| entry.family.clone()) else {
            return;
        };
        for entry in all.values_mut().filter(|entry| entry.family == family) {
            entry.state = State::Revoked;
        }
    }

    pub(crate) fn is_alive(&self, token: &str) -> bool {
        self.lock()
            .get(token)
            .is_some_and(|entry| entry.state == State::Good)
    }

    fn revoke(&self, user: &str) {
        for entry in self.lock().values_mut() {
            if entry.standing.user.eq_ignore_ascii_case(user) {
                entry.state = State::Revoked;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put(
    all: &mut HashMap<String, Entry>,
    standing: Standing,
    family: String,
    now: Timestamp,
) -> String {
    let token = format!("{}.{}", uti(), uti());
    let entry = Entry {
        standing,
        family,
        expires: now.checked_add(IDLE).unwrap_or(Timestamp::MAX),
        state: State::Good,
    };
    all.insert(token.clone(), entry);
    token
}

impl DevIssuer {
    /// A refresh token of the default tenant as a sign-in leaves it.
    pub fn issue_refresh_token(&self, client: &str, user: &str, scope: &str) -> String {
        self.sign_in(Realm::Entra(self.tenant().to_owned()), client, user, scope)
    }

    /// A refresh token of the generic issuer as a sign-in leaves it.
    pub fn issue_generic_refresh_token(&self, client: &str, user: &str, scope: &str) -> String {
        self.sign_in(Realm::Generic, client, user, scope)
    }

    fn sign_in(&self, realm: Realm, client: &str, user: &str, scope: &str) -> String {
        let standing = Standing {
            realm,
            client_id: client.to_owned(),
            user: user.to_owned(),
            scope: scope.to_owned(),
            audience: None,
        };
        self.shared.refresh_tokens.issue(standing, Timestamp::now())
    }

    /// Ends every standing consent of a user: refresh tokens are refused from now on, access tokens live out their
    /// life.
    pub fn revoke_sign_ins(&self, user: &str) {
        self.shared.refresh_tokens.revoke(user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: (&Realm, &str) = (&Realm::Generic, "cli");

    fn standing() -> Standing {
        Standing {
            realm: Realm::Generic,
            client_id: "cli".to_owned(),
            user: "ada".to_owned(),
            scope: "a b".to_owned(),
            audience: None,
        }
    }

    #[test]
    fn a_token_that_comes_again_takes_its_family_with_it() {
        let tokens = RefreshTokens::default();
        let now = Timestamp::now();
        let asking = |token: &str, asked: Option<&str>| {
            let redeemed = tokens.redeem(token, ME, Reuse::KillsFamily { asked }, now);
            redeemed.map(|(_, next)| next)
        };
        let redeem = |token: &str| asking(token, None);
        let (first, stranger) = (tokens.issue(standing(), now), tokens.issue(standing(), now));
        assert_eq!(asking(&first, Some("a c")), Err(BadRefresh::Wider));
        let second = asking(&first, Some("b")).unwrap();
        let third = redeem(&second).unwrap();
        assert_eq!(redeem(&first), Err(BadRefresh::Used));
        assert_eq!(redeem(&third), Err(BadRefresh::Used));
        assert!(redeem(&stranger).is_ok(), "another sign-in");
    }

    #[test]
    fn entra_lets_an_old_token_be_used_again() {
        let tokens = RefreshTokens::default();
        let now = Timestamp::now();
        let first = tokens.issue(standing(), now);
        let redeem = |token: &str, who, at| {
            let redeemed = tokens.redeem(token, who, Reuse::Allowed, at);
            redeemed.map(|(_, next)| next)
        };
        let second = redeem(&first, ME, now).unwrap();
        assert_ne!(redeem(&first, ME, now).unwrap(), second);
        let tenant = Realm::Entra("t".to_owned());
        for who in [(&Realm::Generic, "other"), (&tenant, "cli")] {
            assert_eq!(redeem(&first, who, now), Err(BadRefresh::Unknown));
        }
        let end = now + IDLE;
        assert_eq!(redeem(&second, ME, end), Err(BadRefresh::Expired));
        tokens.revoke("Ada");
        assert_eq!(redeem(&second, ME, now), Err(BadRefresh::Revoked));
    }
}
