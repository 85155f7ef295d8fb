//! Credentials that a rotation replaced and does not remove at the issuer, because apicred did not create them. Nothing waits for their
//! removal.

use jiff::Timestamp;

use super::{
    memory::Memory,
    next::Decision,
    observed::{Application, Facts, Mark, Observed, Same, Slot},
    settings::{Kind, RotationSettings},
    state::{Phase, Record, ValueRecord},
    step::Notice,
};

/// A credential of apicred that a write forgets and that apicred cannot find at the issuer later, so that nothing removes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Left {
    /// Its key ID, if it is known.
    pub id: Option<String>,
    /// Its name, or the end of it: the UID of the client resource and its number. A public key has no name at the issuer.
    pub name: String,
    /// SHA-1 thumbprint, if the certificate is in the Secret until this write.
    pub thumbprint: Option<String>,
    /// When it expires, if that is known.
    pub until: Option<Timestamp>,
}

impl Left {
    /// What was observed, and what a user can do.
    pub fn message(&self) -> String {
        let until = until_end("", self.until);
        let which = of_thumbprint(self.thumbprint.as_deref());
        match &self.id {
            Some(id) => format!(
                "credential {id}{which} was created by apicred and is not in use any more, and apicred does not remove it; it stays valid at the issuer{until}; if no other program uses it, remove it there"
            ),
            None => format!(
                "the credential whose name ends with {} is not used any more{which}, and its key ID is not known; if the issuer has it, it stays valid there{until}, or until a user removes it",
                self.name
            ),
        }
    }
}

/// What `last`, the record that this process read or wrote last, contains and nothing finds any more, if the Secret has no record now: a user
/// deleted or replaced the Secret. None: a reading of the application must show first whether it is found at the issuer.
pub fn forgotten(
    last: &Record,
    seen: &Observed,
    memory: &Memory,
    settings: &RotationSettings,
    now: Timestamp,
) -> Option<Vec<Left>> {
    let decision = Decision {
        seen,
        memory,
        settings,
        now,
        record: last,
        facts: Facts::default(),
    };
    // It names credentials of another client, which are not at this one.
    if last.is_of_another(&seen.client, settings.kind).is_some() {
        return Some(Vec::new());
    }
    let unread = memory.last_read.is_none() && !decision.may_not_read();
    if settings.kind == Kind::Certificate && unread {
        return None;
    }
    let lost = decision.leaves(&Record::default());
    let lost = lost
        .into_iter()
        .filter(|known| seen.slots.with(&known.digest).is_none())
        // A public key is the same in another notation.
        .filter(|known| known.id.is_none() || !seen.slots.all().any(|s| s.mark.id() == known.id));
    let with_id = lost.map(|known| ValueRecord {
        id: known.id.clone().or_else(|| decision.id_of_added(&known)),
        ..known
    });
    Some(with_id.map(|known| decision.left(&known)).collect())
}

impl Decision<'_> {
    /// Whether a credential that is in no Secret and not recorded is found later by its name at the issuer. A public key has no name, and a
    /// certificate may rotate without the permission to read the application.
    pub(super) fn finds_by_name(&self) -> bool {
        match self.settings.kind {
            Kind::Secret => true,
            Kind::Certificate => !self.may_not_read(),
            Kind::Key => false,
        }
    }

    /// The credentials of apicred that `record` does not contain any more and that apicred cannot find at the issuer later.
    pub(super) fn leaves(&self, record: &Record) -> Vec<ValueRecord> {
        if self.finds_by_name() {
            return Vec::new();
        }
        let same = |a: &ValueRecord, b: &ValueRecord| {
            a.id.is_some() && a.id == b.id || !a.digest.is_empty() && a.digest == b.digest
        };
        // What is also stored in another place is reported from what the issuer lists.
        let spared = record.spared.iter().filter(|_| !self.may_not_read());
        let noted: Vec<&ValueRecord> = noted(record).chain(spared).collect();
        let mut left: Vec<&ValueRecord> = Vec::new();
        for known in noted_by_apicred(self.record) {
            let removed = known.id.is_some() && known.id == self.memory.removed;
            let kept = noted.iter().any(|noted| same(noted, known));
            let also = self.used_at_other(known).is_some();
            let twice = left.iter().any(|other| same(other, known));
            let named = self.is_held_by_name(known);
            if !(removed || kept || also || twice || named || self.is_certainly_gone(known)) {
                left.push(known);
            }
        }
        left.into_iter().cloned().collect()
    }

    /// Whether the issuer never had it, or it has expired.
    fn is_certainly_gone(&self, known: &ValueRecord) -> bool {
        let refused = known.id.is_none() && known.n.is_some_and(|n| self.not_added(n).is_some());
        refused || known.until.is_some_and(|until| until <= self.now)
    }

    /// How it is reported.
    pub(super) fn left(&self, known: &ValueRecord) -> Left {
        let slot = self.seen.slots.with(&known.digest);
        Left {
            id: known.id.clone(),
            name: slot.and_then(|slot| slot.name.clone()).unwrap_or_else(|| {
                format!("{}/{}", self.seen.names.uid(), known.n.unwrap_or_default())
            }),
            thumbprint: slot.and_then(sha1),
            until: known.until,
        }
    }

    /// Whether it is still a value of the Secret, although its digest does not fit: its text has another form, or the operator lost its key for
    /// digests. The subject of a certificate has its number.
    fn is_held_by_name(&self, known: &ValueRecord) -> bool {
        let names = self
            .seen
            .slots
            .all()
            .filter_map(|slot| slot.name.as_deref());
        let mut numbers = names.filter_map(|name| self.seen.names.number(name));
        self.seen.slots.with(&known.digest).is_none() && numbers.any(|n| known.n == Some(n))
    }

    /// Whether a value that apicred created is recorded and was taken out of the Secret, and nothing finds it later.
    pub(super) fn forgets(&self) -> bool {
        let lost = |known: &ValueRecord| {
            self.seen.slots.with(&known.digest).is_none() && !self.is_held_by_name(known)
        };
        !self.finds_by_name() && noted_by_apicred(self.record).any(lost)
    }

    /// What is reported about a credential that was replaced and is not removed. None: it has expired, or the issuer does not list it.
    pub(super) fn stays(&self, known: &ValueRecord) -> Option<Notice> {
        let listed = known.id.as_ref().and_then(|id| self.listed(id));
        let application = self.memory.last_read.as_ref();
        if application.is_some_and(|application| self.is_gone(known, application)) {
            return None;
        }
        let until = known.until.or_else(|| listed?.until);
        if until.is_some_and(|until| until <= self.now) {
            return None;
        }
        let goes = known.n.is_some() || known.id.is_some() && known.id == self.settings.adopt;
        let also = self.used_at_other(known);
        let also = also.or_else(|| listed.and_then(|key| self.is_also_at(key)));
        if let Some(place) = also.filter(|_| goes) {
            let id = known.id.clone();
            return Some(Notice::AlsoStored { id, place });
        }
        Some(match &known.id {
            Some(id) if self.is_of_another(id) => Notice::OfAnother { id: id.clone() },
            Some(id) if listed.is_some_and(|key| self.is_of_earlier(key)) => {
                Notice::OfEarlier { id: id.clone() }
            }
            id => Notice::Foreign {
                id: id.clone(),
                thumbprint: self.previous_of(known).and_then(sha1),
                until,
            },
        })
    }

    /// The value of the Secret that this is about.
    fn previous_of(&self, known: &ValueRecord) -> Option<&Slot> {
        let slot = self.seen.slots.previous.as_ref();
        slot.filter(|slot| slot.digest == known.digest)
    }

    /// Whether it is certainly not among the credentials of the application.
    fn is_gone(&self, known: &ValueRecord, application: &Application) -> bool {
        let mut keys = application.keys.iter();
        if let Some(id) = &known.id {
            return keys.all(|key| key.id != *id);
        }
        let slot = self.previous_of(known);
        slot.is_some_and(|slot| keys.all(|key| key.is(slot) == Same::No))
    }
}

impl Record {
    /// The end of the name of the credential that the client resource with this UID is adding. A public key has no name.
    pub fn adds(&self, uid: &str) -> Option<String> {
        let own = self.makers.last().is_some_and(|maker| maker == uid);
        match self.state {
            Phase::Adding { n, .. } if own && self.kind != Some(Kind::Key) => {
                Some(format!("{uid}/{n}"))
            }
            _ => None,
        }
    }

    /// The credential that is being removed.
    pub(super) fn retiring(&self) -> Option<&ValueRecord> {
        match &self.state {
            Phase::Retiring { key, .. } => Some(key),
            _ => None,
        }
    }
}

/// The credentials that a record is about.
fn noted(record: &Record) -> impl Iterator<Item = &ValueRecord> {
    record.all().chain(record.retiring())
}

fn noted_by_apicred(record: &Record) -> impl Iterator<Item = &ValueRecord> {
    noted(record).filter(|known| known.n.is_some())
}

/// SHA-1 thumbprint of a certificate, as Entra ID shows it.
fn sha1(slot: &Slot) -> Option<String> {
    match &slot.mark {
        Mark::Certificate { sha1, .. } => Some(sha1.to_uppercase()),
        Mark::Hint(_) | Mark::Key(_) => None,
    }
}

fn of_thumbprint(thumbprint: Option<&str>) -> String {
    thumbprint.map_or(String::new(), |thumbprint| {
        format!(" (the certificate with the thumbprint {thumbprint})")
    })
}

/// The part of a message about the end of a client credential, after the words that it belongs to: ` until 2027-06-30T18:00:00Z`. Empty if the end
/// is not known.
#[must_use]
pub fn until_end(before: &str, end: Option<Timestamp>) -> String {
    end.map_or(String::new(), |end| {
        format!("{before} until {}", crate::whole_second(end))
    })
}

/// The message of [`Notice::Foreign`].
pub(super) fn foreign(
    id: Option<&str>,
    thumbprint: Option<&str>,
    until: Option<Timestamp>,
) -> String {
    let until = until_end("", until);
    let which = of_thumbprint(thumbprint);
    match id {
        Some(id) => format!(
            "credential {id} was not created by apicred and stays valid at the issuer{until}; remove it there, or name it in rotation.adopt.keyId"
        ),
        // A key ID has no effect in the spec until it is known which value it belongs to.
        None => format!(
            "the credential before this one{which} was not created by apicred, and its key ID is not known; if the issuer has it, it stays valid there{until}; if it is not in use, remove it there, and the keys that end with -previous from the Secret"
        ),
    }
}

/// The message of [`Notice::OfAnother`].
pub(super) fn of_another(id: &str) -> String {
    format!(
        "credential {id} was created by apicred for another ApiClient and stays valid at the issuer; remove it there if it is not in use"
    )
}

/// The message of [`Notice::OfEarlier`].
pub(super) fn of_earlier(id: &str) -> String {
    format!(
        "credential {id} was created by apicred for an earlier ApiClient of this Secret, is not in the Secret, and stays valid at the issuer; if it is not in use, remove it there, or name it in rotation.adopt.keyId"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_shown_in_whole_seconds_and_an_absent_one_not_at_all() {
        let end: Timestamp = "2027-06-30T18:00:00.75Z".parse().unwrap();
        let shown = until_end(", valid", Some(end));
        assert_eq!(shown, ", valid until 2027-06-30T18:00:00Z");
        assert_eq!(until_end("", Some(end)), " until 2027-06-30T18:00:00Z");
        assert_eq!(until_end(", valid", None), "");
        let message = |end| foreign(Some("k"), None, end);
        assert!(message(Some(end)).contains("at the issuer until 2027-06-30T18:00:00Z; remove"));
        assert!(message(None).contains("at the issuer; remove"));
    }
}
