//! The log as machines read it.

use std::{collections::BTreeSet, fmt};

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::json;
use testenv::eventually;

use crate::support::{SOON, World, run};

/// JSON in which no object has a name twice. Readers take the last one and say nothing.
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = Once;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
                let mut names = BTreeSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    map.next_value::<Once>()?;
                    if !names.insert(name.clone()) {
                        return Err(de::Error::custom(format!("{name} stands there twice")));
                    }
                }
                Ok(Once)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Once, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Once)
            }
            fn visit_str<E>(self, _: &str) -> Result<Once, E> {
                Ok(Once)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Once, E> {
                Ok(Once)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Once, E> {
                Ok(Once)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Once, E> {
                Ok(Once)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Once, E> {
                Ok(Once)
            }
            fn visit_unit<E>(self) -> Result<Once, E> {
                Ok(Once)
            }
        }
        deserializer.deserialize_any(Look)
    }
}

#[test]
fn a_line_of_the_log_is_json_and_names_each_field_once() {
    run(async {
        assert!(serde_json::from_str::<Once>(r#"{"a":{"b":1,"b":2}}"#).is_err());
        let world = World::shared().await;
        let place = world.place("log-lines").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        // The credential is found by its two fields, whatever the line says.
        let named = format!(
            r#""span":{{"credential":"c","namespace":"{}","name":"reconcile"}}"#,
            place.namespace
        );
        let lines = eventually(SOON, "a line about the credential", async || {
            let log = world.operator_logs();
            log.contains(&named).then_some(log)
        })
        .await;
        for line in lines
            .lines()
            .filter(|l| l.starts_with('{') && l.ends_with('}'))
        {
            if let Err(problem) = serde_json::from_str::<Once>(line) {
                unreachable!("{problem}: {line}");
            }
        }
    });
}
