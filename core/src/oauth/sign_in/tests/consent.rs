//! Nothing is sent to an origin that the user did not allow.

use proptest::prelude::*;
use serde_json::{Value, json};
use url::Url;

use super::{found, oidc, user_at};
use crate::{
    credential::{Credential, Issuer},
    fixtures::token_issuer,
    oauth::{
        TokenEndpoint, known_endpoint,
        sign_in::{
            Callback, Consent, Destination, Flow, Part, Sender, authorize_url, callback,
            destinations, discovery, named_origin, origins,
        },
    },
};

const EVIL: &str = "https://evil.example";
const LOGIN: &str = "https://login.example";

/// A credential of a user at a `TokenIssuer` of the namespace.
fn at_namespaced(spec: &Value) -> Credential {
    let issuer = Issuer::namespaced(&token_issuer(spec), &[]).unwrap();
    Credential {
        issuer,
        ..user_at(&oidc(), &json!({}))
    }
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

/// The genuine sign-in page, and the attacker's token endpoint.
fn mixed_up() -> (Credential, TokenEndpoint) {
    let credential = at_namespaced(&json!({ "oauth2": {
        "tokenUrl": "https://evil.example/token",
        "authorizationUrl": "https://login.example/authorize",
        "deviceAuthorizationUrl": "https://login.example/device",
    } }));
    let endpoint = known_endpoint(&credential).unwrap();
    (credential, endpoint)
}

/// All endpoints on one host that the namespace chose. It may redirect the browser anywhere.
fn one_host() -> (Credential, TokenEndpoint) {
    let credential = at_namespaced(&json!({ "oauth2": {
        "tokenUrl": "https://evil.example/token",
        "authorizationUrl": "https://evil.example/authorize",
        "deviceAuthorizationUrl": "https://evil.example/device",
    } }));
    let endpoint = known_endpoint(&credential).unwrap();
    (credential, endpoint)
}

/// A discovery document of `EVIL` that names the genuine page.
fn discovered() -> (Credential, TokenEndpoint) {
    let credential = at_namespaced(&json!({ "oidc": { "issuerUrl": EVIL } }));
    let endpoint = TokenEndpoint {
        issuer: Some(EVIL.to_owned()),
        url: url("https://evil.example/token"),
        authorization: Some(url("https://login.example/authorize")),
        device: Some(url("https://login.example/device")),
        ..found(None)
    };
    (credential, endpoint)
}

fn named(list: &[&str]) -> Vec<String> {
    list.iter().map(|o| named_origin(o).unwrap()).collect()
}

#[test]
fn a_sign_in_page_of_another_origin_than_the_token_endpoint_is_refused() {
    for (credential, endpoint) in [mixed_up(), discovered()] {
        for flow in [Flow::Browser, Flow::Device] {
            let places = destinations(&credential, &endpoint, flow);
            let reported = Consent::new(&credential.issuer, Vec::new())
                .check(&places)
                .unwrap_err();
            assert!(
                reported.contains(EVIL) && reported.contains(LOGIN),
                "{reported}"
            );
            // One of the two origins is not enough.
            for half in [EVIL, LOGIN, "https://evil.example.org"] {
                let consent = Consent::new(&credential.issuer, named(&[half]));
                assert!(consent.check(&places).is_err(), "{half}");
            }
            // A user who names both allows both.
            let consent = Consent::new(&credential.issuer, named(&[LOGIN, EVIL]));
            assert_eq!(consent.check(&places), Ok(false));
        }
    }
}

#[test]
fn the_user_must_confirm_an_issuer_that_is_not_vouched_for_once() {
    let (credential, endpoint) = one_host();
    let places = destinations(&credential, &endpoint, Flow::Browser);
    let mut consent = Consent::new(&credential.issuer, Vec::new());
    assert_eq!(consent.check(&places), Ok(true));
    assert!(!consent.covers(&endpoint.url), "before the answer");
    consent.allow(&places);
    assert_eq!(consent.check(&places), Ok(false));
    assert!(consent.covers(&endpoint.url));
    assert!(!consent.covers(&url("https://login.example/token")));
    assert!(!consent.covers(&url("https://evil.example:8443/token")));
    assert!(!consent.covers(&url("http://evil.example/token")));
}

#[test]
fn discovery_comes_after_consent_and_what_it_finds_needs_consent_too() {
    let (credential, endpoint) = discovered();
    let first = [discovery(&credential.issuer).unwrap()];
    let mut consent = Consent::new(&credential.issuer, Vec::new());
    assert_eq!(consent.check(&first), Ok(true));
    consent.allow(&first);
    // All on the issuer's own origin: no second question.
    let own = TokenEndpoint {
        authorization: Some(url("https://evil.example/authorize")),
        ..endpoint.clone()
    };
    let places = destinations(&credential, &own, Flow::Browser);
    assert_eq!(consent.check(&places), Ok(false));
    // The document moves all endpoints to another origin: another question.
    let moved = TokenEndpoint {
        url: url("https://login.example/token"),
        ..endpoint
    };
    let places = destinations(&credential, &moved, Flow::Browser);
    assert_eq!(consent.check(&places), Ok(true));
    // `--issuer` decides before the document is read.
    let other = Consent::new(&credential.issuer, named(&[LOGIN]));
    assert!(other.check(&first).is_err());
}

#[test]
fn the_page_for_a_device_code_is_checked_like_any_other() {
    let (credential, endpoint) = one_host();
    let mut places = destinations(&credential, &endpoint, Flow::Device);
    let mut consent = Consent::new(&credential.issuer, Vec::new());
    consent.allow(&places);
    // A forwarded code of the genuine issuer.
    places.push(Destination::new(
        Part::Verification,
        &url("https://login.example/device"),
    ));
    assert!(consent.check(&places).is_err());
    let consent = Consent::new(&credential.issuer, named(&[EVIL]));
    assert!(consent.check(&places).is_err());
    let consent = Consent::new(&credential.issuer, named(&[EVIL, LOGIN]));
    assert_eq!(consent.check(&places), Ok(false));
}

#[test]
fn a_vouched_issuer_is_shown_and_needs_no_confirmation() {
    let credential = user_at(&oidc(), &json!({}));
    let endpoint = TokenEndpoint {
        url: url("https://oauth2.example.com/token"),
        ..found(None)
    };
    let places = destinations(&credential, &endpoint, Flow::Browser);
    let consent = Consent::new(&credential.issuer, Vec::new());
    assert_eq!(consent.check(&places), Ok(false));
    // Named origins restrict the sign-in, even if an administrator vouches for the issuer.
    let consent = Consent::new(&credential.issuer, named(&["https://server.example.com"]));
    let reported = consent.check(&places).unwrap_err();
    assert!(
        reported.contains("add --issuer https://oauth2.example.com"),
        "{reported}"
    );
}

#[test]
fn every_address_that_gets_something_is_a_destination() {
    let credential = user_at(&oidc(), &json!({ "deletionPolicy": "Revoke" }));
    let endpoint = TokenEndpoint {
        url: url("https://t.example/"),
        mtls_url: Some(url("https://m.example/")),
        revocation: Some(url("https://r.example/")),
        authorization: Some(url("https://a.example/")),
        device: Some(url("https://d.example/")),
        ..found(None)
    };
    let at = |flow| -> Vec<String> {
        let places = destinations(&credential, &endpoint, flow);
        places.into_iter().map(|d| d.origin).collect()
    };
    let issuer = "https://server.example.com";
    let (t, r) = ("https://t.example", "https://r.example");
    assert_eq!(at(Flow::Browser), [issuer, "https://a.example", t, r]);
    assert_eq!(at(Flow::Device), [issuer, "https://d.example", t, r]);
    let places = destinations(&credential, &endpoint, Flow::Device);
    let holders = [Part::Token, Part::Revocation];
    assert_eq!(
        origins(&credential.issuer, &places, &holders),
        [issuer, t, r]
    );
    // A client that shows a certificate uses another endpoint.
    let issuer = json!({ "oauth2": { "tokenUrl": "https://t.example/" } });
    let credential = Credential {
        authentication: crate::credential::AuthenticationMethod::Mtls(crate::credential::KeyPair {
            secret: "tls".to_owned(),
            certificate: "tls.crt".to_owned(),
            private_key: "tls.key".to_owned(),
        }),
        ..user_at(&issuer, &json!({}))
    };
    let places = destinations(&credential, &endpoint, Flow::Browser);
    assert!(places.iter().any(|d| d.origin == "https://m.example"));
}

#[test]
fn an_origin_is_named_in_any_spelling_and_nothing_else_is_one() {
    for (text, origin) in [
        (EVIL, EVIL),
        ("https://evil.example/", EVIL),
        ("HTTPS://EVIL.example:443", EVIL),
        (" https://evil.example ", EVIL),
        ("https://evil.example:8443/", "https://evil.example:8443"),
        ("https://еvil.example", "https://xn--vil-qdd.example"),
        ("https://[::1]:8443", "https://[::1]:8443"),
    ] {
        assert_eq!(named_origin(text).as_deref(), Ok(origin), "{text}");
    }
    for text in [
        "",
        "evil.example",
        "http://evil.example",
        "https://",
        "https://login.example@evil.example",
        "https://login.example:x@evil.example",
        "https://@evil.example",
        "https://evil.example/tenant",
        "https://evil.example?x",
        "https://evil.example#x",
        "https://*.example/x",
        "javascript:alert(1)",
    ] {
        assert!(named_origin(text).is_err(), "{text}");
    }
}

fn back(query: &str, sender: Sender<'_>) -> &'static str {
    match callback(query, "s", sender) {
        Callback::Code(_) => "Code",
        Callback::Refused(token_error) => token_error.reason.as_str(),
        Callback::Stray => "Stray",
    }
}

#[test]
fn the_issuer_that_sends_the_browser_back_names_itself_if_it_announced_to() {
    let (credential, endpoint) = one_host();
    let mut consent = Consent::new(&credential.issuer, Vec::new());
    consent.allow(&destinations(&credential, &endpoint, Flow::Browser));
    let sender = |issuer, announced| Sender {
        issuer,
        announced,
        consent: &consent,
    };
    let (plain, evil, login) = (
        "code=a&state=s",
        "code=a&state=s&iss=https%3A%2F%2Fevil.example",
        "code=a&state=s&iss=https%3A%2F%2Flogin.example",
    );
    assert_eq!(back(plain, sender(Some(EVIL), false)), "Code");
    assert_eq!(back(plain, sender(Some(EVIL), true)), "IssuerMismatch");
    assert_eq!(back(evil, sender(Some(EVIL), true)), "Code");
    // The attacker's page redirected to the genuine one. The namespace claims its identifier, none, or the attacker's.
    for issuer in [Some(LOGIN), None, Some(EVIL)] {
        assert_eq!(back(login, sender(issuer, false)), "IssuerMismatch");
    }
    assert_eq!(
        back(&format!("{evil}&iss=x"), sender(None, false)),
        "IssuerMismatch"
    );
}

#[test]
fn the_address_of_a_sign_in_page_cannot_set_what_the_sign_in_sets() {
    let request = ("http://127.0.0.1:1/callback", "state", "challenge");
    for query in [
        "redirect_uri=https%3A%2F%2Fevil.example",
        "tenant=blue&client_id=another",
        "Redirect_Uri=x",
        "redirect.uri=x",
        "redirect_uri[]=x",
        "request=eyJ",
        "request_uri=https%3A%2F%2Fevil.example%2Fjar",
        "code_challenge=x",
        "response_mode=form_post",
        "state=x",
    ] {
        let endpoint = TokenEndpoint {
            authorization: Some(url(&format!("https://login.example/authorize?{query}"))),
            ..found(None)
        };
        let token_error = authorize_url(&user_at(&oidc(), &json!({})), &endpoint, request);
        assert_eq!(
            token_error.unwrap_err().reason.as_str(),
            "SignInNotPossible",
            "{query}"
        );
    }
    let allowed = authorize_url(&user_at(&oidc(), &json!({})), &found(None), request);
    assert!(allowed.unwrap().as_str().contains("tenant=blue"));
}

proptest! {
    /// For any endpoints of an issuer that no administrator vouches for: without `--issuer`, an origin without a question was
    /// allowed before, and the page always has the origin of the token endpoint.
    #[test]
    fn nothing_is_covered_that_was_not_allowed(
        hosts in proptest::collection::vec(0..3_usize, 4),
        flow in prop_oneof![Just(Flow::Browser), Just(Flow::Device)],
        before in proptest::collection::vec(0..3_usize, 0..3),
    ) {
        let place = |i: usize| url(&format!("https://h{}.example/x", hosts[i]));
        let credential = at_namespaced(&json!({ "oidc": { "issuerUrl": place(0).as_str() } }));
        let endpoint = TokenEndpoint {
            url: place(1),
            authorization: Some(place(2)),
            device: Some(place(3)),
            ..found(None)
        };
        let places = destinations(&credential, &endpoint, flow);
        let mut consent = Consent::new(&credential.issuer, Vec::new());
        let earlier: Vec<Destination> = before
            .iter()
            .map(|h| Destination::new(Part::Token, &url(&format!("https://h{h}.example/"))))
            .collect();
        consent.allow(&earlier);
        let page = if flow == Flow::Browser { place(2) } else { place(3) };
        match consent.check(&places) {
            Err(_) => prop_assert_ne!(page.origin(), endpoint.url.origin()),
            Ok(needs_consent) => {
                prop_assert_eq!(page.origin(), endpoint.url.origin());
                let all = [place(0), place(1), page].iter().all(|u| consent.covers(u));
                prop_assert_eq!(needs_consent, !all);
            }
        }
    }
}
