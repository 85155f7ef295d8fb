//! Grants of the generic issuer that bring a token along: JWT bearer (RFC 7523) and token exchange (RFC 8693).

use std::time::Duration;

use dev_issuer::Client;
use serde_json::{Value, json};

use crate::browser::USER;
use crate::signer::{Signer, claims, now, with};
use crate::support::{Bench, DEMO, assert_error, form};

const TOKEN: &str = "/generic/token";
const ROBOT: &str = "robot@project.iam.example.com";
const BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

fn header() -> Value {
    json!({ "alg": "RS256", "kid": "k1" })
}

/// As Google's libraries write it: no `jti`, no `nbf`, no `sub`.
fn google(bench: &Bench) -> Value {
    let changes =
        json!({ "jti": null, "nbf": null, "sub": null, "scope": "a b", "exp": now() + 3600 });
    with(&claims(ROBOT, &bench.issuer.generic_token_url()), &changes)
}

#[tokio::test]
async fn a_service_account_signs_for_itself_or_for_a_user() {
    let signer = Signer::rsa();
    let bench = Bench::new().await;
    let robot = Client::new(ROBOT)
        .jwks(signer.jwks("k1"))
        .default_audience("api://demo")
        .role("demo", "Records.Read");
    bench.issuer.add_client(robot.clone()).unwrap();
    let send = async |header: &Value, claims: &Value| {
        let text = signer.sign(header, claims);
        bench
            .post(TOKEN, &[("grant_type", BEARER), ("assertion", &text)])
            .await
    };
    let good = google(&bench);
    let reply = send(&header(), &good).await;
    assert_eq!(reply.json()["scope"], "a b");
    let seen = bench.issuer.validate(&reply.token()).unwrap();
    assert_eq!((seen.sub.as_str(), seen.client()), (ROBOT, Some(ROBOT)));
    assert_eq!(
        bench.call("/api/demo/records", &reply.token()).await.status,
        200
    );
    let record = bench.issuer.token_requests_of(ROBOT).pop().unwrap();
    assert_eq!(record.grant_type.as_deref(), Some(BEARER));
    let named = with(&good, &json!({ "jti": "same" }));
    assert_eq!(send(&header(), &named).await.status, 200);
    assert_error("a copy", &send(&header(), &named).await, "invalid_grant");

    let endpoint = bench.issuer.generic_token_url();
    #[rustfmt::skip]
    let table = [
        ("issuer as audience", header(), json!({ "aud": bench.issuer.generic_issuer() }), "invalid_grant"),
        ("two audiences", header(), json!({ "aud": [endpoint, "x"] }), "invalid_grant"),
        ("too long", header(), json!({ "exp": now() + 3700 }), "invalid_grant"),
        ("expired", header(), json!({ "iat": now() - 3700, "exp": now() - 100 }), "invalid_grant"),
        ("backwards", header(), json!({ "iat": now() + 5, "exp": now() }), "invalid_grant"),
        ("no iat", header(), json!({ "iat": null }), "invalid_grant"),
        ("no exp", header(), json!({ "exp": null }), "invalid_grant"),
        ("no kid", json!({ "alg": "RS256" }), json!({}), "invalid_grant"),
        ("another kid", json!({ "alg": "RS256", "kid": "k2" }), json!({}), "invalid_grant"),
        ("unknown signer", header(), json!({ "iss": "x@example.com" }), "invalid_grant"),
        ("a client without keys", header(), json!({ "iss": "demo" }), "invalid_grant"),
        ("no scope", header(), json!({ "scope": null }), "invalid_scope"),
        ("malformed scope", header(), json!({ "scope": "a  b" }), "invalid_scope"),
        ("a user", header(), json!({ "sub": USER }), "unauthorized_client"),
    ];
    for (what, header, changes, error) in table {
        let reply = send(&header, &with(&good, &changes)).await;
        assert_error(what, &reply, error);
    }
    let forged = Signer::rsa().sign(&header(), &good);
    let reply = bench
        .post(TOKEN, &[("grant_type", BEARER), ("assertion", &forged)])
        .await;
    assert_error("forged", &reply, "invalid_grant");
    let reply = bench.post(TOKEN, &[("grant_type", BEARER)]).await;
    assert_error("nothing", &reply, "invalid_request");

    bench.issuer.add_client(robot.delegation()).unwrap();
    let reply = send(&header(), &with(&good, &json!({ "sub": USER }))).await;
    let seen = bench.issuer.validate(&reply.token()).unwrap();
    assert_eq!(seen.preferred_username.as_deref(), Some(USER));
    assert_ne!(seen.sub, ROBOT);
    let reply = send(
        &header(),
        &with(&good, &json!({ "sub": "nobody@contoso.example" })),
    )
    .await;
    assert_error("nobody", &reply, "unauthorized_client");
}

#[tokio::test]
async fn an_assertion_of_a_trusted_issuer_needs_an_authenticated_client() {
    let signer = Signer::rsa();
    let bench = Bench::new().await;
    let jwks = signer.jwks("k1").to_string();
    bench
        .issuer
        .trust_issuer("https://idp.example", &jwks)
        .unwrap();
    let own = bench.issuer.generic_issuer();
    let body = with(
        &claims("https://idp.example", &own),
        &json!({ "sub": "eve" }),
    );
    let text = signer.sign(&header(), &body);
    let fields = form(
        DEMO,
        &[
            ("grant_type", BEARER),
            ("assertion", &text),
            ("audience", "api://demo"),
        ],
    );
    for _ in 0..2 {
        let reply = bench.post(TOKEN, &fields).await;
        let seen = bench.issuer.validate(&reply.token()).unwrap();
        assert_eq!((seen.sub.as_str(), seen.client()), ("eve", Some("demo")));
    }
    let reply = bench
        .post(TOKEN, &form(&fields, &[("client_secret", "")]))
        .await;
    assert_eq!(reply.status, 401);
    for (what, changes) in [
        ("audience", json!({ "aud": "api://demo" })),
        ("expired", json!({ "exp": now() - 60 })),
        ("no subject", json!({ "sub": null })),
    ] {
        let text = signer.sign(&header(), &with(&body, &changes));
        let reply = bench
            .post(TOKEN, &form(&fields, &[("assertion", &text)]))
            .await;
        assert_error(what, &reply, "invalid_grant");
    }
}

fn exchanging<'a>(subject: &'a str, kind: &'a str) -> Vec<(&'a str, &'a str)> {
    let changes = [
        ("grant_type", EXCHANGE),
        ("subject_token", subject),
        ("subject_token_type", kind),
        ("audience", "api://demo"),
        ("scope", ""),
    ];
    form(DEMO, &changes)
}

#[tokio::test]
async fn a_token_is_exchanged_for_another() {
    let signer = Signer::rsa();
    let bench = Bench::new().await;
    let jwks = signer.jwks("k1").to_string();
    bench
        .issuer
        .trust_issuer("https://idp.example", &jwks)
        .unwrap();
    let own = bench.issuer.generic_issuer();
    let body = with(
        &claims("https://idp.example", &own),
        &json!({ "sub": "eve" }),
    );
    let theirs = signer.sign(&header(), &body);
    let ours = bench
        .issuer
        .issue_user_token("api://x", USER, Duration::from_hours(1));
    let id = bench.issuer.validate(&ours).unwrap().sub;
    for (token, kind, subject) in [(&theirs, JWT, "eve"), (&ours, ACCESS_TOKEN, id.as_str())] {
        let reply = bench.post(TOKEN, &exchanging(token, kind)).await;
        assert_eq!(reply.json()["issued_token_type"], ACCESS_TOKEN);
        let seen = bench.issuer.validate(&reply.token()).unwrap();
        assert_eq!((seen.sub.as_str(), seen.client()), (subject, Some("demo")));
        assert_eq!(
            bench.call("/api/demo/records", &reply.token()).await.status,
            200
        );
    }
    let good = exchanging(&theirs, JWT);
    let reply = bench
        .post(TOKEN, &form(&good, &[("requested_token_type", JWT)]))
        .await;
    assert_eq!(reply.json()["issued_token_type"], JWT);
    let plain = bench.post(TOKEN, DEMO).await;
    assert_eq!(plain.json().get("issued_token_type"), None);

    let refresh = "urn:ietf:params:oauth:token-type:refresh_token";
    #[rustfmt::skip]
    let table = [
        ("no token", [("subject_token", "")], "invalid_request"),
        ("no type", [("subject_token_type", "")], "invalid_request"),
        ("another type", [("subject_token_type", refresh)], "invalid_request"),
        ("wants another type", [("requested_token_type", refresh)], "invalid_request"),
        ("actor", [("actor_token", "x")], "invalid_request"),
        ("type of an actor", [("actor_token_type", JWT)], "invalid_request"),
        ("no token at all", [("subject_token", "x")], "invalid_request"),
        ("audience", [("audience", "api://nobody")], "invalid_target"),
        ("malformed scope", [("scope", "a  b")], "invalid_scope"),
    ];
    for (what, changes, error) in table {
        let reply = bench.post(TOKEN, &form(&good, &changes)).await;
        assert_error(what, &reply, error);
    }
    for (what, changes) in [
        (
            "for somebody else",
            json!({ "aud": "https://other.example" }),
        ),
        ("expired", json!({ "exp": now() - 60 })),
        ("of a stranger", json!({ "iss": "https://nobody.example" })),
        ("of nobody", json!({ "sub": null })),
    ] {
        let text = signer.sign(&header(), &with(&body, &changes));
        let reply = bench.post(TOKEN, &exchanging(&text, JWT)).await;
        assert_error(what, &reply, "invalid_request");
    }
    let forged = Signer::rsa().sign(&header(), &body);
    assert_error(
        "forged",
        &bench.post(TOKEN, &exchanging(&forged, JWT)).await,
        "invalid_request",
    );
    // Not more than the subject's token permits, if it contains its scope.
    let more = form(
        &exchanging(&ours, ACCESS_TOKEN),
        &[("scope", "access_as_user else")],
    );
    assert_error("more", &bench.post(TOKEN, &more).await, "invalid_scope");
    let public = form(&good, &[("client_id", "demo-cli"), ("client_secret", "")]);
    assert_error(
        "public",
        &bench.post(TOKEN, &public).await,
        "unauthorized_client",
    );
    let nobody = form(&good, &[("client_secret", "")]);
    assert_eq!(bench.post(TOKEN, &nobody).await.status, 401);
}
