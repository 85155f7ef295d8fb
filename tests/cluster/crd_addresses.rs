//! The messages with which the API server refuses URLs.

use apicred::api::{ClusterTokenIssuer, TokenIssuer};
use serde_json::{Value, json};

use super::crd_messages::{Row, check};
use crate::{
    crd::send,
    support::{World, merge, run},
};

fn oauth2(change: Value) -> Value {
    json!({ "oauth2": merge(json!({ "tokenUrl": "https://a.example/token" }), change) })
}

fn oidc(change: Value) -> Value {
    json!({ "oidc": merge(json!({ "issuerUrl": "https://a.example" }), change) })
}

/// Addresses of further endpoints.
fn endpoints() -> Vec<Row> {
    const FINE: [&str; 3] = [
        "https://a.example",
        "https://a.example/x?y=z",
        "https://A.example:443/x",
    ];
    const WRONG: [&str; 9] = [
        "http://a.example/x",
        "/authorize",
        "a.example/x",
        "https://",
        "https:///x",
        "https://u:p@a.example/x",
        "https://a.example/x#y",
        "https://a.example:port/x",
        "https://[::1/x",
    ];
    let mut rows = Vec::new();
    for (with, field, fault) in [
        (
            oauth2 as fn(Value) -> Value,
            "revocationUrl",
            "spec.oauth2.revocationUrl: Invalid value: \"",
        ),
        (
            oauth2,
            "authorizationUrl",
            "spec.oauth2.authorizationUrl: Invalid value: \"",
        ),
        (
            oauth2,
            "deviceAuthorizationUrl",
            "spec.oauth2.deviceAuthorizationUrl: Invalid value: \"",
        ),
        (
            oidc,
            "revocationUrl",
            "spec.oidc.revocationUrl: Invalid value: \"",
        ),
        (
            oidc,
            "authorizationUrl",
            "spec.oidc.authorizationUrl: Invalid value: \"",
        ),
        (
            oidc,
            "deviceAuthorizationUrl",
            "spec.oidc.deviceAuthorizationUrl: Invalid value: \"",
        ),
    ] {
        rows.extend(FINE.map(|text| (with(json!({ field: text })), Ok(()))));
        rows.extend(WRONG.map(|text| (with(json!({ field: text })), Err(fault))));
        let (blank, empty) = ("https://a.example/x\n", "https://a..example/x");
        rows.push((
            with(json!({ field: blank })),
            Err("a line end or a blank in it"),
        ));
        rows.push((
            with(json!({ field: empty })),
            Err("a host with an empty part"),
        ));
    }
    rows
}

/// Other URLs, and the host of the revocation endpoint.
fn hosts() -> Vec<Row> {
    let revoked = |token: &str, revocation: &str| {
        oauth2(json!({ "tokenUrl": token, "revocationUrl": revocation }))
    };
    let app = |url: &str| json!({ "githubApp": { "installationId": 1, "apiUrl": url } });
    let elsewhere = Err(
        "spec.oauth2.revocationUrl: Invalid value: revocationUrl must be on the host of tokenUrl",
    );
    let home = "https://a.example/token";
    vec![
        (revoked(home, "https://b.example/revoke"), elsewhere),
        (revoked(home, "https://a.example:8443/revoke"), elsewhere),
        (
            revoked(home, "https://a.example.evil.example/revoke"),
            elsewhere,
        ),
        (
            revoked("https://a.example:4430/token", "https://a.example/revoke"),
            elsewhere,
        ),
        (
            revoked(
                "https://a.example:8443/token",
                "https://a.example:8443/revoke",
            ),
            Ok(()),
        ),
        (
            revoked("https://a.example:443", "https://A.EXAMPLE/revoke"),
            Ok(()),
        ),
        (
            revoked(
                "https://bücher.example/token",
                "https://xn--bcher-kva.example/revoke",
            ),
            Ok(()),
        ),
        (
            revoked(
                "https://[2001:db8::1]:8443/token",
                "https://[2001:db8::1]:8443/revoke",
            ),
            Ok(()),
        ),
        (
            oauth2(json!({ "tokenUrl": "https://a.example:port/token" })),
            Err("tokenUrl must start with https:// and a host"),
        ),
        (
            oidc(json!({ "issuerUrl": "https://a.example:/x" })),
            Err("issuerUrl must start with https:// and a host"),
        ),
        (
            app("https://a.example/api/v3?x"),
            Err("spec.githubApp.apiUrl: Invalid value: \""),
        ),
        (app("https://a.example/api/v3"), Ok(())),
        (app("https://api.github.com"), Ok(())),
        (app("https://api.octo.ghe.com/"), Ok(())),
        (app("https://notgithub.com/api/v3"), Ok(())),
    ]
}

fn addresses() -> Vec<Row> {
    [endpoints(), hosts()].concat()
}

#[test]
fn an_address_that_is_none_is_refused_at_both_kinds_of_issuers() {
    run(async {
        let world = World::shared().await;
        check(addresses(), async |spec| {
            send::<TokenIssuer>(world, spec).await
        })
        .await;
        check(addresses(), async |spec| {
            send::<ClusterTokenIssuer>(world, spec).await
        })
        .await;
    });
}

#[test]
fn a_second_request_goes_where_its_tokens_are_taken() {
    run(async {
        let world = World::shared().await;
        let spec = |issuer: &str, second: Value| {
            let mut spec = match issuer {
                "entra" => json!({ "entra": { "tenantId": "t.example" } }),
                "oidc" => json!({ "oidc": { "issuerUrl": "https://a.example" } }),
                _ => json!({ "oauth2": { "tokenUrl": "https://a.example/token" } }),
            };
            spec["secondRequest"] = second;
            spec
        };
        let registry = |host: &str| json!({ "azureContainerRegistry": { "registry": host } });
        let google = |more: Value| json!({ "googleServiceAccount": merge(json!({ "email": "r@p.iam.gserviceaccount.com" }), more) });
        let private = json!({ "endpoint": "https://google.example" });
        let both = || -> Vec<Row> {
            let of_entra = Err(
                "spec.secondRequest.azureContainerRegistry: Forbidden: azureContainerRegistry takes tokens of Entra ID",
            );
            let of_google = Err(
                "spec.secondRequest.googleServiceAccount: Forbidden: googleServiceAccount takes tokens of Google's STS",
            );
            vec![
                (spec("entra", registry("a.azurecr.io")), Ok(())),
                (spec("entra", registry("A.AZURECR.CN:443")), Ok(())),
                (spec("oauth2", google(json!({}))), Ok(())),
                (spec("oidc", google(json!({}))), Ok(())),
                (spec("oauth2", registry("a.azurecr.io")), of_entra),
                (spec("oidc", registry("a.azurecr.io")), of_entra),
                (spec("entra", google(json!({}))), of_google),
            ]
        };
        let foreign = "spec.secondRequest.azureContainerRegistry.registry: Forbidden: a TokenIssuer sends tokens to registries of Azure alone";
        let elsewhere = "spec.secondRequest.googleServiceAccount.endpoint: Forbidden: a TokenIssuer sends tokens to iamcredentials.googleapis.com alone";
        let others = [
            (spec("entra", registry("registry.example")), foreign),
            (
                spec("entra", registry("azurecr.io.attacker.example")),
                foreign,
            ),
            (spec("entra", registry("evil-azurecr.io")), foreign),
            (spec("entra", registry("a.azurecr.io:8443")), foreign),
            (spec("oauth2", google(private)), elsewhere),
        ];
        let mut own = both();
        own.extend(others.clone().map(|(spec, fault)| (spec, Err(fault))));
        check(own, async |spec| send::<TokenIssuer>(world, spec).await).await;
        let mut of_admin = both();
        of_admin.extend(others.map(|(spec, _)| (spec, Ok(()))));
        check(of_admin, async |spec| {
            send::<ClusterTokenIssuer>(world, spec).await
        })
        .await;
    });
}
