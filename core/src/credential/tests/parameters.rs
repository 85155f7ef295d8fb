//! The parameters of a spec and of an extension grant: names, values, Secrets.

use serde_json::{Value, json};

use crate::{
    api::{ApiCredentialSpec, GrantKey, SecretKeyRef},
    credential::{Issuer, IssuerLookup, parse},
    fixtures::{cluster_issuer, credential_with, issuer, merge, object},
    oauth::RequiredInput,
};

fn extension(grant_type: &str, parameters: &Value) -> Value {
    json!({ "client": null, "grant": { "extension": { "grantType": grant_type, "parameters": parameters } } })
}

fn reported(change: &Value) -> String {
    let parsed = parse(&object(change), |_| IssuerLookup::Found(issuer()));
    let faults = parsed.expect_err("a faulty spec");
    faults
        .iter()
        .map(|f| format!("{f}\n"))
        .collect::<Vec<_>>()
        .concat()
}

#[test]
fn a_grant_type_is_an_absolute_uri_or_a_name_and_not_one_that_has_a_key() {
    for name in [
        "account_credentials",
        "user_token",
        "urn:ibm:params:oauth:grant-type:apikey",
        "urn:ietf:params:oauth:grant-type:saml2-bearer",
        "http://oauth.net/grant_type/chain?x=1",
        "https://example.com/grants/é".strip_suffix('é').unwrap(),
        "x-y.z_1",
    ] {
        let credential = credential_with(&extension(name, &json!([])));
        assert_eq!(credential.grant.fingerprint_parts(), [name]);
        assert_eq!(credential.request.grant, GrantKey::Extension);
        assert_eq!(
            credential.request.inputs,
            [("grant_type", name.to_owned())],
            "an administrator can list it"
        );
    }
    for name in [
        "",
        " ",
        "two words",
        "urn:",
        ":x",
        "1urn:x",
        "urn:a b",
        "urn:a\"b",
        "urn:a\\b",
        "urn:a\nb",
        "/relative",
        "//host/path",
        "é",
        "urn:é",
        "a\u{200b}",
    ] {
        let reported = reported(&extension(name, &json!([])));
        assert!(
            reported.contains("spec.grant.extension.grantType")
                && reported.contains("absolute URI"),
            "{name:?}: {reported}"
        );
    }
    for (name, instead) in [
        ("client_credentials", "grant.clientCredentials"),
        ("CLIENT_CREDENTIALS", "grant.clientCredentials"),
        ("refresh_token", "grant.refreshToken"),
        ("password", "grant.password"),
        ("authorization_code", "kubectl apicred login"),
        ("implicit", "kubectl apicred login"),
        (
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "grant.jwtBearer",
        ),
        (
            "URN:ietf:params:oauth:grant-type:token-exchange",
            "grant.tokenExchange",
        ),
        (
            "urn:ietf:params:oauth:grant-type:device_code",
            "kubectl apicred login",
        ),
    ] {
        let reported = reported(&extension(name, &json!([])));
        assert!(reported.contains(instead), "{name}: {reported}");
    }
}

#[test]
fn a_parameter_of_an_extension_grant_is_one_of_the_request() {
    let key = json!({ "name": "s", "key": "k" });
    let parameters = json!([
        { "name": "account_id", "value": "1" }, { "name": "apikey", "secretRef": key },
        { "name": "assertion", "secretRef": key }, { "name": "subject_token", "secretRef": key },
    ]);
    let mut spec = extension("urn:x:y", &parameters);
    spec["parameters"] = json!([{ "name": "lang", "value": "en" }]);
    let credential = credential_with(&spec);
    let names: Vec<_> = credential.request.parameters.keys().collect();
    assert_eq!(names, ["account_id", "lang"]);
    let source = SecretKeyRef {
        name: "s".to_owned(),
        key: "k".to_owned(),
    };
    let needs = [
        RequiredInput::Line(source.clone()),
        RequiredInput::Line(source.clone()),
        RequiredInput::Line(source),
    ];
    let read: Vec<RequiredInput> = credential
        .inputs()
        .into_iter()
        .map(|(_, need)| need)
        .collect();
    assert_eq!(
        read, needs,
        "read before a request, and checked where they may go"
    );
}

#[test]
fn each_fault_of_a_parameter_is_reported_with_its_field() {
    let key = json!({ "name": "s", "key": "k" });
    let with = |parameters: Value| extension("urn:x:y", &parameters);
    let named = |name: &str| with(json!([{ "name": name, "value": "v" }]));
    let first = "spec.grant.extension.parameters[0]";
    let mut cases = vec![
        (
            with(json!([{ "name": "a" }])),
            format!("{first}.value"),
            "is missing",
        ),
        (
            with(json!([{ "name": "a", "value": "v", "secretRef": key }])),
            format!("{first}.secretRef"),
            "together with value",
        ),
        (
            with(json!([{ "name": "a", "value": "v" }, { "name": "a", "value": "w" }])),
            "spec.grant.extension.parameters[1].name".to_owned(),
            "a second \"a\"",
        ),
        (
            with(json!([{ "name": "a", "secretRef": { "name": "alerts-token", "key": "k" } }])),
            format!("{first}.secretRef.name"),
            "the target Secret as well",
        ),
        (
            with(json!([{ "name": "a", "secretRef": { "name": "other/s", "key": "k" } }])),
            format!("{first}.secretRef.name"),
            "not a valid Secret name",
        ),
        (
            with(json!([{ "name": "subject_token_type", "secretRef": key }])),
            format!("{first}.secretRef"),
            "not a secret",
        ),
    ];
    for name in [
        "grant_type",
        "Grant_Type",
        "grant.type",
        "client_id",
        "client_secret",
        "client_assertion",
        "scope",
        "scope[]",
        " scope",
        "resource",
        "audience",
        "refresh_token",
        "code",
        "username",
        "password",
        "requested_token_type",
    ] {
        cases.push((
            named(name),
            format!("{first}.name"),
            "use the field of the spec",
        ));
    }
    for (spec, field, expected) in cases {
        let reported = reported(&spec);
        assert!(
            reported.contains(&field) && reported.contains(expected),
            "{spec}: {reported}"
        );
    }
    for (mine, theirs) in [("a", "a"), ("A", "a"), ("a.b", "a_b")] {
        let mut spec = named(mine);
        spec["parameters"] = json!([{ "name": theirs, "value": "w" }]);
        let reported = reported(&spec);
        assert!(
            reported.contains(first) && reported.contains("in spec.parameters as well"),
            "{reported}"
        );
    }
}

#[test]
fn an_extension_grant_is_not_for_entra() {
    let mut spec = extension("urn:x:y", &json!([]));
    spec["issuerRef"] = Value::Null;
    spec["entra"] = json!({ "tenantId": "contoso.example" });
    let reported = reported(&spec);
    assert!(
        reported.contains("Entra ID has no extension grants"),
        "{reported}"
    );
    let spec: ApiCredentialSpec = object(&extension("urn:x:y", &json!([]))).spec;
    assert!(spec.client.is_none(), "and it needs no client elsewhere");
}

#[test]
fn parameters_of_a_sign_in_are_separate_only_if_a_user_signs_in() {
    let state = json!({ "refreshToken": { "secretRef": { "name": "state", "key": "k" } } });
    let parameters = json!([
        { "name": "access_type", "value": "offline" }, { "name": "login_hint", "value": "ada" }, { "name": "lang", "value": "en" },
    ]);
    let names =
        |map: &std::collections::BTreeMap<String, String>| map.keys().cloned().collect::<Vec<_>>();
    let user = credential_with(&json!({ "grant": state, "parameters": parameters }));
    assert_eq!(names(&user.request.parameters), ["lang"]);
    let of_sign_in = names(&user.request.sign_in_parameters);
    assert_eq!(of_sign_in, ["access_type", "login_hint"]);
    // They produce no other token, so they cause no request.
    let without = json!([{ "name": "lang", "value": "en" }]);
    let without = credential_with(&json!({ "grant": state, "parameters": without }));
    let digest = crate::plan::fingerprint::request;
    assert_eq!(digest(&user), digest(&without));
    // Another grant has one request, which gets what the spec has.
    let client = credential_with(&json!({ "parameters": parameters }));
    assert_eq!(names(&client.request.parameters).len(), 3);
    assert!(client.request.sign_in_parameters.is_empty());
    // An address in a browser is not secret.
    let hidden = json!([{ "name": "login_hint", "secretRef": { "name": "s", "key": "k" } }]);
    let seen = reported(&json!({ "grant": state, "parameters": hidden }));
    assert!(seen.contains("spec.parameters[0].secretRef"), "{seen}");
    assert!(seen.contains("use value"), "{seen}");
    credential_with(&json!({ "parameters": hidden }));
}

#[test]
fn a_permission_without_an_api_is_one_of_the_preset() {
    let state = json!({ "refreshToken": { "secretRef": { "name": "state", "key": "k" } } });
    let chosen = ["Investigation.Read", "openid", "api://other/Read"].map(str::to_owned);
    let of_preset = [
        "05a65629-4c1b-48c1-a78b-804c4abdd4af/Investigation.Read",
        "openid",
        "api://other/Read",
    ];
    let entra = json!({ "entra": { "tenantId": "contoso.onmicrosoft.com" } });
    let entra = Issuer::cluster(&cluster_issuer(&entra)).unwrap();
    for (change, wanted) in [
        (json!({ "api": "DefenderForCloudApps" }), of_preset),
        (
            json!({ "api": "DefenderForCloudApps", "endpointVersion": "V1" }),
            of_preset,
        ),
        (
            json!({ "scopes": ["User.Read"] }),
            chosen.each_ref().map(String::as_str),
        ),
    ] {
        let mut spec = json!({ "grant": state, "scopes": null });
        merge(&mut spec, &change);
        let credential = parse(&object(&spec), |_| IssuerLookup::Found(entra.clone())).unwrap();
        let seen = credential.request.qualified(&chosen);
        assert_eq!(seen, wanted, "{change}");
        assert_eq!(credential.request.qualified(&seen), wanted, "once");
    }
}
