//! Compares our requests with the examples of the standards and of Microsoft's pages, pair by pair.

mod microsoft;
mod signed;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    UnparsedPublicKey, VerificationAlgorithm,
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use crate::{
    credential::{Credential, Issuer, IssuerLookup, SecretStyle, parse},
    fixtures::{NOW, at, cluster_issuer, object},
    oauth::{
        Identity, Local, Material, Method, RequestContext, TokenEndpoint, TokenError, TokenRequest,
        known_endpoint, request,
    },
};

fn credential(issuer: &Value, change: &Value) -> Credential {
    let issuer = Issuer::cluster(&cluster_issuer(issuer)).unwrap();
    parse(&object(change), |_| IssuerLookup::Found(issuer)).unwrap()
}

fn oauth2(how: &Value) -> Value {
    json!({ "oauth2": { "tokenUrl": "https://as.example.com/token", "clientAuthentication": how } })
}

fn entra() -> Value {
    json!({ "entra": { "tenantId": "contoso.onmicrosoft.com" } })
}

fn secret(text: &str) -> Material {
    Material::Secret(SecretString::from(text))
}

fn build(
    credential: &Credential,
    material: &Material,
    grant_inputs: &[&str],
) -> Result<TokenRequest, TokenError> {
    let endpoint = known_endpoint(credential).unwrap_or_else(|| {
        TokenEndpoint::bare(
            "https://as.example.com/token".parse().unwrap(),
            SecretStyle::BasicForm,
        )
    });
    let grant_inputs: Vec<SecretString> = grant_inputs
        .iter()
        .map(|s| SecretString::from(*s))
        .collect();
    let moment = RequestContext {
        now: at(0),
        request_id: "request-id",
        assertion_id: "assertion-id",
    };
    request(credential, &endpoint, material, &grant_inputs, moment)
}

fn made(credential: &Credential, material: &Material, grant_inputs: &[&str]) -> TokenRequest {
    match build(credential, material, grant_inputs) {
        Ok(request) => request,
        Err(token_error) => panic!("{token_error:?}"),
    }
}

fn pairs(request: &TokenRequest) -> Vec<(String, String)> {
    url::form_urlencoded::parse(request.body.expose_secret().as_bytes())
        .into_owned()
        .collect()
}

fn header(request: &TokenRequest, name: &str) -> Option<String> {
    let found = request.headers.iter().find(|(n, _)| *n == name)?;
    Some(found.1.expose_secret().to_owned())
}

fn check(request: &TokenRequest, expected: &[(&str, &str)]) {
    let seen = pairs(request);
    let seen: Vec<(&str, &str)> = seen.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(seen, expected);
    assert_eq!(request.method, Method::Post);
}

const NONE: Value = Value::Null;

#[test]
fn rfc_6749() {
    let client = json!({ "id": "s6BhdRkqt3", "secrets": [{ "name": "s", "key": "k" }] });
    let basic = oauth2(&json!({ "basic": {} }));
    let with = |more: Value| {
        let mut change = json!({ "client": client, "scopes": NONE });
        crate::fixtures::merge(&mut change, &more);
        change["scopes"] = NONE;
        change
    };
    let client_secret = secret("gX1fBat3bV");
    // Section 4.4.2.
    let request = made(&credential(&basic, &with(json!({}))), &client_secret, &[]);
    check(&request, &[("grant_type", "client_credentials")]);
    let authorization = header(&request, "authorization");
    assert_eq!(
        authorization.as_deref(),
        Some("Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW")
    );
    // Section 4.3.2.
    let grant = json!({ "grant": { "password": { "username": "johndoe", "passwordRef": { "name": "p", "key": "k" } } } });
    let request = made(
        &credential(&basic, &with(grant)),
        &client_secret,
        &["A3ddj3w"],
    );
    check(
        &request,
        &[
            ("grant_type", "password"),
            ("username", "johndoe"),
            ("password", "A3ddj3w"),
        ],
    );
    // Section 6, and the client in the body as in section 2.3.1.
    let grant =
        json!({ "grant": { "refreshToken": { "secretRef": { "name": "p", "key": "k" } } } });
    let token = "tGzv3JOkF0XG5Qx2TlKWIA";
    let request = made(
        &credential(&basic, &with(grant.clone())),
        &client_secret,
        &[token],
    );
    check(
        &request,
        &[("grant_type", "refresh_token"), ("refresh_token", token)],
    );
    let post = oauth2(&json!({ "post": {} }));
    let request = made(
        &credential(&post, &with(grant)),
        &secret("7Fjfp0ZBr1KtDRbnfVdmIw"),
        &[token],
    );
    check(
        &request,
        &[
            ("grant_type", "refresh_token"),
            ("client_id", "s6BhdRkqt3"),
            ("client_secret", "7Fjfp0ZBr1KtDRbnfVdmIw"),
            ("refresh_token", token),
        ],
    );
    assert_eq!(header(&request, "authorization"), None, "one way at a time");
}

#[test]
fn rfc_7523_section_2_1_and_8693_section_2_3() {
    let assertion = "eyJhbGciOiJFUzI1NiIsImtpZCI6IjE2In0.eyJpc3Mi.J9l-ZhwP";
    let grant = json!({ "client": NONE, "scopes": NONE, "grant": { "jwtBearer": { "assertionRef": { "name": "a", "key": "k" } } } });
    let request = made(
        &credential(&oauth2(&NONE), &grant),
        &Material::None,
        &[assertion],
    );
    check(
        &request,
        &[
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", assertion),
        ],
    );
    let exchange = json!({
        "client": { "id": "rs08", "secrets": [{ "name": "s", "key": "k" }] }, "scopes": NONE,
        "resources": ["https://backend.example.com/api"],
        "grant": { "tokenExchange": { "subject": { "secretRef": { "name": "a", "key": "k" } } } },
    });
    let subject = "accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC";
    let client_secret = secret("long-secure-random-secret");
    let request = made(
        &credential(&oauth2(&NONE), &exchange),
        &client_secret,
        &[subject],
    );
    check(
        &request,
        &[
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ),
            ("subject_token", subject),
            (
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            ),
            ("resource", "https://backend.example.com/api"),
        ],
    );
    let authorization = header(&request, "authorization");
    let expected = "Basic cnMwODpsb25nLXNlY3VyZS1yYW5kb20tc2VjcmV0";
    assert_eq!(authorization.as_deref(), Some(expected));
}

/// A self-signed certificate with its key, and its public key.
fn identity(rsa: bool) -> (Identity, Vec<u8>) {
    let key = if rsa {
        KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
    } else {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
    }
    .unwrap();
    let certificate = CertificateParams::new(Vec::new())
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let public = key.public_key_raw().to_vec();
    let identity = Identity::from_pem(&certificate.pem(), &key.serialize_pem());
    match identity {
        Ok(identity) => (identity, public),
        Err(problem) => panic!("{problem}"),
    }
}

#[test]
fn rfc_8705_section_2_the_body_contains_only_the_client_id() {
    let (identity, _) = identity(true);
    let material = Material::Tls(Box::new(identity));
    let change =
        json!({ "client": { "secrets": NONE, "mtls": { "secretName": "t" } }, "scopes": NONE });
    let request = made(&credential(&oauth2(&NONE), &change), &material, &[]);
    check(
        &request,
        &[
            ("grant_type", "client_credentials"),
            ("client_id", "client-1"),
        ],
    );
    assert!(request.tls.is_some() && header(&request, "authorization").is_none());
}

#[test]
fn extension_grants_are_sent_as_their_issuers_document_them() {
    let reference = json!({ "name": "p", "key": "k" });
    let grant = |grant_type: &str, parameters: Value| json!({ "scopes": NONE, "grant": { "extension": { "grantType": grant_type, "parameters": parameters } } });
    let basic = oauth2(&json!({ "basic": {} }));
    // Zoom: https://developers.zoom.us/docs/internal-apps/s2s-oauth/
    let account = json!([{ "name": "account_id", "value": "Ab1-c" }]);
    let zoom = credential(&basic, &grant("account_credentials", account));
    let request = made(&zoom, &secret("s"), &[]);
    check(
        &request,
        &[
            ("grant_type", "account_credentials"),
            ("account_id", "Ab1-c"),
        ],
    );
    let authorization = header(&request, "authorization");
    assert_eq!(
        authorization.as_deref(),
        Some(&*format!("Basic {}", STANDARD.encode("client-1:s")))
    );
    // IBM Cloud: https://cloud.ibm.com/docs/account?topic=account-iamtoken_from_apikey
    let key = json!([{ "name": "apikey", "secretRef": reference }]);
    let mut spec = grant("urn:ibm:params:oauth:grant-type:apikey", key);
    spec["client"] = NONE;
    let request = made(&credential(&basic, &spec), &Material::None, &["key of ibm"]);
    check(
        &request,
        &[
            ("grant_type", "urn:ibm:params:oauth:grant-type:apikey"),
            ("apikey", "key of ibm"),
        ],
    );
    assert!(header(&request, "authorization").is_none());
    // SAP SuccessFactors: https://help.sap.com/docs/successfactors-platform/sap-successfactors-api-reference-guide-odata-v2/requesting-access-token
    let saml = json!([{ "name": "company_id", "value": "acme" }, { "name": "assertion", "secretRef": reference }]);
    let mut spec = grant("urn:ietf:params:oauth:grant-type:saml2-bearer", saml);
    spec["client"] = json!({ "secrets": NONE, "public": {} });
    let request = made(
        &credential(&basic, &spec),
        &Material::None,
        &["PHNhbWw+PC9zYW1sPg=="],
    );
    check(
        &request,
        &[
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:saml2-bearer",
            ),
            ("client_id", "client-1"),
            ("company_id", "acme"),
            ("assertion", "PHNhbWw+PC9zYW1sPg=="),
        ],
    );
}
