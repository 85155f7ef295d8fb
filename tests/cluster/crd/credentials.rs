//! Credentials that the API server refuses, and the messages.

use apicred::api::ApiCredential;
use serde_json::json;

use super::{ends, least, send};
use crate::support::{World, merge, run};

#[test]
fn bad_credentials_are_refused_with_a_message() {
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
                "must be one tenant, also for users",
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
                json!({ "client": { "id": "client-1\n" } }),
                "spec.client.id: Invalid value: \"client-1\\n\": id has a line end",
            ),
            (
                json!({ "client": { "id": " client-1" } }),
                "id has a line end",
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
                json!({ "target": { "labels": { "a..example.com/team": "a" } } }),
                "label 'a..example.com/team' is not valid: a label's key is a name",
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
            (
                json!({ "target": { "notifyPods": { "selector": {} } } }),
                "no label would select every pod",
            ),
            (
                json!({ "target": { "notifyPods": { "selector": { "matchLabels": {} } } } }),
                "no label would select every pod",
            ),
            (
                json!({ "target": { "notifyPods": { "selector": { "matchExpressions": [{ "key": "app", "operator": "In" }] } } } }),
                "In and NotIn need values",
            ),
            (
                json!({ "target": { "notifyPods": { "selector": { "matchExpressions": [{ "key": "app", "operator": "Exists", "values": ["a"] }] } } } }),
                "Exists and DoesNotExist have none",
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
        for (changes, expected) in cases {
            let reported = send::<ApiCredential>(world, &merge(least(), changes.clone())).await;
            let reported = reported.expect_err(&format!("{changes} was taken"));
            assert!(
                reported.contains(expected),
                "{changes}: {expected:?} is not in: {reported}"
            );
        }
    });
}
