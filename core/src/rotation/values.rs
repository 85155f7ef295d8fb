//! The values of the source Secret: which keys they stand under, and what a step does with them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;

use super::step::Values;
use crate::{credential::end_of_secret, whole_second};

/// After the key of the current value: the next one.
pub const NEXT: &str = "-next";
/// After the key of the current value: the previous one.
pub const PREVIOUS: &str = "-previous";

/// Changes of `data`: a value to set, or none to remove the key. `keys` are the keys of the current value, such as
/// `tls.crt` and `tls.key`; `held` has a value for each of them under the same name.
///
/// A key that is missing stays missing where it is to be moved from: a half pair is never made whole by an old half.
pub fn changes(
    keys: &[&str],
    data: &BTreeMap<String, ByteString>,
    values: Values,
    held: &BTreeMap<String, ByteString>,
) -> BTreeMap<String, Option<ByteString>> {
    let mut changes = BTreeMap::new();
    for key in keys {
        let (next, previous) = (format!("{key}{NEXT}"), format!("{key}{PREVIOUS}"));
        match values {
            Values::Keep => {}
            Values::StoreNext => {
                changes.insert(next, held.get(*key).cloned());
            }
            Values::Promote => {
                if let Some(current) = data.get(*key) {
                    changes.insert(previous, Some(current.clone()));
                }
                changes.insert((*key).to_owned(), data.get(&next).cloned());
                changes.insert(next, None);
            }
            Values::DropNext => {
                changes.insert(next, None);
            }
            Values::DropPrevious => {
                changes.insert(previous, None);
            }
        }
    }
    changes
}

/// What becomes of the annotation that says when the client secret of a Secret ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EndNote {
    /// It stays as it is.
    Keep,
    /// It was about a value that is replaced, and about no other key.
    Remove,
    /// It becomes this.
    Set(Timestamp),
}

impl EndNote {
    /// When a client secret that ends at `end` takes over. The annotation is about every key of the Secret, so it is not written if the
    /// Secret has other keys than those of the rotation; and what an earlier rotation wrote, when it had none, is removed. `written` is
    /// the annotation, and `before` the end of the value that is replaced.
    pub fn of<'a>(
        keys: &[&str],
        mut data: impl Iterator<Item = &'a String>,
        (written, before): (Option<&str>, Option<Timestamp>),
        end: Option<Timestamp>,
    ) -> Self {
        let own = |key: &String| {
            let ends = ["", NEXT, PREVIOUS];
            let named = |name: &&str| ends.iter().any(|end| *key == format!("{name}{end}"));
            keys.iter().any(named)
        };
        if data.all(own) {
            return end.map_or(Self::Keep, Self::Set);
        }
        let written = written.and_then(end_of_secret);
        let by_rotation = written.is_some() && written == before.map(whole_second);
        if by_rotation {
            Self::Remove
        } else {
            Self::Keep
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::at;

    #[test]
    fn the_end_of_a_client_secret_is_noted_for_its_key_alone() {
        let alone = ["value", "value-next", "value-previous"];
        let shared = ["value", "value-next", "values"];
        let (old, new) = (at(1_000), at(2_000));
        let text = old.to_string();
        let of_rotation = (Some(text.as_str()), Some(old));
        let of_person = (Some("2027-06-30"), Some(old));
        for (data, written, end, note) in [
            (alone, (None, None), Some(new), EndNote::Set(new)),
            (alone, of_rotation, Some(new), EndNote::Set(new)),
            (alone, of_person, Some(new), EndNote::Set(new)),
            (alone, of_rotation, None, EndNote::Keep),
            (shared, (None, Some(old)), Some(new), EndNote::Keep),
            (shared, of_rotation, Some(new), EndNote::Remove),
            (shared, of_person, Some(new), EndNote::Keep),
            (shared, (Some("some day"), None), Some(new), EndNote::Keep),
        ] {
            let data = data.map(str::to_owned);
            let seen = EndNote::of(&["value"], data.iter(), written, end);
            assert_eq!(seen, note, "{data:?} {written:?}");
        }
    }
}
