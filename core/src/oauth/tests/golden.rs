//! The requests that we send beside the examples of the standards and of Microsoft's pages, pair for pair.

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
        Identity, Local, Material, Method, Moment, TokenEndpoint, TokenError, TokenRequest,
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
    let moment = Moment {
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
    let proof = secret("gX1fBat3bV");
    // Section 4.4.2.
    let request = made(&credential(&basic, &with(json!({}))), &proof, &[]);
    check(&request, &[("grant_type", "client_credentials")]);
    let authorization = header(&request, "authorization");
    assert_eq!(
        authorization.as_deref(),
        Some("Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW")
    );
    // Section 4.3.2.
    let grant = json!({ "grant": { "password": { "username": "johndoe", "passwordRef": { "name": "p", "key": "k" } } } });
    let request = made(&credential(&basic, &with(grant)), &proof, &["A3ddj3w"]);
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
    let request = made(&credential(&basic, &with(grant.clone())), &proof, &[token]);
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
    let proof = secret("long-secure-random-secret");
    let request = made(&credential(&oauth2(&NONE), &exchange), &proof, &[subject]);
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

/// A certificate by itself and its public key.
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

/// Header and claims of a JWT whose signature is right.
fn opened(
    jwt: &str,
    algorithm: &'static dyn VerificationAlgorithm,
    public: &[u8],
) -> (Value, Value) {
    let (message, signature) = jwt.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(algorithm, public)
        .verify(message.as_bytes(), &signature)
        .unwrap();
    let (header, claims) = message.split_once('.').unwrap();
    let part = |text: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
    (part(header), part(claims))
}

/// Issuer, client, key, how it is verified and by what, the header, the audience.
type SignedCase<'a> = (
    Value,
    Value,
    &'a Material,
    &'static dyn VerificationAlgorithm,
    &'a [u8],
    Value,
    &'a str,
);

#[test]
fn client_assertions_say_exactly_this() {
    let (rsa, rsa_public) = identity(true);
    let (s256, sha1) = (rsa.thumbprint_s256(), rsa.thumbprint_sha1());
    let rsa = Material::Signer(Box::new(rsa), 0);
    let (ec, ec_public) = identity(false);
    let ec = Material::Signer(Box::new(ec), 0);
    let v2 = "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token";
    let v1 = "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/token";
    let elsewhere = "https://as.example.com/token";
    #[rustfmt::skip]
    let cases: [SignedCase<'_>; 8] = [
        (entra(), json!({ "certificates": [{ "secretName": "t" }] }), &rsa, &RSA_PSS_2048_8192_SHA256, &rsa_public,
            json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": s256 }), v2),
        (entra(), json!({ "certificates": [{ "secretName": "t", "algorithm": "RS256" }] }), &rsa, &RSA_PKCS1_2048_8192_SHA256, &rsa_public,
            json!({ "alg": "RS256", "typ": "JWT", "x5t": sha1 }), v1),
        (oauth2(&NONE), json!({ "certificates": [{ "secretName": "t", "keyId": "k1" }] }), &rsa, &RSA_PKCS1_2048_8192_SHA256, &rsa_public,
            json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }), elsewhere),
        (oauth2(&NONE), json!({ "certificates": [{ "secretName": "t", "algorithm": "PS256" }] }), &rsa, &RSA_PSS_2048_8192_SHA256, &rsa_public,
            json!({ "alg": "PS256", "typ": "JWT" }), elsewhere),
        (oauth2(&NONE), json!({ "certificates": [{ "secretName": "t", "keyId": "16" }] }), &ec, &ECDSA_P256_SHA256_FIXED, &ec_public,
            json!({ "alg": "ES256", "typ": "JWT", "kid": "16" }), elsewhere),
        (oauth2(&NONE), json!({ "certificates": [{ "secretName": "t", "thumbprint": "Sha256" }] }), &rsa, &RSA_PKCS1_2048_8192_SHA256, &rsa_public,
            json!({ "alg": "RS256", "typ": "JWT", "x5t#S256": s256 }), elsewhere),
        (oauth2(&NONE), json!({ "certificates": [{ "secretName": "t", "thumbprint": "Sha1" }] }), &rsa, &RSA_PKCS1_2048_8192_SHA256, &rsa_public,
            json!({ "alg": "RS256", "typ": "JWT", "x5t": sha1 }), elsewhere),
        (entra(), json!({ "certificates": [{ "secretName": "t", "thumbprint": "Sha1" }] }), &rsa, &RSA_PSS_2048_8192_SHA256, &rsa_public,
            json!({ "alg": "PS256", "typ": "JWT", "x5t": sha1 }), v2),
    ];
    for (issuer, client, material, algorithm, public, header, audience) in cases {
        let mut change = json!({ "client": { "secrets": NONE } });
        crate::fixtures::merge(&mut change["client"], &client);
        change["client"]["secrets"] = NONE;
        if audience == v1 {
            change["scopes"] = NONE;
            change["resources"] = json!(["api://x"]);
        }
        let request = made(&credential(&issuer, &change), material, &[]);
        let sent = pairs(&request);
        let names: Vec<&str> = sent.iter().map(|(k, _)| k.as_str()).collect();
        assert_eq!(
            names[..4],
            [
                "grant_type",
                "client_id",
                "client_assertion_type",
                "client_assertion"
            ]
        );
        assert_eq!(
            sent[2].1,
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        );
        let (seen, claims) = opened(&sent[3].1, algorithm, public);
        assert_eq!(seen, header);
        // A little into the past: a clock that is ahead does no harm. Elsewhere than at Entra ID there are limits of 120 s
        // from `iat` on, and of 60 s from now on.
        let life = if audience == elsewhere { 60 } else { 300 };
        let span = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert!(audience != elsewhere || span <= 120, "{span}");
        assert_eq!(
            claims,
            json!({
                "iss": "client-1", "sub": "client-1", "aud": audience, "jti": "assertion-id",
                "iat": NOW - 30, "nbf": NOW - 30, "exp": NOW + life,
            })
        );
        assert_eq!(request.url.as_str(), audience);
    }
}

#[test]
fn each_request_signs_anew() {
    let (identity, _) = identity(true);
    let material = Material::Signer(Box::new(identity), 0);
    let change = json!({ "client": { "secrets": NONE, "certificates": [{ "secretName": "t" }] } });
    let credential = credential(&entra(), &change);
    let (a, b) = (
        made(&credential, &material, &[]),
        made(&credential, &material, &[]),
    );
    // PSS is salted: even with one jti no two signatures are the same.
    assert_ne!(a.body.expose_secret(), b.body.expose_secret());
}

#[test]
fn microsoft_pages() {
    let jwt = "eyJhbGciOiJSUzI1NiIsIng1dCI6Imd4OHRHeXN5amNScUtqRlBuZDdSRnd2d1pJMCJ9.e30.x";
    let refs = json!([{ "name": "s", "key": "k" }]);
    let proof = secret("qWgdYAmab0YSkuL1qKv5bPX");
    // Client credentials with a secret, v2.
    let change = json!({ "client": { "id": "535fb089", "secrets": refs }, "scopes": ["https://graph.microsoft.com/.default"] });
    let request = made(&credential(&entra(), &change), &proof, &[]);
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
    let request = made(&credential(&entra(), &change), &proof, &[]);
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
        &made(&credential(&entra(), &change), &proof, &[jwt]),
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
    // A password at v1, as the samples of Defender for Endpoint in user context ask.
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

#[test]
fn rfc_8705_section_2_the_client_id_is_all_that_the_body_says_of_the_client() {
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
fn keys_come_in_three_forms_and_what_does_not_fit_is_reported() {
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let certificate = CertificateParams::new(Vec::new())
        .unwrap()
        .self_signed(&rsa)
        .unwrap();
    let (pem, key) = (certificate.pem(), rsa.serialize_pem());
    assert!(Identity::from_pem(&pem, &key).is_ok(), "PKCS#8");
    // The older forms, as cert-manager writes them by default, are what a PKCS#8 key of these kinds ends in.
    let old = |der: &[u8], begin: usize, label: &str| {
        let text = STANDARD.encode(&der[begin..]);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    };
    let pkcs1 = old(rsa.serialized_der(), 26, "RSA PRIVATE KEY");
    assert!(Identity::from_pem(&pem, &pkcs1).is_ok(), "PKCS#1");
    let ec = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let own = CertificateParams::new(Vec::new())
        .unwrap()
        .self_signed(&ec)
        .unwrap();
    let der = ec.serialized_der();
    let begin = der
        .windows(3)
        .position(|w| w == [0x02, 0x01, 0x01])
        .unwrap()
        - 2;
    let sec1 = old(der, begin, "EC PRIVATE KEY");
    let read = Identity::from_pem(&own.pem(), &sec1);
    assert!(read.is_ok(), "SEC 1: {:?}", read.err());
    let other = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    #[rustfmt::skip]
    let cases = [
        (pem.as_str(), other.serialize_pem(), "does not belong"),
        ("nothing", key.clone(), "not PEM"),
        (pem.as_str(), "nothing".to_owned(), "no private key"),
        (pem.as_str(), encrypted.to_owned(), "pass phrase"),
    ];
    for (certificate, key, word) in cases {
        let problem = Identity::from_pem(certificate, &key).err().unwrap();
        assert!(problem.contains(word), "{problem}");
        assert!(!problem.contains("BEGIN"), "{problem}");
    }
    // An RSA key cannot sign ES256, and Entra ID takes no EC key.
    let change = json!({ "client": { "secrets": NONE, "certificates": [{ "secretName": "t", "algorithm": "ES256" }] } });
    let (identity, _) = identity(true);
    let token_error = build(
        &credential(&entra(), &change),
        &Material::Signer(Box::new(identity), 0),
        &[],
    );
    assert!(
        token_error
            .err()
            .unwrap()
            .next_step
            .to_string()
            .contains("set algorithm to PS256 or RS256")
    );
}

#[test]
fn a_google_key_file_is_signed_for_as_google_wants_it() {
    let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let file = json!({
        "type": "service_account", "private_key_id": "kid-1", "private_key": pair.serialize_pem(),
        "client_email": "a@p.iam.gserviceaccount.com", "token_uri": "https://evil.example.com/",
    })
    .to_string();
    let signed = json!({ "keyRef": { "name": "g", "key": "key.json" } });
    let change = json!({ "client": NONE, "scopes": ["s1", "s2"], "grant": { "jwtBearer": { "signed": signed } } });
    let request = made(
        &credential(&oauth2(&NONE), &change),
        &Material::None,
        &[&file],
    );
    let sent = pairs(&request);
    assert_eq!(sent.len(), 2, "{sent:?}");
    let (header, claims) = opened(
        &sent[1].1,
        &RSA_PKCS1_2048_8192_SHA256,
        pair.public_key_raw(),
    );
    assert_eq!(
        header,
        json!({ "alg": "RS256", "typ": "JWT", "kid": "kid-1" })
    );
    assert_eq!(
        claims,
        json!({
            "iss": "a@p.iam.gserviceaccount.com", "aud": "https://as.example.com/token", "scope": "s1 s2",
            "iat": NOW - 30, "exp": NOW + 60, "jti": "assertion-id-grant",
        })
    );
    // What is no key file is reported with what it is, and what it lacks.
    let key = pair.serialize_pem();
    for (text, reported) in [
        (
            json!({ "type": "service_account", "private_key": key }).to_string(),
            "has no client_email",
        ),
        (
            json!({ "type": "service_account", "client_email": "a@b" }).to_string(),
            "has no private_key",
        ),
        (
            json!({ "type": "authorized_user", "refresh_token": "r" }).to_string(),
            "credentials of a user",
        ),
        (
            json!({ "type": "external_account" }).to_string(),
            "a configuration without a key",
        ),
        (
            r#"{ "type": "service_account", "#.to_owned(),
            "is truncated",
        ),
    ] {
        let problem = build(
            &credential(&oauth2(&NONE), &change),
            &Material::None,
            &[&text],
        );
        let step = problem.err().unwrap().next_step.to_string();
        assert!(
            step.contains(reported) && step.contains("key key.json of Secret g"),
            "{reported}: {step}"
        );
    }
    // A bare key does not say who signs.
    let bare = pair.serialize_pem();
    let problem = build(
        &credential(&oauth2(&NONE), &change),
        &Material::None,
        &[&bare],
    );
    assert!(
        problem
            .err()
            .unwrap()
            .next_step
            .to_string()
            .contains("signed.issuer")
    );
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
