//! The request to a revocation endpoint (RFC 7009): where it goes, and how the client authenticates.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use crate::{
    Reason,
    credential::{Credential, Issuer, IssuerLookup, SecretStyle, parse},
    fixtures::{at, cluster_issuer, object},
    oauth::{
        Class, ClientKey, Identity, Material, RawAnswer, RequestContext, Revoked, TokenEndpoint,
        TokenRequest, known_endpoint, request, revocation, revocation_answer,
    },
};

const TOKEN_URL: &str = "https://as.example.com/token";
const REVOCATION_URL: &str = "https://as.example.com/revoke";
const IDENTIFIER: &str = "https://as.example.com";
const SECRET: &str = "a client secret of forty-eight bytes, or some more";

fn credential(issuer: &Value, client: &Value) -> Credential {
    let issuer = Issuer::cluster(&cluster_issuer(issuer)).unwrap();
    parse(&object(&json!({ "client": client })), |_| {
        IssuerLookup::Found(issuer)
    })
    .unwrap()
}

fn discovered() -> TokenEndpoint {
    let url = |text: &str| Url::parse(text).unwrap();
    TokenEndpoint {
        issuer: Some(IDENTIFIER.to_owned()),
        revocation: Some(url(REVOCATION_URL)),
        mtls_url: Some(url("https://mtls.example.com/token")),
        mtls_revocation: Some(url("https://mtls.example.com/revoke")),
        ..TokenEndpoint::bare(url(TOKEN_URL), SecretStyle::Post)
    }
}

/// The same client requests a token and revokes it.
fn both(credential: &Credential, material: &Material) -> [TokenRequest; 2] {
    let endpoint = known_endpoint(credential).unwrap_or_else(discovered);
    let moment = RequestContext {
        now: at(0),
        request_id: "r",
        assertion_id: "a",
    };
    let to = endpoint.revoked_at(matches!(material, Material::Tls(_)));
    let to = to.unwrap().clone();
    let token = SecretString::from("t0ken");
    let what = (&token, Revoked::AccessToken);
    let revoked = revocation(credential, (&endpoint, &to), material, what, moment);
    let requested = request(credential, &endpoint, material, &[], moment);
    [requested, revoked].map(|made| match made {
        Ok(request) => request,
        Err(token_error) => panic!("{}", token_error.message()),
    })
}

fn field(request: &TokenRequest, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(request.body.expose_secret().as_bytes());
    let found = pairs.find(|(n, _)| n == name);
    found.map(|(_, value)| value.into_owned())
}

fn audience(request: &TokenRequest) -> String {
    let assertion = field(request, "client_assertion").expect("an assertion");
    let claims = assertion.split('.').nth(1).unwrap();
    let claims = URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["aud"].as_str().unwrap().to_owned()
}

fn oauth2(more: &Value) -> Value {
    let mut issuer = json!({ "tokenUrl": TOKEN_URL, "revocationUrl": REVOCATION_URL });
    crate::fixtures::merge(&mut issuer, more);
    json!({ "oauth2": issuer })
}

/// Servers with fosite (Hydra, Authelia) accept only the audience that they accept at the token endpoint.
#[test]
fn the_assertion_of_a_revocation_has_the_audience_of_the_token_endpoint() {
    let pem = KeyPair::generate().unwrap().serialize_pem();
    let key = || Material::Key(Box::new(ClientKey::read(&pem).unwrap()));
    let secret = || Material::Secret(SecretString::from(SECRET));
    let none = json!(null);
    let signs = json!({ "secrets": none, "key": { "secretName": "k", "key": "k" } });
    let shares = json!({});
    let jwt = json!({ "clientAuthentication": { "secretJwt": {} } });
    let named = |mut issuer: Value| {
        issuer["oauth2"]["issuer"] = json!(IDENTIFIER);
        issuer
    };
    let chosen = |mut issuer: Value, audience: &str| {
        issuer["assertionAudience"] = json!(audience);
        issuer
    };
    let oidc = json!({ "oidc": { "issuerUrl": IDENTIFIER } });
    for (issuer, expected) in [
        (oauth2(&jwt), TOKEN_URL),
        (named(oauth2(&jwt)), IDENTIFIER),
        (chosen(named(oauth2(&jwt)), "TokenEndpoint"), TOKEN_URL),
        (oidc.clone(), IDENTIFIER),
        (chosen(oidc, "TokenEndpoint"), TOKEN_URL),
    ] {
        for (client, material) in [(&signs, key()), (&shares, secret())] {
            let is_shared = matches!(material, Material::Secret(_));
            if is_shared && issuer.get("oidc").is_some() {
                continue;
            }
            let [requested, revoked] = both(&credential(&issuer, client), &material);
            assert_eq!(audience(&requested), expected, "{issuer} {client}");
            assert_eq!(audience(&revoked), expected, "{issuer} {client}");
            assert_eq!(revoked.url.as_str(), REVOCATION_URL);
            assert_eq!(field(&revoked, "token").as_deref(), Some("t0ken"));
        }
    }
}

#[test]
fn a_client_with_a_certificate_revokes_at_the_endpoint_for_it() {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(Vec::new()).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let identity = Identity::from_pem(&certificate, &key.serialize_pem());
    let material = Material::Tls(Box::new(identity.unwrap()));
    let client = json!({ "secrets": null, "mtls": { "secretName": "t" } });
    let issuer = json!({ "oidc": { "issuerUrl": IDENTIFIER } });
    let [requested, revoked] = both(&credential(&issuer, &client), &material);
    assert_eq!(requested.url.as_str(), "https://mtls.example.com/token");
    assert_eq!(revoked.url.as_str(), "https://mtls.example.com/revoke");
    assert!(requested.tls.is_some() && revoked.tls.is_some());
}

#[test]
fn a_success_is_one_only_if_its_body_is_no_page_and_no_error() {
    let to = Url::parse(REVOCATION_URL).unwrap();
    let page = "<html><head><title>Request Rejected</title></head><body>no</body></html>";
    #[rustfmt::skip]
    let cases = [
        (200, "", "", None),
        (204, "", "", None),
        // Many servers declare HTML for an empty body.
        (200, "text/html", "", None),
        (200, "text/plain", "OK", None),
        (200, "application/json", "{}", None),
        (200, "application/json", r#"{"ok":true,"revoked":true}"#, None),
        (200, "application/json", r#"{"error":null}"#, None),
        (200, "text/html", page, Some((Class::Transient, "a page answered"))),
        (200, "", page, Some((Class::Transient, "a page answered"))),
        (202, "text/html", page, Some((Class::Transient, "a page answered"))),
        (202, "", "", Some((Class::Transient, "does not confirm"))),
        (200, "application/json", r#"{"error":"unsupported_token_type"}"#, Some((Class::Invalid, "unsupported_token_type"))),
        (200, "application/json", r#"{"ok":false,"error":"invalid_auth"}"#, Some((Class::Invalid, "invalid_auth"))),
        (200, "application/json", r#"{"ok":false}"#, Some((Class::Invalid, "refused"))),
        (200, "application/json", r#"{"success":"false"}"#, Some((Class::Invalid, "refused"))),
        (202, "application/json", r#"{"error":"invalid_client"}"#, Some((Class::Invalid, "invalid_client"))),
        (200, "application/json", r#"{"error":"temporarily_unavailable"}"#, Some((Class::Transient, "temporarily_unavailable"))),
        (400, "application/json", r#"{"error":"unsupported_token_type"}"#, Some((Class::Invalid, "HTTP 400, unsupported_token_type"))),
        (401, "application/json", r#"{"error":"invalid_client"}"#, Some((Class::Invalid, "HTTP 401, invalid_client"))),
        (404, "text/html", page, Some((Class::Invalid, "HTTP 404 (text/html)"))),
        (302, "", "", Some((Class::Invalid, "HTTP 302"))),
        (429, "", "", Some((Class::Throttled, "rate limiting"))),
        (503, "", "", Some((Class::Transient, "not available"))),
    ];
    for (status, kind, body, expected) in cases {
        let raw = RawAnswer {
            content_type: (!kind.is_empty()).then(|| kind.to_owned()),
            retry_after: Some("7".to_owned()),
            ..RawAnswer::new(status, body.as_bytes().to_vec())
        };
        let ended = revocation_answer(&to, &raw, at(0));
        let Some((class, words)) = expected else {
            assert!(ended.is_ok(), "{status} {body}");
            continue;
        };
        let token_error = ended.expect_err(body);
        let message = token_error.message();
        assert_eq!(token_error.class, class, "{status} {body}");
        assert_eq!(token_error.reason, Reason::RevocationFailed);
        assert_eq!(token_error.retry_after.unwrap().as_secs(), 7);
        assert!(
            message.starts_with("https://as.example.com answered HTTP"),
            "{message}"
        );
        assert!(message.contains(words), "{message}");
    }
}
