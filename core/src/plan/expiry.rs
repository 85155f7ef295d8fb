//! When client secrets, certificates and static keys expire, and when this is reported.
//!
//! An unnoticed expiry is the most common cause of an outage: Entra ID limits the lifetime of client secrets and reports nothing when they
//! expire.

use jiff::{SignedDuration, Timestamp};

use super::{Observed, Source, schedule};
use crate::{
    api::names,
    credential::{AuthenticationMethod, Credential, RotatedBy},
    oauth::Validity,
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
    /// The `ApiClient` that has it rotated.
    rotated_by: Option<String>,
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
            rotated_by: None,
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
            let declared = credential.secret_expiries.get(&source.reference).copied();
            // A user's word may be about the secret before.
            let name = source.reference.name.clone();
            if let Some((by, from, until)) = rotated(credential, source) {
                return Some(Ending::of_rotated((Kind::Secret, name), by, (from, until)));
            }
            let at = source.expires_at.or(declared)?;
            Some(Ending {
                at,
                warn_at: schedule::later(at, -AHEAD),
                kind: Kind::Secret,
                name,
                rotated_by: None,
            })
        }
        AuthenticationMethod::Certificates(_) | AuthenticationMethod::Mtls(_) => {
            let record = observed.record()?;
            let Validity { from, until } = record.certificate_validity?;
            let used = record.sources.used.as_ref()?;
            let source = observed
                .sources
                .iter()
                .find(|s| s.reference.name == used.name);
            // A certificate that another tool makes has no note of a rotation.
            if let Some((by, ..)) = source.and_then(|source| rotated(credential, source)) {
                let what = (Kind::Certificate, used.name.clone());
                return Some(Ending::of_rotated(what, by, (Some(from), until)));
            }
            Some(Ending {
                at: until,
                warn_at: ahead(Some(from), until),
                kind: Kind::Certificate,
                name: used.name.clone(),
                rotated_by: None,
            })
        }
        _ => None,
    }
}

/// Who has the value of a source rotated, and from and until when this is valid as the rotation noted it.
fn rotated<'a>(
    credential: &'a Credential,
    source: &Source,
) -> Option<(&'a RotatedBy, Option<Timestamp>, Timestamp)> {
    let by = credential.rotated.as_deref()?;
    let noted = source.rotated_until.as_ref()?;
    let client = ClientAt::of(&credential.issuer.endpoint, &credential.client_id);
    let (from, until) = noted.of(&client)?;
    Some((by, from, until))
}

/// When the warning about an end comes: ahead of it, and for a short life ahead of it by a part of that.
fn ahead(from: Option<Timestamp>, until: Timestamp) -> Timestamp {
    let part = from.map(|from| (until.duration_since(from) / PART).max(SignedDuration::ZERO));
    schedule::later(until, -part.map_or(AHEAD, |part| AHEAD.min(part)))
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
    /// Of what apicred replaces by itself: nobody has to do anything before the rotation is late.
    fn of_rotated(
        (kind, name): (Kind, String),
        by: &RotatedBy,
        (from, until): (Option<Timestamp>, Timestamp),
    ) -> Self {
        Self {
            at: until,
            warn_at: ahead(from, until).max(by.cycle.late_at(from, until)),
            kind,
            name,
            rotated_by: Some(by.client.clone()),
        }
    }

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
        if let Some(client) = &self.rotated_by {
            return Some(self.late(client, over));
        }
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

    /// The warning about what apicred replaces by itself.
    fn late(&self, client: &str, over: bool) -> (Reason, String) {
        let (name, at) = (&self.name, self.at);
        let (what, reason) = match (self.kind, over) {
            (Kind::Certificate, false) => ("certificate", Reason::CertificateExpiring),
            (Kind::Certificate, true) => ("certificate", Reason::CertificateExpired),
            (_, false) => ("client secret", Reason::SecretExpiring),
            (_, true) => ("client secret", Reason::SecretExpired),
        };
        let expires = if over { "expired" } else { "expires" };
        let message = format!(
            "the {what} in Secret {name} {expires} at {at}, and its rotation is late; correct what the conditions of ApiClient {client} report"
        );
        (reason, message)
    }
}
