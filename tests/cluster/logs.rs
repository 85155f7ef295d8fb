//! The log as machines read it.

use std::{collections::BTreeSet, fmt};

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};
use testenv::eventually;
use tokio::net::unix::pipe;

use crate::{
    support::{LATER, NAMESPACE, Place, SOON, World, merge, run},
    tenancy::namespaced,
};

#[test]
fn a_log_without_reader_and_a_full_disk_stop_nothing() {
    run(async {
        let mut world = World::own().await;
        let folder = tempfile::tempdir().expect("a folder");
        let fifo = folder.path().join("nobody-reads");
        let made = tokio::process::Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .await;
        assert!(made.expect("mkfifo").success());
        // Full from the beginning; this test keeps both ends open.
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

/// JSON in which no object has a duplicate name. Readers use the last one without an error.
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Once;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
                let mut names = BTreeSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    map.next_value::<Once>()?;
                    if !names.insert(name.clone()) {
                        return Err(de::Error::custom(format!("{name} is repeated")));
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
        deserializer.deserialize_any(Any)
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
        // The two fields identify the credential in every line.
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

/// Lines of the log about the faults of an object, as `change condition reason`.
pub(crate) fn messages(world: &World, namespace: Option<&str>, name: &str) -> Vec<String> {
    log_messages(&world.lines_about(namespace, name))
}

/// The same for a credential; an `ApiClient` of the same name has its own lines.
pub(crate) fn log_of_credential(world: &World, namespace: &str, name: &str) -> Vec<String> {
    let mut lines = world.lines_about(Some(namespace), name);
    lines.retain(|line| line["kind"] == "ApiCredential");
    log_messages(&lines)
}

fn log_messages(lines: &[Value]) -> Vec<String> {
    let expected_part = |line: &Value, field: &str| line[field].as_str().unwrap_or("-").to_owned();
    let faults = lines.iter().filter(|line| line["change"].is_string());
    faults
        .map(|l| {
            format!(
                "{} {} {}",
                expected_part(l, "change"),
                expected_part(l, "condition"),
                expected_part(l, "reason")
            )
        })
        .collect()
}

/// Waits until the log has these lines about a credential, and no other.
pub(crate) async fn until_logged(world: &World, place: &Place, name: &str, wanted: &[&str]) {
    eventually(LATER, format!("{name}: {wanted:?}"), async || {
        let messages = messages(world, Some(&place.namespace), name);
        if messages == wanted {
            Ok(())
        } else {
            Err(format!("{messages:?}"))
        }
    })
    .await;
}

#[test]
fn a_refused_request_is_one_line_with_its_ids_however_often_it_is_tried() {
    run(async {
        let world = World::shared().await;
        let place = world.place("refused").await;
        place.put_source("not-the-secret-of-this-client").await;
        place.create("c", json!({})).await;
        place.not_ready("c", "ClientSecretRefused").await;
        for tries in 2..4 {
            place.request_renewal("c").await;
            eventually(LATER, "another try", async || place.posts() >= tries).await;
        }
        place.put_source(&place.secret).await;
        place.ready("c").await;
        eventually(SOON, "the end", async || {
            messages(world, Some(&place.namespace), "c")
                .last()
                .is_some_and(|l| l.starts_with("ended"))
        })
        .await;
        let lines = world.lines_about(Some(&place.namespace), "c");
        let refused: Vec<_> = lines
            .iter()
            .filter(|l| l["reason"] == "ClientSecretRefused")
            .collect();
        let changes: Vec<_> = refused.iter().map(|l| l["change"].as_str()).collect();
        assert_eq!(changes.first(), Some(&Some("began")), "{refused:?}");
        assert_eq!(changes.last(), Some(&Some("ended")), "{refused:?}");
        // While the secret is new, the message states this; later it does not.
        assert!(refused.len() <= 3, "{refused:?}");
        let began = refused[0];
        assert_eq!(began["code"], json!("AADSTS7000215"), "{began}");
        assert_eq!(began["http_status"], json!(401), "{began}");
        for id in ["correlation_id", "trace_id"] {
            assert!(began[id].is_string(), "{began}");
        }
    });
}

/// An issuer to which no request is allowed, and the same one with the address allowed.
async fn issuer_fails_and_works(world: &World, place: &Place) {
    let name = place.issuer_name.as_str();
    let oidc = json!({ "entra": null, "oidc": { "issuerUrl": format!("{}/generic", place.issuer.origin()) } });
    let spec = |more: Value| merge(merge(place.entra_issuer(), oidc.clone()), more);
    let closed = json!({ "network": null });
    place.put_issuer(spec(closed)).await;
    let until_logged = async |wanted: &[&str]| {
        eventually(LATER, format!("{name}: {wanted:?}"), async || {
            let messages = messages(world, None, name);
            if messages == wanted {
                Ok(())
            } else {
                Err(format!("{messages:?}"))
            }
        })
        .await;
    };
    let began = "began Ready AddressNotAllowed";
    until_logged(&[began]).await;
    let wrong = testenv::tls::Authority::new("somebody else").expect("a CA");
    place
        .put_issuer(spec(json!({ "caBundle": wrong.ca_pem() })))
        .await;
    let changed = "changed Ready TlsFailed";
    until_logged(&[began, changed]).await;
    place.put_issuer(spec(json!({}))).await;
    until_logged(&[began, changed, "ended Ready TlsFailed"]).await;
    let events = eventually(SOON, "three events about the issuer", async || {
        let events = place.events_in("default", name).await;
        if events.len() == 3 {
            Ok(events)
        } else {
            Err(format!("{events:?}"))
        }
    })
    .await;
    for (kind, reason) in [
        ("Warning", "AddressNotAllowed"),
        ("Warning", "TlsFailed"),
        ("Normal", "EndpointKnown"),
    ] {
        let found = events.iter().filter(|e| e.0 == kind && e.1 == reason);
        assert_eq!(found.count(), 1, "{reason}: {events:?}");
    }
}

#[test]
fn an_issuer_that_fails_has_lines_and_events() {
    run(async {
        let world = World::shared().await;
        let place = world.place("failing-issuer").await;
        issuer_fails_and_works(world, &place).await;
        let lines = world.lines_about(None, &place.issuer_name);
        assert!(
            lines
                .iter()
                .all(|l| l["kind"] == "ClusterTokenIssuer" && l["uid"].is_string()),
            "{lines:?}"
        );
        // One of a namespace; its events are in the same namespace.
        namespaced(
            &place,
            json!({ "oauth2": { "tokenUrl": "https://10.1.2.3/token" } }),
        )
        .await;
        eventually(LATER, "a line about it", async || {
            let messages = messages(world, Some(&place.namespace), "mine");
            if messages == ["began Ready AddressNotAllowed"] {
                Ok(())
            } else {
                Err(format!("{messages:?}"))
            }
        })
        .await;
        eventually(SOON, "an event about it", async || {
            let events = place.events("mine").await;
            events
                .iter()
                .any(|e| e.0 == "Warning" && e.1 == "AddressNotAllowed")
        })
        .await;
    });
}

#[test]
fn a_restart_counts_what_is_not_ready_and_repeats_no_line() {
    run(async {
        let mut world = World::own().await;
        world.start_operator().await;
        let place = world.place("known").await;
        let absent = json!([{ "name": "absent", "key": "client-secret" }]);
        for name in ["a", "b", "c"] {
            let target = json!({ "secretName": name });
            place
                .create(
                    name,
                    json!({ "client": { "secrets": absent }, "target": target }),
                )
                .await;
            until_logged(&world, &place, name, &["began Ready ClientSecretMissing"]).await;
        }
        world.take_operator().terminate().await;
        world.start_operator().await;
        eventually(LATER, "a count", async || {
            world
                .operator_logs()
                .contains("3 of 3 credentials are not ready: 3 ClientSecretMissing")
        })
        .await;
        for name in ["a", "b", "c"] {
            until_logged(&world, &place, name, &["began Ready ClientSecretMissing"]).await;
        }
        // A process that has not logged the beginning logs the end.
        place
            .put_secret("absent", "client-secret", &place.secret)
            .await;
        let both = [
            "began Ready ClientSecretMissing",
            "ended Ready ClientSecretMissing",
        ];
        until_logged(&world, &place, "a", &both).await;
    });
}

/// Each attempt of each credential reads the key again.
#[test]
fn a_damaged_digest_key_is_one_log_line_and_each_credential_reports_the_next_step() {
    run(async {
        let mut world = World::own().await;
        let keys: Api<Secret> = Api::namespaced(world.admin.clone(), NAMESPACE);
        let damaged = json!({
            "metadata": { "name": "apicred-digest-key" }, "stringData": { "key": "16 bytes of them" },
        });
        let damaged = serde_json::from_value(damaged).expect("a Secret");
        let made = keys.create(&PostParams::default(), &damaged).await;
        made.expect("a damaged key");
        world.start_operator().await;
        let place = world.place("damaged-key").await;
        let names = ["a", "b"];
        for name in names {
            let object = json!({ "target": { "secretName": name } });
            place.create(name, object).await;
        }
        for name in names {
            let reported = place.not_ready(name, "KubernetesUnavailable").await;
            assert!(
                reported.contains("Secret apicred-digest-key is damaged"),
                "{reported}"
            );
            place
                .until(name, "another attempt", |c| {
                    (c.status.as_ref()?.consecutive_failures? > 1).then_some(())
                })
                .await;
        }
        let logs = world.operator_logs();
        let lines = logs.lines().filter(|l| l.contains("digest key is damaged"));
        assert_eq!(lines.count(), 1, "{logs}");
        assert_eq!(place.posts(), 0);
        let params = DeleteParams::default();
        let deleted = keys.delete("apicred-digest-key", &params).await;
        deleted.expect("it goes");
        for name in names {
            place.ready(name).await;
        }
        world.operator_runs();
    });
}
