//! The values of the source Secret: under which keys they are stored, and how a step changes them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;

use super::{
    observed::{Mark, Slot},
    step::Values,
};
use crate::{credential::end_of_secret, whole_second};

/// Suffix of the key of the next value.
pub const NEXT: &str = "-next";
/// Suffix of the key of the previous value.
pub const PREVIOUS: &str = "-previous";

/// Changes of `data`: a value to set, or None to remove the key. `keys` are the keys of the current value, such as `tls.crt` and `tls.key`;
/// `held` has a value for each of them under the same name.
///
/// A missing key is not filled in when values move, so an old half never completes a half pair.
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

/// What happens to the annotation with the expiry time of the client secret of a Secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EndNote {
    /// It stays as it is.
    Keep,
    /// It was about a replaced value, and about no other key.
    Remove,
    /// It is set to this time.
    Set(Timestamp),
}

impl EndNote {
    /// For a client secret that expires at `end` and takes over. The annotation applies to every key of the Secret. If the Secret has other
    /// keys than those of the rotation, it is therefore not written, and what an earlier rotation wrote is removed. `written` is the
    /// annotation, and `before` the expiry time of the replaced value.
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

impl Mark {
    /// What the digest of the value is computed from instead of its text, if it is known: the text of a certificate and of its private key has
    /// several forms (lines before the PEM, another encoding), and each is the same credential.
    pub fn digested(&self) -> Option<&str> {
        match self {
            Self::Certificate { sha256, .. } => Some(sha256),
            Self::Hint(_) | Self::Key(_) => None,
        }
    }
}

impl Slot {
    /// Whether it is certainly the same credential, in whatever form it is stored.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let certain = !matches!(self.mark, Mark::Hint(_));
        self.digest == other.digest || certain && self.mark == other.mark
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
        let by_user = (Some("2027-06-30"), Some(old));
        for (data, written, end, note) in [
            (alone, (None, None), Some(new), EndNote::Set(new)),
            (alone, of_rotation, Some(new), EndNote::Set(new)),
            (alone, by_user, Some(new), EndNote::Set(new)),
            (alone, of_rotation, None, EndNote::Keep),
            (shared, (None, Some(old)), Some(new), EndNote::Keep),
            (shared, of_rotation, Some(new), EndNote::Remove),
            (shared, by_user, Some(new), EndNote::Keep),
            (shared, (Some("some day"), None), Some(new), EndNote::Keep),
        ] {
            let data = data.map(str::to_owned);
            let seen = EndNote::of(&["value"], data.iter(), written, end);
            assert_eq!(seen, note, "{data:?} {written:?}");
        }
    }
}
