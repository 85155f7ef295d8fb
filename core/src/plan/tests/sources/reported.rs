//! What is reported about sources while the token is valid.

use super::*;
use crate::{credential::CaFault, plan::Hold};

fn reported(credential: &Credential, world: &Observed) -> Option<(String, String)> {
    let view = status(credential, world, &Outcome::Steady, None, at(0));
    let found = condition(&view.status, "ClientCredentialExpiring")?;
    Some((found.reason.clone(), found.message.clone()))
}

#[test]
fn a_secret_that_works_does_not_hide_the_fault_of_another() {
    let credential = several(&["new", "old"]);
    let world = || world(&credential, "old");
    assert_eq!(reported(&credential, &world()), None);
    let mut refused_by_issuer = world();
    refused_by_issuer
        .memory
        .refuse(refused(&credential, "new", -60, 0));
    let (reason, message) = reported(&credential, &refused_by_issuer).unwrap();
    assert_eq!(reason, "ClientCredentialRefused");
    for part in [
        "key secret of Secret new",
        "ClientSecretRefused",
        "Secret old",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let view = status(
        &credential,
        &refused_by_issuer,
        &Outcome::Steady,
        None,
        at(0),
    );
    let shown: Vec<(String, String, bool)> = view
        .status
        .refused()
        .iter()
        .map(|r| {
            let version = r.reference.resource_version.as_deref().unwrap_or_default();
            let name = format!("{}/{}@{version}", r.reference.name, r.reference.key);
            (name, r.reason.clone(), r.at.is_some())
        })
        .collect();
    assert_eq!(
        shown,
        [(
            "new/secret@1".to_owned(),
            "ClientSecretRefused".to_owned(),
            true
        )]
    );
    assert_eq!(view.status.client_in_use().as_deref(), Some("old/secret"));
    assert_eq!(condition(&view.status, "Ready").unwrap().status, "True");
    assert!(condition(&view.status, "RenewalFailing").is_none());

    let mut missing = world();
    missing.sources[0].present = None;
    assert_eq!(
        reported(&credential, &missing).unwrap().0,
        "ClientSecretMissing"
    );
    // Also the one in use: if possible, another one replaces it at the next renewal.
    let mut gone = world();
    gone.sources[1].present = None;
    gone.memory.refuse(refused(&credential, "new", -60, 0));
    let (_, message) = reported(&credential, &gone).unwrap();
    assert!(message.contains("Secret old does not exist"), "{message}");
    let mut unusable = world();
    unusable.memory.refuse(RefusedSource {
        by_issuer: false,
        reason: Reason::ClientSecretKeyMissing.into(),
        ..refused(&credential, "new", -60, 0)
    });
    let (reason, message) = reported(&credential, &unusable).unwrap();
    assert_eq!(reason, "ClientSecretKeyMissing");
    assert!(message.contains("key secret of Secret new"), "{message}");
}

#[test]
fn the_end_of_a_hidden_fault_is_an_event_as_its_beginning() {
    let credential = several(&["new", "old"]);
    let good = world(&credential, "new");
    let mut bad = world(&credential, "old");
    bad.memory.refuse(refused(&credential, "new", -60, 0));
    let say = |world: &Observed, before| {
        status(
            &credential,
            world,
            &minted(RenewalCause::Due),
            before,
            at(0),
        )
    };
    let events = |view: &crate::plan::View| -> Vec<(Severity, String)> {
        let notices = view.notices.iter();
        notices
            .map(|n| (n.severity, n.reason.to_string()))
            .collect()
    };
    let first = say(&good, None).status;
    let second = say(&bad, Some(&first));
    assert_eq!(
        events(&second),
        [(Severity::Warning, "ClientCredentialRefused".to_owned())]
    );
    let same = say(&bad, Some(&second.status));
    assert!(same.notices.is_empty());
    assert_eq!(same.status, second.status, "nothing to write");
    let third = say(&good, Some(&second.status));
    assert_eq!(
        events(&third),
        [(Severity::Normal, "ClientCredentialAccepted".to_owned())]
    );
    // The expiry of the one in use does not show that the other one works.
    let mut over = bad.clone();
    over.sources[1].expires_at = Some(at(-1));
    assert_eq!(
        events(&say(&over, Some(&second.status))),
        [(Severity::Warning, "SecretExpired".to_owned())]
    );
    let mut soon = good.clone();
    soon.sources[0].expires_at = Some(at(DAY));
    assert_eq!(
        events(&say(&soon, Some(&second.status))),
        [
            (Severity::Normal, "ClientCredentialAccepted".to_owned()),
            (Severity::Warning, "SecretExpiring".to_owned())
        ]
    );
}

#[test]
fn what_has_expired_comes_before_what_is_refused_and_that_before_what_will_expire() {
    let credential = several(&["new", "old"]);
    let mut world = world(&credential, "old");
    world.memory.refuse(refused(&credential, "new", -60, 0));
    for (end, reason) in [(DAY, "ClientCredentialRefused"), (-DAY, "SecretExpired")] {
        world.sources[1].expires_at = Some(at(end));
        let (reported, message) = reported(&credential, &world).unwrap();
        assert_eq!(reported, reason);
        assert!(
            message.contains("refused key secret of Secret new")
                && message.contains("the client secret in Secret old"),
            "{message}"
        );
    }
}

/// An object that is deleted, and the reason that is reported for it.
type Gone = (&'static str, fn(&mut Observed));

const GOING: [Gone; 5] = [
    ("CaBundleInvalid", |o| {
        let fault = "certificate 1 of caBundle cannot be a root".to_owned();
        o.ca_fault = Some(CaFault::Unusable(fault));
    }),
    ("ClientSecretMissing", |o| o.sources[0].present = None),
    ("NotAuthorizedByIssuer", |o| {
        o.permission = Err(Denial::Namespace("it does not serve secops".to_owned()));
    }),
    ("ScopeNotAllowed", |o| {
        o.permission = Err(Denial::Scope("it does not give x".to_owned()));
    }),
    ("ServiceAccountMissing", |o| {
        o.missing_account = Some("sync".to_owned());
    }),
];

#[test]
fn what_the_next_renewal_needs_is_reported_when_it_goes_and_not_when_it_is_due() {
    let credential = credential();
    for (reason, go) in GOING {
        let mut world = observed(&credential);
        let healthy = status(&credential, &world, &Outcome::Steady, None, at(0)).status;
        go(&mut world);
        assert!(
            matches!(plan(&credential, &world, at(0)), Plan::Keep { .. }),
            "{reason}: nothing is sent or read"
        );
        let view = status(&credential, &world, &Outcome::Steady, Some(&healthy), at(0));
        let renewing = condition(&view.status, "RenewalFailing").unwrap();
        assert_eq!(
            (renewing.status.as_str(), renewing.reason.as_str()),
            ("True", reason)
        );
        assert!(
            renewing.message.contains(&at(1500).to_string())
                && renewing.message.contains(&at(3300).to_string()),
            "when? {}",
            renewing.message
        );
        assert_eq!(condition(&view.status, "Ready").unwrap().status, "True");
        assert!(condition(&view.status, "Stalled").is_none());
        assert_eq!(view.notices[0].reason.as_str(), reason);
        // It costs one write, and none while nothing changes.
        let later = status(
            &credential,
            &world,
            &Outcome::Steady,
            Some(&view.status),
            at(600),
        );
        assert_eq!(later.status, view.status);
        assert!(later.notices.is_empty());
        let back = observed(&credential);
        let back = status(
            &credential,
            &back,
            &Outcome::Steady,
            Some(&view.status),
            at(700),
        );
        assert!(condition(&back.status, "RenewalFailing").is_none());
    }
}

#[test]
fn a_suspended_credential_has_no_renewal_that_could_fail() {
    let mut credential = credential();
    credential.suspend = true;
    for (reason, go) in GOING {
        let mut world = observed(&credential);
        go(&mut world);
        let view = status(&credential, &world, &Outcome::Suspended, None, at(0));
        assert!(
            condition(&view.status, "RenewalFailing").is_none(),
            "{reason}"
        );
    }
}

#[test]
fn what_is_being_read_is_a_wait_and_no_fault() {
    let credential = credential();
    let reading = || Some(CaFault::Unread("key ca.crt is being read".to_owned()));
    // The token is valid, and nothing is due.
    let world = Observed {
        ca_fault: reading(),
        ..observed(&credential)
    };
    assert!(matches!(
        plan(&credential, &world, at(0)),
        Plan::Keep { .. }
    ));
    let view = status(&credential, &world, &Outcome::Steady, None, at(0));
    assert!(condition(&view.status, "RenewalFailing").is_none());
    // The first token: nothing is requested, and nothing is reported but that it is awaited.
    let world = Observed {
        target: Target::Absent,
        ..world
    };
    let Plan::Hold { until, why } = plan(&credential, &world, at(0)) else {
        unreachable!("no token is requested without the CAs");
    };
    assert_eq!((until, why), (at(5), Hold::CasUnread));
    let view = status(&credential, &world, &Outcome::Queued { until }, None, at(0));
    assert_eq!(condition(&view.status, "Ready").unwrap().reason, "Pending");
    assert!(condition(&view.status, "Stalled").is_none() && view.notices.is_empty());
    // What is known to be wrong is reported in spite of it.
    let world = Observed {
        permission: Err(Denial::Namespace("it does not serve secops".to_owned())),
        ..world
    };
    let refused = plan(&credential, &world, at(0));
    assert!(matches!(refused, Plan::Refuse { .. }), "{refused:?}");
}
