//! A credential whose certificate was replaced by one that the issuer does not know yet.

use serde_json::json;

use super::status::condition;
use crate::{
    Reason,
    fixtures::{at, credential_with, holding, observed, record, refused},
    plan::{Choice, Observed, Outcome, Plan, candidates, plan, status},
    publish::{RefusedSource, SourceMark},
};

const COPY: &str = "tls-last-good";

#[test]
fn the_last_good_certificate_serves_while_the_new_one_is_refused() {
    let list = json!([{ "secretName": "tls" }]);
    let credential =
        credential_with(&json!({ "client": { "secrets": null, "certificates": list } }));
    let of = |name: &str, version: &str| SourceMark {
        name: name.to_owned(),
        key: "tls.key".to_owned(),
        uid: "uid".to_owned(),
        version: version.to_owned(),
    };
    let order = |world: &Observed, now: i64| -> Vec<(String, bool)> {
        let choices = candidates(&credential, world, at(now));
        let named = |c: &Choice<'_>| (c.source.unwrap().reference.name.clone(), c.trial);
        choices.iter().map(named).collect()
    };
    let both = |trial| [("tls".to_owned(), trial), (COPY.to_owned(), false)];
    // The token was requested with version 1, and the Secret now has another pair.
    let mut world = observed(&credential);
    world.sources[0].present = Some(("uid".to_owned(), "2".to_owned()));
    let mut copy = world.sources[0].clone();
    COPY.clone_into(&mut copy.reference.name);
    world.sources.push(copy);
    let mut noted = record(&credential, (-300, 1500, 3300));
    noted.sources.used = Some(of("tls", "1"));
    world.target = holding(&credential, noted.clone()).target;
    assert_eq!(plan(&credential, &world, at(0)), Plan::Verify);
    assert_eq!(order(&world, 0), both(false));
    // The issuer has refused it, and the copy has got a token.
    world.memory.refuse(RefusedSource {
        mark: of("tls", "2"),
        ..refused(&credential, "2")
    });
    noted.sources.used = Some(of(COPY, "2"));
    world.target = holding(&credential, noted).target;
    let steady = plan(&credential, &world, at(0));
    assert!(matches!(steady, Plan::Keep { .. }), "{steady:?}");
    assert_eq!(order(&world, 1500), both(true));
    let view = status(&credential, &world, &Outcome::Steady, None, at(0));
    let reported = condition(&view.status, "ClientCredentialExpiring").unwrap();
    assert_eq!(reported.reason, "ClientCredentialRefused");
    for expected in [
        "the issuer refused the certificate in Secret tls (key tls.key)",
        "the last good certificate of Secret tls, kept in Secret tls-last-good",
    ] {
        assert!(reported.message.contains(expected), "{}", reported.message);
    }
    // Its Secret is deleted, and so is the copy: no pair can get a token.
    world.sources.pop();
    world.sources[0].present = None;
    let ended = plan(&credential, &world, at(0));
    let missing = matches!(
        &ended,
        Plan::Refuse {
            reason: Reason::SourceMissing,
            ..
        }
    );
    assert!(missing, "{ended:?}");
}

#[test]
fn a_copy_that_cannot_be_written_is_reported_once_and_does_not_look_like_a_refused_certificate() {
    let list = json!([{ "secretName": "tls" }]);
    let credential =
        credential_with(&json!({ "client": { "secrets": null, "certificates": list } }));
    let fault = "Secret tls-last-good cannot be written (the quota few leaves no room)";
    let calm = observed(&credential);
    let faulty = Observed {
        copy_faults: vec![fault.to_owned()],
        ..calm.clone()
    };
    let mut known = None;
    for (world, events, reason) in [
        (&calm, vec![], None),
        (
            &faulty,
            vec!["LastGoodNotWritten"],
            Some("LastGoodNotWritten"),
        ),
        (&faulty, vec![], Some("LastGoodNotWritten")),
        (&calm, vec![], None),
    ] {
        let view = status(&credential, world, &Outcome::Steady, known.as_ref(), at(0));
        let notices: Vec<&str> = view.notices.iter().map(|n| n.reason.as_str()).collect();
        assert_eq!(notices, events);
        let reported = condition(&view.status, "ClientCredentialExpiring");
        assert_eq!(reported.map(|c| c.reason.as_str()), reason);
        assert!(reported.is_none_or(|c| c.message == fault));
        let ready = condition(&view.status, "Ready").unwrap();
        assert_eq!(ready.status, "True");
        known = Some(view.status);
    }
    // What is more urgent comes first, and the rest is in the message.
    let mut world = faulty;
    let mut noted = record(&credential, (-300, 1500, 3300));
    noted.certificate_validity = Some(crate::oauth::Validity {
        from: at(-86_400),
        until: at(3600),
    });
    noted.sources.used = world.sources[0].mark();
    world.target = holding(&credential, noted).target;
    let view = status(&credential, &world, &Outcome::Steady, None, at(0));
    let reported = condition(&view.status, "ClientCredentialExpiring").unwrap();
    assert_eq!(reported.reason, "CertificateExpiring");
    assert!(reported.message.ends_with(fault), "{}", reported.message);
}
