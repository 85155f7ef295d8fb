//! Which credentials have a token by the current value of the Secret.

use jiff::{SignedDuration, Timestamp};

use super::{settings::SKEW, state::StoredRecord};

/// A credential that names the Secret, from what is stored with its token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Version of the Secret with which its token was requested. None: it has no token by this Secret.
    pub version: Option<String>,
    /// Whether its token has not expired.
    pub is_valid: bool,
    /// When its token was requested.
    pub issued_at: Timestamp,
    /// When its token is renewed.
    pub renews_at: Timestamp,
    /// Whether its token was requested for this client at this issuer. Any credential may name the Secret, with another client ID, at another
    /// issuer.
    pub is_of_client: bool,
}

/// A credential whose token is by the previous value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lagging {
    /// Its name.
    pub name: String,
    /// When it is due to get a token by the current value.
    pub renews_at: Timestamp,
}

impl User {
    fn has(&self, version: &str) -> bool {
        self.version.as_deref() == Some(version)
    }
}

/// When a credential got a token for this client with the present version of the Secret.
pub fn used_at(users: &[User], version: &str) -> Option<Timestamp> {
    let own = users.iter();
    let own = own.filter(|user| user.is_of_client && user.has(version));
    own.map(|user| user.issued_at).max()
}

/// Whether a credential has a token for this client by any version of the Secret.
pub fn used_before(users: &[User]) -> bool {
    let mut own = users.iter().filter(|user| user.is_of_client);
    own.any(|user| user.version.is_some())
}

/// A credential whose token is still by the previous value. None: all follow. A token is by the current value if it was requested with the
/// present version of the Secret; or, since others may edit the Secret, if it was certainly requested after the switch.
///
/// A credential without a valid token by this Secret is not waited for: it does not depend on the previous value, and its next request uses the
/// current one.
pub fn lagging(
    users: &[User],
    noted: &StoredRecord,
    version: &str,
    overlap: SignedDuration,
) -> Option<Lagging> {
    let StoredRecord::Record(record) = noted else {
        return None;
    };
    let (switched, _) = record.overlaps(overlap)?;
    let sure = switched.checked_add(SKEW).ok();
    let later = |user: &User| sure.is_some_and(|sure| user.issued_at > sure);
    let depends = users.iter().filter(|u| u.is_valid && u.version.is_some());
    let lag = depends.filter(|user| !user.has(version) && !later(user));
    // The credential that is due first can be judged first.
    let first = lag.min_by_key(|user| user.renews_at)?;
    Some(Lagging {
        name: first.name.clone(),
        renews_at: first.renews_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::at,
        rotation::{Phase, Record},
    };

    #[test]
    fn a_credential_follows_with_this_version_or_a_token_that_is_younger_than_the_switch() {
        let hour = SignedDuration::from_hours(1);
        let state = |state| {
            StoredRecord::Record(Box::new(Record {
                state,
                ..Record::default()
            }))
        };
        // Switched at 0.
        let switched = state(Phase::Switched {
            retire_at: at(3600),
        });
        let user = |version: Option<&str>, seconds| User {
            name: format!("app-{seconds}"),
            version: version.map(str::to_owned),
            is_valid: true,
            issued_at: at(seconds),
            renews_at: at(seconds + 2_700),
            is_of_client: true,
        };
        let now = || user(Some("7"), 10);
        let expired = User {
            is_valid: false,
            ..user(Some("6"), 0)
        };
        for (users, noted, lags) in [
            (vec![], &switched, None),
            (vec![now()], &switched, None),
            (
                vec![now(), user(Some("6"), 299)],
                &switched,
                Some("app-299"),
            ),
            // The one that renews first.
            (
                vec![user(Some("6"), 299), user(Some("6"), 200)],
                &switched,
                Some("app-200"),
            ),
            (vec![now(), user(Some("6"), 301)], &switched, None),
            // A credential that never had a token, or whose token has expired, depends on no value.
            (vec![now(), user(None, 0)], &switched, None),
            (vec![now(), expired], &switched, None),
            (vec![now(), user(Some("6"), 0)], &state(Phase::Steady), None),
            (vec![now()], &StoredRecord::Absent, None),
            (vec![now()], &StoredRecord::Unreadable, None),
        ] {
            let seen = lagging(&users, noted, "7", hour);
            let name = seen.as_ref().map(|lagging| lagging.name.as_str());
            assert_eq!(name, lags, "{users:?} {noted:?}");
        }
        // The overlap was edited after the switch.
        let edited = StoredRecord::Record(Box::new(Record {
            state: Phase::Switched {
                retire_at: at(3_600),
            },
            switched_at: Some(at(0)),
            ..Record::default()
        }));
        for overlap in [hour / 60, hour * 24] {
            for (issued, lags) in [(299, true), (301, false)] {
                let seen = lagging(&[user(Some("6"), issued)], &edited, "7", overlap);
                assert_eq!(seen.is_some(), lags, "{overlap} {issued}");
            }
        }
        let users = [now(), user(Some("7"), 8), user(Some("6"), 99)];
        assert_eq!(used_at(&users, "7"), Some(at(10)));
        assert_eq!(used_at(&users, "8"), None);
        // Another client with the same value, or another issuer that accepts any value, proves nothing.
        let other = User {
            is_of_client: false,
            ..user(Some("7"), 12)
        };
        assert_eq!(used_at(&[now(), other.clone()], "7"), Some(at(10)));
        assert_eq!(used_at(std::slice::from_ref(&other), "7"), None);
        assert!(!used_before(&[other]) && !used_before(&[user(None, 0)]));
        assert!(used_before(&users));
    }
}
