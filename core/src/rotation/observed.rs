//! What is observed before a step: the Secret, the application at the issuer, and which of its credentials is which value.

use jiff::Timestamp;

use super::{
    settings::RotationSettings,
    shared::InOther,
    shown::Shown,
    state::{ClientAt, StoredRecord, ValueRecord},
    users::Lagging,
    values::NEXT,
};

/// What identifies a value at the issuer, without the value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Mark {
    /// The first characters of a secret, as Entra ID shows them. Two secrets may share them.
    Hint(String),
    /// Thumbprints of a certificate, in lower-case hexadecimal digits. No other certificate has them.
    Certificate {
        /// SHA-1.
        sha1: String,
        /// SHA-256.
        sha256: String,
    },
    /// Thumbprint of a public key (RFC 7638).
    Key(String),
}

impl Mark {
    /// The issuer's id of the value, if it follows from the value: a public key is named by its thumbprint, whether it is listed or not.
    pub(super) fn id(&self) -> Option<String> {
        match self {
            Self::Key(thumbprint) => Some(thumbprint.clone()),
            Self::Hint(_) | Self::Certificate { .. } => None,
        }
    }
}

/// A value of the Secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Slot {
    /// Keyed digest of the value.
    pub digest: String,
    /// What identifies it at the issuer.
    pub mark: Mark,
    /// The name that its creator gave it: the common name of a certificate.
    pub name: Option<String>,
    /// Validity, if the value contains it (a certificate).
    pub validity: Option<(Timestamp, Timestamp)>,
}

/// The values of the Secret.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Slots {
    /// The one that credentials use.
    pub current: Option<Slot>,
    /// The one that will replace it.
    pub next: Option<Slot>,
    /// The one that was replaced.
    pub previous: Option<Slot>,
    /// What identifies the values under all other keys of the Secret, if they are credentials of the same kind.
    pub other_keys: Vec<Mark>,
    /// There are more values under other keys than are read: any credential may be one of them.
    pub has_unread_keys: bool,
    /// The keys of the Secret that contain something, other than those of the current value, whether it is a credential or not.
    pub beside: Vec<String>,
}

impl Slots {
    /// All values that are there.
    pub(super) fn all(&self) -> impl Iterator<Item = &Slot> {
        [&self.current, &self.next, &self.previous]
            .into_iter()
            .flatten()
    }

    /// The value with this digest.
    pub(super) fn with(&self, digest: &str) -> Option<&Slot> {
        self.all().find(|slot| slot.digest == digest)
    }

    /// Whether a value that this finds is, or may be, under another key of the Secret.
    pub(super) fn may_be_copied(&self, finds: impl Fn(&Mark) -> bool) -> bool {
        self.has_unread_keys || self.other_keys.iter().any(finds)
    }

    /// Whether the keys with this ending contain something.
    pub(super) fn holds(&self, ending: &str) -> bool {
        let slot = match ending {
            NEXT => &self.next,
            _ => &self.previous,
        };
        slot.is_some() || self.under(ending).next().is_some()
    }

    /// The keys with this ending.
    pub(super) fn under<'a>(&'a self, ending: &'a str) -> impl Iterator<Item = &'a String> {
        self.beside.iter().filter(move |key| key.ends_with(ending))
    }
}

/// A credential at the issuer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Key {
    /// The issuer's id of it.
    pub id: String,
    /// Its display name.
    pub name: Option<String>,
    /// What identifies its value. None: the issuer does not return it.
    pub mark: Option<KeyMark>,
    /// Valid from.
    pub from: Option<Timestamp>,
    /// Valid until.
    pub until: Option<Timestamp>,
}

/// What the issuer returns about a value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeyMark {
    /// The first characters of a secret.
    Hint(String),
    /// One of the thumbprints of a certificate, in lower-case hexadecimal digits; or the thumbprint of a public key (RFC 7638).
    Thumbprint(String),
}

/// The application as it was read. Replicas lag, so it may be older than `read_at`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Application {
    /// When the answer arrived.
    pub read_at: Timestamp,
    /// Its credentials of the kind that is rotated.
    pub keys: Vec<Key>,
}

/// How apicred names credentials: `apicred/<cluster>/<uid>/<n>`. The UID is that of the client resource.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Names {
    cluster: String,
    uid: String,
}

/// Longest name of a cluster, in characters. A common name has at most 64 (RFC 5280, ub-common-name), and the UID and the number need 51 of
/// them.
pub const MOST_CLUSTER: usize = 12;

/// The prefix of the name of each credential that apicred creates.
const NAMED: &str = "apicred/";

impl Names {
    /// The names of one client resource of one cluster. The cluster's name is cut to [`MOST_CLUSTER`] characters.
    pub fn new(cluster: &str, uid: &str) -> Self {
        let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
        let cluster: String = cluster.chars().filter(plain).take(MOST_CLUSTER).collect();
        Self {
            cluster,
            uid: uid.to_owned(),
        }
    }

    /// The display name of a secret, and the common name of a certificate.
    pub fn name(&self, n: u32) -> String {
        format!("apicred/{}/{}/{n}", self.cluster, self.uid)
    }

    /// The number of a credential that this client resource created. No two objects have the same UID, so the name of the cluster is ignored:
    /// it changes when the operator loses its key. Entra ID shows a certificate's subject as its name.
    pub fn number(&self, name: &str) -> Option<u32> {
        let (uid, n) = maker(name)?;
        (uid == self.uid).then_some(n)
    }

    /// UID of the client resource.
    pub(super) fn uid(&self) -> &str {
        &self.uid
    }
}

/// Which client resource created a credential of this name, and its number.
pub(super) fn maker(name: &str) -> Option<(&str, u32)> {
    let name = name.strip_prefix("CN=").unwrap_or(name);
    let (_, rest) = name.strip_prefix(NAMED)?.split_once('/')?;
    let (uid, digits) = rest.split_once('/')?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    let n = digits.parse().ok().filter(|_| plain)?;
    (!uid.is_empty()).then_some((uid, n))
}

/// All that was observed.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// resourceVersion of the Secret that was read.
    pub version: String,
    /// The content of its annotation.
    pub noted: StoredRecord,
    /// Its values.
    pub slots: Slots,
    /// The client to which they belong, according to the client resource now.
    pub client: ClientAt,
    /// How this client resource names credentials.
    pub names: Names,
    /// A credential whose token is by the previous value. None: all follow.
    pub lagging: Option<Lagging>,
    /// When a credential last got a token with the current value.
    pub used_at: Option<Timestamp>,
    /// Values of other Secrets for the same client.
    pub in_others: Vec<InOther>,
    /// Whether all Secrets that may have such values are listed. Otherwise nothing is removed at the issuer.
    pub others_known: bool,
    /// Why no key can be generated that replaces the current one. None: one can be generated, or the issuer makes the value.
    pub unmakeable: Option<super::outcome::Fault>,
    /// The annotation `rotate-requested-at` of the client resource.
    pub requested: Option<String>,
    /// The last request that was answered, according to the status of the client resource: the annotation of the Secret may be lost.
    pub handled: Option<String>,
}

/// Whether a credential of the issuer is the value of a slot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Same {
    Yes,
    /// It may be this value or another one.
    Maybe,
    No,
}

impl Key {
    pub(super) fn is(&self, slot: &Slot) -> Same {
        self.has(&slot.mark)
    }

    pub(super) fn has(&self, mark: &Mark) -> Same {
        match (&self.mark, mark) {
            (Some(KeyMark::Hint(seen)), Mark::Hint(own)) if seen != own => Same::No,
            (Some(KeyMark::Thumbprint(seen)), Mark::Certificate { sha1, sha256 }) => {
                if seen == sha1 || seen == sha256 {
                    Same::Yes
                } else {
                    Same::No
                }
            }
            (Some(KeyMark::Thumbprint(seen)), Mark::Key(own)) => {
                if seen == own {
                    Same::Yes
                } else {
                    Same::No
                }
            }
            _ => Same::Maybe,
        }
    }
}

/// The values of the Secret with what is known about each.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    pub(super) current: Option<ValueRecord>,
    pub(super) next: Option<ValueRecord>,
    pub(super) previous: Option<ValueRecord>,
}

impl Facts {
    /// Finds each value by its digest in `pool`, in whatever slot it was stored: users and restored backups move values around. A value that is
    /// not found there is searched for in the application. A hint identifies a value only in a `fresh` reading: an older one may lack the
    /// credential that the hint belongs to. `taken`: IDs that belong to other values.
    pub(super) fn of(
        seen: &Observed,
        (pool, mut taken): (&[&ValueRecord], Vec<String>),
        application: Option<(&Application, bool)>,
        settings: &RotationSettings,
    ) -> Self {
        // If the application cannot be read, the subject of a certificate shows that apicred created it, and its number.
        let named = |slot: &Slot| {
            let name = slot.name.as_deref().filter(|_| application.is_none())?;
            seen.names.number(name)
        };
        // No digest fits if the operator lost its key for digests.
        let fits = |known: &ValueRecord, slot: &Slot| {
            let ends = slot.validity.map(|(_, until)| until);
            let other = seen.slots.with(&known.digest);
            other.is_none() && (known.until.is_none() || known.until == ends)
        };
        let mut about = |slot: &Option<Slot>| {
            let slot = slot.as_ref()?;
            let noted = pool.iter().find(|k| k.digest == slot.digest);
            // A public key is the same in another notation, and if the operator lost its key for digests.
            let id = slot.mark.id();
            let noted = noted.or_else(|| pool.iter().find(|k| id.is_some() && k.id == id));
            let noted = noted.or_else(|| {
                let n = named(slot)?;
                pool.iter().find(|k| k.n == Some(n) && fits(k, slot))
            });
            let mut known = noted.map_or_else(ValueRecord::default, |k| (*k).clone());
            known.digest.clone_from(&slot.digest);
            if let Some((application, _)) = application
                && let Some(id) = &known.id
                && application.contradicts(id, slot)
            {
                taken.retain(|t| t != id);
                known.id = None;
            }
            // A value that is created here has its own mark and needs no hint.
            let hints = |fresh| fresh && !settings.kind.is_made_here();
            if let Some((application, fresh)) = application
                && known.id.is_none()
                && let Some(key) = application.same(slot, &taken).or_else(|| {
                    let key = application.only_fitting(slot, &taken);
                    key.filter(|key| hints(fresh) && is_reported(key, known.n, seen, settings))
                })
            {
                taken.push(key.id.clone());
                known.id = Some(key.id.clone());
                known.n = known.n.or_else(|| number(key, &seen.names));
                known.from = known.from.or(key.from);
                known.until = known.until.or(key.until);
            }
            known.n = known.n.or_else(|| named(slot));
            if let Some((from, until)) = slot.validity {
                (known.from, known.until) = (Some(from), Some(until));
            }
            Some(known)
        };
        let slots = &seen.slots;
        Self {
            current: about(&slots.current),
            next: about(&slots.next),
            previous: about(&slots.previous),
        }
    }

    pub(super) fn shown(&self, slots: &Slots) -> Vec<Shown> {
        let all = [
            ("Current", &slots.current, &self.current),
            ("Next", &slots.next, &self.next),
            ("Previous", &slots.previous, &self.previous),
        ];
        let shown = |(name, slot, known): (&'static str, &Option<Slot>, &Option<ValueRecord>)| {
            let known = known.as_ref();
            Some(Shown {
                slot: name,
                id: known.and_then(|k| k.id.clone()),
                mark: slot.as_ref()?.mark.clone(),
                until: known.and_then(|k| k.until),
            })
        };
        all.into_iter().filter_map(shown).collect()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &ValueRecord> {
        [&self.current, &self.next, &self.previous]
            .into_iter()
            .flatten()
    }
}

/// Whether apicred named it, for any client resource.
pub(super) fn is_named(key: &Key) -> bool {
    let name = key.name.as_deref().unwrap_or_default();
    name.strip_prefix("CN=").unwrap_or(name).starts_with(NAMED)
}

pub(super) fn number(key: &Key, names: &Names) -> Option<u32> {
    names.number(key.name.as_deref()?)
}

/// Whether something in addition to the value identifies it. A secret without a hint has only its name, or its owner names it in `adopt`.
fn is_reported(key: &Key, n: Option<u32>, seen: &Observed, settings: &RotationSettings) -> bool {
    match (&key.mark, n) {
        (Some(_), _) => true,
        (None, Some(_)) => number(key, &seen.names) == n,
        (None, None) => settings.adopt.as_ref() == Some(&key.id),
    }
}

impl Application {
    /// Whether the stored id is wrong: the issuer lists it for another value, or this value only under another id. A certificate that was
    /// announced twice has two ids.
    fn contradicts(&self, id: &str, slot: &Slot) -> bool {
        match self.keys.iter().find(|k| k.id == id) {
            Some(key) => key.is(slot) == Same::No,
            None => self.keys.iter().any(|k| k.is(slot) == Same::Yes),
        }
    }

    /// The credential of the issuer that is certainly this value.
    fn same(&self, slot: &Slot, taken: &[String]) -> Option<&Key> {
        let mut keys = self.keys.iter().filter(|k| !taken.contains(&k.id));
        keys.find(|k| k.is(slot) == Same::Yes)
    }

    /// The credential of the issuer that may be this value. None if there are several.
    fn only_fitting(&self, slot: &Slot, taken: &[String]) -> Option<&Key> {
        let keys = self.keys.iter().filter(|k| !taken.contains(&k.id));
        let mut fitting = keys.filter(|k| k.is(slot) == Same::Maybe);
        let first = fitting.next()?;
        fitting.next().is_none().then_some(first)
    }
}
