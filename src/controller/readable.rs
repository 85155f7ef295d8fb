//! Typed objects of a watch, of which one that cannot be read spoils no other. kube has the same as `DeserializeGuard`,
//! which reads each object three times over.

use std::{borrow::Cow, fmt, marker::PhantomData};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, Visitor},
};
use serde_json::{Map, Value};

/// An object, or the metadata of one that does not fit its type.
#[derive(Clone, Debug)]
pub(super) struct Readable<K>(pub(super) Result<K, Box<ObjectMeta>>);

impl<'de, K: Resource + DeserializeOwned> Deserialize<'de> for Readable<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

struct Fields<K>(PhantomData<K>);

impl<'de, K: Resource + DeserializeOwned> Visitor<'de> for Fields<K> {
    type Value = Readable<K>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object with metadata")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut metadata = None;
        let mut rest = Map::new();
        while let Some(field) = map.next_key::<String>()? {
            if field == "metadata" {
                metadata = Some(map.next_value::<Box<ObjectMeta>>()?);
            } else {
                rest.insert(field, map.next_value()?);
            }
        }
        let metadata = metadata.ok_or_else(|| A::Error::missing_field("metadata"))?;
        rest.insert("metadata".to_owned(), Value::Object(Map::new()));
        Ok(Readable(match K::deserialize(Value::Object(rest)) {
            Ok(mut object) => {
                *object.meta_mut() = *metadata;
                Ok(object)
            }
            Err(_) => Err(metadata),
        }))
    }
}

impl<K: Resource> Resource for Readable<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }

    fn group(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }

    fn version(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }

    fn plural(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(metadata) => metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(metadata) => metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::WatchEvent;
    use serde_json::json;

    use super::*;
    use crate::api::ApiCredential;

    fn good() -> Value {
        json!({
            "apiVersion": "apicred.dev/v1alpha1", "kind": "ApiCredential",
            "metadata": { "name": "a", "namespace": "n", "resourceVersion": "7" },
            "spec": { "issuerRef": { "kind": "TokenIssuer", "name": "i" }, "client": { "id": "c" }, "target": { "secretName": "t" } },
            "status": { "renewReason": "Lifetime" },
        })
    }

    #[test]
    fn an_object_that_fits_is_read_whole() {
        let Readable(read) = serde_json::from_value::<Readable<ApiCredential>>(good()).unwrap();
        let whole: ApiCredential = serde_json::from_value(good()).unwrap();
        assert_eq!(read.ok(), Some(whole));
    }

    #[test]
    fn one_that_does_not_fit_is_known_by_its_metadata() {
        for (field, value) in [("spec", json!({ "client": 7 })), ("status", json!("none"))] {
            let mut object = good();
            object[field] = value;
            let read: Readable<ApiCredential> = serde_json::from_value(object).unwrap();
            let metadata = read.0.expect_err(field);
            assert_eq!(metadata.name.as_deref(), Some("a"));
            assert_eq!(metadata.resource_version.as_deref(), Some("7"));
        }
    }

    #[test]
    fn an_event_may_tell_its_type_first_or_last() {
        let object = good().to_string();
        for text in [
            format!(r#"{{"type":"MODIFIED","object":{object}}}"#),
            format!(r#"{{"object":{object},"type":"MODIFIED"}}"#),
        ] {
            let event: WatchEvent<Readable<ApiCredential>> = serde_json::from_str(&text).unwrap();
            assert!(matches!(event, WatchEvent::Modified(Readable(Ok(_)))));
        }
    }

    #[test]
    fn what_has_no_metadata_is_no_object() {
        for text in ["{}", "[]", "7", r#"{"metadata":7}"#] {
            assert!(
                serde_json::from_str::<Readable<ApiCredential>>(text).is_err(),
                "{text}"
            );
        }
    }
}
