//! Issuers that are down, slow or busy, or send invalid answers.

use std::{sync::Arc, time::Duration};

use dev_issuer::{DevIssuer, Effect, Fault, RetryAfter};
use futures::future::join_all;
use serde_json::json;
use testenv::eventually;

use crate::support::{LATER, Place, Recorder, SOON, World, condition, is_well, merge, run};

#[test]
fn in_an_outage_the_token_stays_and_a_warning_comes_before_the_minimum_lifetime_breaks() {
    run(async {
        let world = World::shared().await;
        let place = world.place_with_own_issuer("outage").await;
        // Renewed after about 20 s; at risk from 25 s on; expires after 215 s.
        let lifetime = Duration::from_secs(215);
        place.add_client(
            place
                .oauth_client()
                .lifetime(lifetime)
                .refresh_in(Duration::from_secs(12)),
        );
        let recorder = Recorder::of(&place, "token");
        place.create("c", json!({ "minLifetime": "10s" })).await;
        let first = place.ready("c").await;
        place.issuer.stop().await;

        let late = place
            .until("c", "the renewal fails", |c| {
                condition(c, "RenewalFailing").filter(|r| r.status == "True")
            })
            .await;
        assert_eq!(late.reason, "IssuerUnreachable");
        let reported = place
            .until("c", "LifetimeAtRisk", |c| {
                condition(c, "LifetimeAtRisk").filter(|r| r.status == "True")
            })
            .await;
        assert_eq!(reported.reason, "RenewalFailing");
        let latest = first.expires_at - jiff::SignedDuration::from_secs(10);
        assert!(
            jiff::Timestamp::now() < latest,
            "reported only after the minimum lifetime was broken"
        );
        assert_eq!(
            place.ready("c").await.token,
            first.token,
            "the last good token stays, and is Ready"
        );
        let failing = place.credentials().get("c").await.unwrap().status.unwrap();
        assert!(
            failing.consecutive_failures.is_some_and(|n| n >= 1) && failing.next_attempt.is_some()
        );

        place.issuer.start_again().await.unwrap();
        let second = place.another_token("token", &first).await;
        assert_eq!(place.call("demo", "whoami", &second.token).await, 200);
        place
            .until("c", "no trace of the outage", |c| {
                let calm = condition(c, "LifetimeAtRisk").is_none() && is_well(c);
                calm.then_some(())
            })
            .await;
        // Events come after the status.
        let wanted = [
            ("TokenPublished", 0),
            ("IssuerUnreachable", 1),
            ("RenewalFailing", 1),
            ("Renewed", 1),
        ];
        eventually(SOON, "the events", async || {
            let reasons: Vec<String> = place.events("c").await.into_iter().map(|e| e.1).collect();
            let count = |reason: &str| reasons.iter().filter(|r| *r == reason).count();
            let there = wanted.iter().all(|(reason, times)| count(reason) == *times);
            if there {
                Ok(())
            } else {
                Err(format!("{reasons:?}"))
            }
        })
        .await;
        assert_eq!(recorder.finish(&place).len(), 2);
    });
}

#[test]
fn a_token_that_expires_in_an_outage_is_not_called_ready_and_not_taken_away() {
    run(async {
        let world = World::shared().await;
        let place = world.place_with_own_issuer("too-long").await;
        place.add_client(place.oauth_client().lifetime(Duration::from_secs(20)));
        place.create("c", json!({})).await;
        let first = place.ready("c").await;
        place.issuer.stop().await;
        place.not_ready("c", "IssuerUnreachable").await;
        let now = jiff::Timestamp::now();
        assert!(
            now >= first.expires_at,
            "not ready although the token is good until {}",
            first.expires_at
        );
        assert_eq!(
            place.view("token").await.unwrap().token,
            first.token,
            "the Secret is not blanked"
        );
        place.issuer.start_again().await.unwrap();
        let second = place.another_token("token", &first).await;
        assert_eq!(place.call("demo", "whoami", &second.token).await, 200);
        place.ready("c").await;
    });
}

#[test]
fn a_429_pauses_all_credentials_of_the_client_for_retry_after_and_no_others() {
    run(async {
        let world = World::shared().await;
        let place = world.place("throttled").await;
        let wait = RetryAfter::Seconds(8);
        place.issuer.fault(
            Fault::new(Effect::TooManyRequests {
                retry_after: Some(wait),
            })
            .client(&place.client)
            .times(1),
        );
        let other = format!("{}-other", place.client);
        place.add_client(dev_issuer::Client::new(&other).secret(&place.secret));
        place
            .create("first", json!({ "target": { "secretName": "first" } }))
            .await;
        place.not_ready("first", "Throttled").await;
        place
            .create(
                "second",
                json!({ "target": { "secretName": "second" }, "minLifetime": "5m" }),
            )
            .await;
        let message = place.not_ready("second", "IssuerPaused").await;
        assert!(message.contains(&place.issuer_name), "{message}");
        // Another client is not affected: it has its token before the pause ends.
        place
            .create(
                "third",
                json!({ "client": { "id": other }, "target": { "secretName": "third" } }),
            )
            .await;
        place.ready("third").await;
        place.not_ready("second", "IssuerPaused").await;
        place.ready("first").await;
        place.ready("second").await;
        let requests = place.issuer.token_requests_of(&place.client);
        assert!(requests.len() >= 2, "{}", requests.len());
        for next in &requests[1..] {
            let waited = next.time.duration_since(requests[0].time).as_millis();
            assert!(waited >= 8000, "asked again after {waited} ms");
        }
        assert_eq!(place.issuer.token_requests_of(&other).len(), 1);
    });
}

/// Content of an answer, the reported reason, and the allowed number of requests. Without a reason the answer is valid.
fn nonsense() -> Vec<(&'static str, Effect, u32, Option<&'static str>)> {
    let status = |status| Effect::Status {
        status,
        body: None,
        retry_after: None,
    };
    let ends = |json: &str| Effect::ExpiresIn {
        json: Some(json.to_owned()),
    };
    let malformed = Some("MalformedAnswer");
    vec![
        ("unavailable", status(503), 2, Some("IssuerUnavailable")),
        ("broken", status(500), 1, Some("IssuerUnavailable")),
        ("dropped", Effect::Drop, 2, Some("IssuerUnreachable")),
        ("hanging", Effect::Hang, 1, Some("IssuerTimeout")),
        (
            "dripping",
            Effect::Slow { ms_per_byte: 1000 },
            1,
            Some("AnswerIncomplete"),
        ),
        (
            "huge",
            Effect::Huge { bytes: 3 << 20 },
            1,
            Some("AnswerTooLarge"),
        ),
        ("html", Effect::Html, 1, Some("WebPageReceived")),
        ("empty", Effect::Empty, 1, malformed),
        ("no-content", Effect::NoContent, 1, malformed),
        ("truncated", Effect::Truncated, 1, malformed),
        ("tokenless", Effect::MissingAccessToken, 1, malformed),
        // Blanks around a token are not a part of it.
        ("line-break", Effect::TokenWithNewline, 1, None),
        ("error-200", Effect::ErrorWith200, 1, Some("ClientRefused")),
        // If the number is 0 or not usable, the token itself contains its expiry.
        ("infinite", ends("1e400"), 1, None),
        ("ended", ends("0"), 1, None),
        ("negative", ends("-1"), 1, None),
        ("as-text", ends("\"3599\""), 1, None),
        ("no-life", Effect::ExpiresIn { json: None }, 1, None),
        ("a-year", ends("99999999999"), 1, None),
        ("twice", Effect::DuplicateKeys, 1, None),
        ("gzip-lie", Effect::GzipLie, 1, None),
    ]
}

#[test]
fn nonsense_is_reported_and_outlived() {
    run(async {
        let world = World::shared().await;
        let cases = nonsense()
            .into_iter()
            .map(|(name, effect, times, reason)| async move {
                // A connection that breaks ends all requests on it, also those of other tests.
                let place = if effect == Effect::Drop {
                    world.place_with_own_issuer(name).await
                } else {
                    world.place(name).await
                };
                let recorder = Recorder::of(&place, "token");
                place
                    .issuer
                    .fault(Fault::new(effect).client(&place.client).times(times));
                place.create("c", json!({})).await;
                if let Some(reason) = reason {
                    // The condition may be present for only a second; the event stays.
                    let reported =
                        eventually(LATER, format!("{name}: an event {reason}"), async || {
                            let events = place.events("c").await;
                            let reported = events.iter().find(|e| e.1 == reason).cloned();
                            reported.ok_or_else(|| format!("{events:?}"))
                        })
                        .await;
                    assert!(
                        reported.0 == "Warning" && reported.2.len() < 600,
                        "{name}: {reported:?}"
                    );
                    // After a token that is not used, the next request waits for minutes, or for a change.
                    if ["dripping", "huge", "truncated"].contains(&name) {
                        place.request_renewal("c").await;
                    }
                }
                let view = place.any_token("token").await;
                place.ready("c").await;
                assert_eq!(
                    place.call("demo", "whoami", &view.token).await,
                    200,
                    "{name}"
                );
                // The expiry that readers see may be earlier than that in the token, never later.
                let exp =
                    jiff::Timestamp::from_second(view.claims["exp"].as_i64().unwrap()).unwrap();
                assert!(
                    view.expires_at <= exp + jiff::SignedDuration::from_secs(2),
                    "{name}: {} > {exp}",
                    view.expires_at
                );
                let usual = if reason.is_some() {
                    usize::try_from(times).unwrap() + 1
                } else {
                    1
                };
                assert_eq!(place.posts(), usual, "O3: {name}");
                assert_eq!(recorder.finish(&place).len(), 1, "{name}");
            });
        join_all(cases).await;
    });
}

#[test]
fn what_only_a_user_can_fix_is_reported_and_not_hammered() {
    run(async {
        let world = World::shared().await;
        let elsewhere = Arc::new(
            DevIssuer::start(dev_issuer::Config::default())
                .await
                .unwrap(),
        );
        let location = elsewhere.token_url_v2();
        let dpop = Effect::TokenType {
            value: "DPoP".to_owned(),
        };
        for (name, effect, reason) in [
            (
                "redirect",
                Effect::Redirect {
                    status: 307,
                    location,
                },
                "RedirectRefused",
            ),
            ("dpop", dpop, "TokenTypeNotSupported"),
            (
                "gone",
                Effect::Status {
                    status: 404,
                    body: None,
                    retry_after: None,
                },
                "EndpointNotFound",
            ),
        ] {
            let place = world.place(name).await;
            place
                .issuer
                .fault(Fault::new(effect).client(&place.client).times(1));
            place.create("c", json!({})).await;
            place.not_ready("c", reason).await;
            place
                .until("c", "Stalled", |c| condition(c, "Stalled"))
                .await;
            world.stays_quiet(&place, Duration::from_secs(2)).await;
            assert_eq!(place.posts(), 1, "{name}");
            // Fixed at the issuer, where apicred cannot see it: a user requests another attempt.
            place.request_renewal("c").await;
            place.ready("c").await;
            assert_eq!(place.posts(), 2, "{name}");
        }
        assert_eq!(
            elsewhere.requests().len(),
            0,
            "a redirect was followed, with the secret in hand"
        );
    });
}

#[test]
fn an_issuer_with_the_wrong_ca_is_reported_and_works_once_it_is_corrected() {
    run(async {
        let world = World::shared().await;
        let place = world.place("wrong-ca").await;
        let recorder = Recorder::of(&place, "token");
        place.create("c", json!({})).await;
        let first = place.ready("c").await;
        let other = testenv::tls::Authority::new("somebody else").unwrap();
        let wrong = merge(place.entra_issuer(), json!({ "caBundle": other.ca_pem() }));
        place.put_issuer(wrong).await;
        place
            .until_issuer_reports("TlsFailed", &["token endpoint: ", "caBundle"])
            .await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        assert_eq!(
            place.posts(),
            1,
            "another CA is no reason for another token"
        );

        place.request_renewal("c").await;
        let reported = renewing(&place, "TlsFailed").await;
        assert!(reported.contains("caBundle"), "no next step in: {reported}");
        assert_eq!(place.ready("c").await.token, first.token);
        assert_eq!(place.posts(), 1);

        place
            .put_issuer(merge(
                place.entra_issuer(),
                json!({ "caBundle": "not a certificate" }),
            ))
            .await;
        place
            .until_issuer_reports("CaBundleInvalid", &["caBundle"])
            .await;
        let reported = renewing(&place, "CaBundleInvalid").await;
        assert!(
            reported.contains("-----BEGIN CERTIFICATE-----"),
            "{reported}"
        );
        place.put_issuer(place.entra_issuer()).await;
        place.issuer_ready().await;
        place.another_token("token", &first).await;
        place.ready("c").await;
        assert_eq!(place.posts(), 2);
        assert_eq!(recorder.finish(&place).len(), 2);
    });
}

/// Waits until the renewal is late for this reason; returns the message.
async fn renewing(place: &Place, reason: &str) -> String {
    place
        .until("c", &format!("late because of {reason}"), |c| {
            condition(c, "RenewalFailing").filter(|r| r.status == "True" && r.reason == reason)
        })
        .await
        .message
}
