//! The changes of one rotation write in the source Secret.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::ByteString;
use serde_json::{Value as Json, json};

use super::execute::Execution;
use crate::{
    api::names,
    plan::conditions::time,
    rotation::{
        Change, Kind, ValueRecord, Values,
        values::{EndNote, changes},
    },
};

impl Execution<'_> {
    /// Only the issuer knows the expiry of a client secret.
    fn end_note(&self, change: &Change, keys: &[&str]) -> EndNote {
        let inputs = self.inputs;
        if change.values != Values::Promote || inputs.rotating.settings.kind != Kind::Secret {
            return EndNote::Keep;
        }
        let until = |known: &Option<ValueRecord>| known.as_ref().and_then(|known| known.until);
        let annotations = inputs.secret.metadata.annotations.iter().flatten();
        let mut written = annotations.filter(|(name, _)| *name == names::SECRET_EXPIRES_AT);
        let written = written.next().map(|(_, text)| text.as_str());
        let data = inputs.secret.data.iter().flatten().map(|(key, _)| key);
        let (before, end) = (
            until(&change.record.previous),
            until(&change.record.current),
        );
        EndNote::of(keys, data, (written, before), end)
    }

    /// The values that change in the source Secret, and the record of the rotation.
    pub(super) fn patch(&self, version: &str, change: &Change) -> Json {
        let (driver, inputs) = (&*self.driver, self.inputs);
        let none = BTreeMap::new();
        let data = inputs.secret.data.as_ref().unwrap_or(&none);
        let keys: Vec<&str> = inputs.rotating.keys.iter().map(String::as_str).collect();
        let data = changes(&keys, data, change.values, &driver.held);
        let encoded =
            |value: Option<ByteString>| value.map_or(Json::Null, |v| json!(STANDARD.encode(v.0)));
        let data: BTreeMap<String, Json> = data.into_iter().map(|(k, v)| (k, encoded(v))).collect();
        let (name, text) = change.record.annotation();
        let mut annotations = BTreeMap::from([(name, json!(text))]);
        match self.end_note(change, &keys) {
            EndNote::Keep => {}
            EndNote::Remove => {
                annotations.insert(names::SECRET_EXPIRES_AT.to_owned(), Json::Null);
            }
            EndNote::Set(end) => {
                annotations.insert(names::SECRET_EXPIRES_AT.to_owned(), json!(time(end)));
            }
        }
        let mut patch =
            json!({ "metadata": { "resourceVersion": version, "annotations": annotations } });
        if !data.is_empty() {
            patch["data"] = json!(data);
        }
        patch
    }
}
