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
    rotation::{self, ClientAt},
};

/// How long before the expiry of a secret or certificate the warning begins.
const AHEAD: SignedDuration = SignedDuration::from_hours(30 * 24);
/// For a certificate with a short lifetime the warning begins when this part of it is left: cert-manager renews at a third.
const PART: i32 = 5;

/// What expires, and when.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ending {
    /// When it expires.
    pub(super) at: Timestamp,
    /// When the warning begins.
    pub(super) warn_at: Timestamp,
    kind: Kind,
    name: String,
    /// The `ApiClient` that rotates it.
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
            // The time that a user sets may be about the previous secret.
            let name = source.reference.name.clone();
            if let Some((by, from, until)) = rotated(credential, source, rotation::Kind::Secret) {
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
            // No rotation records the certificate of another tool.
            let rotated = |source| rotated(credential, source, rotation::Kind::Certificate);
            if let Some((by, ..)) = source.and_then(rotated) {
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

/// The rotation of a source's value, and its start and end of validity as the rotation recorded them.
fn rotated<'a>(
    credential: &'a Credential,
    source: &Source,
    kind: rotation::Kind,
) -> Option<(&'a RotatedBy, Option<Timestamp>, Timestamp)> {
    let by = credential.rotated.as_deref()?;
    let noted = source.rotated_until.as_ref()?;
    let client = ClientAt::of(&credential.issuer.endpoint, &credential.client_id);
    let (from, until) = noted.of(&client, kind)?;
    Some((by, from, until))
}

/// When the warning about an expiry begins. For a short lifetime this is a part of the lifetime.
fn ahead(from: Option<Timestamp>, until: Timestamp) -> Timestamp {
    let part = from.map(|from| (until.duration_since(from) / PART).max(SignedDuration::ZERO));
    schedule::later(until, -part.map_or(AHEAD, |part| AHEAD.min(part)))
}

/// A source whose annotation with the expiry time is not a time, so no warning is possible.
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
    /// For a credential that apicred replaces: a user must act only if the rotation is late.
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

    /// Why a renewal at `due` will certainly fail. The expiry time of a client secret is only declared, that of a certificate is certain.
    pub(super) fn obstacle(&self, due: Timestamp) -> Option<(Reason, String)> {
        let (name, at) = (&self.name, self.at);
        (self.kind == Kind::Certificate && at <= due).then(|| {
            let message = format!("the certificate in Secret {name} expires at {at}; replace it");
            (Reason::CertificateExpired, message)
        })
    }

    /// The expiry time of a client secret or certificate. A static key has an age, and no known expiry.
    pub(super) fn of_client(&self) -> Option<Timestamp> {
        (self.kind != Kind::StaticKey).then_some(self.at)
    }

    /// The present warning, if any: a stable reason and a sentence.
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

    /// The warning about a credential that apicred replaces.
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
