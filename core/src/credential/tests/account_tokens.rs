use std::collections::BTreeMap;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::binding::{namespaced, uses};
use crate::{
    api::names::{ALLOWED_AUDIENCES, ALLOWED_ISSUERS},
    credential::{
        Endpoint, Issuer, IssuerLookup,
        binding::{may_leave, may_request_audience, may_send_text, may_use_account},
    },
    fixtures::{cluster_issuer, map, object, parse_both},
    oauth::{account_audience, known_endpoint},
};

/// A JWT with these claims; its signature is not checked.
fn jwt(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2ln", part(&json!({ "alg": "RS256" })), part(claims))
}

proptest! {
    #[test]
    fn a_token_for_an_api_server_is_found_in_any_text(before in "(?s).{0,40}", after in "(?s).{0,40}", between in "[^A-Za-z0-9+/_=-]") {
        let (_, _, credential) = uses().into_iter().find(|(_, _, c)| !matches!(c.issuer.endpoint, Endpoint::Nowhere)).unwrap();
        let token = jwt(&json!({ "aud": ["https://kubernetes.default.svc"] }));
        let encoded = STANDARD.encode(format!("{before}{token}{after}"));
        for text in [
            format!("{before}{token}{after}"),
            encoded.clone(),
            format!("{before}{between}{encoded}{between}{after}"),
        ] {
            prop_assert!(may_send_text(&credential, "s", None, &text, &[]).is_err(), "{text:?}");
        }
        let other = jwt(&json!({ "aud": ["https://issuer.example.com"] }));
        let text = format!("{before}{other}{after}");
        prop_assert!(may_send_text(&credential, "s", None, &text, &[]).is_ok(), "{text:?}");
    }
}

#[test]
fn a_service_account_token_that_the_api_server_accepts_goes_to_no_issuer() {
    let own = [
        "https://oidc.prod.example/cluster-7".to_owned(),
        "x".repeat(400),
    ];
    let leaves = |aud: Value| may_leave("robot", &jwt(&json!({ "aud": aud })), &own).is_ok();
    assert!(leaves(json!("https://issuer.example.com")));
    assert!(leaves(json!(["https://issuer.example.com", "vault"])));
    assert!(leaves(json!("https://oidc.prod.example/cluster-77")));
    for aud in [
        json!("https://oidc.prod.example/cluster-7"),
        json!(["https://oidc.prod.example/cluster-7"]),
        // One of several is enough, at every position in the list and for every length.
        json!(["vault", "https://oidc.prod.example/cluster-7"]),
        json!(["x".repeat(400)]),
        json!(
            (0..300)
                .map(|i| format!("a{i}"))
                .chain([own[0].clone()])
                .collect::<Vec<_>>()
        ),
        // Common names are refused even if the server's own audiences are not known.
        json!("https://kubernetes.default.svc.cluster.local"),
        json!(["vault", "k3s"]),
        json!("https://x.hcp.westeurope.azmk8s.io:443"),
        // An unreadable token is not sent.
        json!([]),
        json!({}),
        json!(7),
        json!(["vault", 7]),
        Value::Null,
    ] {
        assert!(!leaves(aud.clone()), "{aud}");
    }
    for token in ["", "opaque", "a.b", "a.b.c.d", "!.!.!"] {
        let denial = may_leave("robot", token, &own).unwrap_err();
        assert_eq!(denial.reason().as_str(), "ServiceAccountTokenRefused");
        assert!(denial.message().contains("robot"), "{}", denial.message());
    }
    let denial = may_request_audience("robot", &own[0], &own).unwrap_err();
    assert!(denial.message().contains("serviceAccount.audience"));
    assert!(may_request_audience("robot", "https://issuer.example.com", &own).is_ok());
}

/// Such tokens are in Secrets next to client secrets, and a user who creates credentials may name any Secret.
#[test]
fn a_token_for_an_api_server_that_is_stored_in_a_secret_goes_to_no_issuer_that_its_owner_has_not_named()
 {
    let own = ["https://oidc.prod.example/cluster-7".to_owned()];
    let legacy = json!({
        "iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:secops:deployer",
        "kubernetes.io/serviceaccount/namespace": "secops",
    });
    let consents = |issuers: &str| Some(map(&[(ALLOWED_ISSUERS, issuers)]));
    for (name, _, credential) in uses() {
        let sends = |text: &str, notes: Option<&BTreeMap<String, String>>| {
            may_send_text(&credential, "s", notes, text, &own)
        };
        let nowhere = matches!(credential.issuer.endpoint, Endpoint::Nowhere);
        for claims in [
            legacy.clone(),
            json!({ "aud": own[0] }),
            json!({ "aud": ["vault", own[0]] }),
            json!({ "aud": "https://kubernetes.default.svc.cluster.local", "sub": "x" }),
            json!({ "aud": ["k3s"] }),
        ] {
            let token = jwt(&claims);
            let encoded = STANDARD.encode(&token);
            let (start, end) = token.split_at(token.len() / 2);
            for text in [
                token.clone(),
                format!("Bearer {token}"),
                format!("{token} x"),
                format!("{token} # prod"),
                format!("{token}\n"),
                format!(r#"{{"token": "{token}", "name": "prod server"}}"#),
                format!("token={token}&x=y.z"),
                format!("{start}\n{end}"),
                encoded.clone(),
                URL_SAFE_NO_PAD.encode(&token),
                STANDARD.encode(format!("user:{token}")),
                format!(r#"{{"auth": "{encoded}", "name": "prod server"}}"#),
                format!("Basic {encoded}"),
                format!("{}\n{}", &encoded[..30], &encoded[30..]),
            ] {
                let denied = sends(&text, None);
                assert_eq!(denied.is_err(), !nowhere, "{name}: {claims}");
                assert_eq!(sends(&text, Some(&BTreeMap::new())), denied, "{name}");
                if let Err(denial) = denied {
                    assert_eq!(denial.reason().as_str(), "ServiceAccountTokenRefused");
                    assert!(
                        denial.message().contains("Secret s") && !denial.message().contains(&token)
                    );
                }
            }
            // Its owner has listed where it may be sent. Another rule checks whether this is such a place.
            assert!(sends(&token, consents("https://vault.example").as_ref()).is_ok());
        }
        // A token of a ServiceAccount for an issuer, a user's token, a client secret, and a text that is not a token.
        for text in [
            jwt(
                &json!({ "iss": own[0], "aud": "api://AzureADTokenExchange", "sub": "system:serviceaccount:a:b" }),
            ),
            jwt(&json!({ "iss": "https://issuer.example.com", "aud": "kubernetes-dashboard" })),
            jwt(&json!({})),
            "a.b.c".to_owned(),
            "kubernetes/serviceaccount".to_owned(),
            "p w".to_owned(),
        ] {
            assert!(sends(&text, None).is_ok(), "{name}: {text}");
        }
    }
}

#[test]
fn annotations_of_a_service_account_limit_issuers_and_audiences() {
    let account = |audience: Option<&str>| {
        let account = json!({ "name": "robot", "audience": audience });
        json!({ "client": { "secrets": null, "serviceAccount": account } })
    };
    let use_it = |issuer: Issuer, audience: Option<&str>, notes: &[(&str, &str)]| {
        let lookup = |_: &_| IssuerLookup::Found(issuer.clone());
        let credential = parse_both(&object(&account(audience)), lookup).unwrap();
        let endpoint = known_endpoint(&credential).unwrap();
        let audience = audience.map_or_else(
            || account_audience(&credential, Some(&endpoint)),
            str::to_owned,
        );
        may_use_account(
            &credential,
            Some(&endpoint),
            "robot",
            Some(&map(notes)),
            &audience,
        )
        .map_err(|d| d.reason().as_str())
    };
    let admin = |more: Value| {
        let mut rules = json!({ "oauth2": { "tokenUrl": "https://i.example.com/token" } });
        crate::fixtures::merge(&mut rules, &more);
        Issuer::cluster(&cluster_issuer(&rules)).unwrap()
    };
    let own = |more: Value| {
        let mut rules = json!({ "tokenUrl": "https://i.example.com/token" });
        crate::fixtures::merge(&mut rules, &more);
        namespaced(&json!({ "oauth2": rules }))
    };
    let aws = "sts.amazonaws.com";
    let lists = |audience| [(ALLOWED_AUDIENCES, audience)];
    let here = (ALLOWED_ISSUERS, "https://i.example.com");
    // The issuer's own audience is allowed by default, another one is not.
    assert_eq!(use_it(admin(json!({})), None, &[]), Ok(()));
    assert_eq!(
        use_it(admin(json!({})), Some("https://i.example.com/token"), &[]),
        Ok(())
    );
    assert_eq!(
        use_it(admin(json!({})), Some("https://i.example.com/"), &[]),
        Ok(())
    );
    assert_eq!(
        use_it(admin(json!({})), Some(aws), &[]),
        Err("AudienceNotAllowed")
    );
    assert_eq!(
        use_it(
            admin(json!({})),
            Some(aws),
            &lists("vault, sts.amazonaws.com")
        ),
        Ok(())
    );
    assert_eq!(
        use_it(admin(json!({})), Some(aws), &lists("vault")),
        Err("AudienceNotAllowed")
    );
    let by_issuer = json!({ "allowedParameters": ["aud=sts.amazonaws.com"] });
    assert_eq!(use_it(admin(by_issuer.clone()), Some(aws), &[]), Ok(()));
    assert_eq!(
        use_it(admin(by_issuer), Some("vault"), &[]),
        Err("AudienceNotAllowed")
    );
    let named = json!({ "oauth2": { "issuer": aws } });
    assert_eq!(
        use_it(admin(named), None, &[]),
        Ok(()),
        "an administrator's word"
    );
    // `allowed-issuers` also limits an administrator's issuer.
    let elsewhere = [(ALLOWED_ISSUERS, "https://other.example")];
    assert_eq!(
        use_it(admin(json!({})), None, &elsewhere),
        Err("NotAuthorizedBySecret")
    );
    assert_eq!(use_it(admin(json!({})), None, &[here]), Ok(()));
    // An issuer of the namespace may use any name for itself.
    assert_eq!(
        use_it(own(json!({})), None, &[]),
        Err("NotAuthorizedBySecret")
    );
    assert_eq!(use_it(own(json!({})), None, &[here]), Ok(()));
    let liar = || own(json!({ "issuer": aws }));
    assert_eq!(use_it(liar(), None, &[here]), Err("AudienceNotAllowed"));
    assert_eq!(
        use_it(liar(), Some(aws), &[here]),
        Err("AudienceNotAllowed")
    );
    assert_eq!(
        use_it(liar(), Some(aws), &[here, (ALLOWED_AUDIENCES, aws)]),
        Ok(())
    );
}
