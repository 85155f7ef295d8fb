//! An issuer that echoes the request (T6) and returns false claims (T10).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::attacker::{Attacker, CREDENTIALS};
use crate::support::{Listener, Place, World, condition, run};

/// A token that anyone can make.
fn forged(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", part(&json!({ "alg": "none" })), part(claims))
}

/// Lets the place's issuer answer every request like this.
async fn answer(place: &Place, status: &'static str, text: String) -> Listener {
    let listener = Listener::answering(status, move |_| text.clone());
    place.put_token_url(&listener).await;
    place.issuer_ready().await;
    listener
}

#[test]
fn the_response_of_an_issuer_is_never_shown() {
    run(async {
        let world = World::shared().await;
        let place = world.place("t6").await;
        let attacker = Attacker::of(world, &place, CREDENTIALS).await;
        attacker.reads_no_secrets().await;
        let s = place.secret.as_str();
        let echo = json!({
            "error": s, "error_description": s, "error_uri": s, "suberror": s, "claims": s, "scope": s,
            "error_codes": [s], "trace_id": s, "correlation_id": s, "timestamp": s, "state": s, "issuer": s,
        });
        let known = json!({ "error": "invalid_client", "error_description": format!("AADSTS7000215: {s}"), "error_uri": s });
        let token = |more: Value| {
            let mut answer = json!({ "access_token": "opaque-5f1c9d0b7a", "token_type": "Bearer", "expires_in": 1200 });
            for (name, value) in more.as_object().cloned().unwrap_or_default() {
                answer[name] = value;
            }
            answer.to_string()
        };
        // Names of permissions, audience and tenant are stored on the Secret: `expect` compares them.
        let claims = json!({ "appid": s, "uti": s, "iss": s, "exp": s, "sub": s, "name": s, s: s });
        let cases = [
            ("error", "400 Bad Request", echo.to_string()),
            ("known", "401 Unauthorized", known.to_string()),
            ("error-200", "200 OK", echo.to_string()),
            ("html", "200 OK", format!("<html>{s}</html>")),
            ("server", "500 Oh", echo.to_string()),
            ("not-json", "400 Bad Request", format!("{{\"error\":\"{s}")),
            (
                "wrong-type",
                "200 OK",
                json!({ "access_token": [s], "token_type": { s: s } }).to_string(),
            ),
            ("type", "200 OK", token(json!({ "token_type": s }))),
            ("life", "200 OK", token(json!({ "expires_in": s }))),
            (
                "scope",
                "200 OK",
                token(json!({ "scope": s, "id": s, "instance_url": s, "refresh_token": s })),
            ),
            (
                "claims",
                "200 OK",
                token(json!({ "access_token": forged(&claims) })),
            ),
            // The last one: after it, no request is sent to the issuer.
            ("busy", "429 Busy", echo.to_string()),
        ];
        for (name, status, text) in cases {
            let listener = answer(&place, status, text).await;
            let expect =
                json!({ "roles": ["Investigation.Read"], "scopes": ["a"], "audience": "b" });
            place
                .create(
                    name,
                    json!({ "target": { "secretName": name }, "expect": expect }),
                )
                .await;
            place
                .until(name, "a judgement", |c| {
                    condition(c, "Ready").filter(|r| r.status != "Unknown")
                })
                .await;
            assert!(!listener.requests().is_empty(), "{name}: nobody asked");
            let leak = place.canaries.net().first_leak(&attacker.reads().await);
            assert_eq!(leak, None, "{name}: a leak in what everybody reads");
            if let Ok(secret) = place.secrets().get(name).await {
                let noted = serde_json::to_string(&secret.metadata).unwrap();
                let leak = place.canaries.net().first_leak(&noted);
                assert_eq!(leak, None, "{name}: a leak in the Secret's metadata");
            }
            place.delete(name).await;
        }
        let logs = world.operator_logs();
        assert!(logs.contains(&place.namespace), "these are no logs of it");
        assert_eq!(
            place.canaries.net().first_leak(&logs),
            None,
            "a leak in the log"
        );
    });
}

#[test]
fn a_forged_token_prolongs_nothing_and_is_reported_within_bounds() {
    run(async {
        let world = World::shared().await;
        let place = world.place("t10").await;
        let now = jiff::Timestamp::now().as_second();
        let huge = "x".repeat(20_000);
        let crowd: Vec<String> = (0..2_000).map(|n| format!("Role.Number.{n}")).collect();
        let odd = "Roles\n  type: Ready\n\u{1b}[31m\u{202e}";
        for (name, lifetime, claims, most) in [
            (
                "far",
                json!(600),
                json!({ "exp": 253_402_300_799_i64, "iat": 0, "nbf": 0 }),
                600,
            ),
            (
                "past",
                json!(600),
                json!({ "exp": 1, "iat": now + 86_400, "nbf": now + 86_400 }),
                600,
            ),
            (
                "words",
                json!(600),
                json!({ "exp": "never", "roles": { "a": 1 }, "aud": 7 }),
                600,
            ),
            (
                "huge",
                json!(600),
                json!({ "roles": [huge], "aud": huge, "tid": huge }),
                600,
            ),
            (
                "crowd",
                json!(600),
                json!({ "roles": crowd, "scp": crowd.join(" ") }),
                600,
            ),
            (
                "odd",
                json!(600),
                json!({ "roles": [odd], "aud": odd, "scp": odd, "uti": odd }),
                600,
            ),
            // Only the token itself states its lifetime: accepted for a year at most.
            (
                "alone",
                Value::Null,
                json!({ "exp": 253_402_300_799_i64 }),
                366 * 86_400,
            ),
            ("negative", Value::Null, json!({ "exp": -1 }), 900),
        ] {
            let token = forged(&claims);
            let text =
                json!({ "access_token": token, "token_type": "Bearer", "expires_in": lifetime });
            let _listener = answer(&place, "200 OK", text.to_string()).await;
            let expect =
                json!({ "roles": ["Needed"], "tenant": "11111111-1111-1111-1111-111111111111" });
            place
                .create(
                    name,
                    json!({ "target": { "secretName": name }, "expect": expect }),
                )
                .await;
            let checked = place
                .until(name, "a judgement", |c| {
                    let ready = condition(c, "Ready").filter(|r| r.status != "Unknown")?;
                    Some((ready, c.clone()))
                })
                .await;
            let end = checked
                .1
                .status
                .as_ref()
                .and_then(|s| s.expires_at.as_ref().map(|t| t.0));
            if let Some(end) = end {
                let lifetime = end.as_second() - now;
                assert!(lifetime <= most + 60, "{name}: believed for {lifetime} s");
            } else {
                assert_eq!(checked.0.status, "False", "{name}: ready without an end");
            }
            let object = serde_json::to_string(&checked.1.status).unwrap();
            assert!(
                object.len() < 8_000,
                "{name}: the status has {} bytes",
                object.len()
            );
            for c in checked.1.status.iter().flat_map(|s| &s.conditions) {
                assert!(
                    c.message.len() < 1_100,
                    "{name}: {} has {} bytes",
                    c.type_,
                    c.message.len()
                );
                let tame = c
                    .message
                    .chars()
                    .all(|c| !c.is_control() && c != '\u{202e}');
                assert!(tame, "{name}: {:?}", c.message);
            }
            place.delete(name).await;
        }
        assert_eq!(world.operator().get("/livez").await.map(|a| a.0), Some(200));
    });
}
