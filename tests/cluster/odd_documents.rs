//! Discovery documents of issuers that are not part of this project, as servers, content delivery networks and gateways in
//! front of them really answer.

use serde_json::{Value, json};
use testenv::{Hydra, OidcClient, OidcClientAuth, OidcOptions, OidcProvider, eventually};

use crate::support::{Listener, Place, SOON, World, run};

/// The document that the issuer itself returns.
async fn document(issuer_url: &str, ca: &str) -> Value {
    let ca = reqwest::Certificate::from_pem(ca.as_bytes()).expect("a certificate");
    let client = reqwest::Client::builder()
        .tls_certs_only([ca])
        .no_proxy()
        .build()
        .expect("a client");
    let url = format!("{issuer_url}/.well-known/openid-configuration");
    let text = client
        .get(url)
        .send()
        .await
        .expect("an answer")
        .text()
        .await;
    serde_json::from_str(&text.expect("a document")).expect("JSON")
}

/// The answer of a front to one path.
#[derive(Clone, Copy)]
enum Scripted {
    /// The document, with these bytes before it and this content type.
    Document(&'static [u8], &'static str),
    /// The web page of a single-page application, which is returned for every path.
    Page,
    /// A redirect to this path of the front.
    Moved(u16, &'static str),
    /// A redirect to another origin.
    Away,
    /// An error without a document.
    Status(u16),
}

/// The answers by path; `*` is every other path.
type Answers = &'static [(&'static str, Scripted)];

const PLAIN: Scripted = Scripted::Document(b"", "application/json");
const OPENID: &str = "/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server";

/// A server in front of an issuer: it has the issuer's document, and returns it in its own way. The endpoints are the
/// issuer's.
fn front(document: Value, tenant: &'static str, answers: Answers) -> Listener {
    Listener::replying(move |request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let host = request.lines().find_map(|l| l.strip_prefix("host: "));
        let mut document = document.clone();
        document["issuer"] = json!(format!("https://{}{tenant}", host.unwrap_or_default()));
        let found = answers.iter().find(|(at, _)| *at == path || *at == "*");
        let says = found.map_or(Scripted::Status(404), |(_, says)| *says);
        let (status, headers, body) = match says {
            Scripted::Document(before, kind) => {
                let body = [before, document.to_string().as_bytes()].concat();
                (200, format!("content-type: {kind}\r\n"), body)
            }
            Scripted::Page => {
                let page = b"<!doctype html><html><body><div id=\"root\"></div></body></html>";
                (200, "content-type: text/html\r\n".to_owned(), page.to_vec())
            }
            Scripted::Moved(status, to) => (status, format!("location: {to}\r\n"), Vec::new()),
            Scripted::Away => {
                let to = "location: https://elsewhere.example/\r\n";
                (302, to.to_owned(), Vec::new())
            }
            Scripted::Status(status) => (status, String::new(), Vec::new()),
        };
        let head = format!(
            "HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        [head.into_bytes(), body].concat()
    })
}

/// A place whose issuer is the front.
async fn put(place: &Place, front: &Listener, tenant: &str, ca: &str) {
    place
        .put_issuer(place.issuer_spec(json!({
            "entra": null,
            "oidc": { "issuerUrl": format!("{}{tenant}", front.origin()) },
            "caBundle": format!("{}{ca}", front.ca_pem),
        })))
        .await;
}

#[rustfmt::skip]
const GOOD: [(&str, &str, Answers); 10] = [
    ("plain", "", &[(OPENID, PLAIN)]),
    ("byte order mark", "", &[(OPENID, Scripted::Document(b"\xef\xbb\xbf", "application/json"))]),
    ("text/plain", "", &[(OPENID, Scripted::Document(b"", "text/plain"))]),
    ("octet-stream", "", &[(OPENID, Scripted::Document(b"", "application/octet-stream"))]),
    ("odd charset", "", &[(OPENID, Scripted::Document(b"", "application/json; charset=ISO-8859-1"))]),
    ("RFC 8414 only", "/tenant", &[("/.well-known/oauth-authorization-server/tenant", PLAIN)]),
    ("OpenID document where RFC 8414 puts its own", "/tenant", &[("/.well-known/openid-configuration/tenant", PLAIN)]),
    ("web page for every other path", "/tenant", &[("/.well-known/oauth-authorization-server/tenant", PLAIN), ("*", Scripted::Page)]),
    ("errors for every other path", "", &[(OAUTH, PLAIN), ("*", Scripted::Status(500))]),
    ("moved within the origin", "", &[(OPENID, Scripted::Moved(301, "/here")), ("/here", PLAIN)]),
];

#[rustfmt::skip]
const BAD: [(&str, Answers, &str); 3] = [
    ("nothing but a web page", &[("*", Scripted::Page)], "issuerUrl"),
    ("moved to another origin", &[("*", Scripted::Away)], "https://elsewhere.example"),
    ("gone", &[], "issuerUrl"),
];

#[test]
fn odd_discovery_documents_of_real_issuers_are_understood_and_what_is_none_is_named() {
    run(async {
        let world = World::shared().await;
        let provider = OidcProvider::start(OidcOptions::default()).await;
        let provider = provider.expect("an issuer");
        let hydra = Hydra::start().await.expect("an issuer");
        let client = json!({
            "client_id": "basic", "client_secret": "basic-secret", "scope": "read",
            "grant_types": ["client_credentials"], "token_endpoint_auth_method": "client_secret_basic",
        });
        hydra.add_client(&client).await.expect("a client");
        for (url, ca) in [
            (provider.issuer_url(), provider.ca_pem()),
            (hydra.issuer_url(), hydra.ca_pem()),
        ] {
            let document = document(url, ca).await;
            for (what, tenant, answers) in GOOD {
                let place = world.place("odd").await;
                let front = front(document.clone(), tenant, answers);
                put(&place, &front, tenant, ca).await;
                place.put_source("basic-secret").await;
                let spec = json!({ "client": { "id": "basic" }, "scopes": ["read"] });
                place.create("c", spec).await;
                let ready = place.ready("c").await;
                assert!(!ready.token.is_empty(), "{what}");
            }
            for (what, answers, phrase) in BAD {
                let place = world.place("odd").await;
                let front = front(document.clone(), "", answers);
                put(&place, &front, "", ca).await;
                eventually(SOON, format!("{what} is named"), async || {
                    let issuer = place.issuers().get(&place.issuer_name).await;
                    let status = issuer
                        .map_err(|e| e.to_string())?
                        .status
                        .unwrap_or_default();
                    let named = status.conditions.iter().any(|c| {
                        c.type_ == "Ready" && c.status == "False" && c.message.contains(phrase)
                    });
                    named
                        .then_some(())
                        .ok_or(format!("{:?}", status.conditions))
                })
                .await;
            }
        }
    });
}

#[test]
fn a_document_that_lists_nothing_simpler_has_the_client_secret_sign() {
    run(async {
        const SECRET: &str = "Qz7vKp2mXw9sLd4tRb6yNf8hJc3gTe5uWa1x";
        let world = World::shared().await;
        let mut client = OidcClient::new("signs", OidcClientAuth::SecretJwt).secret(SECRET);
        client.signing_alg = Some("HS256".to_owned());
        let mut options = OidcOptions::default();
        options.clients.push(client);
        let provider = OidcProvider::start(options).await.expect("an issuer");
        let mut document = document(provider.issuer_url(), provider.ca_pem()).await;
        document["token_endpoint_auth_methods_supported"] =
            json!(["private_key_jwt", "client_secret_jwt"]);
        document["token_endpoint_auth_signing_alg_values_supported"] =
            json!(["RS256", "HS512", "HS256"]);
        let place = world.place("signs").await;
        let front = front(document, "", &[(OPENID, PLAIN)]);
        place
            .put_issuer(place.issuer_spec(json!({
                "entra": null,
                "oidc": { "issuerUrl": front.origin() },
                "caBundle": format!("{}{}", front.ca_pem, provider.ca_pem()),
                // The front returns the document; the issuer uses its own URL.
                "assertionAudience": "TokenEndpoint",
            })))
            .await;
        place.put_source(SECRET).await;
        let spec = json!({ "client": { "id": "signs" }, "scopes": ["read"] });
        place.create("c", spec).await;
        let token = place.ready("c").await.token;
        let live = provider.introspect(&token).await.expect("an answer");
        assert_eq!(live["active"], true);
        let seen = provider.requests().await.expect("what was seen");
        let seen: Vec<(&str, &str, u16)> = seen
            .iter()
            .map(|s| (&*s.client_id, &*s.auth_method, s.status))
            .collect();
        assert_eq!(seen, [("signs", "client_secret_jwt", 200)]);
    });
}
