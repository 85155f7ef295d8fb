//! Issuers of Microsoft that are not Entra tenants, with the settings in docs/issuers.md: URLs, discovery
//! documents and answers as those products have them. Each refuses the same requests as the product.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{Listener, Place, World, issuer_of, reply, run};

const TENANT: &str = "4d3c2b1a-1111-4222-8333-444455556666";
/// No part of it occurs in a name or a message, because outputs are searched for its parts.
const TOKEN: &str = "Xq8.tR2vLw5Zc9Kj1Hs4Nd7.Pb3Gm6Yf0";
const SECRET: &str = "vK8~Jw2pXq9LsZ4dTn6RbYc3Hf7Mg1Ue5WaQo0Ei";

/// Path, and the document from the origin.
type Document = (&'static str, fn(&str) -> Value);

/// One product.
struct Product {
    label: &'static str,
    /// The issuer's spec, from the origin of the server.
    issuer: fn(&str) -> Value,
    /// The request of the credential.
    credential: fn() -> Value,
    /// The discovery document, if there is one that fits.
    document: Option<Document>,
    token_path: &'static str,
    /// The required form fields. The client authenticates with `client_id` and `client_secret` in the form.
    form: &'static [(&'static str, &'static str)],
    /// Fields of the answer other than the token, from the time in seconds.
    answer: fn(i64) -> Value,
}

const PRODUCTS: [Product; 3] = [
    Product {
        label: "b2c",
        issuer: |origin| {
            let url = format!("{origin}/contoso.onmicrosoft.com/B2C_1_signin/oauth2/v2.0/token");
            json!({ "oauth2": { "tokenUrl": url, "clientAuthentication": { "post": {} } } })
        },
        credential: || json!({ "scopes": ["https://contoso.onmicrosoft.com/orders/.default"] }),
        document: None,
        token_path: "/contoso.onmicrosoft.com/B2C_1_signin/oauth2/v2.0/token",
        form: &[("scope", "https://contoso.onmicrosoft.com/orders/.default")],
        answer: |now| {
            json!({
                "token_type": "Bearer", "not_before": now, "expires_in": 3600, "expires_on": now + 3600,
                "resource": "0a1b2c3d-1111-4222-8333-444455556666",
            })
        },
    },
    Product {
        label: "external-id",
        issuer: |origin| json!({ "entra": { "tenantId": TENANT, "authorityHost": origin } }),
        credential: || json!({ "scopes": ["api://orders/.default"] }),
        document: None,
        token_path: "/4d3c2b1a-1111-4222-8333-444455556666/oauth2/v2.0/token",
        form: &[("scope", "api://orders/.default")],
        answer: |_| json!({ "token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599 }),
    },
    Product {
        label: "ad-fs",
        issuer: |origin| {
            let url = format!("{origin}/adfs");
            json!({ "oidc": { "issuerUrl": url, "clientAuthentication": { "post": {} } } })
        },
        credential: || json!({ "scopes": null, "resources": ["https://orders.contoso.example"] }),
        document: Some(("/adfs/.well-known/openid-configuration", |origin| {
            json!({
                "issuer": format!("{origin}/adfs"),
                "authorization_endpoint": format!("{origin}/adfs/oauth2/authorize/"),
                "token_endpoint": format!("{origin}/adfs/oauth2/token/"),
                "device_authorization_endpoint": format!("{origin}/adfs/oauth2/devicecode"),
                "jwks_uri": format!("{origin}/adfs/discovery/keys"),
                "token_endpoint_auth_methods_supported":
                    ["client_secret_post", "client_secret_basic", "private_key_jwt", "windows_client_authentication"],
                "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials",
                    "urn:ietf:params:oauth:grant-type:jwt-bearer", "implicit", "password", "srv_challenge",
                    "urn:ietf:params:oauth:grant-type:device_code", "device_code"],
                "scopes_supported": ["allatclaims", "openid", "user_impersonation"],
                "token_endpoint_auth_signing_alg_values_supported": ["RS256"],
                "access_token_issuer": "http://fs.contoso.example/adfs/services/trust",
                "microsoft_multi_refresh_token": true,
                "capabilities": ["kdf_ver2"],
            })
        })),
        token_path: "/adfs/oauth2/token/",
        form: &[("resource", "https://orders.contoso.example")],
        answer: |_| json!({ "token_type": "bearer", "expires_in": 3600 }),
    },
];

/// The product's answer to one request.
fn answer(product: &Product, request: &str) -> Vec<u8> {
    let origin = issuer_of(request);
    let path = request.split(' ').nth(1).unwrap_or_default();
    if let Some((at, document)) = product.document
        && path == at
    {
        return reply("200 OK", "", document(&origin).to_string().as_bytes());
    }
    if path != product.token_path {
        return reply("404 Not Found", "", b"");
    }
    let body = request.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let sent: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes())
        .into_owned()
        .collect();
    let fixed = [
        ("grant_type", "client_credentials"),
        ("client_id", product.label),
    ];
    let basic = request.to_ascii_lowercase().contains("\nauthorization:");
    let by_form = !basic && has(&sent, "client_secret", SECRET);
    if !by_form
        || !fixed
            .iter()
            .chain(product.form)
            .all(|(n, v)| has(&sent, n, v))
    {
        return reply("400 Bad Request", "", br#"{"error":"invalid_request"}"#);
    }
    let mut fields = (product.answer)(Timestamp::now().as_second());
    fields["access_token"] = json!(TOKEN);
    reply("200 OK", "", fields.to_string().as_bytes())
}

/// True if the field occurs exactly once, with this value.
fn has(sent: &[(String, String)], name: &str, value: &str) -> bool {
    let mut values = sent.iter().filter(|(n, _)| n == name).map(|(_, v)| v);
    values.next().is_some_and(|v| v == value) && values.next().is_none()
}

async fn put(place: &Place, product: &Product, listener: &Listener) {
    let mut spec = (product.issuer)(listener.origin());
    spec["caBundle"] = json!(listener.ca_pem);
    spec["network"] = json!({ "allowedCidrs": ["127.0.0.1/32"] });
    spec["allowedNamespaces"] = json!({ "names": [place.namespace] });
    place.put_issuer(spec).await;
}

#[test]
fn azure_ad_b2c_external_id_and_ad_fs_with_the_settings_of_the_page() {
    run(async {
        let world = World::shared().await;
        for product in &PRODUCTS {
            let place = world.place(product.label).await;
            let listener = Listener::replying(move |request| answer(product, request));
            put(&place, product, &listener).await;
            place.put_source(SECRET).await;
            let mut spec = (product.credential)();
            spec["client"] = json!({ "id": product.label });
            place.create("c", spec).await;
            let ready = place.ready("c").await;
            assert_eq!(ready.token, TOKEN, "{}", product.label);
        }
    });
}

/// Azure AD B2C as seen by a user's refresh token: without an API in `scope` the answer has no access token
/// (`microsoft/aad_b2c_webview#47`).
fn refreshed(request: &str) -> Vec<u8> {
    let body = request.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let sent: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes())
        .into_owned()
        .collect();
    if !has(&sent, "grant_type", "refresh_token") {
        return reply("400 Bad Request", "", br#"{"error":"invalid_request"}"#);
    }
    let mut answer = json!({
        "id_token": "e30.e30.x", "token_type": "Bearer", "not_before": Timestamp::now().as_second(), "id_token_expires_in": 3600,
        "refresh_token": "Kp4Ys7Mz1Xv8Lq3Gt", "refresh_token_expires_in": 86_400,
    });
    if has(&sent, "scope", B2C_SCOPES) {
        answer["access_token"] = json!(TOKEN);
        answer["expires_in"] = json!(3600);
    }
    reply("200 OK", "", answer.to_string().as_bytes())
}

const B2C_SCOPES: &str = "openid offline_access https://contoso.onmicrosoft.com/orders/read";

#[test]
fn a_refresh_at_azure_ad_b2c_names_the_api() {
    run(async {
        let world = World::shared().await;
        let product = &PRODUCTS[0];
        let place = world.place("b2c-user").await;
        let listener = Listener::replying(refreshed);
        put(&place, product, &listener).await;
        let (state, key) = ("state", "refresh-token");
        place.put_secret(state, key, "Hn5Tq9Wd2Rf6Bz1Kx").await;
        place.canaries.add("Kp4Ys7Mz1Xv8Lq3Gt");
        let note = json!({ "apicred.dev/state-of": "c", "apicred.dev/sign-in-scopes": B2C_SCOPES });
        let note = json!({ "metadata": { "annotations": note } });
        place.edit_secret(state, note).await;
        let scopes: Vec<&str> = B2C_SCOPES.split(' ').collect();
        let spec = json!({
            "client": { "id": product.label, "secrets": null, "public": {} },
            "grant": { "refreshToken": { "secretRef": { "name": state, "key": key } } },
            "scopes": scopes,
        });
        place.create("c", spec).await;
        assert_eq!(place.ready("c").await.token, TOKEN);
    });
}
