//! A static key has neither an expiry time nor a renewal: in the Secret, in plans and in status.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use crate::{
    api::names,
    credential::{Credential, FieldError, IssuerLookup, parse},
    fixtures::{at, credential, credential_with, holding, mark, object, token},
    oauth::{LifetimeSource, Token},
    plan::{self, NewToken, Observed, Outcome, Plan, Source, plan},
    publish::{ENDLESS, Record, SourceUse, create, data, ownership::examine, template},
};

/// Seconds of a day.
const DAY_SECONDS: i64 = 24 * 3600;

fn fixed() -> serde_json::Value {
    let key = json!({ "tokenRef": { "name": "client", "key": "secret" } });
    json!({ "issuerRef": null, "client": null, "scopes": null, "static": key })
}

fn static_credential() -> Credential {
    parse(&object(&fixed()), |_| IssuerLookup::Missing).unwrap()
}

fn key() -> Token {
    Token {
        expires_at: ENDLESS,
        lifetime_source: LifetimeSource::Static,
        token_type: "Token".to_owned(),
        ..token("a-key")
    }
}

fn noted(credential: &Credential) -> Record {
    let sources = SourceUse {
        with: vec![mark("7")],
        ..SourceUse::default()
    };
    let (fingerprint, token_digest) = ("keyed".to_owned(), "digest".to_owned());
    plan::record(
        credential,
        NewToken {
            token: &key(),
            token_digest,
            fingerprint,
            sources,
            certificate_validity: None,
        },
        (crate::plan::schedule::Promise::default(), 7),
    )
}

fn world(credential: &Credential) -> Observed {
    let mut world = holding(&credential_with(&json!({})), noted(credential));
    world.target = crate::fixtures::ours(crate::fixtures::published(
        credential,
        Some(noted(credential)),
    ));
    world.sources.clear();
    world.grant_sources = vec![Source {
        reference: credential.grant_sources()[0].clone(),
        present: Some(("source-uid".to_owned(), "7".to_owned())),
        changed_at: None,
        created_at: None,
        expires_at: None,
        expiry_unreadable: false,
        rotated_until: None,
    }];
    world
}

#[test]
fn its_secret_notes_neither_an_end_nor_a_renewal() {
    let credential = static_credential();
    let record = noted(&credential);
    let notes = record.annotations();
    for name in [names::EXPIRES_AT, names::RENEW_AT, names::RENEW_REASON] {
        assert_eq!(notes[name], None, "{name}: null removes it in a patch");
    }
    let written: BTreeMap<String, String> = notes
        .into_iter()
        .filter_map(|(k, v)| Some((k, v?)))
        .collect();
    assert_eq!(Record::read(&written), Some(record));
    // The record of an OAuth token has all three.
    let usual = crate::fixtures::record(&self::credential(), (-300, 1500, 3300));
    assert!(!usual.is_static() && usual.annotations()[names::EXPIRES_AT].is_some());
}

#[test]
fn it_is_never_due_and_never_at_risk() {
    let credential = static_credential();
    let world = world(&credential);
    for days in [0, 1, 367, 36_500] {
        let now = at(days * DAY_SECONDS);
        let step = plan(&credential, &world, now);
        assert!(matches!(step, Plan::Keep { .. }), "{days}: {step:?}");
        let view = plan::status(&credential, &world, &Outcome::Steady, None, now);
        let kinds: Vec<&str> = view
            .status
            .conditions
            .iter()
            .filter(|c| c.status == "True")
            .map(|c| c.type_.as_str())
            .collect();
        assert_eq!(kinds, ["Ready"], "{days}");
    }
}

#[test]
fn its_status_shows_neither_an_end_nor_a_renewal() {
    let credential = static_credential();
    let world = world(&credential);
    let status = plan::status(&credential, &world, &Outcome::Steady, None, at(60)).status;
    // The spec has become invalid, and the key is still published.
    let meta: ObjectMeta = create(
        "secops",
        "alerts-token",
        &template(&credential),
        &noted(&credential),
        data(&key(), &credential.target.keys).unwrap(),
    )
    .metadata;
    let fault = [FieldError::new("spec", "is not valid")];
    let facts = examine(&meta);
    let invalid = plan::invalid(
        &object(&fixed()),
        Some(&status),
        Some(&facts),
        &fault,
        at(60),
    );
    for status in [status, invalid.status] {
        assert_eq!(
            (&status.expires_at, &status.renew_at, &status.renew_reason),
            (&None, &None, &None)
        );
        let text = serde_json::to_string(&status).unwrap();
        assert!(text.contains("the static key"), "{text}");
        for invented in ["9999", "HalfLife", "valid until"] {
            assert!(!text.contains(invented), "{invented}: {text}");
        }
    }
}
