mod client_secret;

use aws_lc_rs::hmac;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::{
    Reason,
    credential::{Credential, Issuer, IssuerLookup, SecretStyle, parse},
    fixtures::{at, cluster_issuer, object},
    oauth::{
        Material, RequestContext, SentSecrets, TokenEndpoint, TokenRequest, known_endpoint, request,
    },
};

/// A secret with all unusual characters that were seen.
const ODD: &str = "a:b%c+d/e=f\u{e9} &~";

fn credential(issuer: &Value, change: &Value) -> Credential {
    let issuer = Issuer::cluster(&cluster_issuer(issuer)).unwrap();
    parse(&object(change), |_| IssuerLookup::Found(issuer)).unwrap()
}

fn built(credential: &Credential, secret: &str) -> TokenRequest {
    let endpoint = known_endpoint(credential).unwrap();
    made(credential, &endpoint, secret)
}

fn made(credential: &Credential, endpoint: &TokenEndpoint, secret: &str) -> TokenRequest {
    let moment = RequestContext {
        now: at(0),
        request_id: "0-id",
        assertion_id: "1-id",
    };
    let material = Material::Secret(SecretString::from(secret));
    match request(credential, endpoint, &material, &[], moment) {
        Ok(request) => request,
        Err(token_error) => panic!("{token_error:?}"),
    }
}

fn headers(request: &TokenRequest) -> Vec<(&'static str, String)> {
    request
        .headers
        .iter()
        .map(|(n, v)| (*n, v.expose_secret().to_owned()))
        .collect()
}

fn body(request: &TokenRequest) -> &str {
    request.body.expose_secret()
}

fn oauth2(authentication: &Value) -> Value {
    json!({ "oauth2": { "tokenUrl": "https://i.example.com/t?a=b", "clientAuthentication": authentication } })
}

#[test]
fn the_entra_v2_request_is_these_bytes() {
    let issuer = json!({ "entra": { "tenantId": "contoso.onmicrosoft.com" } });
    let request = built(&credential(&issuer, &json!({})), "s3cret~");
    assert_eq!(
        request.url.as_str(),
        "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token"
    );
    assert_eq!(
        body(&request),
        "grant_type=client_credentials&client_id=client-1&client_secret=s3cret%7E\
         &scope=https%3A%2F%2Fapi.example.com%2F.default"
    );
    assert_eq!(
        headers(&request),
        [
            ("accept", "application/json".to_owned()),
            ("client-request-id", "0-id".to_owned())
        ]
    );
}

#[test]
fn the_entra_v1_request_goes_to_the_other_endpoint_with_a_resource() {
    let issuer =
        json!({ "entra": { "tenantId": "t", "authorityHost": "https://login.example.com:8443" } });
    let change = json!({ "scopes": null, "resources": ["https://api.example.com/"] });
    let request = built(&credential(&issuer, &change), "s");
    assert_eq!(
        request.url.as_str(),
        "https://login.example.com:8443/t/oauth2/token"
    );
    assert_eq!(
        body(&request),
        "grant_type=client_credentials&client_id=client-1&client_secret=s&resource=https%3A%2F%2Fapi.example.com%2F"
    );
}

#[test]
fn scopes_resource_audience_and_parameters_are_sent_each_once_and_encoded() {
    let change = json!({
        "scopes": ["read", "write:all"], "resources": ["urn:r", "urn:s"], "audience": "urn:a&b=c",
        "parameters": [{ "name": "claims", "value": "{\"a\":1}" }, { "name": "tenant&x", "value": "y=z" }]
    });
    let request = built(&credential(&oauth2(&json!({ "post": {} })), &change), "s");
    assert_eq!(
        body(&request),
        "grant_type=client_credentials&client_id=client-1&client_secret=s&scope=read+write%3Aall&resource=urn%3Ar&resource=urn%3As\
         &audience=urn%3Aa%26b%3Dc&claims=%7B%22a%22%3A1%7D&tenant%26x=y%3Dz"
    );
}

#[test]
fn values_of_secrets_follow_the_other_parameters_and_what_the_grant_needs() {
    let of =
        |name: &str, key: &str| json!({ "name": name, "secretRef": { "name": "s", "key": key } });
    let reference = json!({ "name": "source", "key": "k" });
    let change = json!({
        "parameters": [of("z&", "1"), { "name": "plain", "value": "p" }, of("a", "2")],
        "scopes": null, "grant": { "jwtBearer": { "assertionRef": reference } },
    });
    let credential = credential(&oauth2(&json!({ "post": {} })), &change);
    let inputs = credential.grant_sources();
    let keys: Vec<&str> = inputs.iter().map(|input| input.key.as_str()).collect();
    assert_eq!(keys, ["k", "2", "1"], "the grant's first, then by name");
    let moment = RequestContext {
        now: at(0),
        request_id: "0-id",
        assertion_id: "1-id",
    };
    let grant_inputs = ["jwt", "for a", "for&z"].map(SecretString::from);
    let Ok(request) = request(
        &credential,
        &known_endpoint(&credential).unwrap(),
        &Material::Secret(SecretString::from("s")),
        &grant_inputs,
        moment,
    ) else {
        panic!("a request");
    };
    assert_eq!(
        body(&request),
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&client_id=client-1&client_secret=s\
         &assertion=jwt&plain=p&a=for+a&z%26=for%26z"
    );
}

#[test]
fn no_parameter_is_sent_twice() {
    let reference = json!({ "name": "source", "key": "k" });
    let token_type = "urn:ietf:params:oauth:token-type:jwt";
    let subject = json!({ "secretRef": reference, "tokenType": token_type });
    let exchange =
        json!({ "subject": subject, "actor": subject, "requestedTokenType": token_type });
    for grant in [
        json!({ "clientCredentials": {} }),
        json!({ "refreshToken": { "secretRef": reference } }),
        json!({ "jwtBearer": { "assertionRef": reference } }),
        json!({ "tokenExchange": exchange }),
        json!({ "password": { "username": "u", "passwordRef": reference } }),
    ] {
        let spec = json!({ "grant": grant, "audience": "a", "resources": ["urn:r"] });
        let mut credential = credential(&oauth2(&json!({ "post": {} })), &spec);
        let names = |credential: &Credential| -> Vec<String> {
            let endpoint = known_endpoint(credential).unwrap();
            let moment = RequestContext {
                now: at(0),
                request_id: "0-id",
                assertion_id: "1-id",
            };
            let material = Material::Secret(SecretString::from("s"));
            let grant_inputs = [SecretString::from("one"), SecretString::from("two")];
            let Ok(request) = request(credential, &endpoint, &material, &grant_inputs, moment)
            else {
                panic!("a request");
            };
            let pairs = url::form_urlencoded::parse(body(&request).as_bytes());
            assert!(!body(&request).contains("further"), "a field was replaced");
            pairs.map(|(name, _)| name.into_owned()).collect()
        };
        let own = names(&credential);
        assert!(own.len() > 3, "{own:?}");
        for name in &own {
            let further = (name.clone(), "further".to_owned());
            credential.request.parameters.extend([further]);
        }
        assert_eq!(names(&credential), own, "{grant}");
    }
}

#[test]
fn no_scope_is_sent_as_no_parameter() {
    let request = built(
        &credential(&oauth2(&json!({ "basic": {} })), &json!({ "scopes": null })),
        "s",
    );
    assert_eq!(body(&request), "grant_type=client_credentials");
}

#[test]
fn a_discovered_endpoint_is_used_as_it_was_found() {
    let oidc = json!({ "oidc": { "issuerUrl": "https://i.example.com" } });
    let credential = credential(&oidc, &json!({}));
    assert_eq!(known_endpoint(&credential), None);
    let endpoint = TokenEndpoint::bare(
        "https://t.example.com/x/".parse().unwrap(),
        SecretStyle::Post,
    );
    let request = made(&credential, &endpoint, "s");
    assert_eq!(request.url.as_str(), "https://t.example.com/x/");
    assert!(body(&request).contains("client_secret=s&"));
}
