//! Early warnings: client credentials that expire, permissions that are missing.

mod permissions;

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::{
    credential::{Credential, Issuer, IssuerLookup, RotatedBy, parse},
    fixtures::{at, cluster_issuer, credential_with, holding, mark, object, observed, record},
    oauth::{Claims, Validity},
    plan::{Observed, Outcome, Source, status},
    rotation::{ClientAt, Cycle, Record, RotatedUntil, ValueRecord},
};

const DAY: i64 = 86_400;

fn reported(
    credential: &Credential,
    world: &Observed,
    kind: &str,
    now: i64,
) -> Option<(String, String)> {
    let view = status(credential, world, &Outcome::Steady, None, at(now));
    let found = view
        .status
        .conditions
        .into_iter()
        .find(|c| c.type_ == kind)?;
    Some((found.reason, found.message))
}

fn ending(credential: &Credential, world: &Observed, now: i64) -> Option<String> {
    reported(credential, world, "ClientCredentialExpiring", now).map(|t| t.0)
}

#[test]
fn the_end_of_a_secret_is_reported_thirty_days_ahead_and_the_annotation_goes_first() {
    let declared = at(40 * DAY).to_string();
    let entry = json!({ "name": "client", "key": "secret", "expiresAt": declared });
    let credential = credential_with(&json!({ "client": { "secrets": [entry] } }));
    let mut world = observed(&credential);
    assert_eq!(ending(&credential, &world, 0), None);
    assert_eq!(
        ending(&credential, &world, 10 * DAY).as_deref(),
        Some("SecretExpiring")
    );
    assert_eq!(
        ending(&credential, &world, 40 * DAY).as_deref(),
        Some("SecretExpired")
    );
    world.sources[0].expires_at = Some(at(100 * DAY));
    assert_eq!(ending(&credential, &world, 10 * DAY), None);
    assert_eq!(
        ending(
            &credential_with(&json!({})),
            &observed(&credential),
            10 * DAY
        ),
        None
    );
}

/// A rotation with this interval and this overlap, in days.
fn rotated(every: i64, overlap: i64) -> RotatedBy {
    RotatedBy {
        client: "shared".to_owned(),
        cycle: Cycle {
            every: SignedDuration::from_hours(every * 24),
            overlap: SignedDuration::from_hours(overlap * 24),
        },
    }
}

#[test]
fn of_what_is_rotated_nothing_is_reported_before_the_rotation_is_late() {
    let secret = json!({ "client": { "secrets": [{ "name": "client", "key": "secret" }] } });
    let certificate =
        json!({ "client": { "secrets": null, "certificates": [{ "secretName": "client" }] } });
    // Days: interval, overlap, validity; the last one without a warning, and the first one with one.
    for (every, overlap, validity, quiet, late) in [
        (90, 1, 180, 149, 150),
        (14, 1, 28, 22, 23),
        // There is just enough room for the overlap.
        (27, 1, 28, 23, 25),
        (4, 4, 8, 6, 7),
        // The issuer grants less than was requested.
        (90, 1, 20, 17, 18),
    ] {
        for (spec, kind) in [(&secret, "Secret"), (&certificate, "Certificate")] {
            let credential = Credential {
                rotated: Some(Box::new(rotated(every, overlap))),
                ..credential_with(spec)
            };
            let current = ValueRecord {
                from: Some(at(0)),
                until: Some(at(validity * DAY)),
                ..ValueRecord::default()
            };
            let noted = Record {
                client: Some(ClientAt::of(
                    &credential.issuer.endpoint,
                    &credential.client_id,
                )),
                current: Some(current),
                ..Record::default()
            };
            let mut with = record(&credential, (-300, 1500, 3300));
            with.certificate_validity = (kind == "Certificate").then(|| Validity {
                from: at(0),
                until: at(validity * DAY),
            });
            let mut world = holding(&credential, with);
            let noted = RotatedUntil::read(&BTreeMap::from([noted.annotation()]));
            world.sources[0].rotated_until = noted.map(Box::new);
            let warning =
                |now: i64| reported(&credential, &world, "ClientCredentialExpiring", now * DAY);
            let label = format!("{kind}, every {every} of {validity} days");
            assert_eq!(warning(quiet), None, "{label}");
            let (reason, message) = warning(late).expect(&label);
            assert_eq!(reason, format!("{kind}Expiring"), "{label}");
            let expected = ["its rotation is late", "the conditions of ApiClient shared"];
            assert!(expected.iter().all(|w| message.contains(w)), "{message}");
            let (reason, message) = warning(validity).expect(&label);
            assert_eq!(reason, format!("{kind}Expired"), "{label}");
            assert!(message.contains("its rotation is late"), "{message}");
        }
    }
}

#[test]
fn the_end_of_a_secret_that_is_rotated_is_that_of_its_rotation() {
    let declared = at(20 * DAY).to_string();
    let entry = json!({ "name": "client", "key": "secret", "expiresAt": declared });
    let credential = credential_with(&json!({ "client": { "secrets": [entry] } }));
    let mut world = observed(&credential);
    world.sources[0].expires_at = Some(at(25 * DAY));
    let current = ValueRecord {
        from: Some(at(0)),
        until: Some(at(180 * DAY)),
        ..ValueRecord::default()
    };
    let own = ClientAt::of(&credential.issuer.endpoint, &credential.client_id);
    let noted = |client: &ClientAt| {
        let record = Record {
            client: Some(client.clone()),
            current: Some(current.clone()),
            ..Record::default()
        };
        RotatedUntil::read(&BTreeMap::from([record.annotation()])).map(Box::new)
    };
    world.sources[0].rotated_until = noted(&own);
    let rotates = Credential {
        rotated: Some(Box::new(rotated(90, 1))),
        ..credential.clone()
    };
    assert_eq!(ending(&rotates, &world, 26 * DAY), None);
    assert_eq!(
        ending(&rotates, &world, 151 * DAY).as_deref(),
        Some("SecretExpiring")
    );
    // The client named another application at that time.
    let mut renamed = world.clone();
    let id = "another".to_owned();
    renamed.sources[0].rotated_until = noted(&ClientAt { id, ..own });
    assert_eq!(
        ending(&rotates, &renamed, 26 * DAY).as_deref(),
        Some("SecretExpired")
    );
    // Another key of the Secret, or the record of an earlier rotation.
    assert_eq!(
        ending(&credential, &world, 26 * DAY).as_deref(),
        Some("SecretExpired")
    );
}

#[test]
fn each_client_secret_of_a_list_has_its_own_end() {
    let entry = |name: &str, days: i64| json!({ "name": name, "key": "secret", "expiresAt": at(days * DAY).to_string() });
    let list = json!([entry("new", 400), entry("client", 40)]);
    let credential = credential_with(&json!({ "client": { "secrets": list } }));
    let mut world = observed(&credential);
    let old = Source {
        reference: credential.alternatives()[1].clone(),
        ..world.sources[0].clone()
    };
    world.sources.push(old);
    // The second one is in use.
    assert_eq!(
        ending(&credential, &world, 11 * DAY).as_deref(),
        Some("SecretExpiring")
    );
    // The first one is in use.
    let mut noted = record(&credential, (-300, 1500, 3300));
    noted.sources.used = world.sources[0].mark();
    world.target = crate::fixtures::ours(crate::fixtures::published(&credential, Some(noted)));
    assert_eq!(ending(&credential, &world, 11 * DAY), None);
    assert_eq!(
        ending(&credential, &world, 371 * DAY).as_deref(),
        Some("SecretExpiring")
    );
}

#[test]
fn an_end_that_is_not_a_time_is_reported_and_hides_no_other() {
    let declared = json!({ "client": { "secrets": [
        { "name": "client", "key": "secret", "expiresAt": "2027-06-30" },
    ] } });
    let (with, without) = (credential_with(&declared), credential_with(&json!({})));
    let end = *with.secret_expiries.values().next().unwrap();
    assert_eq!(end.to_string(), "2027-06-30T00:00:00Z");
    let before = end.duration_since(at(0)).as_secs() - DAY;
    for (credential, now, reason) in [
        (&without, 0, "SecretExpiryUnreadable"),
        (&with, before - 60 * DAY, "SecretExpiryUnreadable"),
        (&with, before, "SecretExpiring"),
        (&with, before + 2 * DAY, "SecretExpired"),
    ] {
        let mut world = observed(credential);
        world.sources[0].expiry_unreadable = true;
        let (reported, message) =
            reported(credential, &world, "ClientCredentialExpiring", now).unwrap();
        assert_eq!(reported, reason);
        assert!(
            message.contains("Secret client") && message.contains("is not a time"),
            "{message}"
        );
    }
}

#[test]
fn a_certificate_is_warned_about_by_its_own_lifetime() {
    let change =
        json!({ "client": { "secrets": null, "certificates": [{ "secretName": "client" }] } });
    let credential = credential_with(&change);
    let mut noted = record(&credential, (-300, 1500, 3300));
    let lifetime = |days: i64| Validity {
        from: at(-days * DAY / 2),
        until: at(days * DAY / 2),
    };
    // For a year: thirty days; for ten days: two.
    for (days, quiet, warned) in [(360, 149, 151), (10, 2, 4)] {
        noted.certificate_validity = Some(lifetime(days));
        noted.sources.used = Some(mark("7"));
        let world = holding(&credential, noted.clone());
        assert_eq!(ending(&credential, &world, quiet * DAY), None, "{days}");
        let reason = ending(&credential, &world, warned * DAY);
        assert_eq!(reason.as_deref(), Some("CertificateExpiring"), "{days}");
        let over = ending(&credential, &world, days * DAY);
        assert_eq!(over.as_deref(), Some("CertificateExpired"), "{days}");
    }
}

#[test]
fn a_certificate_that_expires_before_the_next_renewal_is_known_to_fail_it() {
    let change =
        json!({ "client": { "secrets": null, "certificates": [{ "secretName": "tls" }] } });
    let credential = credential_with(&change);
    let failing = |until: i64| {
        let mut noted = record(&credential, (-300, 1500, 3300));
        noted.certificate_validity = Some(Validity {
            from: at(-DAY),
            until: at(until),
        });
        reported(
            &credential,
            &holding(&credential, noted),
            "RenewalFailing",
            0,
        )
    };
    assert_eq!(failing(1501), None);
    for until in [1500, 1, -1] {
        let (reason, message) = failing(until).unwrap();
        assert_eq!(reason, "CertificateExpired");
        let when = [at(until), at(1500), at(3300)].map(|t| t.to_string());
        assert!(when.iter().all(|t| message.contains(t)), "{message}");
    }
}

#[test]
fn an_input_of_the_grant_that_goes_is_known_to_fail_the_next_renewal() {
    let key = json!({ "name": "input", "key": "value" });
    #[rustfmt::skip]
    let cases = [
        (json!({ "refreshToken": { "secretRef": key } }), "SignInRequired"),
        (json!({ "jwtBearer": { "assertionRef": key } }), "SourceMissing"),
        (json!({ "tokenExchange": { "subject": { "secretRef": key } } }), "SourceMissing"),
        (json!({ "password": { "username": "ada", "passwordRef": key } }), "SourceMissing"),
    ];
    for (grant, expected) in cases {
        let credential = credential_with(&json!({ "grant": grant }));
        let mut world = observed(&credential);
        world.grant_sources = world.sources.clone();
        assert_eq!(reported(&credential, &world, "RenewalFailing", 0), None);
        world.grant_sources[0].present = None;
        let (reason, message) = reported(&credential, &world, "RenewalFailing", 0).unwrap();
        assert_eq!(reason, expected, "{grant}");
        assert!(message.contains(&at(3300).to_string()), "{message}");
        assert!(!message.contains("no user has signed in"), "{message}");
    }
}

#[test]
fn a_static_key_is_aged_from_its_making() {
    let fixed = |more: Value| {
        let mut key = json!({ "tokenRef": { "name": "client", "key": "secret" } });
        for (k, v) in more.as_object().unwrap() {
            key[k] = v.clone();
        }
        let change = json!({ "issuerRef": null, "client": null, "scopes": null, "static": key });
        parse(&object(&change), |_| IssuerLookup::Missing).unwrap()
    };
    let source = |credential: &Credential| Source {
        reference: credential.grant_sources()[0].clone(),
        present: Some(("u".to_owned(), "7".to_owned())),
        changed_at: None,
        created_at: Some(at(0)),
        expires_at: None,
        expiry_unreadable: false,
        rotated_until: None,
    };
    let world = |credential: &Credential| {
        let mut noted = record(credential, (-300, 1500, 3300));
        (noted.sources.used, noted.sources.with) = (None, vec![mark("7")]);
        let mut world = Observed {
            target: crate::fixtures::ours(crate::fixtures::published(credential, Some(noted))),
            ..observed(&credential_with(&json!({})))
        };
        world.sources.clear();
        world.grant_sources = vec![source(credential)];
        world
    };
    let usual = fixed(json!({}));
    assert_eq!(ending(&usual, &world(&usual), 89 * DAY), None);
    assert_eq!(
        ending(&usual, &world(&usual), 91 * DAY).as_deref(),
        Some("StaticKeyOld")
    );
    // The message does not mention a renewal, because there is none.
    let mut gone = world(&usual);
    gone.grant_sources[0].present = None;
    let Observed { target, .. } = &mut gone;
    if let crate::publish::ownership::Target::Ours { published, .. } = target {
        let record = published.record.as_mut().unwrap();
        record.lifetime = crate::oauth::LifetimeSource::Static.as_str().to_owned();
    }
    let (reason, message) = reported(&usual, &gone, "RenewalFailing", 0).unwrap();
    assert_eq!(reason, "SourceMissing");
    assert!(
        message.ends_with("; until then Secret alerts-token keeps the current key"),
        "{message}"
    );
    let short = fixed(json!({ "maxAge": "48h" }));
    assert_eq!(
        ending(&short, &world(&short), 3 * DAY).as_deref(),
        Some("StaticKeyOld")
    );
    let older = fixed(json!({ "createdAt": at(-100 * DAY).to_string() }));
    assert_eq!(
        ending(&older, &world(&older), 0).as_deref(),
        Some("StaticKeyOld")
    );
}
