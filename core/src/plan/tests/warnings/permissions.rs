//! What a token lacks of the expected permissions, and what it has in addition.

mod exceeded;
mod unlisted;

use super::*;

fn expecting(expect: &Value) -> Credential {
    let issuer = json!({ "entra": { "tenantId": "contoso.example" }, "allowedNamespaces": { "selector": {} } });
    let issuer = Issuer::cluster(&cluster_issuer(&issuer)).unwrap();
    let change = json!({ "scopes": null, "api": "DefenderForCloudApps", "expect": expect });
    parse(&object(&change), |_| IssuerLookup::Found(issuer)).unwrap()
}

fn missing(expect: &Value, claims: Option<Claims>) -> Option<(String, String)> {
    let credential = expecting(expect);
    let mut noted = record(&credential, (-300, 1500, 3300));
    noted.claims = claims.map(Box::new);
    reported(
        &credential,
        &holding(&credential, noted),
        "PermissionsMissing",
        0,
    )
}

#[test]
fn a_token_with_fewer_scopes_than_were_requested_is_reported() {
    let credential = expecting(&json!({ "audience": "05a65629" }));
    let mut noted = record(&credential, (-300, 1500, 3300));
    let seen = |noted: &crate::publish::Record| {
        let world = holding(&credential, noted.clone());
        reported(&credential, &world, "PermissionsMissing", 0)
    };
    assert_eq!(seen(&noted), None);
    noted.not_granted = vec!["files.write".to_owned(), "files.share".to_owned()];
    let (reason, message) = seen(&noted).unwrap();
    assert_eq!(reason, "ScopesNotGranted");
    assert!(
        message.contains("files.write, files.share") && message.contains("spec.scopes"),
        "{message}"
    );
    // An explicit expectation takes precedence.
    noted.claims = Some(Box::new(Claims {
        audience: vec!["api://other".to_owned()],
        ..Claims::default()
    }));
    assert_eq!(seen(&noted).unwrap().0, "AudienceMismatch");
}

#[test]
fn what_a_token_lacks_is_reported_and_one_that_cannot_be_read_is_neutral() {
    let tenant = "6f3c0a4e-1d2b-4c5f-9a7e-0b1c2d3e4f50";
    let held = || Claims {
        roles: vec!["Investigation.Read".to_owned()],
        scopes: vec!["User.Read".to_owned()],
        audience: vec!["05a65629".to_owned()],
        tenant: Some(tenant.to_owned()),
        ..Claims::default()
    };
    #[rustfmt::skip]
    let cases = [
        (json!({ "roles": ["Investigation.Read"] }), None),
        // The documentation spells it in both ways.
        (json!({ "roles": ["Investigation.read"] }), None),
        (json!({ "roles": ["Investigation.Read", "Settings.Read"] }), Some("RolesMissing")),
        (json!({ "scopes": ["User.Read"] }), None),
        (json!({ "scopes": ["Mail.Read"] }), Some("ScopesMissing")),
        (json!({ "roles": ["Settings.Read"], "scopes": ["Mail.Read"] }), Some("PermissionsMissing")),
        (json!({ "audience": "05a65629" }), None),
        (json!({ "audience": "api://other" }), Some("AudienceMismatch")),
        (json!({ "tenant": tenant.to_uppercase() }), None),
        (json!({ "tenant": "00000000-0000-0000-0000-000000000000" }), Some("TenantMismatch")),
    ];
    for (expect, reason) in cases {
        let seen = missing(&expect, Some(held())).map(|m| m.0);
        assert_eq!(seen.as_deref(), reason, "{expect}");
        let opaque = missing(&expect, None).map(|m| m.0);
        let permissions = expect.get("roles").or(expect.get("scopes")).is_some();
        assert_eq!(
            opaque.as_deref(),
            permissions.then_some("NotVerifiable"),
            "an opaque token: {expect}"
        );
    }
    let (_, message) = missing(
        &json!({ "roles": ["Settings.Read"] }),
        Some(Claims::default()),
    )
    .unwrap();
    assert!(
        message.contains(
            "https://login.microsoftonline.com/contoso.example/adminconsent?client_id=client-1"
        ) && message.contains("Microsoft Cloud App Security"),
        "{message}"
    );
}

#[test]
fn all_that_a_token_lacks_is_reported_at_once() {
    let held = || Claims {
        roles: vec!["Investigation.Read".to_owned()],
        scopes: vec!["User.Read".to_owned()],
        audience: vec!["api://orders".to_owned()],
        tenant: Some("6f3c0a4e-1d2b-4c5f-9a7e-0b1c2d3e4f50".to_owned()),
        ..Claims::default()
    };
    let audience = json!("api://other");
    let tenant = json!("00000000-0000-0000-0000-000000000000");
    #[rustfmt::skip]
    let cases = [
        (json!({ "audience": audience, "roles": ["Settings.Read"] }), "AudienceMismatch",
            vec!["AudienceMismatch: the token is for api://orders, not for api://other", ". RolesMissing: the token lacks the application permissions Settings.Read;"]),
        (json!({ "audience": audience, "tenant": tenant }), "AudienceMismatch",
            vec!["AudienceMismatch: ", "TenantMismatch: the token is of tenant 6f3c0a4e"]),
        (json!({ "tenant": tenant, "roles": ["Settings.Read"], "scopes": ["Mail.Read"] }), "TenantMismatch",
            vec!["TenantMismatch: ", ". PermissionsMissing: the token lacks the application permissions Settings.Read and the delegated permissions Mail.Read"]),
        // No permission is named twice.
        (json!({ "roles": ["Settings.Read", "Other.Read", "Investigation.Read"] }), "RolesMissing",
            vec!["the token lacks the application permissions Settings.Read, Other.Read; add"]),
    ];
    for (expect, reason, parts) in cases {
        let (reported, message) = missing(&expect, Some(held())).unwrap();
        assert_eq!(reported, reason, "{expect}");
        for part in parts {
            assert!(message.contains(part), "{expect}: {part}: {message}");
        }
    }
    // A scope that was requested and not granted is listed as well.
    let credential = expecting(&json!({ "audience": audience, "roles": ["Settings.Read"] }));
    let mut noted = record(&credential, (-300, 1500, 3300));
    noted.claims = Some(Box::new(held()));
    noted.not_granted = vec!["files.write".to_owned()];
    let world = holding(&credential, noted);
    let (_, message) = reported(&credential, &world, "PermissionsMissing", 0).unwrap();
    for part in ["AudienceMismatch: ", "RolesMissing: ", "ScopesNotGranted: "] {
        assert!(message.contains(part), "{part}: {message}");
    }
    // At an issuer that omits claims, what cannot be checked is reported together with what is wrong.
    let credential = credential_with(&json!({ "expect": { "audience": "api", "roles": ["r"] } }));
    let mut noted = record(&credential, (-300, 1500, 3300));
    noted.claims = Some(Box::new(Claims {
        roles: Vec::new(),
        ..held()
    }));
    let world = holding(&credential, noted);
    let (reason, message) = reported(&credential, &world, "PermissionsMissing", 0).unwrap();
    assert_eq!(reason, "AudienceMismatch");
    assert!(
        message.contains(". NotVerifiable: the token has no complete claim about roles"),
        "{message}"
    );
}

#[test]
fn each_change_of_what_a_token_lacks_is_an_event() {
    let lacks = |roles: &[&str], audience: &str| Claims {
        roles: roles.iter().map(|r| (*r).to_owned()).collect(),
        audience: vec![audience.to_owned()],
        ..Claims::default()
    };
    let expect = json!({ "audience": "api://orders", "roles": ["A.Read", "B.Read"] });
    let credential = expecting(&expect);
    let mut old = None;
    #[rustfmt::skip]
    let history = [
        ("one role is missing", lacks(&["A.Read"], "api://orders"), Some("RolesMissing")),
        ("nothing changes", lacks(&["A.Read"], "api://orders"), None),
        ("another role is missing", lacks(&["B.Read"], "api://orders"), Some("RolesMissing")),
        ("the audience is wrong as well", lacks(&["B.Read"], "api://other"), Some("AudienceMismatch")),
        ("both roles are missing, and the audience is wrong still", lacks(&[], "api://other"), Some("AudienceMismatch")),
        ("another wrong audience", lacks(&[], "api://third"), Some("AudienceMismatch")),
        ("the audience is right", lacks(&[], "api://orders"), Some("RolesMissing")),
        ("all is well", lacks(&["A.Read", "B.Read"], "api://orders"), None),
        ("and not again", lacks(&["A.Read"], "api://orders"), Some("RolesMissing")),
    ];
    for (what, claims, expected) in history {
        let mut noted = record(&credential, (-300, 1500, 3300));
        noted.claims = Some(Box::new(claims));
        let world = holding(&credential, noted);
        let view = status(&credential, &world, &Outcome::Steady, old.as_ref(), at(0));
        let notices: Vec<&str> = view.notices.iter().map(|n| n.reason.as_str()).collect();
        let expected: Vec<&str> = expected.into_iter().collect();
        assert_eq!(notices, expected, "{what}");
        old = Some(view.status);
    }
}

#[test]
fn what_a_token_lacks_fits_into_one_message() {
    let many = |kind: &str| -> Vec<String> {
        (0..32)
            .map(|n| format!("{kind}{n:02}.{}", "x".repeat(200)))
            .collect()
    };
    let expect = json!({
        "audience": "y".repeat(512), "tenant": "00000000-0000-0000-0000-000000000000",
        "roles": many("r"), "scopes": many("s"),
    });
    let credential = expecting(&expect);
    let mut noted = record(&credential, (-300, 1500, 3300));
    noted.not_granted = many("n");
    noted.claims = Some(Box::new(Claims {
        audience: (0..9)
            .map(|n| format!("api://{}{n}", "z-".repeat(200)))
            .collect(),
        tenant: Some("6f3c0a4e-1d2b-4c5f-9a7e-0b1c2d3e4f50".to_owned()),
        ..Claims::default()
    }));
    let world = holding(&credential, noted);
    let (_, message) = reported(&credential, &world, "PermissionsMissing", 0).unwrap();
    for part in [
        "ScopesNotGranted: ",
        "AudienceMismatch: ",
        "TenantMismatch: ",
        "PermissionsMissing: ",
        "adminconsent?client_id=client-1 (",
    ] {
        assert!(message.contains(part), "{part} was cut: {message}");
    }
    assert!(message.contains(" and 31 more"), "{message}");
}

#[test]
fn nothing_of_a_token_that_could_be_a_secret_is_shown() {
    let secret = "Zm9vYmFyYmF6MTIzNDU2Nzg5MDEyMzQ1Njc4OTA";
    let expect = json!({ "audience": "api", "tenant": "00000000-0000-0000-0000-000000000000" });
    for (audience, shown) in [
        (vec![secret], None),
        (
            vec!["api://orders", secret],
            Some("api://orders and others"),
        ),
        (
            vec!["00000003-0000-0000-C000-000000000000"],
            Some("00000003-0000-0000-C000-000000000000"),
        ),
        (
            vec!["https://graph.microsoft.com"],
            Some("https://graph.microsoft.com"),
        ),
        (vec!["urn:a\u{202e}b"], Some("urn:a")),
    ] {
        let claims = Claims {
            audience: audience.iter().map(|a| (*a).to_owned()).collect(),
            tenant: Some(secret.to_owned()),
            ..Claims::default()
        };
        let (_, message) = missing(&expect, Some(claims)).unwrap();
        assert!(
            !message.contains(secret) && !message.contains('\u{202e}'),
            "{message}"
        );
        let shown = shown.unwrap_or("an audience that is not shown");
        assert!(message.contains(shown), "{audience:?}: {message}");
        assert!(message.contains("of another tenant, not of"), "{message}");
    }
}

#[test]
fn an_annotation_that_has_no_effect_is_reported_while_it_is_there() {
    let mut credential = credential_with(&json!({}));
    let mut world = observed(&credential);
    assert_eq!(reported(&credential, &world, "AnnotationsIgnored", 0), None);
    credential.unread = Some("apicred.dev/renew is not known; remove it".to_owned());
    world.unread = vec!["on Secret client the annotation apicred.dev/x is not known".to_owned()];
    let (reason, message) = reported(&credential, &world, "AnnotationsIgnored", 0).unwrap();
    assert_eq!(reason, "AnnotationUnknown");
    for part in [
        "apicred.dev/renew is not known; remove it",
        "on Secret client",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let view = status(&credential, &world, &Outcome::Steady, None, at(0));
    let notices: Vec<&str> = view.notices.iter().map(|n| n.reason.as_str()).collect();
    assert_eq!(notices, ["AnnotationUnknown"]);
    let ready = view.status.conditions.iter().find(|c| c.type_ == "Ready");
    assert_eq!(ready.map(|c| c.status.as_str()), Some("True"));
    let again = status(
        &credential,
        &world,
        &Outcome::Steady,
        Some(&view.status),
        at(60),
    );
    assert_eq!(again.notices, [], "once");
    assert_eq!(again.status, view.status, "and no write");
}

/// The condition of a token with these claims, at an issuer that is not Entra ID.
fn elsewhere(expect: &Value, claims: Option<&Value>, scope: Option<&str>) -> Option<String> {
    let credential = crate::fixtures::credential_with(&json!({ "expect": expect, "scopes": null }));
    let mut token = crate::fixtures::token("t");
    token.claims = claims.and_then(|c| crate::oauth::claims_of(&jwt(c)).map(Box::new));
    token.scope = scope.map(str::to_owned);
    let noted = crate::plan::record(
        &credential,
        crate::plan::NewToken {
            token: &token,
            token_digest: String::new(),
            fingerprint: String::new(),
            sources: crate::publish::SourceUse::default(),
            certificate_validity: None,
        },
        (crate::plan::schedule::Promise::default(), 0),
    );
    let mut shown = record(&credential, (-300, 1500, 3300));
    shown.claims = noted.claims;
    let world = holding(&credential, shown);
    let view = status(&credential, &world, &Outcome::Steady, None, at(0)).status;
    let found = view
        .conditions
        .into_iter()
        .find(|c| c.type_ == "PermissionsMissing")?;
    assert!(
        found.status
            == if found.reason == "NotVerifiable" {
                "Unknown"
            } else {
                "True"
            }
    );
    Some(found.reason)
}

fn jwt(claims: &Value) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

#[test]
fn roles_are_found_where_issuers_put_them_and_an_absent_claim_is_not_evaluated() {
    let many: Vec<String> = (0..100).map(|n| format!("role-{n:03}")).collect();
    let roles = |role: &str| json!({ "roles": [role] });
    let scopes = |scope: &str| json!({ "scopes": [scope] });
    #[rustfmt::skip]
    let cases = [
        // Keycloak
        (roles("admin"), Some(json!({ "realm_access": { "roles": ["admin", "uma"] } })), None, None),
        (roles("view-users"), Some(json!({ "realm_access": { "roles": ["uma"] }, "resource_access": { "realm-management": { "roles": ["view-users"] }, "account": { "roles": [] } } })), None, None),
        (roles("other"), Some(json!({ "realm_access": { "roles": ["admin"] } })), None, Some("RolesMissing")),
        (roles("other"), Some(json!({ "realm_access": {}, "resource_access": [] })), None, Some("NotVerifiable")),
        // Auth0
        (roles("read:users"), Some(json!({ "permissions": ["read:users"] })), None, None),
        (roles("read:users"), Some(json!({ "permissions": [] })), None, Some("RolesMissing")),
        (scopes("read:users"), Some(json!({ "scope": "openid read:users" })), None, None),
        (scopes("read:users"), Some(json!({ "scope": "" })), None, Some("ScopesMissing")),
        // Okta
        (scopes("read"), Some(json!({ "scp": ["read", "write"] })), None, None),
        (roles("admins"), Some(json!({ "groups": ["admins"] })), None, Some("NotVerifiable")),
        // Values are case-sensitive.
        (roles("Admin"), Some(json!({ "roles": ["admin"] })), None, Some("RolesMissing")),
        // No claim, or one that is too long to be stored, or of an unknown type.
        (roles("admin"), Some(json!({})), None, Some("NotVerifiable")),
        (roles("admin"), Some(json!({ "roles": null })), None, Some("NotVerifiable")),
        (roles("admin"), Some(json!({ "roles": { "admin": {} } })), None, Some("NotVerifiable")),
        (roles("role-099"), Some(json!({ "roles": many })), None, Some("NotVerifiable")),
        (roles("role-001"), Some(json!({ "roles": many })), None, None),
        (scopes("read"), Some(json!({})), None, Some("NotVerifiable")),
        // An opaque token: the answer may contain the scopes.
        (roles("admin"), None, None, Some("NotVerifiable")),
        (scopes("read"), None, None, Some("NotVerifiable")),
        (scopes("read"), None, Some("read write"), None),
        (scopes("admin"), None, Some("read write"), Some("ScopesMissing")),
        (scopes("read"), Some(json!({ "scope": "other" })), Some("read"), Some("ScopesMissing")),
        (json!({ "audience": "api" }), None, None, None),
    ];
    for (expect, claims, scope, reason) in cases {
        let seen = elsewhere(&expect, claims.as_ref(), scope);
        assert_eq!(seen.as_deref(), reason, "{expect} {claims:?} {scope:?}");
    }
}
