//! Every field of a credential and of an issuer: a change of it requests another token, or the table has the reason why not. The fields come
//! from the CRDs, so that no new field is forgotten.

mod rows;

use std::collections::BTreeSet;

use kube::CustomResourceExt;
use serde_json::{Value, json};

use rows::{of_credential, of_issuer};

use crate::{
    api::{ApiCredential, ClusterTokenIssuer, TokenIssuer},
    credential::{Issuer, IssuerLookup, parse},
    fixtures::merge,
    plan::fingerprint::request,
};

/// A changed field, its other value (null removes it), and why the token stays the same. Without a reason, another token is requested.
type Row = (&'static str, Value, Option<&'static str>);

const TOKEN: Option<&str> = None;
const CONTENT: Option<&str> = Some("the content of the Secret is in the keyed fingerprint");
const HEADER: Option<&str> = Some("how the client authenticates, not for which token");
const SHORT: Option<&str> = Some("the lifetime of a token that is sent; the next request has it");
const AGE: Option<&str> = Some("when a warning requests a new key");
const USER: Option<&str> = Some("where a user signs in");
const REVOKED: Option<&str> = Some("where a token is revoked");
const SENT: Option<&str> = Some("how a client secret is sent");
const NEXT: Option<&str> = Some("how the next answer is read, or when the next request is sent");
const MACHINE: Option<&str> = Some("another address of the same machine");

/// First parts of fields outside of the request.
#[rustfmt::skip]
const OUTSIDE: [(&str, &str); 21] = [
    ("target.", "where and how the token is published"),
    ("expect.", "compared with the token after it was issued"),
    ("minLifetime", "when the token is renewed"),
    ("notAfter", "when the token is removed"),
    ("suspend", "whether anything is done"),
    ("deletionPolicy", "what is done at the end"),
    ("clientRef.", "the fields of the client count"),
    ("issuerRef.", "the fields of the issuer count"),
    ("allowedNamespaces.", "whether a request is allowed"),
    ("allowedScopes.", "whether a request is allowed"),
    ("allowedParameters.", "whether a request is allowed"),
    ("allowedGrants.", "whether a request is allowed"),
    ("allowedSubjects.", "whether a request is allowed"),
    ("limits.", "when a request is sent"),
    ("network.", "which addresses may be reached"),
    ("caBundle", "which certificates a server may show"),
    ("client.public", "has no fields; see the test of the kinds"),
    ("grant.clientCredentials", "has no fields; see the test of the kinds"),
    ("managedIdentity.appService", "has no fields; see the test of the kinds"),
    ("managedIdentity.workloadIdentity", "has no fields; see the test of the kinds"),
    ("oauth2.clientAuthentication.post", "has no fields; how a client secret is sent"),
];

/// A credential in which this field is set, or may be. It has a null where the usual credential of the tests has a value.
fn credential_with(field: &str) -> Value {
    let reference = json!({ "name": "a", "key": "a" });
    let account = json!({ "name": "a", "audience": "a", "expirationSeconds": 600 });
    let entra = json!(["https://api.example.com/.default"]);
    let parameters =
        json!([{ "name": "x", "value": "a" }, { "name": "y", "secretRef": reference }]);
    let party = |typed: &str| {
        if field.contains("serviceAccount") {
            json!({ "serviceAccount": account, "tokenType": typed })
        } else {
            json!({ "secretRef": reference, "tokenType": typed })
        }
    };
    let certificate = json!({
        "secretName": "a", "certificateKey": "c", "privateKeyKey": "p", "keyId": "a", "algorithm": "RS256", "thumbprint": "Sha1", "x5c": false,
    });
    let client =
        |way: Value| json!({ "client": { "secrets": null } }).merged(&json!({ "client": way }));
    let grant = |grant: Value| json!({ "grant": grant });
    let mut parts = field.split('.');
    let path = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    match path {
        ("api", _) => json!({ "api": "MicrosoftGraph", "scopes": null }),
        ("endpointVersion", _) => {
            json!({ "api": "MicrosoftGraph", "scopes": null, "endpointVersion": "V2" })
        }
        ("entra", _) => json!({
            "issuerRef": null, "entra": { "tenantId": "contoso.example", "cloud": "Public" }, "scopes": entra,
        }),
        ("audience", _) => json!({ "audience": "a" }),
        ("scopes", _) => json!({ "scopes": ["a"] }),
        ("client", "secrets") => {
            json!({ "client": { "secrets": [{ "name": "a", "key": "a", "expiresAt": "2030-01-01" }] } })
        }
        ("resources", _) => json!({ "resources": ["urn:a"] }),
        ("parameters", _) => json!({ "parameters": parameters }),
        ("client", "certificates") => client(json!({ "certificates": [certificate] })),
        ("client", "key") => client(
            json!({ "key": { "secretName": "a", "key": "a", "keyId": "a", "algorithm": "RS256" } }),
        ),
        ("client", "assertion") => {
            client(json!({ "assertion": { "secretName": "a", "key": "a" } }))
        }
        ("client", "mtls") => client(
            json!({ "mtls": { "secretName": "a", "certificateKey": "c", "privateKeyKey": "p" } }),
        ),
        ("client", "serviceAccount") => client(json!({ "serviceAccount": account })),
        ("client", "managedIdentity") => {
            client(json!({ "managedIdentity": { "asAssertion": {} } }))
                .merged(&json!({ "scopes": entra }))
        }
        ("grant", "extension") => {
            grant(json!({ "extension": { "grantType": "urn:a:b", "parameters": parameters } }))
        }
        ("grant", "jwtBearer") if field.contains("assertionRef") => {
            grant(json!({ "jwtBearer": { "assertionRef": reference } }))
        }
        ("grant", "jwtBearer") => grant(json!({ "jwtBearer": { "signed": {
            "keyRef": reference, "issuer": "a", "subject": "a", "audience": "a", "keyId": "a", "algorithm": "RS256",
            "scopesIn": "Claim", "claims": { "a": "b" },
        } } })),
        ("grant", "onBehalfOf") => grant(json!({ "onBehalfOf": { "assertionRef": reference } })),
        ("grant", "password") => {
            grant(json!({ "password": { "username": "a", "passwordRef": reference } }))
        }
        ("grant", "refreshToken") => grant(json!({ "refreshToken": { "secretRef": reference } })),
        ("grant", "tokenExchange") => grant(json!({ "tokenExchange": {
            "subject": party("urn:s"), "actor": party("urn:t"), "requestedTokenType": "urn:a",
        } })),
        ("static", _) => json!({
            "static": { "tokenRef": reference, "scheme": "Token", "createdAt": "2026-01-01T00:00:00Z", "maxAge": "24h" },
            "issuerRef": null, "client": null, "scopes": null,
        }),
        _ => json!({}),
    }
}

/// An issuer for this field of a credential.
fn issuer_for(field: &str) -> Value {
    let with = match field.split('.').next() {
        Some("api" | "endpointVersion") => "entra.tenantId",
        _ if field.starts_with("grant.onBehalfOf") => "entra.tenantId",
        _ if field.starts_with("client.managedIdentity") => "managedIdentity.imds",
        _ => "oauth2.tokenUrl",
    };
    issuer_with(with).0
}

/// An issuer in which this field is set, or may be, and a credential for it.
fn issuer_with(field: &str) -> (Value, Value) {
    let url = |path: &str| format!("https://issuer.example.com/{path}");
    let entra = json!({ "entra": { "tenantId": "contoso.example", "cloud": "Public" } });
    let scopes = json!({ "scopes": ["https://api.example.com/.default"] });
    let identity = json!({ "client": { "id": null, "secrets": null, "managedIdentity": {} } });
    let style = ["basic", "secretJwt"]
        .into_iter()
        .find(|s| field.contains(s));
    let style = match style {
        Some("basic") => json!({ "basic": { "encoding": "Form" } }),
        Some(_) => json!({ "secretJwt": { "algorithm": "HS256" } }),
        None => Value::Null,
    };
    let further = json!({
        "authorizationUrl": url("a"), "deviceAuthorizationUrl": url("a"), "revocationUrl": url("a"), "clientAuthentication": style,
    });
    let mut parts = field.split('.');
    let path = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    match path {
        ("entra", "authorityHost" | "graphHost") => {
            let hosts = json!({ "authorityHost": "https://login.example.com", "graphHost": "https://graph.example.com" });
            (entra.merged(&json!({ "entra": hosts })), scopes)
        }
        ("entra", _) => (entra, scopes),
        ("managedIdentity", kind) => (
            entra.merged(&json!({ "managedIdentity": { kind: {} } })),
            identity.merged(&scopes),
        ),
        ("githubApp", _) => {
            let key = json!({ "secretName": "app", "key": "private-key.pem" });
            let client =
                json!({ "client": { "secrets": null, "key": key }, "scopes": ["contents:read"] });
            let github = json!({ "installationId": 1, "apiUrl": "https://git.example.com" });
            (json!({ "githubApp": github }), client)
        }
        ("oidc", _) => (
            json!({ "oidc": further.merged(&json!({ "issuerUrl": "https://issuer.example.com" })) }),
            json!({}),
        ),
        ("secondRequest", "azureContainerRegistry") => {
            let second = json!({ "azureContainerRegistry": { "registry": "a.azurecr.io" } });
            (entra.merged(&json!({ "secondRequest": second })), scopes)
        }
        ("secondRequest", _) => {
            let second = json!({ "googleServiceAccount": { "email": "a@p.example", "endpoint": "https://a.example.com" } });
            (
                json!({ "oauth2": { "tokenUrl": url("token") }, "secondRequest": second }),
                json!({}),
            )
        }
        _ => (
            json!({
                "oauth2": further.merged(&json!({ "tokenUrl": url("token"), "issuer": "https://a.example.com" })),
                "assertionAudience": "TokenEndpoint", "assumedLifetime": "10m", "refreshTokens": { "reuse": "Always", "reuseWindow": "10s" },
            }),
            json!({}),
        ),
    }
}

trait Merged {
    fn merged(&self, change: &Value) -> Value;
}

impl Merged for Value {
    fn merged(&self, change: &Value) -> Value {
        let mut whole = self.clone();
        merge(&mut whole, change);
        whole
    }
}

/// The digest of the request of a credential at an issuer.
fn digest(change: &Value, issuer: &Value) -> String {
    let mut issuer = issuer.clone();
    merge(
        &mut issuer,
        &json!({ "allowedNamespaces": { "selector": {} } }),
    );
    let issuer = Issuer::cluster(&crate::fixtures::cluster_issuer(&issuer)).unwrap();
    let object = crate::fixtures::object(change);
    match parse(&object, |_| IssuerLookup::Found(issuer)) {
        Ok(credential) => request(&credential),
        Err(faults) => panic!("{change}: {faults:?}"),
    }
}

/// Sets a field. A list has a value in its first entry, and a reference to a Secret in its last one.
fn set(spec: &Value, field: &str, value: &Value) -> Value {
    let mut spec = spec.clone();
    let mut place = &mut spec;
    for part in field.split('.') {
        place = match part {
            "[]" if field.contains("secretRef") => {
                place.as_array_mut().unwrap().last_mut().unwrap()
            }
            "[]" => &mut place[0],
            name => &mut place[name],
        };
    }
    place.clone_from(value);
    spec
}

/// The fields of a schema that have no fields themselves.
fn leaves(schema: &Value, path: &str, out: &mut BTreeSet<String>) {
    let below = |name: &str| {
        [path, name]
            .into_iter()
            .filter(|p| !p.is_empty())
            .collect::<Vec<_>>()
            .join(".")
    };
    match (schema["properties"].as_object(), schema.get("items")) {
        (Some(properties), _) => {
            for (name, property) in properties {
                leaves(property, &below(name), out);
            }
        }
        (None, Some(items)) => leaves(items, &below("[]"), out),
        (None, None) => {
            out.insert(path.to_owned());
        }
    }
}

/// The fields of a kind that neither the table nor the list has.
fn missing<K: CustomResourceExt>(rows: &[Row]) -> Vec<String> {
    let crd = serde_json::to_value(K::crd()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut fields = BTreeSet::new();
    leaves(schema, "", &mut fields);
    assert!(fields.len() > 20, "{fields:?}");
    let known = |f: &String| {
        rows.iter().any(|(row, ..)| row == f) || OUTSIDE.iter().any(|(part, _)| f.starts_with(part))
    };
    fields.into_iter().filter(|f| !known(f)).collect()
}

#[test]
fn every_field_is_in_the_table_or_outside_of_the_request() {
    assert_eq!(missing::<ApiCredential>(&of_credential()), [""; 0]);
    assert_eq!(missing::<ClusterTokenIssuer>(&of_issuer()), [""; 0]);
    assert_eq!(missing::<TokenIssuer>(&of_issuer()), [""; 0]);
}

#[test]
fn a_field_of_a_credential_that_makes_another_token_changes_the_request_digest() {
    let mut wrong = Vec::new();
    for (field, value, same) in of_credential() {
        let (spec, issuer) = (credential_with(field), issuer_for(field));
        let edited = set(&spec, field, &value);
        let (before, after) = (digest(&spec, &issuer), digest(&edited, &issuer));
        if (before == after) != same.is_some() {
            wrong.push(format!("{field}: {value}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn a_field_of_an_issuer_that_makes_another_token_changes_the_request_digest() {
    let mut wrong = Vec::new();
    for (field, value, same) in of_issuer() {
        let (issuer, spec) = issuer_with(field);
        let edited = set(&issuer, field, &value);
        let (before, after) = (digest(&spec, &issuer), digest(&spec, &edited));
        if (before == after) != same.is_some() {
            wrong.push(format!("{field}: {value}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn no_two_kinds_of_client_grant_or_identity_read_as_one() {
    let entra = issuer_with("entra.tenantId").0;
    let oauth2 = issuer_with("oauth2.tokenUrl").0;
    let public = json!({ "client": { "secrets": null, "public": {} } });
    let mut seen: Vec<String> = ["certificates", "key", "assertion", "mtls", "serviceAccount"]
        .iter()
        .map(|way| digest(&credential_with(&format!("client.{way}")), &oauth2))
        .collect();
    seen.push(digest(&json!({}), &oauth2));
    seen.extend(
        [
            "extension",
            "jwtBearer.signed",
            "jwtBearer.assertionRef",
            "password",
            "refreshToken",
            "tokenExchange",
        ]
        .iter()
        .map(|grant| digest(&credential_with(&format!("grant.{grant}")), &oauth2)),
    );
    let password = public.merged(&credential_with("grant.password"));
    seen.push(digest(&password, &oauth2));
    seen.push(digest(&credential_with("grant.onBehalfOf"), &entra));
    for kind in ["imds", "appService", "azureArc", "workloadIdentity"] {
        let (issuer, spec) = issuer_with(&format!("managedIdentity.{kind}"));
        seen.push(digest(&spec, &issuer));
    }
    let different: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(different.len(), seen.len());
}

/// Another token is requested only for a credential that uses the identity.
#[test]
fn a_setting_of_the_operators_identity_counts_only_where_it_is_used() {
    let (entra, scopes) = issuer_with("entra.tenantId");
    let plain = digest(&scopes, &entra);
    for kind in ["imds", "appService", "azureArc", "workloadIdentity"] {
        let (issuer, _) = issuer_with(&format!("managedIdentity.{kind}"));
        assert_eq!(digest(&scopes, &issuer), plain, "{kind}");
    }
}
