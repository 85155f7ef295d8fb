use serde_json::json;

use crate::{
    api::SecretAlgorithm,
    credential::{Endpoint, Issuer, SecretStyle},
    fixtures::{cluster_issuer, secs, token_issuer},
};

#[test]
fn each_kind_of_issuer_has_its_endpoint_origin_and_style() {
    let basic = |encoding: &str| json!({ "basic": { "encoding": encoding } });
    #[rustfmt::skip]
    let cases = [
        (json!({ "oidc": { "issuerUrl": "https://Issuer.Example.com:443/realm" } }), "https://issuer.example.com", None),
        (json!({ "oidc": { "issuerUrl": "https://i.example.com:8443/", "clientAuthentication": { "post": {} } } }), "https://i.example.com:8443", Some(SecretStyle::Post)),
        (json!({ "oauth2": { "tokenUrl": "https://i.example.com/t?x=y" } }), "https://i.example.com", Some(SecretStyle::BasicForm)),
        (json!({ "oauth2": { "tokenUrl": "https://i/t", "clientAuthentication": basic("Form") } }), "https://i", Some(SecretStyle::BasicForm)),
        (json!({ "oauth2": { "tokenUrl": "https://i/t", "clientAuthentication": basic("Raw") } }), "https://i", Some(SecretStyle::BasicRaw)),
        (json!({ "oauth2": { "tokenUrl": "https://i/t", "clientAuthentication": { "secretJwt": {} } } }), "https://i", Some(SecretStyle::Jwt(None))),
        (json!({ "oidc": { "issuerUrl": "https://i", "clientAuthentication": { "secretJwt": { "algorithm": "HS512" } } } }), "https://i", Some(SecretStyle::Jwt(Some(SecretAlgorithm::HS512)))),
        (json!({ "oauth2": { "tokenUrl": "https://[::1]:8443/t" } }), "https://[::1]:8443", Some(SecretStyle::BasicForm)),
        (json!({ "entra": { "tenantId": "t", "cloud": "USGov" } }), "https://login.microsoftonline.us", Some(SecretStyle::Post)),
        (json!({ "entra": { "tenantId": "t", "authorityHost": "https://LOGIN.example.com:8443/" } }), "https://login.example.com:8443", Some(SecretStyle::Post)),
    ];
    for (spec, origin, style) in cases {
        for issuer in [
            Issuer::cluster(&cluster_issuer(&spec)).unwrap(),
            Issuer::namespaced(&token_issuer(&spec), &[]).unwrap(),
        ] {
            assert_eq!(
                (issuer.origin.as_str(), issuer.style),
                (origin, style),
                "{spec}"
            );
        }
    }
    let issuer =
        Issuer::cluster(&cluster_issuer(&json!({ "entra": { "tenantId": "t" } }))).unwrap();
    let authority = "https://login.microsoftonline.com/t".to_owned();
    assert_eq!(issuer.endpoint, Endpoint::Entra { authority });
}

#[test]
fn each_fault_of_an_issuer_names_its_field() {
    #[rustfmt::skip]
    let cases = [
        (json!({}), "spec"),
        (json!({ "entra": { "tenantId": "t" }, "oauth2": { "tokenUrl": "https://i/t" } }), "spec"),
        (json!({ "entra": { "tenantId": "common" } }), "spec.entra.tenantId"),
        (json!({ "entra": { "tenantId": "t", "authorityHost": "http://i" } }), "spec.entra.authorityHost"),
        (json!({ "entra": { "tenantId": "t", "authorityHost": "https://i/path" } }), "spec.entra.authorityHost"),
        (json!({ "entra": { "tenantId": "t", "authorityHost": "https://i/?q" } }), "spec.entra.authorityHost"),
        (json!({ "oidc": { "issuerUrl": "http://i" } }), "spec.oidc.issuerUrl"),
        (json!({ "oidc": { "issuerUrl": "not a url" } }), "spec.oidc.issuerUrl"),
        (json!({ "oauth2": { "tokenUrl": "https://user@i/t" } }), "spec.oauth2.tokenUrl"),
        (json!({ "oauth2": { "tokenUrl": "https://:pw@i/t" } }), "spec.oauth2.tokenUrl"),
        (json!({ "oauth2": { "tokenUrl": "https://i/t#f" } }), "spec.oauth2.tokenUrl"),
        (json!({ "oauth2": { "tokenUrl": "file:///etc/passwd" } }), "spec.oauth2.tokenUrl"),
    ];
    for (spec, field) in cases {
        let cluster = Issuer::cluster(&cluster_issuer(&spec)).unwrap_err();
        let namespaced = Issuer::namespaced(&token_issuer(&spec), &[]).unwrap_err();
        assert_eq!(
            cluster.iter().map(|e| e.field.as_str()).collect::<Vec<_>>(),
            [field],
            "{spec}"
        );
        assert_eq!(cluster, namespaced, "{spec}");
    }
}

#[test]
fn all_faults_of_an_issuer_are_reported_at_once() {
    let errors = Issuer::cluster(&cluster_issuer(&json!({
        "oidc": { "issuerUrl": "http://i" },
        "network": { "allowedCidrs": ["10.0.0.0/8", "10.0.0.0/99", "localhost"] }
    })))
    .unwrap_err();
    let fields: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "spec.network.allowedCidrs[1]",
            "spec.network.allowedCidrs[2]",
            "spec.oidc.issuerUrl"
        ]
    );
}

#[test]
fn an_issuer_without_allowed_namespaces_serves_no_namespace() {
    let issuer = Issuer::cluster(&cluster_issuer(
        &json!({ "oauth2": { "tokenUrl": "https://i/t" } }),
    ))
    .unwrap();
    assert_eq!(issuer.allowed_namespaces.unwrap().names, Some(Vec::new()));
}

#[test]
fn limits_and_lifetimes_have_defaults_and_never_zero() {
    let spec = |limits| json!({ "oauth2": { "tokenUrl": "https://i/t" }, "limits": limits, "assumedLifetime": "1h" });
    let of = |limits| {
        let issuer = Issuer::cluster(&cluster_issuer(&spec(limits))).unwrap();
        (issuer.requests_per_second, issuer.max_in_flight)
    };
    assert_eq!(of(json!({})), (120, 16));
    assert_eq!(
        of(json!({ "requestsPerSecond": 3, "maxInFlight": 2 })),
        (3, 2)
    );
    assert_eq!(
        of(json!({ "requestsPerSecond": 0, "maxInFlight": 0 })),
        (1, 1)
    );
    let issuer = Issuer::cluster(&cluster_issuer(&spec(json!({})))).unwrap();
    assert_eq!(issuer.assumed_lifetime, Some(secs(3600)));
    assert_eq!(issuer.version, "issuer-uid/1");
}

#[test]
fn only_an_administrators_issuer_brings_networks_of_its_own() {
    let net = "10.0.0.0/8".parse().unwrap();
    let spec = json!({ "oauth2": { "tokenUrl": "https://i/t" } });
    let namespaced = Issuer::namespaced(&token_issuer(&spec), &[net]).unwrap();
    assert_eq!(namespaced.allowed_cidrs, [net]);
    assert_eq!(
        Issuer::namespaced(&token_issuer(&spec), &[])
            .unwrap()
            .allowed_cidrs,
        []
    );
}
