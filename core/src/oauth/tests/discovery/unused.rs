//! Endpoints of a document that are not https: they are not used, and the message names them instead of "missing".

use super::*;

#[test]
fn an_optional_endpoint_that_is_not_https_is_remembered_with_the_reason() {
    for (field, setting) in [
        ("revocation_endpoint", "oidc.revocationUrl"),
        ("authorization_endpoint", "oidc.authorizationUrl"),
        (
            "device_authorization_endpoint",
            "oidc.deviceAuthorizationUrl",
        ),
    ] {
        for (there, expected) in [
            (
                json!("http://i.example.com/realm/x?secret"),
                "but one at http://i.example.com; correct",
            ),
            (
                json!("http://i.example.com:8080/x"),
                "but one at http://i.example.com:8080; correct",
            ),
            (json!("/realm/x"), "is relative"),
            (json!("https://user@i.example.com/x"), "has a user"),
            (json!(7), "is not a URL"),
        ] {
            let found = of(&json!({ field: there }), None).unwrap();
            for certificate in [false, true] {
                let message = found.unused(field, certificate).expect(field);
                assert!(message.contains(expected), "{message}");
                assert!(
                    message.contains(&format!("names no https {field}")),
                    "{message}"
                );
                assert!(message.contains(setting), "{message}");
                assert!(!message.contains("secret"), "{message}");
            }
            // Only clients that show a certificate use the other one.
            let found = of(&json!({ "mtls_endpoint_aliases": { field: there } }), None).unwrap();
            assert_eq!(found.unused(field, false), None);
            let message = found.unused(field, true).expect(field);
            assert!(
                message.contains(&format!("names no https mtls_endpoint_aliases.{field}")),
                "{message}"
            );
        }
    }
}

#[test]
fn an_endpoint_that_is_used_or_missing_is_not_remembered() {
    for change in [
        json!({}),
        json!({ "revocation_endpoint": null, "authorization_endpoint": "", "device_authorization_endpoint": "none" }),
        json!({ "revocation_endpoint": "https://i.example.com/revoke", "userinfo_endpoint": "http://i.example.com/x" }),
        json!({ "mtls_endpoint_aliases": { "revocation_endpoint": "https://m.example.com/revoke" } }),
    ] {
        assert_eq!(of(&change, None).unwrap().unused, [], "{change}");
    }
}

#[test]
fn a_client_with_a_certificate_does_not_fall_back_from_an_endpoint_that_is_named_for_it() {
    let usual = json!({
        "revocation_endpoint": "https://i.example.com/revoke",
        "device_authorization_endpoint": "https://i.example.com/device",
    });
    for there in [
        json!("http://m.example.com/x"),
        json!("/x"),
        json!("https://user@m.example.com/x"),
        json!(["https://m.example.com/x"]),
        json!(true),
    ] {
        let mut change = usual.clone();
        change["mtls_endpoint_aliases"] = json!({
            "token_endpoint": there,
            "revocation_endpoint": there,
            "device_authorization_endpoint": there,
        });
        let found = of(&change, None).unwrap();
        let error = found.posted_by(true).unwrap_err();
        assert_eq!(
            (error.reason, error.class),
            (Reason::DiscoveryFailed, Class::Invalid)
        );
        let message = error.message();
        let name = "names no https mtls_endpoint_aliases.token_endpoint";
        assert!(
            message.contains(name) && message.contains("use oauth2.tokenUrl"),
            "{message}"
        );
        assert_eq!(found.revoked_at(true), None, "{there}");
        assert_eq!(found.device_at(true), None, "{there}");
        // The others are not affected.
        let all = [
            found.posted_by(false).ok(),
            found.revoked_at(false),
            found.device_at(false),
        ];
        assert!(all.iter().all(Option::is_some), "{there}");
        // An endpoint of the spec replaces both of the document.
        let own = OptionalEndpoints {
            revocation: Some(url("https://i.example.com/own")),
            ..OptionalEndpoints::default()
        };
        let completed = completed(found, &own);
        assert_eq!(completed.revoked_at(true), own.revocation.as_ref());
        assert_eq!(completed.unused("revocation_endpoint", true), None);
        assert_eq!(completed.device_at(true), None);
    }
}

#[test]
fn without_an_endpoint_of_their_own_clients_with_a_certificate_use_the_usual_one() {
    for aliases in [
        json!(null),
        json!({}),
        // PHP writes an empty object like this.
        json!([]),
        json!({ "token_endpoint": "" }),
        json!({ "token_endpoint": null, "revocation_endpoint": "none" }),
    ] {
        let found = of(&json!({ "mtls_endpoint_aliases": aliases }), None).unwrap();
        assert_eq!(found.posted_by(true).ok(), Some(&found.url), "{aliases}");
        assert_eq!(found.unused, [], "{aliases}");
    }
    for aliases in [json!("https://m.example.com"), json!(7), json!([{}])] {
        let found = of(&json!({ "mtls_endpoint_aliases": aliases }), None).unwrap();
        assert!(found.posted_by(true).is_err(), "{aliases}");
    }
}
