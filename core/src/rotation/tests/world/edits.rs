//! Edits of the Secret, and where its values are stored in addition.

use k8s_openapi::ByteString;

use super::{Content, Edit, KEY, World};
use crate::{
    api::names,
    rotation::{InOther, RotatedUntil, Stored, values},
};

/// The beginning of the keys that the client named before.
const OLD: &str = "old-";

impl World {
    /// The values under keys that the client named before.
    pub(super) fn under_old_keys(content: &Content) -> impl Iterator<Item = String> {
        let old = content.data.iter().filter(|(key, _)| key.starts_with(OLD));
        old.map(|(_, value)| String::from_utf8(value.0.clone()).unwrap())
    }

    /// The values of the copy, as its annotation describes them.
    pub(super) fn in_others(&self) -> Vec<InOther> {
        let Some((copy, name)) = &self.copy else {
            return Vec::new();
        };
        let noted = RotatedUntil::read(&copy.note);
        let client = self.client();
        let values = noted.iter().flat_map(|noted| noted.stored(&client));
        let of = |value: &Stored| InOther {
            secret: name.clone(),
            value: value.clone(),
        };
        values.map(of).collect()
    }

    /// Whether credentials use it in another place that apicred can know of.
    pub(super) fn is_used_elsewhere(&self, value: &str) -> bool {
        let digest = self.digest(value);
        let copied = self.in_others().into_iter();
        let mut copied = copied.filter(|other| !other.value.replaced);
        Self::under_old_keys(self.content()).any(|old| old == value)
            || copied.any(|other| other.value.digest == digest && other.value.id.is_some())
    }

    /// Whether it is in the copy, or under keys that the client named before: it may stay at the issuer.
    pub(super) fn is_stored_elsewhere(&self, value: &str) -> bool {
        let copy = self.copy.iter().flat_map(|(copy, _)| copy.data.values());
        let mut copied = copy.map(|bytes| bytes.0.as_slice());
        copied.any(|copied| copied == value.as_bytes())
            || Self::under_old_keys(self.content()).any(|old| old == value)
    }

    pub(super) fn edit(&mut self, edit: Edit) {
        self.disturbed += 1;
        self.lost_note |= matches!(
            edit,
            Edit::RemoveNote | Edit::DamageAnnotation | Edit::Restore { note: true, .. }
        );
        let mut content = self.content().clone();
        let suffixed = |suffix: &str| format!("{KEY}{suffix}");
        match edit {
            Edit::OwnValue => {
                let value = self.own_value();
                content
                    .data
                    .insert(KEY.to_owned(), ByteString(value.into_bytes()));
            }
            Edit::Restore { back, values, note } => {
                let earlier =
                    &self.history[self.history.len() - 1 - back.min(self.history.len() - 1)];
                if values {
                    content.data.clone_from(&earlier.data);
                }
                if note {
                    content.note.clone_from(&earlier.note);
                }
            }
            Edit::OtherKey => {
                for suffix in ["", values::NEXT, values::PREVIOUS] {
                    if let Some(value) = content.data.remove(&suffixed(suffix)) {
                        let key = format!("{OLD}{}", content.data.len());
                        content.data.insert(key, value);
                    }
                }
                let value = self.own_value();
                let value = ByteString(value.into_bytes());
                content.data.insert(KEY.to_owned(), value);
            }
            Edit::RemoveNote => content.note.clear(),
            Edit::DamageAnnotation => {
                content
                    .note
                    .insert(names::ROTATION.to_owned(), "{".to_owned());
            }
            Edit::RemoveNext => {
                content.data.remove(&suffixed(values::NEXT));
            }
            Edit::RemovePrevious => {
                content.data.remove(&suffixed(values::PREVIOUS));
            }
            Edit::PutPreviousBack => {
                if let Some(value) = content.data.get(&suffixed(values::PREVIOUS)) {
                    content.data.insert(KEY.to_owned(), value.clone());
                }
            }
        }
        self.history.push(content);
    }
}
