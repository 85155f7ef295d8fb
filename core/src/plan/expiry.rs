//! When client secrets, certificates and static keys expire, and when this is reported.
//!
//! An unnoticed expiry is the most common cause of an outage: Entra ID limits the lifetime of client secrets and reports nothing when they
//! expire.

use jiff::{SignedDuration, Timestamp};

use super::{Observed, Source, schedule};
use crate::{
    api::names,
    credential::{AuthenticationMethod, Credential},
    reason::Reason,
    rotation::ClientAt,
};

/// How long ahead of the end of a secret or certificate the warning comes.
const AHEAD: SignedDuration = SignedDuration::from_hours(30 * 24);
/// The warning about a certificate with a short lifetime begins at this part of it: cert-manager renews at a third.
const PART: i32 = 5;

/// What ends, and when.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ending {
    /// The end.
    pub(super) at: Timestamp,
    /// From when on it is reported.
    pub(super) warn_at: Timestamp,
    kind: Kind,
    name: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Secret,
    Certificate,
    StaticKey,
}

/// The expiry of the client credential in use, if it is known.
pub(super) fn ending(credential: &Credential, observed: &Observed) -> Option<Ending> {
    if let Some(key) = &credential.static_key {
        let source = observed.grant_sources.first()?;
        let made = key.created_at.or(source.created_at)?;
        let at = schedule::later(made, key.max_age);
        return Some(Ending {
            at,
            warn_at: at,
            kind: Kind::StaticKey,
            name: source.reference.name.clone(),
        });
    }
    match &credential.authentication {
        AuthenticationMethod::Secrets(_) => {
            let used = observed.record().and_then(|r| r.sources.used.as_ref());
            let source: &Source = observed
                .sources
                .iter()
                .find(|s| used.is_some_and(|u| u.is(&s.reference)))
                .or(observed.sources.first())?;
            let declared = credential.secret_ends.get(&source.reference).copied();
            // A user's word may be about the secret before.
            let client = || ClientAt::of(&credential.issuer.endpoint, &credential.client_id);
            let rotated = source.rotated_until.as_ref();
            let rotated = rotated.filter(|_| credential.rotates);
            let rotated = rotated.and_then(|end| end.of(&client()));
            let at = rotated.or(source.expires_at).or(declared)?;
            Some(Ending {
                at,
                warn_at: schedule::later(at, -AHEAD),
                kind: Kind::Secret,
                name: source.reference.name.clone(),
            })
        }
        AuthenticationMethod::Certificates(_) | AuthenticationMethod::Mtls(_) => {
            let record = observed.record()?;
            let validity = record.certificate_validity?;
            let lifetime = validity.until.duration_since(validity.from);
            let part = (lifetime / PART).max(SignedDuration::ZERO);
            Some(Ending {
                at: validity.until,
                warn_at: schedule::later(validity.until, -AHEAD.min(part)),
                kind: Kind::Certificate,
                name: record.sources.used.as_ref()?.name.clone(),
            })
        }
        _ => None,
    }
}

/// A source whose owner says when it ends in a form that is not a time: no warning can come ahead.
pub(super) fn unreadable(observed: &Observed) -> Option<(Reason, String)> {
    let sources = observed.sources.iter().chain(&observed.grant_sources);
    let source = sources
        .filter(|s| s.present.is_some())
        .find(|s| s.expiry_unreadable)?;
    Some((
        Reason::SecretExpiryUnreadable,
        format!(
            "the annotation {} on Secret {} is not a time; write 2027-06-30T00:00:00Z, or the date 2027-06-30",
            names::SECRET_EXPIRES_AT,
            source.reference.name
        ),
    ))
}

impl Ending {
    /// Why a renewal at `due` is known to fail. When a client secret expires is only declared; of a certificate it is known.
    pub(super) fn obstacle(&self, due: Timestamp) -> Option<(Reason, String)> {
        let (name, at) = (&self.name, self.at);
        (self.kind == Kind::Certificate && at <= due).then(|| {
            let message = format!("the certificate in Secret {name} expires at {at}; replace it");
            (Reason::CertificateExpired, message)
        })
    }

    /// The expiry, if it is that of a client secret or certificate. A static key has an age, and no known expiry.
    pub(super) fn of_client(&self) -> Option<Timestamp> {
        (self.kind != Kind::StaticKey).then_some(self.at)
    }

    /// What is to be said now, if anything: a stable reason and a sentence.
    pub(super) fn warning(&self, now: Timestamp) -> Option<(Reason, String)> {
        if now < self.warn_at {
            return None;
        }
        let (name, at) = (&self.name, self.at);
        let over = now >= at;
        Some(match (self.kind, over) {
            (Kind::Secret, false) => (
                Reason::SecretExpiring,
                format!(
                    "the client secret in Secret {name} expires at {at}; create a new one at the issuer and store it in time"
                ),
            ),
            (Kind::Secret, true) => (
                Reason::SecretExpired,
                format!(
                    "the client secret in Secret {name} expired at {at}; create a new one at the issuer and store it"
                ),
            ),
            (Kind::Certificate, false) => (
                Reason::CertificateExpiring,
                format!(
                    "the certificate in Secret {name} expires at {at}; renew it and register the new one at the issuer"
                ),
            ),
            (Kind::Certificate, true) => (
                Reason::CertificateExpired,
                format!(
                    "the certificate in Secret {name} expired at {at}; renew it and register the new one at the issuer"
                ),
            ),
            (Kind::StaticKey, _) => (
                Reason::StaticKeyOld,
                format!(
                    "the static key in Secret {name} has been older than maxAge (spec.static) since {at}; create a new key at the API and store it in the Secret"
                ),
            ),
        })
    }
}
