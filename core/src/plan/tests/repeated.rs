//! An issuer that caches tokens, with and without a published field that expires first.

use crate::{
    fixtures::{at, credential, mark, record, secs},
    oauth::LifetimeSource,
    plan::{Received, RenewalCause, repeated_until},
    publish::{Record, SourceMark, SourceUse},
};

/// A record of a token that expires at 3600 s. Its published field, if there is one, expires at 1200 s.
fn old(limited: bool) -> Record {
    let mut old = record(&credential(), (0, 600, if limited { 1200 } else { 3600 }));
    if limited {
        old.lifetime = LifetimeSource::AnswerField(at(3600)).note();
    }
    old
}

/// The token of `old`, received again.
fn same(old: &Record) -> Received<'_> {
    Received {
        fingerprint: &old.fingerprint,
        token_digest: &old.token_digest,
        sources: &old.sources,
        expires_at: old.expires_at,
        limited: false,
        why: RenewalCause::Due,
    }
}

/// Whether a token is not written 600 s after `old`.
fn is_repeated(old: &Record, change: impl FnOnce(&mut Received<'_>)) -> bool {
    let mut new = same(old);
    change(&mut new);
    repeated_until(old, &new, at(600)).is_some()
}

#[test]
fn a_token_from_the_cache_of_an_issuer_is_not_written_again() {
    let old = old(false);
    assert_eq!(
        repeated_until(
            &old,
            &Received {
                expires_at: at(4200),
                ..same(&old)
            },
            at(600)
        ),
        Some(at(600) + secs(750)),
        "a quarter of the time that is left"
    );
    for (what, change, repeats) in [
        ("same", (|_| {}) as fn(&mut Received<'_>), true),
        (
            "another one, later",
            |n| (n.token_digest, n.expires_at) = ("x", at(3601)),
            false,
        ),
        ("another one, not later", |n| n.token_digest = "x", true),
        (
            "requested by the user",
            |n| n.why = RenewalCause::Requested,
            false,
        ),
        ("another request", |n| n.fingerprint = "x", false),
    ] {
        assert_eq!(is_repeated(&old, change), repeats, "{what}");
    }
    let other = SourceUse {
        used: Some(SourceMark {
            name: "client-2".to_owned(),
            ..mark("1")
        }),
        ..SourceUse::default()
    };
    let new = Received {
        sources: &other,
        ..same(&old)
    };
    assert_eq!(repeated_until(&old, &new, at(600)), None, "another Secret");
}

#[test]
fn the_same_token_with_a_newer_field_is_written() {
    let old = old(true);
    for (expires_at, limited, repeats) in [
        (1200, true, true),
        (1199, true, true),
        (1800, true, false),
        // The token itself expires first now.
        (3600, false, false),
    ] {
        let found = is_repeated(&old, |new| {
            (new.expires_at, new.limited) = (at(expires_at), limited);
        });
        assert_eq!(found, repeats, "{expires_at} {limited}");
    }
}

#[test]
fn a_record_knows_when_the_token_itself_expires() {
    let (whole, limited) = (old(false), old(true));
    assert_eq!((whole.token_end(), whole.is_limited()), (at(3600), false));
    assert_eq!(
        (limited.token_end(), limited.is_limited()),
        (at(3600), true)
    );
    assert!(limited.may_be_valid(at(3599)) && !limited.may_be_valid(at(3600)));
    assert!(whole.may_be_valid(at(3599)) && !whole.may_be_valid(at(3600)));
    // The issuer did not state it.
    for assumed in ["Guessed", "Unread expires_at", "TooLong expires_in"] {
        let mut whole = whole.clone();
        assumed.clone_into(&mut whole.lifetime);
        assert!(whole.may_be_valid(at(90_000)) && whole.stated_end().is_none());
    }
}
