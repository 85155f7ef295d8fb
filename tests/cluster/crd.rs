//! The kinds as the API server handles them: what it accepts, what it refuses, and with which message.

mod credentials;
mod issuers;
mod names;
mod selectors;

use std::path::{Path, PathBuf};

use apicred::api::{ApiCredential, TokenIssuer, crd};
use kube::{
    Api, Resource,
    api::{ApiResource, DynamicObject, ListParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{World, merge, run};

/// A file or folder of this repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| format!("{}: {error}", path.display()))
}

#[test]
fn the_files_are_what_the_program_prints() {
    let files = crd::files().unwrap();
    assert_eq!(files.len(), 4);
    for (name, text) in &files {
        for folder in ["crds", "charts/apicred/files/crds"] {
            let path = repository(folder).join(name);
            assert_eq!(
                &read(&path),
                text,
                "{folder}/{name} is old: run `make crds`"
            );
        }
        assert!(text.len() < 100_000, "{name} has {} bytes", text.len());
    }
    for folder in ["crds", "charts/apicred/files/crds"] {
        let there = std::fs::read_dir(repository(folder)).unwrap().count();
        assert_eq!(there, files.len(), "a file in {folder} without a kind");
    }
}

/// Sends an object as JSON in a dry run, because the typed API cannot express some objects that the server must refuse.
pub(crate) async fn send<K: Resource<DynamicType = ()>>(
    world: &World,
    spec: &Value,
) -> Result<Value, String> {
    let kind = ApiResource::erase::<K>(&());
    let object = json!({
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": { "name": "a-name" },
        "spec": spec,
    });
    let object: DynamicObject = serde_json::from_value(object).expect("an object");
    let api: Api<DynamicObject> = if kind.plural == "clustertokenissuers" {
        Api::all_with(world.admin.clone(), &kind)
    } else {
        Api::namespaced_with(world.admin.clone(), "default", &kind)
    };
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    match api.create(&params, &object).await {
        Ok(made) => Ok(made.data["spec"].clone()),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(other) => Err(format!("not an answer: {other}")),
    }
}

/// A client secret that expires then.
fn ends(at: &str) -> Value {
    json!({ "client": { "secrets": [{ "name": "source", "key": "secret", "expiresAt": at }] } })
}

/// The smallest valid ApiCredential.
pub(crate) fn least() -> Value {
    json!({
        "entra": { "tenantId": "contoso.onmicrosoft.com" },
        "client": { "id": "app", "secrets": [{ "name": "source", "key": "secret" }] },
        "scopes": ["api://demo/.default"],
        "target": { "secretName": "token" },
    })
}

#[test]
fn good_credentials_are_taken_as_they_are() {
    run(async {
        let world = World::shared().await;
        let by_reference =
            json!({ "entra": null, "issuerRef": { "kind": "TokenIssuer", "name": "mine" } });
        for changes in [
            json!({}),
            json!({ "entra": { "cloud": "USGov" }, "scopes": null, "resources": ["https://graph.microsoft.com"] }),
            json!({ "grant": { "clientCredentials": {} }, "suspend": true, "deletionPolicy": "Retain" }),
            json!({ "minLifetime": "10s" }),
            json!({ "minLifetime": "1h30m" }),
            json!({ "minLifetime": "24h" }),
            json!({ "parameters": [{ "name": "acr_values", "value": "x" }, { "name": "user", "value": "y" }] }),
            json!({ "parameters": [{ "name": "k".repeat(128), "value": "" }, { "name": "hint", "secretRef": { "name": "s", "key": "k" } }] }),
            json!({ "target": { "type": "apicred.dev/token", "labels": { "team.example/kubernetes.io": "x" } } }),
            json!({ "target": { "labels": { "app.kubernetes.io/part-of": "y", "app.kubernetes.io/version": "1" } } }),
            json!({ "target": { "labels": { "notkubernetes.io/x": "y" }, "annotations": { "a": "b" } } }),
        ] {
            let spec = merge(least(), changes);
            // Nothing may be added: GitOps tools would see a field that is in no manifest.
            assert_eq!(
                send::<ApiCredential>(world, &spec).await,
                Ok(spec.clone()),
                "{spec}"
            );
        }
        let key = json!({ "name": "s", "key": "k" });
        for changes in [
            json!({ "api": "DefenderForCloudApps", "scopes": null }),
            json!({ "api": "WindowsDefenderATP", "scopes": null, "endpointVersion": "V1", "expect": { "roles": ["Alert.Read.All"] } }),
            json!({ "client": { "secrets": null, "certificates": [{ "secretName": "s", "algorithm": "PS256", "x5c": true }] } }),
            json!({ "client": { "secrets": null, "serviceAccount": { "name": "s" } } }),
            json!({ "entra": null, "issuerRef": { "kind": "ClusterTokenIssuer", "name": "i" }, "client": { "id": null, "secrets": null, "managedIdentity": {} } }),
            json!({ "client": { "secrets": null, "public": {} }, "grant": { "refreshToken": { "secretRef": key } } }),
            ends("2027-01-01T00:00:00Z"),
            ends("2027-06-30T12:00:00.5+02:00"),
            ends("2027-06-30"),
            json!({ "client": { "secrets": [{ "name": "s", "key": "new", "expiresAt": "2027-06-30" }, { "name": "s", "key": "old" }] } }),
            json!({ "client": { "secrets": null, "certificates": [{ "secretName": "s", "privateKeyKey": "new.key", "certificateKey": "new.crt" }, { "secretName": "s" }] } }),
            json!({ "grant": { "onBehalfOf": { "assertionRef": key } }, "api": "MicrosoftGraph", "scopes": ["User.Read"] }),
            json!({ "entra": null, "client": null, "scopes": null, "static": { "tokenRef": key } }),
            json!({ "target": { "type": "kubernetes.io/dockerconfigjson", "keys": [{ "format": "DockerConfig", "host": "registry.example.com" }] } }),
            json!({ "target": { "keys": [{ "format": "DockerConfig", "host": "localhost:5000/team/x.y_z" }, { "format": "DockerConfig", "key": "two", "host": "a-b.example" }] } }),
            json!({ "grant": { "refreshToken": { "secretRef": key } }, "scopes": ["User.Read", "Mail.Read"] }),
            json!({ "target": { "notifyPods": { "selector": { "matchExpressions": [{ "key": "app", "operator": "NotIn", "values": ["", "a"] }, { "key": "job", "operator": "DoesNotExist" }] } } } }),
            json!({ "target": { "keys": [{ "format": "Token" }, { "format": "DotEnv", "key": "api.env", "variable": "API_TOKEN" }] } }),
        ] {
            let spec = merge(least(), changes);
            assert_eq!(
                send::<ApiCredential>(world, &spec).await,
                Ok(spec.clone()),
                "{spec}"
            );
        }
        for changes in [
            json!({ "grant": { "tokenExchange": { "subject": { "serviceAccount": { "name": "s" } } } } }),
            json!({ "client": null, "grant": { "jwtBearer": { "signed": { "keyRef": key, "subject": "someone" } } } }),
            json!({ "grant": { "password": { "username": "u", "passwordRef": key } }, "deletionPolicy": "Revoke" }),
            json!({ "client": { "secrets": null, "mtls": { "secretName": "s" } } }),
            json!({}),
            json!({ "scopes": ["a", "b:c/d"], "audience": "x", "resources": ["urn:y"] }),
            json!({ "scopes": null }),
        ] {
            let spec = merge(merge(least(), by_reference.clone()), changes);
            assert_eq!(
                send::<ApiCredential>(world, &spec).await,
                Ok(spec.clone()),
                "{spec}"
            );
        }
    });
}

#[test]
fn no_text_takes_control_or_format_characters_and_no_key_is_long() {
    run(async {
        let world = World::shared().await;
        let at = |pointer: &str, text: &str| -> Value {
            let mut value = json!(text);
            for part in pointer.split('/').rev() {
                value = if part == "[]" {
                    json!([value])
                } else {
                    json!({ part: value })
                };
            }
            value
        };
        let plain = json!({ "entra": null, "issuerRef": { "kind": "TokenIssuer", "name": "mine" }, "scopes": null });
        let texts = [
            "client/id",
            "resources/[]",
            "audience",
            "parameters/[]/name",
            "parameters/[]/value",
            "target/annotations/key",
            "expect/audience",
            "expect/roles/[]",
            "target/secretName",
            "issuerRef/name",
        ];
        for pointer in texts {
            for hostile in [
                "a\u{1b}]0;pwned\u{7}",
                "a\nb",
                "a\u{202e}b",
                "a\u{9b}b",
                "a\u{2028}b",
                "a\u{200b}b",
            ] {
                let with = |text: &str| {
                    let mut spec = merge(merge(least(), plain.clone()), at(pointer, text));
                    for parameter in spec["parameters"].as_array_mut().into_iter().flatten() {
                        for field in ["name", "value"] {
                            if parameter[field].is_null() {
                                parameter[field] = json!("x");
                            }
                        }
                    }
                    spec
                };
                let reported = send::<ApiCredential>(world, &with(hostile)).await;
                assert!(reported.is_err(), "{pointer} takes {hostile:?}");
                let reported = send::<ApiCredential>(world, &with("fine")).await;
                assert!(reported.is_ok(), "{pointer}: {reported:?}");
            }
        }
        let fine = merge(
            merge(least(), plain.clone()),
            json!({
                "client": { "id": "Zoë's \"app\" \\ 日本" }, "audience": "urn:x y", "parameters": [{ "name": "a b", "value": "é" }],
            }),
        );
        assert_eq!(
            send::<ApiCredential>(world, &fine).await.map(|_| ()),
            Ok(())
        );
        for (map, most) in [("target/annotations", 317), ("target/labels", 317)] {
            let key = |text: &str| {
                merge(
                    merge(least(), plain.clone()),
                    at(&format!("{map}/KEY").replace("KEY", text), "x"),
                )
            };
            for bad in [
                "k".repeat(most + 1),
                "k".repeat(500_000),
                "a\u{1b}b".to_owned(),
                "a\u{202e}b".to_owned(),
            ] {
                let reported = send::<ApiCredential>(world, &key(&bad)).await;
                assert!(
                    reported.is_err(),
                    "{map} takes a key of {} characters",
                    bad.len()
                );
            }
        }
        // Issuers, and parts that a URL must not contain.
        for spec in [
            json!({ "oauth2": { "tokenUrl": "https://a.example/\u{202e}x" } }),
            json!({ "oidc": { "issuerUrl": "https://a\u{1b}.example" } }),
            json!({ "oauth2": { "tokenUrl": "https://a.example", "issuer": "a\u{7}" } }),
            json!({ "oauth2": { "tokenUrl": "https://a.example", "authorizationUrl": "https://a.example/\u{200f}" } }),
        ] {
            let reported = send::<TokenIssuer>(world, &spec).await;
            assert!(reported.is_err(), "{spec}");
        }
        let bundle = "# Főtanúsítvány\n-----BEGIN CERTIFICATE-----\r\nx\n";
        let issuer = json!({ "oidc": { "issuerUrl": "https://a.example" }, "caBundle": bundle });
        assert_eq!(
            send::<TokenIssuer>(world, &issuer).await.map(|_| ()),
            Ok(())
        );
    });
}

#[test]
fn every_example_is_taken() {
    run(async {
        let world = World::shared().await;
        let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: apicred-demo}\n";
        world.cluster.kubectl_apply(namespace).await.unwrap();
        let mut files = Vec::new();
        for folder in ["examples", "examples/demo"] {
            let entries = std::fs::read_dir(repository(folder)).unwrap();
            files.extend(
                entries
                    .map(|e| e.unwrap().path())
                    .filter(|p| p.extension().is_some_and(|e| e == "yaml")),
            );
        }
        assert!(files.len() >= 8, "{files:?}");
        let ca = serde_json::to_string(world.issuer.ca_pem()).unwrap();
        for file in files {
            let text = read(&file)
                .replace("${ISSUER_ORIGIN}", world.issuer.origin())
                .replace("${ISSUER_CA}", &ca);
            let filled = world.cluster.dir().join("example.yaml");
            std::fs::write(&filled, text).unwrap();
            let args = [
                "apply",
                "--server-side",
                "--dry-run=server",
                "-f",
                filled.to_str().unwrap(),
            ];
            let reported = world.cluster.kubectl(&args).await;
            assert!(reported.is_ok(), "{}: {reported:?}", file.display());
        }
    });
}

#[test]
fn a_list_shows_what_matters_and_wide_the_rest() {
    run(async {
        let world = World::shared().await;
        let place = world.place("columns").await;
        place.create("referred", json!({})).await;
        place.ready("referred").await;
        let inline = json!({
            "issuerRef": null, "entra": { "tenantId": "contoso.onmicrosoft.com" },
            "suspend": true, "target": { "secretName": "inline" },
        });
        place.create("inline", inline).await;
        let path = format!(
            "/apis/apicred.dev/v1alpha1/namespaces/{}/apicredentials",
            place.namespace
        );
        let request = http::Request::get(path)
            .header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
            .body(Vec::new())
            .expect("a request");
        let text = world.admin.request_text(request).await.expect("a table");
        let table: Value = serde_json::from_str(&text).expect("JSON");
        let columns = table["columnDefinitions"].as_array().expect("columns");
        let names = |wide: bool| -> Vec<&str> {
            columns
                .iter()
                .filter(|c| (c["priority"] != json!(0)) == wide)
                .filter_map(|c| c["name"].as_str())
                .collect()
        };
        let usual = ["Name", "Ready", "Reason", "Expires", "Secret", "Age"];
        assert_eq!(names(false), usual);
        let wide = [
            "Renews", "Renewal", "Issuer", "Client", "Failures", "Next try", "Message",
        ];
        assert_eq!(names(true), wide);
        let cell = |object: &str, column: &str| {
            let at = columns.iter().position(|c| c["name"] == column)?;
            let rows = table["rows"].as_array()?;
            let row = rows.iter().find(|r| r["cells"][0] == object)?;
            row["cells"][at].as_str().map(str::to_owned)
        };
        let shown = |object, column| cell(object, column).unwrap_or_default();
        assert_eq!(shown("referred", "Ready"), "True");
        assert_eq!(shown("referred", "Client"), place.client);
        assert_eq!(shown("referred", "Issuer"), place.issuer_name);
        assert_eq!(shown("inline", "Issuer"), "contoso.onmicrosoft.com");
        assert!(shown("referred", "Message").contains("valid until"));
        let of_issuer =
            ListParams::default().fields(&format!("spec.issuerRef.name={}", place.issuer_name));
        let found = place.credentials().list(&of_issuer).await.expect("a list");
        let found: Vec<_> = found
            .iter()
            .filter_map(|c| c.metadata.name.as_deref())
            .collect();
        assert_eq!(found, ["referred"]);
    });
}
