//! The fields of a credential that are used although its spec cannot be: they end the access to a token, and protect its Secret from
//! other credentials. Each of them is read without the others.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::api::{ApiCredentialSpec, DeletionPolicy};

/// The maximum length of an object's name.
const MAX_NAME: usize = 253;
/// The maximum length of `notAfter`. The CRD limits it to 40 characters.
const MAX_TIME: usize = 64;

/// Fields of a spec, each without a value if it is not set or cannot be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::controller) struct Remains {
    /// The Secret that the credential names as its target.
    pub(in crate::controller) target: Option<String>,
    not_after: Option<String>,
    suspend: Option<bool>,
    deletion_policy: Option<DeletionPolicy>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow, default)]
    target: Option<&'a RawValue>,
    #[serde(borrow, default)]
    not_after: Option<&'a RawValue>,
    #[serde(borrow, default)]
    suspend: Option<&'a RawValue>,
    #[serde(borrow, default)]
    deletion_policy: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    secret_name: String,
}

impl Remains {
    /// Reads the JSON of a spec.
    pub(super) fn of(spec: &str) -> Self {
        let Ok(fields) = serde_json::from_str::<Fields<'_>>(spec) else {
            return Self::default();
        };
        let target = value::<Target>(fields.target).map(|target| target.secret_name);
        Self {
            target: target.filter(|name| name.len() <= MAX_NAME),
            not_after: value::<String>(fields.not_after).filter(|time| time.len() <= MAX_TIME),
            suspend: value(fields.suspend),
            deletion_policy: value(fields.deletion_policy),
        }
    }
}

fn value<T: DeserializeOwned>(field: Option<&RawValue>) -> Option<T> {
    serde_json::from_str(field?.get()).ok()
}

impl Remains {
    /// A spec in which only these fields are meaningful.
    pub(super) fn spec(&self) -> ApiCredentialSpec {
        let mut spec: ApiCredentialSpec = serde_json::from_str(r#"{"target":{"secretName":""}}"#)
            .expect("a spec with all that it must have");
        spec.target.secret_name = self.target.clone().unwrap_or_default();
        spec.not_after.clone_from(&self.not_after);
        spec.suspend = self.suspend;
        spec.deletion_policy = self.deletion_policy;
        spec
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::{api::ApiCredential, controller::cache::readable::Readable};

    const END: &str = "2027-06-30T18:00:00Z";

    fn read(spec: &Value) -> ApiCredentialSpec {
        let object = json!({ "metadata": { "name": "a" }, "spec": spec }).to_string();
        let read = Readable::<ApiCredential>::read(object.as_bytes()).unwrap();
        let unusable = read.0.expect_err("it cannot be read");
        unusable.remains.spec()
    }

    #[test]
    fn the_end_of_a_spec_is_known_whatever_else_cannot_be_read() {
        let good = json!({
            "client": { "id": "c" }, "target": { "secretName": "t" }, "notAfter": END,
            "suspend": true, "deletionPolicy": "Revoke",
        });
        let end: Timestamp = END.parse().unwrap();
        let all = (Some(end), Some(true), Some(DeletionPolicy::Revoke), "t");
        let mut fat = json!("x".repeat(70_000));
        for (field, value, known) in [
            ("client", json!(7), all),
            ("minLifetime", fat.take(), all),
            ("target", json!(7), (all.0, all.1, all.2, "")),
            ("target", json!({ "secretName": "t", "keys": 7 }), all),
            ("suspend", json!("later"), (all.0, None, all.2, "t")),
            ("deletionPolicy", json!("Sell"), (all.0, all.1, None, "t")),
            ("notAfter", json!(["later"]), (None, all.1, all.2, "t")),
        ] {
            let mut spec = good.clone();
            spec[field] = value;
            let spec = read(&spec);
            let secret = spec.target.secret_name.as_str();
            let read = (spec.end(), spec.suspend, spec.deletion_policy, secret);
            assert_eq!(read, known, "{field}");
        }
        assert_eq!(read(&json!(7)).end(), None);
    }

    #[test]
    fn text_that_is_too_long_is_not_held() {
        let long = "x".repeat(1000);
        let spec = json!({ "client": 7, "target": { "secretName": long }, "notAfter": long });
        assert_eq!(Remains::of(&spec.to_string()), Remains::default());
    }
}
