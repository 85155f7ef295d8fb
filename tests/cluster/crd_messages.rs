//! The messages for a user who applies a spec that cannot work: the field, the reason and the next step, from the API server itself.

use apicred::api::{ApiClient, ApiCredential};
use serde_json::{Value, json};

use crate::{
    crd::{least, send},
    support::{World, merge, run},
};

/// A rule that fails to compute a value reports this with texts of the API server itself.
const RAW: [&str; 3] = ["evaluating rule", "conversion error", "no such"];

/// A spec that is accepted, or refused with this message.
pub(crate) type Row = (Value, Result<(), &'static str>);

fn compare(
    spec: &Value,
    expected: Result<(), &str>,
    reported: &Result<Value, String>,
) -> Option<String> {
    let wrong = match (expected, reported) {
        (Ok(()), Ok(_)) => false,
        (Err(expected), Err(reported)) => {
            !reported.contains(expected) || RAW.iter().any(|raw| reported.contains(raw))
        }
        _ => true,
    };
    wrong.then(|| format!("{spec}: {reported:?}, not {expected:?}"))
}

/// Sends the changes of each row to an API server; all differences are reported together.
pub(crate) async fn check(rows: Vec<Row>, to: impl AsyncFn(&Value) -> Result<Value, String>) {
    let mut wrong = Vec::new();
    for (spec, expected) in rows {
        let reported = to(&spec).await;
        wrong.extend(compare(&spec, expected, &reported));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn rotating(rotation: &Value) -> Value {
    json!({
        "entra": { "tenantId": "contoso.example" }, "id": "app",
        "certificates": [{ "secretName": "source" }], "rotation": rotation,
    })
}

#[test]
fn durations_of_a_rotation_are_refused_by_their_field() {
    run(async {
        let world = World::shared().await;
        let short =
            Err("spec.rotation.validity: Invalid value: validity must be at least every + overlap");
        let not = |field: &'static str| -> Result<(), &str> { Err(field) };
        let rows = vec![
            (json!({}), Ok(())),
            (json!({ "every": "720h" }), Ok(())),
            (json!({ "every": "2160h", "overlap": "2160h" }), Ok(())),
            (
                json!({ "every": "43800h", "validity": "87600h", "overlap": "8760h" }),
                Ok(()),
            ),
            (
                json!({ "every": "90d" }),
                not(
                    "spec.rotation.every: Invalid value: \"90d\": every must be a duration between 2h",
                ),
            ),
            (
                json!({ "overlap": "1d" }),
                not("spec.rotation.overlap: Invalid value: \"1d\": overlap must be a duration"),
            ),
            (
                json!({ "overlap": "1ms" }),
                not("overlap must be a duration"),
            ),
            (json!({ "overlap": "1h30m" }), Ok(())),
            (
                json!({ "validity": "P180D" }),
                not("spec.rotation.validity: Invalid value: \"P180D\": validity must be"),
            ),
            (
                json!({ "validity": "" }),
                not("validity must be a duration"),
            ),
            (
                json!({ "every": "90d", "validity": "180d", "overlap": "1d" }),
                not("every must be a duration"),
            ),
            // Both are durations, but the sum is not one.
            (
                json!({ "every": "999999h999999h", "overlap": "999999h999999h" }),
                not("every must be a duration"),
            ),
            (json!({ "every": "2160h", "overlap": "2161h" }), short),
            (json!({ "every": "4320h" }), short),
            (json!({ "validity": "2183h" }), short),
            (json!({ "validity": "2184h" }), Ok(())),
        ];
        check(rows, async |rotation| {
            send::<ApiClient>(world, &rotating(rotation)).await
        })
        .await;
    });
}

#[test]
fn a_client_is_refused_by_its_field() {
    run(async {
        let world = World::shared().await;
        let registered = |changes: Value, keys: Value| {
            let client = json!({
                "issuerRef": { "kind": "TokenIssuer", "name": "mine" }, "id": "app",
                "key": { "secretName": "source", "key": "key.pem" }, "rotation": { "registration": keys },
            });
            merge(client, changes)
        };
        let id = |id: &str| registered(json!({ "id": id }), json!({}));
        let one_key = Err(
            "spec.rotation.registration.tokenKey: Invalid value: urlKey and tokenKey must be two keys",
        );
        let blank = Err("id has a line end, a tab, or a space at its start or end");
        let keys = |keys: Value| registered(json!({}), keys);
        let rows = vec![
            (id("app"), Ok(())),
            (id("a"), Ok(())),
            (id("app of one"), Ok(())),
            (id("app\n"), blank),
            (id("\napp"), blank),
            (id("app "), blank),
            (id(" "), blank),
            (id("a\tb"), blank),
            (id("a\nb"), blank),
            (
                keys(json!({ "urlKey": "url", "tokenKey": "token" })),
                Ok(()),
            ),
            (keys(json!({ "urlKey": "one", "tokenKey": "one" })), one_key),
            (
                keys(json!({ "urlKey": "registration_access_token" })),
                one_key,
            ),
            (
                keys(json!({ "tokenKey": "registration_client_uri" })),
                one_key,
            ),
        ];
        check(rows, async |spec| send::<ApiClient>(world, spec).await).await;
    });
}

#[test]
fn a_day_that_does_not_exist_is_refused_with_a_message() {
    run(async {
        let world = World::shared().await;
        let days = [
            ("2027-01-31", true),
            ("2027-04-30", true),
            ("2027-12-31", true),
            ("1970-01-01", true),
            ("2999-12-31", true),
            ("2028-02-29", true),
            ("2000-02-29", true),
            ("2400-02-29", true),
            ("2027-02-28", true),
            ("1972-02-29", true),
            ("2027-13-01", false),
            ("2027-00-10", false),
            ("2027-01-00", false),
            ("2027-01-32", false),
            ("2027-04-31", false),
            ("2027-02-30", false),
            ("2027-02-29", false),
            ("2100-02-29", false),
            ("2027-11-31", false),
            ("1969-12-31", false),
            ("9999-12-31", false),
            ("0000-01-01", false),
            ("27-01-01", false),
            ("2027-1-1", false),
        ];
        let times = [
            ("T00:00:00Z", true),
            ("T23:59:59Z", true),
            ("T12:00:00.5+02:00", true),
            ("T12:00:00.123456789-09:30", true),
            ("T24:00:00Z", false),
            ("T10:00Z", false),
            ("T10:60:00Z", false),
            ("T10:00:60Z", false),
            ("T10:00:00", false),
            ("T10:00:00+25:00", false),
            ("T10:00:00+0200", false),
            ("T10:00:00.Z", false),
            ("T99:99:99Z", false),
            (" 10:00:00Z", false),
            ("T10:00:00Z\n", false),
        ];
        let (no_end, no_date) = (
            Err("spec.notAfter: Invalid value: \""),
            Err("spec.client.secrets[0].expiresAt: Invalid value: \""),
        );
        let mut all: Vec<(String, bool, bool)> = Vec::new();
        all.extend(days.map(|(day, exists)| (day.to_owned(), false, exists)));
        all.extend(days.map(|(day, exists)| (format!("{day}T10:00:00Z"), exists, exists)));
        all.extend(times.map(|(time, exists)| (format!("2027-06-30{time}"), exists, exists)));
        all.extend(
            ["", "tomorrow", "2027-06-30 ", "30.06.2027"]
                .map(|text| (text.to_owned(), false, false)),
        );
        let mut rows = Vec::new();
        for (text, is_time, is_either) in all {
            let expected = |fine: bool, fault| if fine { Ok(()) } else { fault };
            rows.push((json!({ "notAfter": text }), expected(is_time, no_end)));
            let secret = json!({ "name": "source", "key": "secret", "expiresAt": text });
            rows.push((
                json!({ "client": { "secrets": [secret] } }),
                expected(is_either, no_date),
            ));
        }
        check(rows, async |change| {
            send::<ApiCredential>(world, &merge(least(), change.clone())).await
        })
        .await;
        let reported = send::<ApiCredential>(
            world,
            &merge(least(), json!({ "notAfter": "2027-13-45T99:99:99Z" })),
        )
        .await;
        let reported = reported.unwrap_err();
        assert!(
            reported.contains("notAfter is a time with its zone, such as 2027-06-30T18:00:00Z"),
            "{reported}"
        );
    });
}

#[test]
fn a_target_that_is_a_source_and_a_secret_that_is_none_are_refused() {
    run(async {
        let world = World::shared().await;
        // `merge` removes nulls, so this is done last.
        let of = |mut client: Value| {
            if client["secrets"].is_null() {
                client["secrets"] = Value::Null;
            }
            let issuer = json!({ "kind": "TokenIssuer", "name": "i" });
            json!({ "entra": null, "issuerRef": issuer, "scopes": null, "client": client })
        };
        let plain = |field: &str, value: Value| {
            let mut spec = of(json!({ "secrets": [{ "name": "source", "key": "secret" }] }));
            spec[field] = value;
            spec
        };
        let referred = |name: &str| {
            let parameter = json!({ "name": name, "secretRef": { "name": "other", "key": "k" } });
            plain("parameters", json!([parameter]))
        };
        let valued = json!({ "name": "redirect_uri", "value": "https://a.example" });
        let extension = |parameter: Value| {
            let extension = json!({ "grantType": "urn:x:y", "parameters": [parameter] });
            plain("grant", json!({ "extension": extension }))
        };
        let of_extension = |name: &str| {
            extension(json!({ "name": name, "secretRef": { "name": "other", "key": "k" } }))
        };
        let no_secret =
            Err("spec.parameters[0].secretRef: Forbidden: this parameter is not secret: set value");
        let no_secret_there = Err(
            "spec.grant.extension.parameters[0].secretRef: Forbidden: this parameter is not secret",
        );
        let rows = vec![
            (
                of(json!({ "key": { "secretName": "other", "key": "k" } })),
                Ok(()),
            ),
            (
                of(json!({ "assertion": { "secretName": "other", "key": "k" } })),
                Ok(()),
            ),
            (
                of(json!({ "key": { "secretName": "token", "key": "k" } })),
                Err("spec.client.key: Forbidden: target.secretName is also a source in client.key"),
            ),
            (
                of(json!({ "assertion": { "secretName": "token", "key": "k" } })),
                Err(
                    "spec.client.assertion: Forbidden: target.secretName is also a source in client.assertion",
                ),
            ),
            (referred("hint"), Ok(())),
            (referred("redirect_uri"), no_secret),
            (referred("prompt"), no_secret),
            (plain("parameters", json!([valued.clone()])), Ok(())),
            (of_extension("assertion"), Ok(())),
            (of_extension("apikey"), Ok(())),
            (of_extension("subject_token_type"), no_secret_there),
            (of_extension("redirect_uri"), no_secret_there),
            (extension(valued), Ok(())),
            // Only the rule about the name reports an error.
            (
                referred("scope"),
                Err("use the fields of the spec for them"),
            ),
        ];
        check(rows, async |change| {
            send::<ApiCredential>(world, &merge(least(), change.clone())).await
        })
        .await;
    });
}
