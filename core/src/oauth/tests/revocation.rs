//! The request to a revocation endpoint (RFC 7009): where it goes, and how the client authenticates.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use crate::{
    credential::{Credential, Issuer, IssuerLookup, SecretStyle, parse},
    fixtures::{at, cluster_issuer, object},
    oauth::{
        ClientKey, Identity, Material, RequestContext, Revoked, TokenEndpoint, TokenRequest,
        known_endpoint, request, revocation,
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
