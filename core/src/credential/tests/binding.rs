mod dedicated;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    api::{
        Cloud, DeletionPolicy,
        names::{ALLOWED_ISSUERS, CREDENTIAL_UID, LAST_GOOD_OF, PUBLISH_BY, STATE_OF},
    },
    credential::{
        Credential, Issuer, IssuerLookup,
        binding::{Use, is_named, may_manage, may_open, may_post, may_send, may_use_cloud},
        parse,
    },
    fixtures::{cluster_issuer, credential_with, map, object, parse_both, token_issuer},
};

pub(super) fn cluster(rules: &Value) -> Issuer {
    let mut spec = json!({ "oauth2": { "tokenUrl": "https://issuer.example.com:8443/token" } });
    for (key, value) in rules.as_object().unwrap() {
        spec[key.as_str()] = value.clone();
    }
    Issuer::cluster(&cluster_issuer(&spec)).unwrap()
}

pub(super) fn namespaced(spec: &Value) -> Issuer {
    Issuer::namespaced(&token_issuer(spec), &[]).unwrap()
}

#[test]
fn only_administrators_and_the_known_entra_hosts_vouch() {
    let send = |issuer: &Issuer| may_send(issuer, "client", None).is_ok();
    assert!(send(&cluster(&json!({}))));
    assert!(send(&namespaced(
        &json!({ "entra": { "tenantId": "t", "cloud": "China" } })
    )));
    for spec in [
        json!({ "oauth2": { "tokenUrl": "https://i.example.com/t" } }),
        json!({ "oidc": { "issuerUrl": "https://i.example.com" } }),
        json!({ "entra": { "tenantId": "t", "authorityHost": "https://i.example.com" } }),
        // With its own CA, the namespace could claim that any host is Entra's.
        json!({ "entra": { "tenantId": "t" }, "caBundle": "PEM" }),
        // Even the real host, if it is set explicitly, is vouched for only by the namespace.
        json!({ "entra": { "tenantId": "t", "authorityHost": "https://login.microsoftonline.com" } }),
    ] {
        let denial = may_send(&namespaced(&spec), "client", None).unwrap_err();
        assert_eq!(denial.reason().as_str(), "NotAuthorizedBySecret", "{spec}");
        assert!(
            denial
                .message()
                .contains("apicred.dev/allowed-issuers: https://"),
            "{}",
            denial.message()
        );
    }
}

#[test]
fn a_denial_shows_the_entry_that_was_meant_and_no_other() {
    let issuer = namespaced(&json!({ "oauth2": { "tokenUrl": "https://i.example.com/token" } }));
    for (list, shown) in [
        (
            "https://other.example, https://i.example.com/token",
            Some("https://i.example.com/token"),
        ),
        ("i.example.com", Some("i.example.com")),
        (" I.EXAMPLE.COM/ ", Some("I.EXAMPLE.COM/")),
        ("http://i.example.com", Some("http://i.example.com")),
        ("https://other.example", None),
        ("https://i.example.com.other.example", None),
        ("https://i.example.com:444", None),
        ("", None),
    ] {
        let notes = map(&[(ALLOWED_ISSUERS, list)]);
        let denial = may_send(&issuer, "client", Some(&notes)).unwrap_err();
        let message = denial.message();
        assert!(
            message.contains("must add https://i.example.com to the list"),
            "{message}"
        );
        match shown {
            Some(entry) => assert!(message.contains(&format!("(it has {entry};")), "{message}"),
            None => assert!(!message.contains("it has"), "{message}"),
        }
        assert!(!message.contains("other.example"), "{message}");
    }
    for (list, says) in [
        (
            "https://other.example https://i.example.com",
            Some("separated by commas"),
        ),
        (
            "https://other.example\nhttps://i.example.com",
            Some("separated by commas"),
        ),
        ("[\"https://i.example.com\"]", Some("separated by commas")),
        (
            "https://other.example;i.example.com",
            Some("separated by commas"),
        ),
        ("https://*.example.com", Some("is not a pattern")),
        ("*", Some("is not a pattern")),
        ("https://other.example https://third.example", None),
    ] {
        let notes = map(&[(ALLOWED_ISSUERS, list)]);
        let denial = may_send(&issuer, "client", Some(&notes)).unwrap_err();
        let message = denial.message();
        match says {
            Some(says) => assert!(message.contains(says), "{list}: {message}"),
            None => assert!(!message.contains(" (it "), "{message}"),
        }
        assert!(!message.contains("other.example"), "{message}");
    }
    // At Entra ID an entry means a tenant, and the host is more than that.
    let entra = namespaced(&json!({ "entra": { "tenantId": "contoso.example" } }));
    let notes = map(&[(
        ALLOWED_ISSUERS,
        "https://login.microsoftonline.com/fabrikam.example",
    )]);
    let denial = may_send(&entra, "client", Some(&notes)).unwrap_err();
    assert!(
        !denial.message().contains("fabrikam"),
        "{}",
        denial.message()
    );
    let long = format!("i.example.com/{}\u{202e}", "x".repeat(5000));
    let notes = map(&[(ALLOWED_ISSUERS, &long)]);
    let denial = may_send(&issuer, "client", Some(&notes)).unwrap_err();
    assert!(denial.message().len() < 600, "{}", denial.message());
}

#[test]
fn a_secret_names_the_exact_origin_in_any_case_with_or_without_a_slash() {
    let plain = namespaced(&json!({ "oauth2": { "tokenUrl": "https://i.example.com/token" } }));
    let port = namespaced(&json!({ "oauth2": { "tokenUrl": "https://i.example.com:8443/token" } }));
    #[rustfmt::skip]
    let cases = [
        ("https://i.example.com", true, false),
        ("https://i.example.com/", true, false),
        ("HTTPS://I.Example.COM", true, false),
        (" https://other , https://i.example.com ", true, false),
        ("https://i.example.com:8443", false, true),
        ("https://i.example.com:8443/", false, true),
        ("https://i.example.com:844", false, false),
        ("https://i.example.com/token", false, false),
        ("https://i.example.com.evil.com", false, false),
        ("https://evil.com/https://i.example.com", false, false),
        ("https://i.example.co", false, false),
        ("http://i.example.com", false, false),
        ("i.example.com", false, false),
        ("*", false, false),
        ("https://*.example.com", false, false),
        ("https://i.example.com https://x", false, false),
        ("https://i.example.com;https://x", false, false),
        ("", false, false),
    ];
    for (annotation, to_plain, to_port) in cases {
        let annotations = map(&[(ALLOWED_ISSUERS, annotation)]);
        let send = |issuer: &Issuer| may_send(issuer, "client", Some(&annotations)).is_ok();
        assert_eq!(
            (send(&plain), send(&port)),
            (to_plain, to_port),
            "{annotation:?}"
        );
    }
    let other_key = map(&[("apicred.dev/allowed-issuer", "https://i.example.com")]);
    assert!(may_send(&plain, "client", Some(&other_key)).is_err());
}

#[test]
fn a_discovered_endpoint_elsewhere_must_be_named_as_well() {
    let issuer = namespaced(&json!({ "oidc": { "issuerUrl": "https://i.example.com" } }));
    let post = |origin: &str, named: &str| {
        let annotations = map(&[(ALLOWED_ISSUERS, named)]);
        may_post(&issuer, origin, "client", Some(&annotations)).is_ok()
    };
    assert!(post("https://i.example.com", "https://i.example.com"));
    assert!(!post("https://t.example.com", "https://i.example.com"));
    assert!(post(
        "https://t.example.com",
        "https://i.example.com, https://t.example.com"
    ));
    assert!(
        may_post(
            &cluster(&json!({})),
            "https://t.example.com",
            "client",
            None
        )
        .is_ok()
    );
}

#[test]
fn a_registration_access_token_goes_to_the_issuer_or_its_token_endpoint_alone() {
    let ours = namespaced(&json!({ "oidc": { "issuerUrl": "https://i.example.com/a" } }));
    let vouched = Issuer {
        vouched: true,
        ..ours.clone()
    };
    let named = map(&[(ALLOWED_ISSUERS, "https://i.example.com")]);
    #[rustfmt::skip]
    let cases = [
        (&vouched, None, "https://i.example.com/reg/1", true),
        (&vouched, None, "https://t.example.com/reg/1", true),
        (&vouched, None, "https://x.example.com/reg/1", false),
        (&vouched, None, "https://i.example.com:8443/reg/1", false),
        (&vouched, None, "http://i.example.com/reg/1", false),
        (&vouched, None, "https://i.example.com.evil.com/reg/1", false),
        (&vouched, None, "https://i.example.com@evil.com/reg/1", false),
        (&vouched, None, "https://user@i.example.com/reg/1", false),
        (&vouched, None, "https://user:word@i.example.com/reg/1", false),
        (&vouched, None, "data:text/plain,x", false),
        // `allowed-issuers` also limits an issuer that an administrator vouches for.
        (&vouched, Some(&named), "https://i.example.com/reg/1", true),
        (&vouched, Some(&named), "https://t.example.com/reg/1", false),
        (&ours, None, "https://i.example.com/reg/1", false),
        (&ours, Some(&named), "https://i.example.com/reg/1", true),
        (&ours, Some(&named), "https://t.example.com/reg/1", false),
    ];
    for (issuer, annotations, address, may) in cases {
        let address = address.parse().unwrap();
        let posted = (&address, "https://t.example.com");
        let message = may_manage(issuer, posted, "client", annotations);
        assert_eq!(message.is_ok(), may, "{address} {message:?}");
    }
}

proptest! {
    #[test]
    fn no_annotation_but_the_exact_origin_lets_an_unvouched_issuer_have_a_secret(
        host in "[a-z]{1,3}\\.(com|net)", port in prop::option::of(1_u16..), value in "(https?://)?[a-z]{0,3}[.:/, *]?(com|net|[0-9]{0,5})/?",
        exact in any::<bool>(), key in "(apicred\\.dev/)?(allowed-issuers|allowed|x)",
    ) {
        let authority = port.map_or_else(|| host.clone(), |p| format!("{host}:{p}"));
        let issuer = namespaced(&json!({ "oauth2": { "tokenUrl": format!("https://{authority}/t") } }));
        let value = if exact { issuer.origin.clone() } else { value };
        let annotations = map(&[(key.as_str(), value.as_str())]);
        let named = key == ALLOWED_ISSUERS
            && value.split(',').any(|o| o.trim().trim_end_matches('/').to_lowercase() == issuer.origin);
        prop_assert_eq!(may_send(&issuer, "client", Some(&annotations)).is_ok(), named);
        prop_assert!(may_send(&issuer, "client", None).is_err());
    }
}

fn secret(annotations: &[(&str, &str)]) -> ObjectMeta {
    ObjectMeta {
        name: Some("s".to_owned()),
        annotations: Some(map(annotations)),
        ..ObjectMeta::default()
    }
}

/// Credentials that use Secret `s` for every possible purpose, at an administrator's issuer.
pub(super) fn uses() -> Vec<(&'static str, Use, Credential)> {
    let key = json!({ "name": "s", "key": "k" });
    let public = json!({ "secrets": null, "public": {} });
    let grant = |name: &str, inner: Value| json!({ "client": public, "grant": { name: inner } });
    let of = |change: Value| credential_with(&change);
    vec![
        ("client secret", Use::Client, of(json!({}))),
        (
            "certificate",
            Use::Client,
            of(json!({ "client": { "secrets": null, "certificates": [{ "secretName": "s" }] } })),
        ),
        (
            "mtls",
            Use::Client,
            of(json!({ "client": { "secrets": null, "mtls": { "secretName": "s" } } })),
        ),
        (
            "refresh token",
            Use::Grant,
            of(grant("refreshToken", json!({ "secretRef": key }))),
        ),
        (
            "subject token",
            Use::Grant,
            of(grant(
                "tokenExchange",
                json!({ "subject": { "secretRef": key, "tokenType": "urn:ietf:params:oauth:token-type:refresh_token" } }),
            )),
        ),
        (
            "assertion",
            Use::Grant,
            of(grant("jwtBearer", json!({ "assertionRef": key }))),
        ),
        (
            "password",
            Use::Grant,
            of(grant(
                "password",
                json!({ "username": "u", "passwordRef": key }),
            )),
        ),
        (
            "static key",
            Use::StaticKey,
            of(
                json!({ "issuerRef": null, "client": null, "scopes": null, "static": { "tokenRef": key } }),
            ),
        ),
        (
            "parameter",
            Use::Parameter,
            of(json!({ "parameters": [{ "name": "hint", "secretRef": key }] })),
        ),
        (
            "parameter of an extension grant",
            Use::Parameter,
            of(json!({ "grant": { "extension": {
                "grantType": "urn:x:y", "parameters": [{ "name": "hint", "secretRef": key }],
            } } })),
        ),
        (
            "parameter beside an exchange",
            Use::Parameter,
            of(json!({
                "parameters": [{ "name": "hint", "secretRef": key }],
                "grant": { "tokenExchange": { "subject": { "secretRef": key } } },
            })),
        ),
    ]
}

#[test]
fn a_national_cloud_is_used_where_the_installation_or_an_administrator_names_it() {
    let public = [Cloud::Public];
    let inline = |cloud| Issuer::inline("good.example", cloud).unwrap();
    assert!(may_use_cloud(&public, &inline(Cloud::Public)).is_ok());
    for cloud in [Cloud::USGov, Cloud::China] {
        let entra = json!({ "entra": { "tenantId": "t.example", "cloud": cloud } });
        for issuer in [inline(cloud), namespaced(&entra)] {
            let denial = may_use_cloud(&public, &issuer).unwrap_err();
            assert_eq!(denial.reason().as_str(), "CloudNotAllowed");
            assert!(
                denial.message().contains("entraClouds"),
                "{}",
                denial.message()
            );
            assert!(may_use_cloud(&[cloud], &issuer).is_ok());
        }
        assert!(may_use_cloud(&public, &Issuer::cluster(&cluster_issuer(&entra)).unwrap()).is_ok());
        // No administrator vouches for this one, so each Secret must name it.
        let elsewhere = json!({ "entra": { "tenantId": "t.example", "cloud": cloud, "authorityHost": "https://e.example" } });
        assert!(may_use_cloud(&public, &namespaced(&elsewhere)).is_ok());
    }
    assert!(may_use_cloud(&[], &inline(Cloud::Public)).is_err());
    assert!(may_use_cloud(&[], &Issuer::nowhere()).is_ok());
}

/// Otherwise the others would have a token that the deletion of this one revokes.
#[test]
fn a_credential_that_revokes_its_token_shares_no_answer_with_others() {
    let credential = credential_with(&json!({}));
    assert!(credential.is_shareable());
    let mut revokes = credential;
    revokes.target.deletion = DeletionPolicy::Revoke;
    assert!(!revokes.is_shareable());
}
