//! Unexpected forms of rejected secrets, and which of them were reported. More users can read the status of a credential than
//! the Secret, so the status only states where to look.

use std::{collections::HashMap, sync::Mutex};

use jiff::{SignedDuration, Timestamp};

use crate::controller::locks::lock;
use crate::{Reason, oauth::Odd, publish::SourceMark};

/// A hint is not reported again within this time. The API server stores an Event for the same time.
const QUIET: SignedDuration = SignedDuration::from_hours(1);
/// Number of remembered forms.
const MAX_FORMS: usize = 1024;

/// The reported forms: when each was reported, and how often it was seen since.
#[derive(Default)]
pub(in crate::controller) struct Hints(Mutex<HashMap<String, (Timestamp, u32)>>);

impl Hints {
    /// Returns a value if it is reported now: how often it occurred since the last report.
    pub(super) fn note(&self, name: &str, now: Timestamp) -> Option<u32> {
        let mut all = lock(&self.0);
        let recent = |at: Timestamp| {
            let age = now.duration_since(at);
            age < QUIET && !age.is_negative()
        };
        if let Some((at, repeats)) = all.get_mut(name) {
            if recent(*at) {
                *repeats = repeats.saturating_add(1);
                return None;
            }
            *at = now;
            return Some(std::mem::take(repeats));
        }
        if all.len() >= MAX_FORMS {
            all.retain(|_, (at, _)| recent(*at));
        }
        if all.len() < MAX_FORMS {
            all.insert(name.to_owned(), (now, 0));
        }
        Some(0)
    }
}

/// A value with an unexpected form.
pub(in crate::controller) struct Hint {
    /// Where it is stored.
    pub(in crate::controller) mark: SourceMark,
    /// Reason of the Event.
    pub(super) reason: Reason,
    /// What should be stored.
    pub(super) noun: &'static str,
    /// The rest of a sentence that starts with "what is stored". It contains no part of the value.
    pub(super) form: String,
}

impl Hint {
    /// A hint about a client secret.
    pub(in crate::controller) fn of_client(mark: SourceMark, form: String) -> Self {
        Self {
            mark,
            reason: Reason::ClientSecretForm,
            noun: "client secret",
            form,
        }
    }

    /// A hint about an input of a grant.
    pub(in crate::controller) fn of_grant(mark: SourceMark, odd: Odd) -> Self {
        Self {
            mark,
            reason: Reason::GrantSecretForm,
            noun: odd.noun,
            form: odd.form,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::at;

    #[test]
    fn a_form_is_reported_once_an_hour_with_the_number_of_its_repeats() {
        let hints = Hints::default();
        assert_eq!(hints.note("a", at(0)), Some(0));
        assert_eq!(hints.note("a", at(5)), None);
        assert_eq!(hints.note("b", at(5)), Some(0));
        assert_eq!(hints.note("a", at(3599)), None);
        assert_eq!(hints.note("a", at(3600)), Some(2));
        assert_eq!(hints.note("a", at(3601)), None);
        // The clock was set back.
        assert_eq!(hints.note("a", at(-10)), Some(1));
        for n in 0..2 * MAX_FORMS {
            assert_eq!(hints.note(&format!("n{n}"), at(0)), Some(0));
        }
        assert!(lock(&hints.0).len() <= MAX_FORMS);
    }
}
