//! Google: the first of two requests has the scope for impersonation, in the assertion or in the form.

use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use url::Url;

use crate::{
    credential::{Credential, Issuer, IssuerLookup, SecretStyle, parse},
    fixtures::{at, cluster_issuer, object},
    oauth::{GOOGLE_SCOPE, Material, RequestContext, TokenEndpoint, request},
};

fn credential(second: bool, scopes: &Value, place: &Value) -> Credential {
    let mut issuer = json!({
        "oauth2": { "tokenUrl": "https://oauth2.googleapis.com/token" }, "allowedNamespaces": { "selector": {} },
    });
    if second {
        issuer["secondRequest"] =
            json!({ "googleServiceAccount": { "email": "robot@p.iam.gserviceaccount.com" } });
    }
    let issuer = Issuer::cluster(&cluster_issuer(&issuer)).unwrap();
    let signed = json!({ "keyRef": { "name": "g", "key": "key.json" }, "scopesIn": place });
    let change =
        json!({ "client": null, "scopes": scopes, "grant": { "jwtBearer": { "signed": signed } } });
    parse(&object(&change), |_| IssuerLookup::Found(issuer)).unwrap()
}

/// `scope` of the assertion and of the form.
fn scopes(credential: &Credential, file: &str) -> (Option<String>, Option<String>) {
    let url = Url::parse("https://oauth2.googleapis.com/token").unwrap();
    let endpoint = TokenEndpoint::bare(url, SecretStyle::BasicForm);
    let moment = RequestContext {
        now: at(0),
        request_id: "r",
        assertion_id: "a",
    };
    let inputs = [SecretString::from(file)];
    let made = request(credential, &endpoint, &Material::None, &inputs, moment);
    let body = made.unwrap_or_else(|problem| panic!("{problem:?}")).body;
    let form: Vec<(String, String)> = url::form_urlencoded::parse(body.expose_secret().as_bytes())
        .into_owned()
        .collect();
    let field = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    let assertion = field("assertion").unwrap();
    let claims = URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1).unwrap());
    let claims: Value = serde_json::from_slice(&claims.unwrap()).unwrap();
    let claimed = claims.get("scope").map(|s| s.as_str().unwrap().to_owned());
    (claimed, field("scope"))
}

#[test]
fn an_assertion_before_impersonation_has_the_scope_of_the_platform() {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let file = json!({
        "type": "service_account", "private_key": key.serialize_pem(), "client_email": "a@p.iam.gserviceaccount.com",
    })
    .to_string();
    let own = "https://www.googleapis.com/auth/devstorage.read_only";
    let (some, none) = (json!([own]), Value::Null);
    let (platform, own) = (Some(GOOGLE_SCOPE.to_owned()), Some(own.to_owned()));
    #[rustfmt::skip]
    let cases = [
        (true, &some, json!(null), (platform.clone(), None)),
        (true, &none, json!(null), (platform.clone(), None)),
        (true, &some, json!("Parameter"), (None, platform.clone())),
        (true, &none, json!("Parameter"), (None, platform)),
        (false, &some, json!(null), (own.clone(), None)),
        (false, &none, json!(null), (None, None)),
        (false, &some, json!("Parameter"), (None, own)),
    ];
    for (second, retry_after, place, expected) in cases {
        let seen = scopes(&credential(second, retry_after, &place), &file);
        assert_eq!(seen, expected, "{second} {retry_after} {place}");
    }
}
