//! The log as machines read it.

use std::{collections::BTreeSet, fmt};

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::json;
use testenv::eventually;

use tokio::net::unix::pipe;

use crate::support::{SOON, World, run};

#[test]
fn a_log_that_nobody_reads_and_a_full_disk_stop_nothing() {
    run(async {
        let mut world = World::own().await;
        let folder = tempfile::tempdir().expect("a folder");
        let fifo = folder.path().join("nobody-reads");
        let made = tokio::process::Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .await;
        assert!(made.expect("mkfifo").success());
        // Full from the beginning, and held open by both ends here.
        let held = pipe::OpenOptions::new()
            .read_write(true)
            .open_sender(&fifo)
            .expect("a pipe");
        while held.try_write(&[b'x'; 1]).is_ok() {}
        let full = folder.path().join("full-disk");
        std::os::unix::fs::symlink("/dev/full", &full).expect("a link");
        let mut places = Vec::new();
        for (name, log) in [("nobody", fifo), ("disk", full)] {
            world.start_operator_logging_to(log).await;
            let place = world.place(&format!("log-{name}")).await;
            place.create("c", json!({})).await;
            place.ready("c").await;
            assert_eq!(world.operator().get("/livez").await.map(|a| a.0), Some(200));
            if name == "disk" {
                let (_, metrics) = world.operator().get("/metrics").await.expect("metrics");
                let dropped = metrics
                    .lines()
                    .find_map(|l| l.strip_prefix("apicred_log_lines_dropped_total "))
                    .and_then(|n| n.parse::<u64>().ok());
                assert!(dropped.is_some_and(|n| n > 0), "{dropped:?}");
            }
            let (status, _) = world.take_operator().terminate().await;
            assert!(status.success(), "{name}: {status:?}");
            places.push(place);
        }
    });
}

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
