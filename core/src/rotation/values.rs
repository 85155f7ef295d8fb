//! The values of the source Secret: which keys they stand under, and what a step does with them.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;

use super::step::Values;

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
