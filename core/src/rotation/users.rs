//! Which credentials have a token by the current value of the Secret.

use jiff::{SignedDuration, Timestamp};

use super::{
    settings::SKEW,
    state::{Noted, Phase},
};

/// A credential that names the Secret, by what is noted with its token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// Version of the Secret that its token was got with. None: it has no token by this Secret.
    pub version: Option<String>,
    /// When its token was requested.
    pub issued_at: Timestamp,
    /// Was it requested for this client at this issuer? Any credential may name the Secret, with another client ID, at another issuer.
    pub is_of_client: bool,
}

impl User {
    fn has(&self, version: &str) -> bool {
        self.version.as_deref() == Some(version)
    }
}

/// When a credential got a token for this client with the Secret as it is now.
pub fn used_at(users: &[User], version: &str) -> Option<Timestamp> {
    let own = users.iter();
    let own = own.filter(|user| user.is_of_client && user.has(version));
    own.map(|user| user.issued_at).max()
}

/// Has every credential a token by the value that took over? One that was got with the Secret as it is now; or, since others may edit
/// the Secret, one that was requested after the switch for sure.
pub fn users_follow(users: &[User], noted: &Noted, version: &str, overlap: SignedDuration) -> bool {
    let Noted::Record(record) = noted else {
        return false;
    };
    let Phase::Switched { retire_at } = &record.state else {
        return false;
    };
    let switched = retire_at.saturating_sub(overlap).ok();
    let sure = switched.and_then(|at| at.checked_add(SKEW).ok());
    users.iter().all(|user| {
        let later = sure.is_some_and(|sure| user.version.is_some() && user.issued_at > sure);
        user.has(version) || later
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixtures::at, rotation::Record};

    #[test]
    fn a_credential_follows_with_this_version_or_a_token_that_is_younger_than_the_switch() {
        let hour = SignedDuration::from_hours(1);
        let state = |state| {
            Noted::Record(Box::new(Record {
                state,
                ..Record::default()
            }))
        };
        // Switched at 0.
        let switched = state(Phase::Switched {
            retire_at: at(3600),
        });
        let user = |version: Option<&str>, seconds| User {
            version: version.map(str::to_owned),
            issued_at: at(seconds),
            is_of_client: true,
        };
        let now = || user(Some("7"), 10);
        for (users, noted, follows) in [
            (vec![], &switched, true),
            (vec![now()], &switched, true),
            (vec![now(), user(Some("6"), 299)], &switched, false),
            (vec![now(), user(Some("6"), 301)], &switched, true),
            (vec![now(), user(None, 301)], &switched, false),
            (vec![now()], &state(Phase::Steady), false),
            (vec![now()], &Noted::Absent, false),
            (vec![now()], &Noted::Unreadable, false),
        ] {
            let seen = users_follow(&users, noted, "7", hour);
            assert_eq!(seen, follows, "{users:?} {noted:?}");
        }
        let users = [now(), user(Some("7"), 8), user(Some("6"), 99)];
        assert_eq!(used_at(&users, "7"), Some(at(10)));
        assert_eq!(used_at(&users, "8"), None);
        // Another client that has the same value, or another issuer that takes any value, shows nothing.
        let other = User {
            is_of_client: false,
            ..user(Some("7"), 12)
        };
        assert_eq!(used_at(&[now(), other.clone()], "7"), Some(at(10)));
        assert_eq!(used_at(&[other], "7"), None);
    }
}
