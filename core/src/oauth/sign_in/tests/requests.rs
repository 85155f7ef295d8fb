mod redeem;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use url::Url;

use super::{entra, found, moment, oauth2, oidc, user_at};
use crate::{
    credential::Credential,
    oauth::{
        Material, TokenEndpoint, TokenError, TokenRequest, known_endpoint,
        sign_in::{
            Pkce, RedeemableCode, added, authorize_url, device_request, for_refresh, for_sign_in,
            of_api, redemption, with_fewer_scopes, with_requested_scopes,
        },
    },
};

/// RFC 7636 appendix B.
const OCTETS: [u8; 32] = [
    116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186, 22, 212, 37, 77,
    105, 214, 191, 240, 91, 88, 5, 88, 83, 132, 141, 121,
];
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn pairs(text: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text.as_bytes())
        .into_owned()
        .collect()
}

fn url(credential: &Credential, endpoint: &TokenEndpoint) -> Result<Url, TokenError> {
    authorize_url(
        credential,
        endpoint,
        ("https://client.example.com/cb", "xyz", CHALLENGE),
    )
}

fn request(made: Result<TokenRequest, TokenError>) -> TokenRequest {
    match made {
        Ok(request) => request,
        Err(token_error) => panic!("{token_error:?}"),
    }
}

fn body(request: &TokenRequest) -> &str {
    request.body.expose_secret()
}

fn header(request: &TokenRequest, name: &str) -> Option<String> {
    let found = request.headers.iter().find(|(n, _)| *n == name);
    found.map(|(_, v)| v.expose_secret().to_owned())
}

/// The credential and its endpoint as a sign-in uses them.
fn ready(credential: &Credential, endpoint: Option<TokenEndpoint>) -> (Credential, TokenEndpoint) {
    let credential = for_sign_in(credential);
    let endpoint = endpoint.unwrap_or_else(|| known_endpoint(&credential).unwrap());
    (with_requested_scopes(credential, &endpoint, &[]), endpoint)
}

#[test]
fn the_proof_key_is_that_of_rfc_7636_appendix_b() {
    let pkce = Pkce::new(&OCTETS);
    assert_eq!(pkce.verifier.expose_secret(), VERIFIER);
    assert_eq!(pkce.challenge, CHALLENGE);
}

#[test]
fn the_authorization_request_is_that_of_rfc_6749_section_4_1_1_with_a_proof_key() {
    let (credential, endpoint) = ready(&user_at(&oauth2(), &json!({ "scopes": null })), None);
    let made = url(&credential, &endpoint).unwrap();
    assert_eq!(
        made.as_str(),
        format!(
            "https://server.example.com/authorize?response_type=code&client_id=s6BhdRkqt3\
             &redirect_uri=https%3A%2F%2Fclient.example.com%2Fcb&state=xyz\
             &code_challenge={CHALLENGE}&code_challenge_method=S256"
        )
    );
}

#[test]
fn the_query_of_the_endpoint_stays_and_parameters_never_replace_our_own() {
    let change = json!({
        "resources": ["https://api.example.com"], "audience": "orders",
        "parameters": [{ "name": "access_type", "value": "offline" }, { "name": "state", "value": "evil" }, { "name": "redirect_uri", "value": "https://evil.example" }],
    });
    let (credential, endpoint) = ready(&user_at(&oidc(), &change), Some(found(None)));
    let made = url(&credential, &endpoint).unwrap();
    let expected = [
        ("tenant", "blue"),
        ("response_type", "code"),
        ("client_id", "s6BhdRkqt3"),
        ("redirect_uri", "https://client.example.com/cb"),
        ("scope", "read openid offline_access"),
        ("state", "xyz"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("resource", "https://api.example.com"),
        ("audience", "orders"),
        ("prompt", "consent"),
        ("access_type", "offline"),
    ];
    let seen = pairs(made.query().unwrap());
    assert_eq!(seen, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    let own = json!({ "parameters": [{ "name": "prompt", "value": "login" }] });
    let (credential, endpoint) = ready(&user_at(&oidc(), &own), Some(found(None)));
    let made = url(&credential, &endpoint).unwrap();
    let prompts: Vec<_> = made.query_pairs().filter(|(k, _)| k == "prompt").collect();
    assert_eq!(prompts, [("prompt".into(), "login".into())]);
}

#[test]
fn the_sign_in_uses_v2_of_entra_whatever_the_credential_uses() {
    let v1 = json!({ "scopes": null, "resources": ["https://api.example.com/"] });
    let preset = json!({ "scopes": ["Investigation.Read"], "api": "DefenderForCloudApps" });
    for (change, scope) in [
        (
            json!({ "scopes": ["api://demo/Records.Read"] }),
            "api://demo/Records.Read openid profile offline_access",
        ),
        // The slash is part of the API's name.
        (
            v1,
            "https://api.example.com//.default openid profile offline_access",
        ),
        (
            preset,
            "05a65629-4c1b-48c1-a78b-804c4abdd4af/Investigation.Read openid profile offline_access",
        ),
    ] {
        let (credential, endpoint) = ready(&user_at(&entra(), &change), None);
        let made = url(&credential, &endpoint).unwrap();
        assert_eq!(
            made.path(),
            "/contoso.onmicrosoft.com/oauth2/v2.0/authorize"
        );
        let query = pairs(made.query().unwrap());
        let value = |name: &str| {
            query
                .iter()
                .find(|(k, _)| k == name)
                .map(|(_, v)| v.as_str())
        };
        assert_eq!(value("scope"), Some(scope), "{change}");
        assert_eq!(value("prompt"), Some("select_account"));
        assert_eq!(value("resource"), None);
        let device = request(device_request(
            &credential,
            &endpoint,
            &Material::None,
            None,
            moment(),
        ));
        assert_eq!(
            device.url.path(),
            "/contoso.onmicrosoft.com/oauth2/v2.0/devicecode"
        );
        assert_eq!(
            pairs(body(&device)),
            [("scope", scope), ("client_id", "s6BhdRkqt3")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
        );
        assert_eq!(
            header(&device, "client-request-id").as_deref(),
            Some("0-id")
        );
    }
}

#[test]
fn a_refresh_token_is_requested_as_the_issuer_expects_it() {
    let scopes = |issuer, change, known: Option<&[&str]>, chosen: &[&str]| {
        let credential = for_sign_in(&user_at(&issuer, &change));
        let endpoint = known_endpoint(&credential).unwrap_or_else(|| found(known));
        let chosen: Vec<String> = chosen.iter().map(|s| (*s).to_owned()).collect();
        with_requested_scopes(credential, &endpoint, &chosen)
            .request
            .scopes
            .join(" ")
    };
    let usual = || json!({});
    assert_eq!(
        scopes(oidc(), usual(), None, &[]),
        "read openid offline_access"
    );
    assert_eq!(
        scopes(oidc(), usual(), Some(&["openid", "read"]), &[]),
        "read openid"
    );
    assert_eq!(scopes(oidc(), usual(), Some(&[]), &[]), "read");
    let twice = json!({ "scopes": ["offline_access", "read"] });
    assert_eq!(
        scopes(oidc(), twice, None, &[]),
        "offline_access read openid"
    );
    assert_eq!(scopes(oauth2(), usual(), None, &[]), "read");
    assert_eq!(scopes(oidc(), usual(), None, &["a", "b"]), "a b");
    let all = ["openid", "a", "offline_access", "profile", "b"].map(str::to_owned);
    assert_eq!(of_api(&all), ["a", "b"]);
}

#[test]
fn a_refresh_outside_entra_requests_what_the_user_signed_in_for() {
    let limited = |mut issuer: serde_json::Value| {
        issuer["allowedScopes"] = json!(["read", "write"]);
        issuer
    };
    let all = Some("read openid offline_access");
    let more = Some("read write admin openid offline_access");
    for (issuer, scopes, noted, sent) in [
        // All that was granted: Keycloak treats scopes without offline_access as an online session.
        (oidc(), json!(["read"]), all, ""),
        (oauth2(), json!(["read"]), all, ""),
        (oidc(), json!(["read"]), None, ""),
        (oidc(), json!(["read"]), Some(""), ""),
        (oidc(), json!(["read", "write"]), all, ""),
        (oidc(), json!(["openid", "read"]), all, ""),
        (oidc(), json!(null), all, ""),
        // If less is requested than the user signed in for, the scopes are sent, with those that the sign-in added.
        (oidc(), json!(["read"]), more, "read openid offline_access"),
        (
            oidc(),
            json!(["offline_access", "read"]),
            more,
            "offline_access read openid",
        ),
        (oauth2(), json!(["read"]), Some("read write"), "read"),
        // If an administrator limits the scopes, they are always sent.
        (
            limited(oidc()),
            json!(["read"]),
            all,
            "read openid offline_access",
        ),
        (limited(oidc()), json!(["read"]), None, "read"),
        (limited(oidc()), json!(["read"]), Some("read"), "read"),
        // Entra ID: the scope selects the API.
        (entra(), json!(["api://demo/Read"]), all, "api://demo/Read"),
        (entra(), json!(["api://demo/Read"]), None, "api://demo/Read"),
        // Its relatives, whatever the form in which the issuer is declared.
        (b2c(), api_of_b2c(), all, B2C_SCOPES),
        (b2c(), api_of_b2c(), None, B2C_SCOPES),
        (
            entra_by_url(),
            json!(["api://demo/Read"]),
            all,
            "api://demo/Read",
        ),
        // Without scopes in the spec, those of the sign-in select it.
        (b2c(), json!(null), Some(B2C_SCOPES), B2C_SCOPES),
        (b2c(), json!(null), None, ""),
        // Not if an administrator limits the scopes: users can edit the noted ones.
        (limited(b2c()), json!(null), Some(B2C_SCOPES), ""),
        (limited(b2c()), json!(["read"]), Some(B2C_SCOPES), "read"),
    ] {
        let credential = user_at(&issuer, &json!({ "scopes": scopes }));
        let refresh = for_refresh(&credential, noted);
        assert_eq!(
            refresh.request.scopes.join(" "),
            sent,
            "{issuer} {scopes} {noted:?}"
        );
    }
}

const B2C_SCOPES: &str = "openid offline_access https://contoso.onmicrosoft.com/api/read";

fn api_of_b2c() -> serde_json::Value {
    B2C_SCOPES.split(' ').collect()
}

fn b2c() -> serde_json::Value {
    json!({ "oauth2": {
        "tokenUrl": "https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_signin/oauth2/v2.0/token",
    } })
}

fn entra_by_url() -> serde_json::Value {
    json!({ "oidc": { "issuerUrl": "https://login.microsoftonline.com/t/v2.0" } })
}

#[test]
fn a_refresh_by_url_at_entra_names_its_api_and_requests_the_next_refresh_token() {
    let sent = |issuer: serde_json::Value, change| {
        let credential = for_refresh(&user_at(&issuer, &change), None);
        let endpoint = known_endpoint(&credential).unwrap_or_else(|| found(None));
        let token = [SecretString::from("r-1")];
        let made = request(crate::oauth::request(
            &credential,
            &endpoint,
            &Material::None,
            &token,
            moment(),
        ));
        let sent = pairs(body(&made)).into_iter();
        let sent: Vec<String> = sent.filter(|(n, _)| n == "scope").map(|(_, v)| v).collect();
        sent
    };
    assert_eq!(sent(b2c(), json!({ "scopes": api_of_b2c() })), [B2C_SCOPES]);
    let read = json!({ "scopes": ["api://demo/Read"] });
    let with_offline = ["api://demo/Read offline_access"];
    assert_eq!(sent(entra(), read.clone()), with_offline);
    assert_eq!(sent(entra_by_url(), read), with_offline);
    // The v1 endpoint has no scopes.
    let v1 = json!({ "scopes": null, "resources": ["api://demo"] });
    assert_eq!(sent(entra_by_url(), v1), Vec::<String>::new());
}

#[test]
fn after_invalid_scope_a_sign_in_requests_fewer_of_the_scopes_that_it_added() {
    let steps = |issuer, scopes, known: Option<&[&str]>, chosen: &[&str]| {
        let credential = for_sign_in(&user_at(&issuer, &json!({ "scopes": scopes })));
        let own = if chosen.is_empty() {
            credential.request.scopes.clone()
        } else {
            chosen.iter().map(|s| (*s).to_owned()).collect()
        };
        let endpoint = known_endpoint(&credential).unwrap_or_else(|| found(known));
        let mut at = with_requested_scopes(credential, &endpoint, &own[..chosen.len()]);
        let mut steps = Vec::new();
        while let Some((fewer, removed)) = with_fewer_scopes(&at, &own) {
            assert!(removed.iter().all(|s| added(&at, &own).contains(s)));
            steps.push((removed.join(" "), fewer.request.scopes.join(" ")));
            at = fewer;
        }
        assert!(steps.is_empty() || at.request.scopes == own);
        steps
    };
    let step = |removed: &str, left: &str| (removed.to_owned(), left.to_owned());
    assert_eq!(
        steps(oidc(), json!(["read"]), None, &[]),
        [
            step("openid", "read offline_access"),
            step("offline_access", "read")
        ]
    );
    assert_eq!(
        steps(oidc(), json!(null), Some(&["offline_access"]), &[]),
        [step("offline_access", "")]
    );
    assert_eq!(
        steps(oidc(), json!(["openid"]), None, &[]),
        [step("offline_access", "openid")]
    );
    // Nothing was added, so nothing can be removed.
    assert_eq!(steps(oidc(), json!(["read"]), Some(&[]), &[]), []);
    assert_eq!(
        steps(oidc(), json!(["read"]), None, &["read", "openid"]),
        []
    );
    assert_eq!(steps(oauth2(), json!(["read"]), None, &[]), []);
    assert_eq!(steps(entra(), json!(["api://demo/Read"]), None, &[]), []);
}
