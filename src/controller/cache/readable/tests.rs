use serde_json::Value;

use super::*;

fn good() -> Value {
    json!({
        "apiVersion": "apicred.dev/v1alpha1", "kind": "ApiCredential",
        "metadata": { "name": "a", "namespace": "n", "resourceVersion": "7", "uid": "u", "generation": 3 },
        "spec": { "issuerRef": { "kind": "TokenIssuer", "name": "i" }, "client": { "id": "c" }, "target": { "secretName": "t" } },
        "status": { "renewReason": "Lifetime" },
    })
}

fn read(object: &Value) -> Readable<ApiCredential> {
    Readable::read(object.to_string().as_bytes()).unwrap()
}

#[test]
fn an_object_that_fits_is_read_whole() {
    let whole: ApiCredential = serde_json::from_value(good()).unwrap();
    assert_eq!(read(&good()).0.ok(), Some(whole));
}

#[test]
fn one_whose_spec_does_not_fit_is_known_by_its_metadata_and_its_flaw() {
    for (pointer, value, field) in [
        ("/spec", json!(7), "spec"),
        ("/spec", Value::Null, "spec"),
        ("/spec/client", json!(7), "spec.client"),
        (
            "/spec/target/secretName",
            json!(["t"]),
            "spec.target.secretName",
        ),
        (
            "/spec/issuerRef/kind",
            json!("GalacticIssuer"),
            "spec.issuerRef.kind",
        ),
        ("/spec/target", json!({}), "spec.target"),
    ] {
        let mut object = good();
        *object.pointer_mut(pointer).unwrap() = value;
        let unusable = read(&object).0.expect_err(field);
        assert_eq!(unusable.flaw, Flaw::DoesNotFit(field.to_owned()));
        assert_eq!(unusable.metadata.name.as_deref(), Some("a"));
        assert_eq!(unusable.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(unusable.metadata.generation, Some(3));
        let status = unusable.status.unwrap();
        assert_eq!(status.get(), r#"{"renewReason":"Lifetime"}"#);
        let target = pointer.starts_with("/spec/client") || pointer.starts_with("/spec/issuer");
        assert_eq!(
            unusable.remains.target.as_deref(),
            target.then_some("t"),
            "{pointer}"
        );
        let error = unusable.flaw.error();
        assert_eq!((error.reason, &*error.field), (Reason::NotReadable, field));
    }
}

#[test]
fn a_status_that_does_not_fit_or_is_too_large_is_none() {
    for status in [
        json!("none"),
        json!({ "renewReason": "x".repeat(MAX_STATUS) }),
    ] {
        let mut object = good();
        object["status"] = status;
        let object = read(&object).0.unwrap();
        assert_eq!(object.status, None);
        assert_eq!(object.spec.target.secret_name, "t");
    }
}

#[test]
fn what_is_of_no_use_is_not_held() {
    let mut object = good();
    let fat = "x".repeat(100_000);
    object["metadata"]["labels"] = json!({ "a": fat });
    object["metadata"]["annotations"] = json!({ "a": fat, "apicred.dev/renew-requested-at": fat, "apicred.dev/rotate-requested-at": fat, "apicred.dev/x": fat });
    object["metadata"]["finalizers"] = json!([fat]);
    object["metadata"]["managedFields"] = json!([{ "manager": "apicred", "subresource": "status", "fieldsV1": { "f:a": fat } }, { "manager": fat }]);
    let object = read(&object).0.unwrap();
    assert!(serde_json::to_vec(&object).unwrap().len() < 1000);
    let annotations = object.metadata.annotations.unwrap();
    assert_eq!(annotations.len(), 3);
    assert_eq!(annotations["apicred.dev/x"], "", "its name is reported");
    for name in [names::RENEW_REQUESTED_AT, names::ROTATE_REQUESTED_AT] {
        assert_eq!(annotations[name].len(), MAX_RENEW_REQUEST);
    }
    assert_eq!(object.metadata.managed_fields, None);
}

#[test]
fn another_field_manager_of_the_status_leaves_a_marker() {
    let mut object = good();
    object["metadata"]["managedFields"] =
        json!([{ "manager": "kubectl", "subresource": "status" }]);
    assert_eq!(
        read(&object)
            .0
            .unwrap()
            .metadata
            .managed_fields
            .map(|m| m.len()),
        Some(1)
    );
}

#[test]
fn a_spec_that_is_too_large_is_refused_and_not_held() {
    let mut object = good();
    object["spec"]["client"]["id"] = json!("x".repeat(ApiCredential::MAX_SPEC));
    let unusable = read(&object).0.unwrap_err();
    assert!(matches!(unusable.flaw, Flaw::TooLarge { size, max } if size > max));
    assert_eq!(unusable.flaw.error().reason, Reason::InvalidSpec);
    let fat = "x".repeat(TokenIssuer::MAX_SPEC);
    let issuer = json!({ "metadata": { "name": "i" }, "spec": { "a": fat } });
    let issuer = Readable::<TokenIssuer>::read(issuer.to_string().as_bytes()).unwrap();
    assert!(matches!(issuer.flaw(), Some(Flaw::TooLarge { .. })));
}

#[test]
fn a_message_has_no_control_characters_of_the_object_in_it() {
    assert_eq!(field("spec.a\u{1b}[31m\nb"), "spec.a[31mb");
    assert_eq!(field(&format!("spec.{}", "y".repeat(500))).len(), MAX_PATH);
    assert_eq!(field("."), "spec");
}

#[test]
fn what_has_no_metadata_is_no_object() {
    for text in ["{}", "[]", "7", r#"{"metadata":7}"#] {
        assert!(
            Readable::<ApiCredential>::read(text.as_bytes()).is_err(),
            "{text}"
        );
    }
}
