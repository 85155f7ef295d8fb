//! The kinds as the API server sees them: what it takes, what it refuses, and in which words.

use std::path::{Path, PathBuf};

use apicred::api::{ApiCredential, ClusterTokenIssuer, TokenIssuer, crd};
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
        assert_eq!(
            there,
            files.len(),
            "a file in {folder} that no kind stands behind"
        );
    }
}

/// Sends an object as JSON, dry: what the typed API could not even say must be refused by the server.
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

/// The least that an ApiCredential needs.
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
            // Nothing may be added: GitOps tools would see a field that nobody wrote.
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
                let told = send::<ApiCredential>(world, &with(hostile)).await;
                assert!(told.is_err(), "{pointer} takes {hostile:?}");
                let told = send::<ApiCredential>(world, &with("fine")).await;
                assert!(told.is_ok(), "{pointer}: {told:?}");
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
                let told = send::<ApiCredential>(world, &key(&bad)).await;
                assert!(
                    told.is_err(),
                    "{map} takes a key of {} characters",
                    bad.len()
                );
            }
        }
        // Issuers, and what an address may hide.
        for spec in [
            json!({ "oauth2": { "tokenUrl": "https://a.example/\u{202e}x" } }),
            json!({ "oidc": { "issuerUrl": "https://a\u{1b}.example" } }),
            json!({ "oauth2": { "tokenUrl": "https://a.example", "issuer": "a\u{7}" } }),
            json!({ "oauth2": { "tokenUrl": "https://a.example", "authorizationUrl": "https://a.example/\u{200f}" } }),
        ] {
            let told = send::<TokenIssuer>(world, &spec).await;
            assert!(told.is_err(), "{spec}");
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
fn bad_credentials_are_refused_in_words() {
    run(async {
        let world = World::shared().await;
        let refs = |count: usize| vec![json!({ "name": "s", "key": "k" }); count];
        let cases = [
            (json!({ "entra": null }), "name the issuer once"),
            (
                json!({ "issuerRef": { "kind": "TokenIssuer", "name": "x" } }),
                "name the issuer once",
            ),
            (
                json!({ "issuerRef": { "kind": "Issuer", "name": "x" }, "entra": null }),
                "Unsupported value",
            ),
            (
                json!({ "entra": { "tenantId": "Common" } }),
                "need the concrete tenant",
            ),
            (
                json!({ "entra": { "tenantId": "https://contoso.example" } }),
                "without a URL around it",
            ),
            (
                json!({ "entra": { "tenantId": "Contoso" } }),
                "the name that a tenant is shown by",
            ),
            (
                json!({ "client": { "secrets": [{ "name": "other/client", "key": "k" }] } }),
                "give the name of one in this namespace",
            ),
            (
                json!({ "client": { "secrets": null, "certificates": [{ "secretName": "other/client" }] } }),
                "give the name of one in this namespace",
            ),
            (
                json!({ "client": { "secrets": null, "mtls": { "secretName": "other/client" } } }),
                "give the name of one in this namespace",
            ),
            (
                json!({ "entra": { "cloud": "Germany" } }),
                "Unsupported value",
            ),
            (
                json!({ "audience": "x" }),
                "Entra ID has no audience parameter",
            ),
            (json!({ "scopes": null }), "Entra ID takes one of three"),
            (json!({ "resources": ["x"] }), "Entra ID takes one of three"),
            (
                json!({ "scopes": null, "resources": ["a", "b"] }),
                "write one resource, and a credential for each API",
            ),
            (
                json!({ "scopes": null, "resources": ["a", "a"] }),
                "Duplicate value",
            ),
            (
                json!({ "scopes": null, "resources": ["https://api.example/.default"] }),
                "spec.resources: Invalid value: /.default belongs into scopes",
            ),
            (
                json!({ "scopes": ["Alert.Read.All"] }),
                "spec.scopes: Invalid value: an application requests one scope",
            ),
            (
                json!({ "scopes": ["https://graph.microsoft.com"] }),
                "an application requests one scope",
            ),
            (
                json!({ "scopes": ["a/.default", "b/.default"] }),
                "a credential for each API",
            ),
            (
                json!({ "scopes": ["https%3A%2F%2Fgraph.microsoft.com/.default"] }),
                "is URL-encoded already",
            ),
            (
                json!({ "scopes": ["https://contoso.portal.cloudappsecurity.com/.default"] }),
                "this is where the API is called",
            ),
            (
                json!({ "scopes": null, "resources": ["https://api.securitycenter.windows.com"] }),
                "spec.resources: Invalid value: this is where the API is called",
            ),
            (
                json!({ "scopes": null, "resources": ["https://mmdls.microsoft.com/x"] }),
                "set api to ManagedDesktop",
            ),
            (
                json!({ "grant": { "tokenExchange": { "subject": { "serviceAccount": { "name": "s" } } } } }),
                "spec.grant: Forbidden: Entra ID does not know the grants",
            ),
            (
                json!({ "grant": { "refreshToken": { "secretRef": { "name": "token", "key": "k" } } } }),
                "spec.grant: Forbidden: target.secretName is also a source in grant",
            ),
            (
                json!({ "grant": { "password": { "username": "u", "passwordRef": { "name": "token", "key": "k" } } } }),
                "is also a source in grant",
            ),
            (
                json!({ "client": { "secrets": null, "mtls": { "secretName": "token" } } }),
                "is also a source in client.mtls",
            ),
            (
                json!({ "client": { "secrets": null, "serviceAccount": { "name": "system:x" } } }),
                "this is not the name of an object",
            ),
            (
                json!({ "client": { "secrets": [{ "name": "Upper", "key": "k" }] } }),
                "this is not a Secret's name",
            ),
            (
                json!({ "client": { "secrets": [{ "name": "a..b", "key": "k" }] } }),
                "this is not a Secret's name",
            ),
            (
                json!({ "target": { "keys": [{ "format": "Token" }, { "format": "Token" }] } }),
                "two of the keys have one name",
            ),
            (
                json!({ "target": { "keys": [{ "format": "Token" }, { "format": "Header", "key": "token" }] } }),
                "two of the keys have one name",
            ),
            (
                json!({ "target": { "keys": [{ "format": "Netrc", "host": "a..b" }] } }),
                "host is a host name",
            ),
            (
                json!({ "target": { "keys": [{ "format": "DockerConfig", "host": "-a.example" }] } }),
                "host is a host name",
            ),
            (
                json!({ "target": { "keys": [{ "format": "Netrc", "host": "a.example:8443" }] } }),
                "host of the format Netrc is a host name alone",
            ),
            (json!({ "scopes": ["two words"] }), "a scope is one word"),
            (json!({ "scopes": ["quo\"te"] }), "a scope is one word"),
            (json!({ "scopes": [] }), "spec.scopes"),
            (json!({ "client": { "id": "" } }), "spec.client.id"),
            (
                json!({ "client": { "secrets": refs(0) } }),
                "spec.client.secrets",
            ),
            (
                json!({ "client": { "secrets": refs(5) } }),
                "must have at most 4 items",
            ),
            (
                json!({ "client": { "secrets": [{ "name": "s" }] } }),
                "secrets[0].key: Required value",
            ),
            (
                json!({ "client": { "secrets": [{ "name": "token", "key": "k" }] } }),
                "choose another target name",
            ),
            (json!({ "grant": {} }), "grant has exactly one of"),
            (
                json!({ "parameters": { "a": "x" } }),
                "spec.parameters: Invalid value",
            ),
            (json!({ "parameters": [] }), "spec.parameters"),
            (
                json!({ "parameters": [{ "name": "a" }] }),
                "a parameter has exactly one of value and secretRef",
            ),
            (
                json!({ "parameters": [{ "name": "a", "value": "x", "secretRef": { "name": "s", "key": "k" } }] }),
                "spec.parameters[0].value: Invalid value: a parameter has exactly one of value and secretRef",
            ),
            (
                json!({ "parameters": [{ "name": "a", "value": "x" }, { "name": "a", "value": "y" }] }),
                "Duplicate value",
            ),
            (
                json!({ "parameters": [{ "name": "a", "secretRef": { "name": "token", "key": "k" } }] }),
                "spec.parameters: Forbidden: target.secretName is also a source in parameters",
            ),
            (
                json!({ "parameters": [{ "name": "n".repeat(129), "value": "x" }] }),
                "spec.parameters[0].name: Too long",
            ),
            (
                json!({ "parameters": [{ "name": "client_secret", "value": "x" }] }),
                "use the fields of the spec",
            ),
            (
                json!({ "parameters": [{ "name": "Grant_Type", "value": "x" }] }),
                "use the fields of the spec",
            ),
            (json!({ "minLifetime": "9s" }), "between 10s and 24h"),
            (json!({ "minLifetime": "25h" }), "between 10s and 24h"),
            (json!({ "minLifetime": "soon" }), "minLifetime"),
            (ends("30.06.2027"), "a date such as 2027-06-30"),
            (ends("next year"), "a date such as 2027-06-30"),
            (ends("2027-02-30"), "expiresAt"),
            (json!({ "deletionPolicy": "Orphan" }), "Unsupported value"),
            (
                json!({ "target": { "secretName": "" } }),
                "spec.target.secretName",
            ),
            (
                json!({ "target": { "secretName": "Upper" } }),
                "must be a valid object name",
            ),
            (
                json!({ "target": { "secretName": "x/y" } }),
                "must be a valid object name",
            ),
            (
                json!({ "target": { "type": "kubernetes.io/service-account-token" } }),
                "Unsupported value",
            ),
            (
                json!({ "target": { "labels": { "kubernetes.io/x": "y" } } }),
                "set by their owners only",
            ),
            (
                json!({ "target": { "labels": { "argocd.argoproj.io/instance": "y" } } }),
                "set by their owners only",
            ),
            (
                json!({ "target": { "labels": { "app.kubernetes.io/instance": "y" } } }),
                "save app.kubernetes.io/name",
            ),
            (
                json!({ "target": { "annotations": { "app.kubernetes.io/name": "y" } } }),
                "set by their owners only",
            ),
            (
                json!({ "target": { "labels": { "good": "x", "team": "a b" } } }),
                "label 'team' is not valid: a label's key is a name",
            ),
            (
                json!({ "target": { "labels": { "-team": "a" } } }),
                "label '-team' is not valid: a label's key is a name",
            ),
            (
                json!({ "minLifetime": "1d" }),
                "minLifetime must be a duration between 10s and 24h, such as 15m; its units are h, m and s",
            ),
            (
                json!({ "minLifetime": "5 minutes" }),
                "its units are h, m and s",
            ),
            (json!({ "minLifetime": "PT5M" }), "its units are h, m and s"),
            (json!({ "minLifetime": "900" }), "its units are h, m and s"),
            (json!({ "minLifetime": "-15m" }), "its units are h, m and s"),
            (
                json!({ "minLifetime": "9999999h" }),
                "its units are h, m and s",
            ),
            (
                json!({ "target": { "secretName": "a..b" } }),
                "each part between dots",
            ),
            (
                json!({ "target": { "secretName": "a.-b" } }),
                "each part between dots",
            ),
            (
                json!({ "target": { "secretName": "a-.b" } }),
                "each part between dots",
            ),
            (
                json!({ "target": { "annotations": { "apicred.dev/expires-at": "y" } } }),
                "set by their owners only",
            ),
            (
                json!({ "target": { "annotations": { "kustomize.toolkit.fluxcd.io/x": "y" } } }),
                "by their owners only",
            ),
            (json!({ "target": null }), "spec.target: Required value"),
            (
                json!({ "client": { "public": {} } }),
                "a client authenticates by exactly one of",
            ),
            (
                json!({ "client": { "secrets": null } }),
                "a client authenticates by exactly one of",
            ),
            (
                json!({ "client": { "secrets": null, "public": {} } }),
                "client.public works only with the grants",
            ),
            (json!({ "client": { "id": null } }), "client.id is missing"),
            (
                json!({ "client": { "secrets": [{ "name": "s", "key": "k" }, { "name": "s", "key": "k", "expiresAt": "2027-01-01" }] } }),
                "remove the duplicate",
            ),
            (
                json!({ "client": { "secrets": null, "certificates": [{ "secretName": "s" }, { "secretName": "s", "privateKeyKey": "tls.key" }] } }),
                "remove the duplicate",
            ),
            (
                json!({ "client": { "secrets": null, "certificates": [{ "secretName": "token" }] } }),
                "also a source in client.certificates",
            ),
            (
                json!({ "client": { "secrets": null, "certificates": [] } }),
                "client.certificates",
            ),
            (
                json!({ "client": { "secrets": null, "serviceAccount": { "name": "s", "expirationSeconds": 599 } } }),
                "greater than or equal to 600",
            ),
            (
                json!({ "client": { "secrets": null, "managedIdentity": { "objectId": "a", "resourceId": "b" } } }),
                "name a user-assigned identity once",
            ),
            (
                json!({ "client": { "secrets": null, "managedIdentity": {} }, "grant": { "password": { "username": "u", "passwordRef": { "name": "s", "key": "k" } } } }),
                "remove grant",
            ),
            (json!({ "client": null }), "client is missing"),
            (
                json!({ "grant": { "clientCredentials": {}, "refreshToken": { "secretRef": { "name": "s", "key": "k" } } } }),
                "grant has exactly one of",
            ),
            (
                json!({ "entra": null, "issuerRef": { "kind": "TokenIssuer", "name": "i" }, "grant": { "extension": { "grantType": "no name" } } }),
                "grantType is an absolute URI",
            ),
            (
                json!({ "entra": null, "issuerRef": { "kind": "TokenIssuer", "name": "i" }, "grant": { "extension": { "grantType": "Client_Credentials" } } }),
                "this grant is not an extension",
            ),
            (
                json!({ "entra": null, "issuerRef": { "kind": "TokenIssuer", "name": "i" }, "grant": { "extension": { "grantType": "urn:x:y", "parameters": [{ "name": "Scope", "value": "x" }] } } }),
                "parameters of an extension grant may not carry",
            ),
            (
                json!({ "entra": null, "issuerRef": { "kind": "TokenIssuer", "name": "i" }, "grant": { "extension": { "grantType": "urn:x:y", "parameters": [{ "name": "x" }] } } }),
                "exactly one of value and secretRef",
            ),
            (
                json!({ "entra": null, "issuerRef": { "kind": "TokenIssuer", "name": "i" }, "grant": { "extension": { "grantType": "urn:x:y", "parameters": [{ "name": "x", "secretRef": { "name": "token", "key": "k" } }] } } }),
                "also a source in grant",
            ),
            (
                json!({ "grant": { "extension": { "grantType": "urn:x:y" } } }),
                "Entra ID does not know the grants",
            ),
            (
                json!({ "grant": { "jwtBearer": {} } }),
                "exactly one of assertionRef",
            ),
            (
                json!({ "grant": { "jwtBearer": { "signed": { "keyRef": { "name": "s", "key": "k" }, "claims": { "aud": "x" } } } } }),
                "claims may not carry",
            ),
            (
                json!({ "grant": { "tokenExchange": { "subject": {} } } }),
                "exactly one of secretRef and serviceAccount",
            ),
            (
                json!({ "static": { "tokenRef": { "name": "s", "key": "k" } } }),
                "a static key has no issuer, client or grant",
            ),
            (
                json!({ "entra": null, "client": null, "scopes": null, "grant": { "clientCredentials": {} }, "static": { "tokenRef": { "name": "s", "key": "k" } } }),
                "a static key has no issuer, client or grant",
            ),
            (
                json!({ "entra": null, "client": null, "static": { "tokenRef": { "name": "s", "key": "k" } } }),
                "a static key is not requested or renewed",
            ),
            (
                json!({ "entra": null, "client": null, "scopes": null, "minLifetime": "15m", "static": { "tokenRef": { "name": "s", "key": "k" } } }),
                "a static key is not requested or renewed",
            ),
            (
                json!({ "entra": null, "client": null, "scopes": null, "static": { "tokenRef": { "name": "t", "key": "k" } }, "target": { "secretName": "t" } }),
                "also the source in static.tokenRef",
            ),
            (
                json!({ "entra": null, "client": null, "scopes": null, "grant": { "static": { "tokenRef": { "name": "s", "key": "k" } } } }),
                "client is missing",
            ),
            (
                json!({ "entra": null, "client": null, "scopes": null, "static": { "tokenRef": { "name": "s", "key": "k" }, "scheme": "To ken" } }),
                "scheme is one word",
            ),
            (
                json!({ "api": "MicrosoftGraph" }),
                "api already selects the scope",
            ),
            (
                json!({ "api": "CloudApps", "scopes": null }),
                "Unsupported value",
            ),
            (
                json!({ "endpointVersion": "V1" }),
                "scopes belong to the v2 endpoint",
            ),
            (
                json!({ "endpointVersion": "V2", "scopes": null, "resources": ["x"] }),
                "resources belong to the v1 endpoint",
            ),
            (
                json!({ "entra": null, "client": null, "scopes": null, "deletionPolicy": "Revoke", "static": { "tokenRef": { "name": "s", "key": "k" } } }),
                "a static key is revoked where it was created",
            ),
            (
                json!({ "deletionPolicy": "Revoke" }),
                "Entra ID has no revocation endpoint",
            ),
            (
                json!({ "entra": null, "issuerRef": { "kind": "ClusterTokenIssuer", "name": "i" }, "client": { "secrets": null, "managedIdentity": {} }, "deletionPolicy": "Revoke" }),
                "Entra ID has no revocation endpoint",
            ),
            (
                json!({ "entra": null, "issuerRef": { "kind": "ClusterTokenIssuer", "name": "i" }, "grant": { "onBehalfOf": { "assertionRef": { "name": "s", "key": "k" } } }, "deletionPolicy": "Revoke" }),
                "Entra ID has no revocation endpoint",
            ),
            (
                json!({ "entra": null, "issuerRef": { "kind": "ClusterTokenIssuer", "name": "i" }, "endpointVersion": "V2", "deletionPolicy": "Revoke" }),
                "Entra ID has no revocation endpoint",
            ),
            (json!({ "expect": {} }), "expect needs at least one"),
            (
                json!({ "target": { "keys": [{ "format": "Netrc" }] } }),
                "need host",
            ),
            (
                json!({ "target": { "keys": [{ "format": "Token", "variable": "X" }] } }),
                "variable is for the format DotEnv",
            ),
            (
                json!({ "target": { "keys": [{ "format": "Token", "key": "../token" }] } }),
                "a key is made of",
            ),
            (
                json!({ "target": { "type": "kubernetes.io/dockerconfigjson" } }),
                "needs a key of format DockerConfig",
            ),
        ];
        for (changes, words) in cases {
            let told = send::<ApiCredential>(world, &merge(least(), changes.clone())).await;
            let told = told.expect_err(&format!("{changes} was taken"));
            assert!(
                told.contains(words),
                "{changes}: {words:?} is not in: {told}"
            );
        }
    });
}

#[test]
fn issuers_are_taken_or_refused_in_words() {
    run(async {
        let world = World::shared().await;
        let oauth2 = |changes: Value| json!({ "oauth2": merge(json!({ "tokenUrl": "https://a.example/token" }), changes) });
        let entra =
            |changes: Value| json!({ "entra": merge(json!({ "tenantId": "t.example" }), changes) });
        let oidc = |url: &str| json!({ "oidc": { "issuerUrl": url } });
        for spec in [
            entra(json!({ "cloud": "China" })),
            entra(json!({ "authorityHost": "https://login.example.com:8443" })),
            oidc("https://a.example/realms/one"),
            oidc("https://a.example"),
            oauth2(json!({})),
            oauth2(json!({ "tokenUrl": "https://a.example/token?tenant=x" })),
            oauth2(json!({ "clientAuthentication": { "basic": { "encoding": "Raw" } } })),
            oauth2(json!({ "clientAuthentication": { "post": {} } })),
            oauth2(json!({ "clientAuthentication": { "secretJwt": { "algorithm": "HS384" } } })),
            merge(
                oauth2(json!({})),
                json!({ "caBundleRef": { "kind": "ConfigMap", "name": "roots" } }),
            ),
            merge(
                entra(json!({})),
                json!({ "secondRequest": { "azureContainerRegistry": { "registry": "a.azurecr.io" } } }),
            ),
            merge(
                oauth2(json!({})),
                json!({ "secondRequest": { "googleServiceAccount": { "email": "r@p.iam.gserviceaccount.com" } } }),
            ),
            merge(
                oauth2(json!({})),
                json!({ "caBundleRef": { "kind": "Secret", "name": "roots", "key": "tls.crt" } }),
            ),
            merge(
                oauth2(json!({})),
                json!({ "limits": { "maxInFlight": 1 }, "assumedLifetime": "30s", "caBundle": "x" }),
            ),
        ] {
            assert_eq!(
                send::<TokenIssuer>(world, &spec).await,
                Ok(spec.clone()),
                "{spec}"
            );
            assert_eq!(
                send::<ClusterTokenIssuer>(world, &spec).await,
                Ok(spec.clone()),
                "{spec}"
            );
        }
        let one = "an issuer has exactly one of entra, oidc, oauth2 and githubApp";
        let auth = |how: Value| oauth2(json!({ "clientAuthentication": how }));
        let with = |changes: Value| merge(oauth2(json!({})), changes);
        for (spec, words) in [
            (json!({}), one),
            (merge(oauth2(json!({})), entra(json!({}))), one),
            (
                json!({ "githubApp": { "installationId": 0 } }),
                "greater than or equal to 1",
            ),
            (
                json!({ "githubApp": { "installationId": 1, "apiUrl": "https://u@git.example" } }),
                "apiUrl must start with https://",
            ),
            (
                json!({ "githubApp": { "installationId": 1 }, "assertionAudience": "Issuer" }),
                "remove secondRequest, refreshTokens and assertionAudience",
            ),
            (
                with(json!({ "secondRequest": {} })),
                "secondRequest has exactly one of",
            ),
            (
                with(
                    json!({ "secondRequest": { "azureContainerRegistry": { "registry": "https://a.azurecr.io/" } } }),
                ),
                "registry is the login server alone",
            ),
            (
                with(json!({ "secondRequest": { "googleServiceAccount": { "email": "../x@p" } } })),
                "email is the address of a service account",
            ),
            (
                with(
                    json!({ "secondRequest": { "googleServiceAccount": { "email": "r@p.example", "endpoint": "http://a.example" } } }),
                ),
                "endpoint is an https origin",
            ),
            (
                entra(json!({ "tenantId": "organizations" })),
                "need the concrete tenant",
            ),
            (
                entra(json!({ "authorityHost": "http://login.example.com" })),
                "https origin without a path",
            ),
            (
                entra(json!({ "authorityHost": "https://login.example.com/x" })),
                "https origin without a path",
            ),
            (oidc("http://a.example"), "must start with https://"),
            (oidc("https://user@a.example"), "no user, query or fragment"),
            (oidc("https://a.example?x=y"), "no user, query or fragment"),
            (
                oidc("https://a.example/.well-known/openid-configuration"),
                "leave out /.well-known/",
            ),
            (
                entra(json!({ "tenantId": "Contoso" })),
                "the name that a tenant is shown by",
            ),
            (
                oidc("https://a..example"),
                "issuerUrl has a host with an empty part",
            ),
            (
                oauth2(json!({ "tokenUrl": "https://a.example..:8443/token" })),
                "tokenUrl has a host with an empty part",
            ),
            (
                entra(json!({ "authorityHost": "https://.login.example.com" })),
                "authorityHost has a host with an empty part",
            ),
            (
                oauth2(json!({ "tokenUrl": "ftp://a.example" })),
                "must start with https://",
            ),
            (
                with(
                    json!({ "caBundle": "x", "caBundleRef": { "kind": "Secret", "name": "roots" } }),
                ),
                "spec.caBundleRef: Forbidden: caBundle and caBundleRef are two places",
            ),
            (
                with(json!({ "caBundleRef": { "kind": "Deployment", "name": "roots" } })),
                "Unsupported value",
            ),
            (
                auth(json!({})),
                "clientAuthentication has exactly one of basic, post and secretJwt",
            ),
            (
                auth(json!({ "basic": {}, "post": {} })),
                "clientAuthentication has exactly one of basic, post and secretJwt",
            ),
            (
                auth(json!({ "basic": { "encoding": "Rot13" } })),
                "Unsupported value",
            ),
            (
                with(json!({ "limits": { "requestsPerSecond": 0 } })),
                "greater than or equal to 1",
            ),
            (
                with(json!({ "assumedLifetime": "1s" })),
                "between 30s and 24h",
            ),
        ] {
            for told in [
                send::<TokenIssuer>(world, &spec).await,
                send::<ClusterTokenIssuer>(world, &spec).await,
            ] {
                let told = told.expect_err(&format!("{spec} was taken"));
                assert!(told.contains(words), "{spec}: {words:?} is not in: {told}");
            }
        }
        for (spec, words) in [
            (
                with(json!({ "allowedNamespaces": {} })),
                "needs names or selector",
            ),
            (with(json!({ "allowedScopes": [] })), "spec.allowedScopes"),
            (
                with(json!({ "network": { "allowedCidrs": [] } })),
                "spec.network.allowedCidrs",
            ),
            (
                with(json!({ "network": { "allowedCidrs": ["10.0.0.0"] } })),
                "this is not a CIDR",
            ),
            (
                with(json!({ "allowedScopes": ["a", "a"] })),
                "Duplicate value",
            ),
        ] {
            let told = send::<ClusterTokenIssuer>(world, &spec)
                .await
                .expect_err(&format!("{spec} was taken"));
            assert!(told.contains(words), "{spec}: {words:?} is not in: {told}");
        }
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
            let told = world.cluster.kubectl(&args).await;
            assert!(told.is_ok(), "{}: {told:?}", file.display());
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
