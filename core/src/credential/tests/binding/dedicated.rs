//! Annotations that reserve a Secret for one use or one name.

use super::*;

#[test]
fn an_annotation_that_dedicates_a_secret_excludes_every_other_use() {
    let serves = |meta: &ObjectMeta| -> Vec<&'static str> {
        let all = uses().into_iter();
        all.filter(|(_, purpose, credential)| may_open(credential, *purpose, meta).is_ok())
            .map(|(name, ..)| name)
            .collect()
    };
    let here = "https://issuer.example.com";
    let free = [
        "client secret",
        "certificate",
        "mtls",
        "subject token",
        "assertion",
        "password",
        "parameter",
        "parameter of an extension grant",
        "parameter beside an exchange",
    ];
    assert_eq!(serves(&secret(&[])), free);
    assert_eq!(serves(&secret(&[(STATE_OF, "alerts")])), ["refresh token"]);
    assert_eq!(
        serves(&secret(&[(PUBLISH_BY, "x, alerts")])),
        ["static key"]
    );
    for nothing in [
        secret(&[(STATE_OF, "other")]),
        secret(&[(STATE_OF, "")]),
        secret(&[(PUBLISH_BY, "other")]),
        secret(&[(STATE_OF, "alerts"), (PUBLISH_BY, "alerts")]),
        // The copy of a certificate, also an empty one.
        secret(&[(LAST_GOOD_OF, "uid/7"), (ALLOWED_ISSUERS, here)]),
        secret(&[(LAST_GOOD_OF, ""), (STATE_OF, "alerts")]),
        // A published token, also the credential's own from an earlier target.
        secret(&[(CREDENTIAL_UID, "another")]),
        secret(&[(CREDENTIAL_UID, crate::fixtures::UID)]),
        secret(&[(CREDENTIAL_UID, "")]),
        secret(&[(CREDENTIAL_UID, "another"), (PUBLISH_BY, "alerts")]),
        secret(&[(CREDENTIAL_UID, "another"), (STATE_OF, "alerts")]),
        secret(&[
            (CREDENTIAL_UID, "another"),
            (ALLOWED_ISSUERS, "https://other.example"),
        ]),
    ] {
        assert_eq!(serves(&nothing), [""; 0], "{:?}", nothing.annotations);
    }
    // The annotation was removed, but the owner reference shows it.
    let mut owned = secret(&[]);
    owned.owner_references = Some(vec![
        serde_json::from_value(json!({ "apiVersion": "apicred.dev/v1alpha1", "kind": "ApiCredential", "name": "x", "uid": "u", "controller": true })).unwrap(),
    ]);
    assert_eq!(serves(&owned), [""; 0]);
    // A chain of tokens needs explicit consent.
    assert_eq!(
        serves(&secret(&[
            (CREDENTIAL_UID, "another"),
            (ALLOWED_ISSUERS, here)
        ])),
        ["subject token", "assertion"]
    );
    // An owner limits a Secret to issuers, including administrators' issuers.
    assert_eq!(serves(&secret(&[(ALLOWED_ISSUERS, here)])), free);
    for elsewhere in [
        "https://other.example",
        "",
        ",",
        "https://issuer.example.com:8443",
    ] {
        assert_eq!(
            serves(&secret(&[(ALLOWED_ISSUERS, elsewhere)])),
            [""; 0],
            "{elsewhere}"
        );
    }
}

#[test]
fn a_secret_may_be_pinned_to_one_tenant_of_entra() {
    let of = |tenant: &str| {
        let change = json!({ "issuerRef": null, "entra": { "tenantId": tenant } });
        parse_both(&object(&change), |_| IssuerLookup::Missing).unwrap()
    };
    let pinned = secret(&[(
        ALLOWED_ISSUERS,
        "https://login.microsoftonline.com/good.example",
    )]);
    assert!(may_open(&of("good.example"), Use::Client, &pinned).is_ok());
    assert!(may_open(&of("GOOD.example"), Use::Client, &pinned).is_ok());
    assert!(may_open(&of("evil.example"), Use::Client, &pinned).is_err());
    let host = secret(&[(ALLOWED_ISSUERS, "https://login.microsoftonline.com")]);
    assert!(may_open(&of("evil.example"), Use::Client, &host).is_ok());
}

#[test]
fn a_name_names_every_object_of_the_name_and_a_name_with_uid_one_object() {
    for (entry, named) in [
        ("alerts", true),
        (" alerts ", true),
        ("alerts@uid-1", true),
        ("alerts@uid-2", false),
        ("alerts@", false),
        ("other@uid-1", false),
        ("@uid-1", false),
        ("alerts@uid-1@x", false),
        ("alert", false),
        ("", false),
        ("*", false),
    ] {
        assert_eq!(is_named(entry, "alerts", "uid-1"), named, "{entry:?}");
    }
    assert!(
        !is_named("alerts@", "alerts", ""),
        "an object without a UID"
    );
}

#[test]
fn no_refresh_token_is_requested_into_a_secret_that_workloads_mount() {
    for requested in [
        "urn:ietf:params:oauth:token-type:refresh_token",
        "URN:IETF:params:oauth:token-type:Refresh_Token",
        "refresh_token",
    ] {
        let grant = json!({ "tokenExchange": {
            "subject": { "secretRef": { "name": "s", "key": "k" } }, "requestedTokenType": requested,
        } });
        let object = object(&json!({ "grant": grant }));
        let faults =
            parse(&object, |_| IssuerLookup::Found(crate::fixtures::issuer())).unwrap_err();
        assert_eq!(
            faults[0].field,
            "spec.grant.tokenExchange.requestedTokenType"
        );
        let smuggled = crate::fixtures::object(
            &json!({ "parameters": [{ "name": "requested_token_type", "value": requested }] }),
        );
        let lookup = |_: &_| IssuerLookup::Found(crate::fixtures::issuer());
        assert!(parse(&smuggled, lookup).is_err());
    }
}
