//! The state of a rotation, stored in one annotation of the source Secret, in JSON. It is written together with the values that it describes,
//! at the resourceVersion that was read.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{failure::Failure, memory::later, observed::Observed, settings::Kind};
use crate::{api::names, credential::Endpoint, oauth::is_guid, plan::fingerprint::DigestKey};

/// Version of the annotation's format. Another version is not changed.
const VERSION: u8 = 1;

/// The state of a rotation. See [`super`].
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "name", rename_all_fields = "camelCase")]
pub enum Phase {
    /// Nothing is in progress.
    #[default]
    Steady,
    /// Credential number `n` is about to be announced to the issuer. Written before the call.
    Adding {
        /// Its number.
        n: u32,
        /// When this was written.
        since: Timestamp,
    },
    /// The next credential is in the Secret, and the issuer has it. It is tried until it is proven.
    Added {
        /// When this was written.
        since: Timestamp,
    },
    /// The next credential has become the current one, and the previous one stays valid: the overlap.
    Switched {
        /// The previous one may be removed after this time, with the overlap that was set at the switch: see [`Record::switched_at`].
        retire_at: Timestamp,
    },
    /// A credential is about to be removed at the issuer. Written before the call.
    Retiring {
        /// The credential.
        key: ValueRecord,
        /// Which value it is.
        from: RemovalSource,
    },
}

impl Phase {
    /// Its name in status.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Steady => "Steady",
            Self::Adding { .. } => "Adding",
            Self::Added { .. } => "Proving",
            Self::Switched { .. } => "Overlap",
            Self::Retiring { .. } => "Retiring",
        }
    }
}

/// What is removed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum RemovalSource {
    /// The next credential, which was given up.
    Next,
    /// The previous credential, after the overlap.
    Previous,
    /// One that is in no Secret: its value was lost.
    Orphan,
}

/// What is known about a value of the Secret.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ValueRecord {
    /// Keyed digest of the value: the facts here are about this value and no other. Empty for an orphan.
    pub digest: String,
    /// The issuer's id of it. None: the issuer did not return it, or the application could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its number, if apicred created it. None: it is foreign, and is removed only if `adopt` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
    /// Valid from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Valid until.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A client at an issuer.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ClientAt {
    /// Client ID. At Entra ID in lower case.
    pub id: String,
    /// The host of the cloud of Entra ID, in which no two applications have the same ID (a tenant has several names). For other issuers, the
    /// URL of the issuer or its token endpoint.
    pub issuer: String,
}

impl ClientAt {
    /// The client that a spec names.
    pub fn of(endpoint: &Endpoint, client_id: &str) -> Self {
        let (id, issuer) = match endpoint {
            Endpoint::Entra { authority } => (
                client_id.to_ascii_lowercase(),
                Url::parse(authority).map_or_else(
                    |_| authority.clone(),
                    |authority| authority.origin().ascii_serialization(),
                ),
            ),
            Endpoint::Fixed(url) | Endpoint::Discover(url) => {
                (client_id.to_owned(), url.as_str().to_owned())
            }
            Endpoint::Nowhere => (client_id.to_owned(), String::new()),
        };
        Self { id, issuer }
    }
}

/// Keyed digest of a value of this client, computed from its texts.
pub fn value_digest(digests: &DigestKey, client: &ClientAt, texts: &[&str]) -> String {
    let of = [client.issuer.as_str(), client.id.as_str()];
    digests.fingerprint("rotation", &[of.as_slice(), texts].concat())
}

/// All that is stored.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The state of the rotation.
    pub state: Phase,
    /// The client to which the IDs below belong. None: an earlier version wrote this, or nothing is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientAt>,
    /// What the IDs below are IDs of: the issuer has another call to remove each kind. None: an earlier version wrote this, or nothing is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The highest number that was used.
    pub n: u32,
    /// About the current value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<ValueRecord>,
    /// About the next value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<ValueRecord>,
    /// About the previous value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<ValueRecord>,
    /// IDs of credentials that apicred did not create and that were replaced in this Secret, the latest last: `adopt` may name these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<String>,
    /// Values that were replaced while another Secret used them, and certificates that a user took out of the Secret and that are not found at
    /// the issuer later; the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spared: Vec<ValueRecord>,
    /// In the overlap: when it began. Its end follows from the overlap that is set now. None: another state, or an earlier version wrote this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switched_at: Option<Timestamp>,
    /// UIDs of the client resources that rotated this Secret for this client, the present one last. If one is deleted, the next one takes over
    /// what it created.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub makers: Vec<String>,
    /// The value of `rotate-requested-at` that was answered last. It stays while another rotation is in progress: if the annotation is lost
    /// then, the request is still open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handled: Option<String>,
    /// The request that the rotation in progress answers when credentials use the new value. A scheduled rotation answers none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answering: Option<String>,
    /// The last rotation, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// Maximum number of IDs of replaced credentials that are stored.
const MOST_REPLACED: usize = 8;

/// Maximum number of client resources that are stored.
const MOST_MAKERS: usize = 4;

/// The content of an annotation.
#[derive(Clone, Debug, PartialEq)]
pub enum StoredRecord {
    /// Nothing: the Secret was never rotated, or lost its annotations.
    Absent,
    /// This version cannot read it. Nothing is written or removed until a user has removed it.
    Unreadable,
    /// A record.
    Record(Box<Record>),
}

/// The annotation.
#[derive(Deserialize, Serialize)]
struct Versioned<R> {
    v: u8,
    #[serde(flatten)]
    record: R,
}

impl Record {
    /// All known values.
    pub(super) fn all(&self) -> impl Iterator<Item = &ValueRecord> {
        [&self.current, &self.next, &self.previous]
            .into_iter()
            .flatten()
    }

    /// In the overlap: its begin and its end. Only the end, with the overlap at that time, is stored in the record of an earlier version.
    pub(super) fn overlaps(&self, overlap: SignedDuration) -> Option<(Timestamp, Timestamp)> {
        let Phase::Switched { retire_at } = self.state else {
            return None;
        };
        let began = self.switched_at.unwrap_or(later(retire_at, -overlap));
        let ends = self.switched_at.map_or(retire_at, |at| later(at, overlap));
        Some((began, ends))
    }

    /// Which credential the state is about: its number, and its ID if that is known. In `Steady` and in the overlap it is the latest one that
    /// was created.
    pub fn subject(&self) -> (Option<u32>, Option<&str>) {
        let latest = || self.all().find(|known| known.n == Some(self.n));
        match &self.state {
            Phase::Retiring { key, .. } => (key.n, key.id.as_deref()),
            _ => (Some(self.n), latest().and_then(|known| known.id.as_deref())),
        }
    }

    /// Whether the current value, by its texts, is the one that the rotation created and stored.
    pub fn has_put(&self, digests: &DigestKey, texts: &[&str]) -> bool {
        let made = self.current.as_ref().filter(|known| known.n.is_some());
        made.zip(self.client.as_ref())
            .is_some_and(|(known, client)| known.digest == value_digest(digests, client, texts))
    }

    /// Adds the request that was answered according to the status: the annotation may be lost, or an older one restored. A request whose
    /// rotation failed is still open, whatever the status contains.
    pub(super) fn answered(mut self, seen: &Observed) -> Self {
        let failed = self.failure.as_ref().and_then(|f| f.requested.as_ref());
        let answered = seen.handled == seen.requested && failed != seen.requested.as_ref();
        if seen.requested.is_some() && answered {
            self.handled.clone_from(&seen.requested);
        }
        self
    }

    /// Records a credential that apicred did not create and that is taken out of the Secret.
    pub(super) fn replaces(&mut self, known: Option<&ValueRecord>) {
        let foreign = known.filter(|known| known.n.is_none());
        let Some(id) = foreign.and_then(|known| known.id.clone()) else {
            return;
        };
        self.replaced.retain(|noted| *noted != id);
        self.replaced.push(id);
        let surplus = self.replaced.len().saturating_sub(MOST_REPLACED);
        self.replaced.drain(..surplus);
    }

    /// Records the client resource that rotates the Secret now.
    pub(super) fn made_by(&mut self, uid: &str) {
        self.makers.retain(|noted| noted != uid);
        self.makers.push(uid.to_owned());
        let surplus = self.makers.len().saturating_sub(MOST_MAKERS);
        self.makers.drain(..surplus);
    }

    /// The annotation to write.
    pub fn annotation(&self) -> (String, String) {
        let versioned = Versioned {
            v: VERSION,
            record: self,
        };
        let text = serde_json::to_string(&versioned).unwrap_or_default();
        (names::ROTATION.to_owned(), text)
    }

    /// The same with comparable key IDs: an earlier version stored them as the issuer wrote them.
    fn in_one_case(mut self) -> Self {
        let retiring = match &mut self.state {
            Phase::Retiring { key, .. } => Some(key),
            _ => None,
        };
        let values = [&mut self.current, &mut self.next, &mut self.previous];
        let values = values.into_iter().flatten().chain(retiring);
        let ids = values.filter_map(|known| known.id.as_mut());
        let spared = self.spared.iter_mut().filter_map(|known| known.id.as_mut());
        for id in ids.chain(&mut self.replaced).chain(spared) {
            *id = in_one_case(std::mem::take(id));
        }
        self
    }

    /// Reads the annotations of a Secret.
    pub fn read(annotations: &BTreeMap<String, String>) -> StoredRecord {
        let Some(text) = annotations.get(names::ROTATION) else {
            return StoredRecord::Absent;
        };
        match serde_json::from_str::<Versioned<Self>>(text) {
            Ok(read) if read.v == VERSION => {
                StoredRecord::Record(Box::new(read.record.in_one_case()))
            }
            _ => StoredRecord::Unreadable,
        }
    }
}

/// A key ID as it is compared: a GUID in lower case. A thumbprint is base64url, in which upper and lower case differ.
pub(super) fn in_one_case(id: String) -> String {
    if is_guid(&id) {
        id.to_ascii_lowercase()
    } else {
        id
    }
}

/// A value of a Secret, as the annotation describes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stored {
    /// See [`ValueRecord`].
    pub digest: String,
    /// See [`ValueRecord`].
    pub id: Option<String>,
    /// See [`ValueRecord`].
    pub n: Option<u32>,
    /// Whether a rotation replaced it.
    pub replaced: bool,
}

impl Stored {
    fn of(known: &ValueRecord, replaced: bool) -> Self {
        Self {
            digest: known.digest.clone(),
            id: known.id.clone(),
            n: known.n,
            replaced,
        }
    }
}

/// When the current value of a Secret expires, as its rotation stored it, and which values the Secret has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RotatedUntil {
    /// The client to which the value belongs. None: an earlier version stored it.
    client: Option<ClientAt>,
    kind: Option<Kind>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    stored: Vec<Stored>,
}

/// Maximum length of a digest and of a key ID, in bytes. A GUID has 36, a digest and a thumbprint less than 100.
const LONGEST: usize = 128;
/// The same of a client ID and of the URL of an issuer. A spec has at most 1024 characters.
const LONGEST_CLIENT: usize = 4096;

impl RotatedUntil {
    /// Reads the annotations of a Secret.
    pub fn read(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let StoredRecord::Record(record) = Record::read(annotations) else {
            return None;
        };
        let values = [
            (&record.current, false),
            (&record.next, false),
            (&record.previous, true),
        ];
        let stored = values.iter();
        let stored = stored.filter_map(|(known, was)| Some(Stored::of(known.as_ref()?, *was)));
        // Any user may write this annotation on a Secret of theirs, and each rotation of the client reads it.
        let id = |value: &Stored| value.id.as_ref().map_or(0, String::len);
        let stored = stored.filter(|value| value.digest.len().max(id(value)) <= LONGEST);
        let stored: Vec<Stored> = stored.collect();
        let current = record.current.unwrap_or_default();
        let fits = |client: &ClientAt| client.id.len().max(client.issuer.len()) <= LONGEST_CLIENT;
        let fits = record.client.as_ref().is_none_or(fits);
        (fits && !stored.is_empty()).then_some(Self {
            client: record.client,
            kind: record.kind,
            from: current.from,
            until: current.until,
            stored,
        })
    }

    /// The values, if they belong to this client.
    pub fn stored(&self, client: &ClientAt) -> &[Stored] {
        let same = self.client.as_ref() == Some(client);
        if same { &self.stored } else { &[] }
    }

    /// The start (if known) and the end of the value's validity, if it belongs to this client and is of this kind: the value of the previous
    /// client, or of the previous kind, may expire at another time.
    pub fn of(&self, client: &ClientAt, kind: Kind) -> Option<(Option<Timestamp>, Timestamp)> {
        let same = self.client.as_ref().is_none_or(|noted| noted == client)
            && self.kind.is_none_or(|noted| noted == kind);
        same.then_some((self.from, self.until?))
    }
}
