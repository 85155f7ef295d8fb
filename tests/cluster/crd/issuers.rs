//! Issuers that the API server accepts or refuses, and the messages.

use apicred::api::{ClusterTokenIssuer, TokenIssuer};
use serde_json::{Value, json};

use super::send;
use crate::support::{World, merge, run};

#[test]
fn issuers_are_taken_or_refused_with_a_message() {
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
        for (spec, expected) in [
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
                json!({ "githubApp": { "installationId": 1, "apiUrl": "https://github.com" } }),
                "remove it for github.com",
            ),
            (
                json!({ "githubApp": { "installationId": 1, "apiUrl": "https://Octo.ghe.com/" } }),
                "write https://api.NAME.ghe.com",
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
                "must be one tenant, also for users",
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
                entra(json!({ "tenantId": "a..b" })),
                "without a URL around it",
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
            for reported in [
                send::<TokenIssuer>(world, &spec).await,
                send::<ClusterTokenIssuer>(world, &spec).await,
            ] {
                let reported = reported.expect_err(&format!("{spec} was taken"));
                assert!(
                    reported.contains(expected),
                    "{spec}: {expected:?} is not in: {reported}"
                );
            }
        }
        for (spec, expected) in [
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
            let reported = send::<ClusterTokenIssuer>(world, &spec)
                .await
                .expect_err(&format!("{spec} was taken"));
            assert!(
                reported.contains(expected),
                "{spec}: {expected:?} is not in: {reported}"
            );
        }
    });
}
