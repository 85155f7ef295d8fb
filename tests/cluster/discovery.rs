//! Discovery documents as servers, gateways and caches really send them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::future::join_all;
use serde_json::json;
use testenv::eventually;

use crate::support::{ANSWER, LATER, Listener, Place, SOON, World, issuer_of, reply, run};

const PAGE: &[u8] = b"<!doctype html><html><body>C4NARY</body></html>";
const OPENID: &str = "/tenant/.well-known/openid-configuration";
const INSERTED: &str = "/.well-known/oauth-authorization-server/tenant";
const APPENDED: &str = "/tenant/.well-known/oauth-authorization-server";

/// The path of a request.
fn path(request: &str) -> &str {
    request.split(' ').nth(1).unwrap_or_default()
}

/// The correct document of the issuer `/tenant` at this host.
fn document(request: &str) -> String {
    let origin = issuer_of(request);
    json!({ "issuer": format!("{origin}/tenant"), "token_endpoint": format!("{origin}/token") })
        .to_string()
}

fn page() -> Vec<u8> {
    reply("200 OK", "", PAGE)
}

fn missing() -> Vec<u8> {
    reply("404 Not Found", "", PAGE)
}

/// A server that answers a request for a document with these bytes, and a request for a token correctly.
fn server(documents: fn(&str) -> Vec<u8>) -> Listener {
    Listener::replying(move |request| {
        if request.starts_with("POST") {
            reply("200 OK", "", ANSWER.as_bytes())
        } else {
            documents(request)
        }
    })
}

async fn put(place: &Place, listener: &Listener, more: serde_json::Value) {
    let mut oidc = json!({ "issuerUrl": format!("{}/tenant", listener.origin()) });
    for (name, value) in more.as_object().expect("fields") {
        oidc[name] = value.clone();
    }
    place
        .put_issuer(json!({
            "oidc": oidc,
            "caBundle": listener.ca_pem,
            "network": { "allowedCidrs": ["127.0.0.1/32"] },
            "allowedNamespaces": { "names": [place.namespace] },
        }))
        .await;
}

/// Name, and the whole answer for the head of a request.
type Case = (&'static str, fn(&str) -> Vec<u8>);

#[test]
fn a_document_is_found_however_the_other_addresses_answer() {
    run(async {
        let world = World::shared().await;
        let cases: Vec<Case> = vec![
            ("page-else", |r| match path(r) {
                INSERTED => reply("200 OK", "", document(r).as_bytes()),
                _ => page(),
            }),
            ("refused-else", |r| match path(r) {
                OPENID => reply("401 Unauthorized", "", b""),
                INSERTED => reply("500 Internal Server Error", "", PAGE),
                APPENDED => reply("200 OK", "", document(r).as_bytes()),
                _ => missing(),
            }),
            ("root-first", |r| match path(r) {
                // A host that ignores the rest of a path that it serves.
                OPENID => {
                    let root = json!({ "issuer": issuer_of(r), "token_endpoint": issuer_of(r) });
                    reply("200 OK", "", root.to_string().as_bytes())
                }
                INSERTED => reply("200 OK", "", document(r).as_bytes()),
                _ => missing(),
            }),
            ("moved-here", |r| match path(r) {
                OPENID => {
                    let location = format!("location: {}/moved\r\n", issuer_of(r));
                    reply("301 Moved Permanently", &location, PAGE)
                }
                "/moved" => reply("302 Found", "location: /moved/\r\n", b""),
                "/moved/" => reply("200 OK", "", document(r).as_bytes()),
                _ => missing(),
            }),
            ("mark", |r| {
                let body = format!("\u{feff}{}", document(r));
                reply("200 OK", "", body.as_bytes())
            }),
            ("utf16", |r| {
                let units = document(r);
                let body: Vec<u8> = units.encode_utf16().flat_map(u16::to_le_bytes).collect();
                reply("200 OK", "", &body)
            }),
        ];
        let cases = cases.into_iter().map(|(name, documents)| async move {
            let place = world.place(name).await;
            let listener = server(documents);
            put(&place, &listener, json!({})).await;
            let issuer = place.issuer_ready().await;
            assert_eq!(
                issuer.status.and_then(|s| s.token_endpoint),
                Some(format!("{}/token", listener.origin())),
                "{name}"
            );
            place.create("c", json!({})).await;
            place.ready("c").await;
        });
        join_all(cases).await;
    });
}

#[test]
fn a_document_that_cannot_be_used_is_reported_with_what_was_found() {
    run(async {
        let world = World::shared().await;
        let elsewhere = Arc::new(server(|r| reply("200 OK", "", document(r).as_bytes())));
        let lure = elsewhere.origin().to_owned();
        let cases: Vec<(&str, Listener, Vec<String>)> = vec![
            (
                "named-other",
                server(|_| {
                    let other = json!({ "issuer": "https://tenant.b2c.example/v2.0/", "token_endpoint": "https://tenant.b2c.example/token" });
                    reply("200 OK", "", other.to_string().as_bytes())
                }),
                vec![
                    "\"https://tenant.b2c.example/v2.0/\"".to_owned(),
                    "oauth2.tokenUrl".to_owned(),
                ],
            ),
            (
                "led-away",
                Listener::replying({
                    let location = format!("location: {lure}{OPENID}\r\n");
                    move |_| reply("301 Moved Permanently", &location, PAGE)
                }),
                vec![
                    "HTTP 301".to_owned(),
                    format!("redirects to {lure}"),
                    "set issuerUrl".to_owned(),
                ],
            ),
            (
                "page-only",
                server(|_| page()),
                vec!["web page".to_owned(), "oauth2.tokenUrl".to_owned()],
            ),
            (
                "gzip",
                server(|_| {
                    reply(
                        "200 OK",
                        "content-encoding: gzip\r\n",
                        b"\x1f\x8b\x08\0\0\0\0\0",
                    )
                }),
                vec!["compressed with gzip".to_owned()],
            ),
            (
                "closed",
                server(|_| reply("403 Forbidden", "", PAGE)),
                vec!["HTTP 403".to_owned(), "not public".to_owned()],
            ),
            (
                "around",
                server(|r| reply("302 Found", &format!("location: {}\r\n", path(r)), b"")),
                vec!["in a loop".to_owned()],
            ),
        ];
        let cases = cases
            .into_iter()
            .map(|(name, listener, expected)| async move {
                let place = world.place(name).await;
                put(&place, &listener, json!({})).await;
                let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
                place
                    .until_issuer_reports("DiscoveryFailed", &expected)
                    .await;
                place.create("c", json!({})).await;
                let message = place.not_ready("c", "DiscoveryFailed").await;
                assert!(
                    expected
                        .iter()
                        .all(|expected_part| message.contains(expected_part))
                        && !message.contains("C4NARY"),
                    "{name}: {message}"
                );
                let posted = listener.requests().iter().any(|r| r.starts_with("POST"));
                assert!(!posted, "{name}");
            });
        join_all(cases).await;
        assert!(elsewhere.requests().is_empty(), "a redirect was followed");
    });
}

#[test]
fn a_token_endpoint_that_moves_is_found_again() {
    run(async {
        let world = World::shared().await;
        let place = world.place("moves").await;
        let moved = Arc::<AtomicBool>::default();
        let listener = Listener::replying({
            let moved = Arc::clone(&moved);
            move |request| {
                let now = if moved.load(Ordering::SeqCst) {
                    "/new"
                } else {
                    "/old"
                };
                if !request.starts_with("POST") {
                    let origin = issuer_of(request);
                    let found = json!({ "issuer": format!("{origin}/tenant"), "token_endpoint": format!("{origin}{now}") });
                    reply("200 OK", "", found.to_string().as_bytes())
                } else if path(request) == now {
                    reply("200 OK", "", ANSWER.as_bytes())
                } else {
                    missing()
                }
            }
        });
        put(&place, &listener, json!({})).await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        // The bound: a document that was just read is not read again.
        let read = std::time::Instant::now();
        let bound = std::time::Duration::from_secs(21);
        eventually(LATER, "the document is 21 s old", async || {
            (read.elapsed() > bound).then_some(())
        })
        .await;
        moved.store(true, Ordering::SeqCst);
        place.request_renewal("c").await;
        let posted = |to: &str| {
            let request = format!("POST {to} ");
            let all = listener.requests();
            all.iter().filter(|r| r.starts_with(&request)).count()
        };
        eventually(
            SOON,
            "the new endpoint is asked, once the old one has failed",
            async || (posted("/new") > 0).then_some(()),
        )
        .await;
        place
            .until("c", "no renewal is due", |c| {
                crate::support::is_well(c).then_some(())
            })
            .await;
        let shown = format!("{}/new", listener.origin());
        eventually(SOON, "the issuer shows where it went", async || {
            let issuer = place.issuers().get(&place.issuer_name).await;
            let issuer = issuer.map_err(|e| e.to_string())?;
            let endpoint = issuer.status.and_then(|s| s.token_endpoint);
            if endpoint.as_ref() == Some(&shown) {
                Ok(())
            } else {
                Err(format!("{endpoint:?}"))
            }
        })
        .await;
    });
}

#[test]
fn an_issuer_whose_token_endpoint_is_not_reached_is_not_ready() {
    run(async {
        let world = World::shared().await;
        let place = world.place("not-reached").await;
        let listener = Listener::start();
        let spec = |url: &str, ca: &str| {
            json!({
                "oauth2": { "tokenUrl": url },
                "caBundle": ca,
                "network": { "allowedCidrs": ["127.0.0.1/32"] },
                "allowedNamespaces": { "names": [place.namespace] },
            })
        };
        // A port on which no program listens.
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let nowhere = format!("https://{address}/token");
        place.put_issuer(spec(&nowhere, &listener.ca_pem)).await;
        place
            .until_issuer_reports("IssuerUnreachable", &["token endpoint: "])
            .await;
        place
            .put_issuer(spec(&listener.token_url, &listener.ca_pem))
            .await;
        place.issuer_ready().await;
        assert!(listener.requests().is_empty(), "something was asked of it");
        // The server of a document exists, and the one that the document names does not.
        let led = Listener::replying(move |request| {
            let found = json!({ "issuer": issuer_of(request), "token_endpoint": nowhere });
            reply("200 OK", "", found.to_string().as_bytes())
        });
        place.put_listener(&led).await;
        place
            .until_issuer_reports("IssuerUnreachable", &["token endpoint: "])
            .await;
    });
}

#[test]
fn a_revocation_endpoint_that_a_document_lacks_can_be_set() {
    run(async {
        let world = World::shared().await;
        let place = world.place("own-revoke").await;
        let listener = server(|r| reply("200 OK", "", document(r).as_bytes()));
        let own = format!("{}/own/revoke", listener.origin());
        put(&place, &listener, json!({ "revocationUrl": own })).await;
        place
            .create("c", json!({ "deletionPolicy": "Revoke" }))
            .await;
        place.ready("c").await;
        place.delete("c").await;
        eventually(LATER, "a revocation", async || {
            let all = listener.requests();
            all.iter()
                .any(|r| r.starts_with("POST /own/revoke "))
                .then_some(())
        })
        .await;
    });
}

#[test]
fn an_issuer_that_selects_a_method_which_its_document_does_not_list_warns_and_is_used() {
    run(async {
        let world = World::shared().await;
        let place = world.place("unlisted-method").await;
        let put = async |method: &str| {
            let spec = place.issuer_spec(json!({ "oidc": {
                "issuerUrl": format!("{}/generic", place.issuer.origin()),
                "clientAuthentication": { method: {} },
            } }));
            place.put_issuer(spec).await;
            place.issuer_ready().await
        };
        let unlisted = |issuer: apicred::api::ClusterTokenIssuer| {
            let status = issuer.status.expect("a status");
            let mut all = status.conditions.into_iter();
            all.find(|c| c.type_ == "ClientAuthenticationUnlisted")
        };
        let warning = unlisted(put("secretJwt").await).expect("a warning");
        assert_eq!(warning.reason, "ClientAuthenticationUnsupported");
        assert!(
            warning.message.contains("selects client_secret_jwt")
                && warning.message.contains("it lists client_secret_basic"),
            "{}",
            warning.message
        );
        assert_eq!(unlisted(put("post").await), None);
    });
}
