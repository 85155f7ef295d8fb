//! The answers of Microsoft Graph.

use super::*;

#[test]
fn credentials_are_read_with_their_identifying_fields() {
    let certificate = rsa();
    let Some(Mark::Certificate { sha1, sha256 }) = thumbprints(&certificate) else {
        unreachable!()
    };
    let upper = sha1.to_uppercase();
    let bytes: Vec<u8> = (0..20)
        .map(|i| u8::from_str_radix(&sha1[2 * i..2 * i + 2], 16).unwrap())
        .collect();
    let standard = base64::engine::general_purpose::STANDARD;
    for (shown, read) in [
        (standard.encode(&bytes), Some(sha1.clone())),
        (upper.clone(), Some(sha1.clone())),
        (standard.encode(&upper), Some(sha1.clone())),
        (sha256.clone(), Some(sha256)),
        ("chosen".to_owned(), None),
    ] {
        let answer = json!({ "id": OBJECT, "appId": CLIENT, "passwordCredentials": [], "keyCredentials": [
            { "keyId": ID, "customKeyIdentifier": shown, "displayName": "CN=apicred/c/u/1", "usage": "Verify",
              "type": "AsymmetricX509Cert", "startDateTime": "2026-01-01T00:00:00Z", "endDateTime": "2026-07-01T00:00:00Z", "key": null },
            { "keyId": ID, "usage": "Sign", "type": "X509CertAndPassword" },
            { "keyId": "x" },
            null,
        ] });
        let (id, seen) =
            application(&json_answer(200, &answer), CLIENT, Kind::Certificate, at(0)).unwrap();
        assert_eq!((id.as_str(), seen.keys.len()), (OBJECT, 1), "{shown}");
        assert_eq!(seen.keys[0].mark, read.map(KeyMark::Thumbprint), "{shown}");
        assert_eq!(seen.keys[0].from, "2026-01-01T00:00:00Z".parse().ok());
    }
    let answer = json!({ "id": OBJECT, "appId": CLIENT.to_uppercase(), "passwordCredentials": [
        { "keyId": ID, "displayName": null, "hint": "a~b", "secretText": null, "endDateTime": "2026-07-01T00:00:00.1234567Z" },
    ] });
    let (_, seen) = application(&json_answer(200, &answer), CLIENT, Kind::Secret, at(0)).unwrap();
    assert_eq!(seen.keys[0].mark, Some(KeyMark::Hint("a~b".to_owned())));
    assert!(seen.keys[0].until.is_some());
    assert_eq!(
        hint(&SecretString::from("a~bcd")),
        Mark::Hint("a~b".to_owned())
    );
    // A missing list is not an empty one: no credential may count as removed.
    for body in [
        json!({}),
        json!({ "id": OBJECT }),
        json!({ "passwordCredentials": [] }),
        json!({ "id": OBJECT, "passwordCredentials": [] }),
        json!({ "id": OBJECT, "appId": CLIENT }),
        json!([]),
    ] {
        assert!(
            application(&json_answer(200, &body), CLIENT, Kind::Secret, at(0)).is_err(),
            "{body}"
        );
    }
}

#[test]
fn an_object_id_of_another_application_is_refused_with_the_client_id_of_that_one() {
    for kind in [Kind::Secret, Kind::Certificate] {
        let answer =
            json!({ "id": OBJECT, "appId": ID, "passwordCredentials": [], "keyCredentials": [] });
        let fault = application(&json_answer(200, &answer), CLIENT, kind, at(0)).unwrap_err();
        assert_eq!(fault.class, Class::NoApplication);
        assert!(fault.message.contains(ID), "{}", fault.message);
        assert!(
            fault.message.contains("correct objectId"),
            "{}",
            fault.message
        );
    }
}

#[test]
fn a_new_secret_is_read_once_and_a_broken_answer_may_have_made_one() {
    let answer = json!({ "keyId": ID, "secretText": "value", "hint": "val", "startDateTime": "2026-01-01T00:00:00Z", "endDateTime": null });
    let new = new_password(&json_answer(200, &answer), at(0))
        .ok()
        .unwrap();
    assert_eq!((new.id.as_str(), new.value.expose_secret()), (ID, "value"));
    for body in [
        json!({}),
        json!({ "keyId": ID }),
        json!({ "secretText": "v" }),
        json!([]),
    ] {
        let fault = new_password(&json_answer(200, &body), at(0)).err().unwrap();
        assert!(fault.may_have_happened, "{body}");
    }
    let fault = new_password(&error_answer(503, "serviceNotAvailable", ""), at(0))
        .err()
        .unwrap();
    assert!(fault.may_have_happened);
    assert_eq!(
        new_key(&json_answer(200, &json!({ "keyId": ID })), at(0)),
        Ok(Some(ID.to_owned()))
    );
    assert_eq!(
        new_key(&json_answer(200, &json!({ "@odata.context": "x" })), at(0)),
        Ok(None)
    );
    assert_eq!(new_key(&json_answer(204, &Value::Null), at(0)), Ok(None));
}

#[test]
fn each_error_has_its_class() {
    #[rustfmt::skip]
    let table = [
        (429, "TooManyRequests", "", Kind::Secret, Class::Throttled),
        (409, "Directory_ConcurrencyViolation", "", Kind::Secret, Class::Conflict),
        (503, "Directory_ConcurrencyViolation", "", Kind::Certificate, Class::Conflict),
        (500, "InternalServerError", "", Kind::Secret, Class::Transient),
        (504, "UnknownError", "", Kind::Secret, Class::Transient),
        (400, "CredentialInvalidLifetimeAsPerAppPolicy", "Credential lifetime exceeds the max value allowed as per assigned policy 'x'.", Kind::Secret, Class::Policy),
        (403, "CredentialTypeNotAllowedAsPerAppPolicy", "", Kind::Secret, Class::Policy),
        (403, "Forbidden", "Credential type not allowed as per assigned policy 'x'.", Kind::Certificate, Class::Policy),
        (401, "Authentication_MissingOrMalformed", "Access Token missing or malformed.", Kind::Certificate, Class::Proof),
        (401, "Authentication_MissingOrMalformed", "", Kind::Secret, Class::Token),
        (401, "InvalidAuthenticationToken", "", Kind::Certificate, Class::Token),
        (403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.", Kind::Secret, Class::Permission),
        (404, "Request_ResourceNotFound", "", Kind::Secret, Class::NoApplication),
        (400, "Request_BadRequest", "Invalid proof.", Kind::Certificate, Class::Proof),
        (400, "TooManyAppPasswords", "The application has too many passwords.", Kind::Secret, Class::Full),
        (400, "Directory_ResourceSizeExceeded", "The size of the object has exceeded its limit.", Kind::Certificate, Class::Full),
        (403, "Directory_ResourceSizeExceeded", "", Kind::Secret, Class::Full),
        (400, "Request_BadRequest", "", Kind::Secret, Class::Invalid),
    ];
    for (status, code, message, kind, class) in table {
        // A 404 here is about the application, so its credential stays.
        let raw = error_answer(status, code, message);
        let fault = removed(&raw, kind, at(0)).err().unwrap();
        assert_eq!(fault.class, class, "{code}: {message}");
        assert_eq!(fault.may_have_happened, status >= 500, "{code}");
        // The id of the request differs each time, and the message must not.
        let shown = &fault.message;
        assert!(shown.contains(code) && !shown.contains(ID), "{shown}");
        assert_eq!(request_id(&raw).as_deref(), Some(ID));
    }
    let mut raw = error_answer(429, "TooManyRequests", "");
    raw.retry_after = Some("17".to_owned());
    let fault = new_key(&raw, at(0)).err().unwrap();
    assert_eq!(fault.retry_after.map(|d| d.as_secs()), Some(17));
}

#[test]
fn an_application_with_too_many_credentials_needs_a_user_who_removes_one() {
    for code in ["TooManyAppPasswords", "Directory_ResourceSizeExceeded"] {
        for kind in [Kind::Secret, Kind::Certificate] {
            let fault = new_key_or_password(&error_answer(400, code, ""), kind);
            assert!(!fault.class.passes() && !fault.may_have_happened);
            for words in [
                code,
                "remove one that is not in use",
                "rotation.adopt.keyId",
            ] {
                assert!(fault.message.contains(words), "{}", fault.message);
            }
        }
    }
}

/// A lower validity helps only against one of them.
#[test]
fn a_policy_is_met_by_what_it_is_about() {
    #[rustfmt::skip]
    let table = [
        ("CredentialInvalidLifetimeAsPerAppPolicy", "", Kind::Secret, "lower rotation.validity"),
        ("Forbidden", "Credential lifetime exceeds the max value allowed as per assigned policy 'x'.", Kind::Certificate, "lower rotation.validity"),
        ("CredentialTypeNotAllowedAsPerAppPolicy", "Credential type not allowed as per assigned policy 'x'.", Kind::Secret, "new credential; have the policy exempt"),
        ("CertificateNotIssuedByTrustedAuthorityAsPerAppPolicy", "", Kind::Certificate, "self-signed"),
        ("Forbidden", "The certificate authority is not trusted as per assigned policy 'x'.", Kind::Certificate, "self-signed"),
        ("AnotherRuleAsPerAppPolicy", "", Kind::Certificate, "new credential; have the policy exempt"),
    ];
    for (code, message, kind, expected) in table {
        let fault = new_key_or_password(&error_answer(403, code, message), kind);
        assert_eq!(fault.class, Class::Policy, "{code}: {message}");
        assert!(fault.message.contains(expected), "{}", fault.message);
        assert!(fault.message.contains("exempt this application"));
        let lower = fault.message.contains("rotation.validity");
        assert_eq!(lower, expected.starts_with("lower"), "{}", fault.message);
    }
}

fn new_key_or_password(raw: &RawAnswer, kind: Kind) -> Fault {
    match kind {
        Kind::Secret => new_password(raw, at(0)).err(),
        _ => new_key(raw, at(0)).err(),
    }
    .unwrap()
}

#[test]
fn a_missing_credential_counts_as_removed_and_a_proxy_page_is_not_evaluated() {
    for (status, code, message) in [
        (
            400,
            "Request_BadRequest",
            "No password credential found with keyId 'x'.",
        ),
        (
            404,
            "Request_ResourceNotFound",
            "No credentials found to be removed.",
        ),
    ] {
        assert_eq!(
            removed(&error_answer(status, code, message), Kind::Secret, at(0)),
            Ok(())
        );
    }
    assert_eq!(
        removed(&json_answer(204, &Value::Null), Kind::Secret, at(0)),
        Ok(())
    );
    for status in [302, 404, 403, 502] {
        let mut page = json_answer(status, &Value::Null);
        page.body = b"<html>No credential found</html>".to_vec();
        let fault = removed(&page, Kind::Secret, at(0)).err().unwrap();
        assert_eq!(
            (fault.class, fault.may_have_happened),
            (Class::Transient, status >= 500)
        );
    }
}

proptest! {
    /// Any bytes give a value or a fault, and the fault contains none of them.
    #[test]
    fn whatever_comes_is_read_and_never_shown(status in 100_u16..600, code in "[a-z0-9]{12,40}", message in ".{0,60}") {
        let answer = error_answer(status, &format!("{code}1"), &message);
        let faults = [
            application(&answer, CLIENT, Kind::Secret, at(0)).err(),
            new_password(&answer, at(0)).err(),
            new_key(&answer, at(0)).err(),
            removed(&answer, Kind::Certificate, at(0)).err(),
        ];
        for fault in faults.into_iter().flatten() {
            prop_assert!(!fault.message.contains(&code), "{}", fault.message);
            prop_assert!(message.len() < 12 || !fault.message.contains(&message), "{}", fault.message);
        }
    }
}

/// Two answers may write the same key ID in upper and lower case: it is one credential, and not an orphan next to the current one.
#[test]
fn a_key_id_is_compared_in_lower_case_wherever_it_is_from() {
    let upper = ID.to_uppercase();
    let listed = json!({
        "id": OBJECT, "appId": CLIENT,
        "passwordCredentials": [{ "keyId": upper, "hint": "abc" }],
        "keyCredentials": [{ "keyId": upper, "usage": "Verify", "type": "AsymmetricX509Cert" }],
    });
    for kind in [Kind::Secret, Kind::Certificate] {
        let (_, read) = application(&json_answer(200, &listed), CLIENT, kind, at(0)).unwrap();
        assert_eq!(read.keys[0].id, ID, "{kind:?}");
    }
    let added = json!({ "keyId": upper, "secretText": "x" });
    assert_eq!(
        new_password(&json_answer(200, &added), at(0)).unwrap().id,
        ID
    );
    let added = new_key(&json_answer(200, &json!({ "keyId": upper })), at(0));
    assert_eq!(added.unwrap().as_deref(), Some(ID));
}
