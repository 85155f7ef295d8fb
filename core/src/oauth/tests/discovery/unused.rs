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
        for (there, words) in [
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
                assert!(message.contains(words), "{message}");
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
