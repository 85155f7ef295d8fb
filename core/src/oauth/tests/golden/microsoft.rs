//! The examples of Microsoft's pages, and the local endpoints of managed identities.

use super::*;

#[test]
fn microsoft_pages() {
    let jwt = "eyJhbGciOiJSUzI1NiIsIng1dCI6Imd4OHRHeXN5amNScUtqRlBuZDdSRnd2d1pJMCJ9.e30.x";
    let refs = json!([{ "name": "s", "key": "k" }]);
    let client_secret = secret("qWgdYAmab0YSkuL1qKv5bPX");
    // Client credentials with a secret, v2.
    let change = json!({ "client": { "id": "535fb089", "secrets": refs }, "scopes": ["https://graph.microsoft.com/.default"] });
    let request = made(&credential(&entra(), &change), &client_secret, &[]);
    check(
        &request,
        &[
            ("grant_type", "client_credentials"),
            ("client_id", "535fb089"),
            ("client_secret", "qWgdYAmab0YSkuL1qKv5bPX"),
            ("scope", "https://graph.microsoft.com/.default"),
        ],
    );
    assert_eq!(
        header(&request, "client-request-id").as_deref(),
        Some("request-id")
    );
    // The same at v1.
    let change = json!({ "client": { "id": "625bc9f6", "secrets": refs }, "scopes": NONE, "resources": ["https://service.contoso.com/"] });
    let request = made(&credential(&entra(), &change), &client_secret, &[]);
    assert!(request.url.path().ends_with("/oauth2/token") && !request.url.path().contains("v2.0"));
    check(
        &request,
        &[
            ("grant_type", "client_credentials"),
            ("client_id", "625bc9f6"),
            ("client_secret", "qWgdYAmab0YSkuL1qKv5bPX"),
            ("resource", "https://service.contoso.com/"),
        ],
    );
    // A federated credential.
    let change = json!({ "client": { "id": "11112222", "secrets": NONE, "serviceAccount": { "name": "a" } }, "scopes": ["https://graph.microsoft.com/.default"] });
    let material = Material::Assertion(SecretString::from(jwt));
    check(
        &made(&credential(&entra(), &change), &material, &[]),
        &[
            ("grant_type", "client_credentials"),
            ("client_id", "11112222"),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", jwt),
            ("scope", "https://graph.microsoft.com/.default"),
        ],
    );
    // On behalf of a user.
    let change = json!({ "client": { "id": "535fb089", "secrets": refs }, "scopes": NONE, "api": "MicrosoftGraph",
        "grant": { "onBehalfOf": { "assertionRef": { "name": "a", "key": "k" } } } });
    let mut change = change;
    change["scopes"] = json!(["User.Read", "offline_access"]);
    check(
        &made(&credential(&entra(), &change), &client_secret, &[jwt]),
        &[
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("client_id", "535fb089"),
            ("client_secret", "qWgdYAmab0YSkuL1qKv5bPX"),
            ("requested_token_use", "on_behalf_of"),
            ("assertion", jwt),
            (
                "scope",
                "https://graph.microsoft.com/User.Read offline_access",
            ),
        ],
    );
    // A password at v1, as in the samples of Defender for Endpoint in user context.
    let change = json!({ "client": { "id": "535fb089", "secrets": NONE, "public": {} }, "scopes": NONE,
        "api": "WindowsDefenderATP", "endpointVersion": "V1",
        "grant": { "password": { "username": "ada@contoso.com", "passwordRef": { "name": "a", "key": "k" } } } });
    check(
        &made(
            &credential(&entra(), &change),
            &Material::None,
            &["SuperS3cret"],
        ),
        &[
            ("grant_type", "password"),
            ("client_id", "535fb089"),
            ("username", "ada@contoso.com"),
            ("password", "SuperS3cret"),
            ("resource", "https://api.securitycenter.microsoft.com"),
        ],
    );
    // A refresh, for another API than the sign-in was for.
    let change = json!({ "client": { "id": "535fb089", "secrets": NONE, "public": {} }, "scopes": NONE, "api": "CloudAppSecurity",
        "grant": { "refreshToken": { "secretRef": { "name": "a", "key": "k" } } } });
    check(
        &made(
            &credential(&entra(), &change),
            &Material::None,
            &["M.R3_BAY.refresh"],
        ),
        &[
            ("grant_type", "refresh_token"),
            ("client_id", "535fb089"),
            ("refresh_token", "M.R3_BAY.refresh"),
            (
                "scope",
                "05a65629-4c1b-48c1-a78b-804c4abdd4af/.default offline_access",
            ),
        ],
    );
}

#[test]
fn local_identity_endpoints() {
    let mut issuer = entra();
    issuer["managedIdentity"] = json!({ "imds": {} });
    let origin = |text: &str| -> Url { text.parse().unwrap() };
    let imds = || Local::Imds(origin("http://169.254.169.254"));
    let app = || {
        let endpoint = origin("http://localhost:4141/msi/token");
        Local::AppService(endpoint, SecretString::from("h34d3r"))
    };
    let arc = |key: Option<&str>| {
        Local::AzureArc(
            origin("http://127.0.0.1:40342"),
            key.map(SecretString::from),
        )
    };
    let vault = "resource=https%3A%2F%2Fvault.azure.net";
    #[rustfmt::skip]
    let cases = [
        (imds(), json!({}), format!("http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&{vault}"), ("metadata", "true")),
        (imds(), json!({ "id": "c1" }), format!("http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&{vault}&client_id=c1"), ("metadata", "true")),
        (imds(), json!({ "resourceId": "/r" }), format!("http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&{vault}&msi_res_id=%2Fr"), ("metadata", "true")),
        (app(), json!({ "resourceId": "/r" }), format!("http://localhost:4141/msi/token?api-version=2019-08-01&{vault}&mi_res_id=%2Fr"), ("x-identity-header", "h34d3r")),
        (app(), json!({ "objectId": "o1" }), format!("http://localhost:4141/msi/token?api-version=2019-08-01&{vault}&object_id=o1"), ("x-identity-header", "h34d3r")),
        (arc(None), json!({}), format!("http://127.0.0.1:40342/metadata/identity/oauth2/token?api-version=2020-06-01&{vault}"), ("metadata", "true")),
        (arc(Some("Basic k3y")), json!({}), format!("http://127.0.0.1:40342/metadata/identity/oauth2/token?api-version=2020-06-01&{vault}"), ("authorization", "Basic k3y")),
    ];
    for (local, which, url, (name, value)) in cases {
        let mut client = json!({ "id": NONE, "secrets": NONE, "managedIdentity": {} });
        for (key, value) in which.as_object().unwrap() {
            if key == "id" {
                client["id"] = value.clone();
            } else {
                client["managedIdentity"][key] = value.clone();
            }
        }
        let change = json!({ "client": client, "scopes": ["https://vault.azure.net/.default"] });
        let request = made(&credential(&issuer, &change), &Material::Local(local), &[]);
        assert_eq!((request.method, request.local), (Method::Get, true));
        assert_eq!(request.url.as_str(), url);
        assert_eq!(header(&request, name).as_deref(), Some(value), "{url}");
        assert!(request.body.expose_secret().is_empty());
    }
}
