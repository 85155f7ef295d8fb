//! Who owns a Secret, and whether another writer changed it.
//!
//! Reads only metadata, so that tokens never enter apicred's caches.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde_json::Value;

use super::{
    ManagedKeys, Record,
    last_good::{self, LastGood},
    template::live_digest,
};
use crate::{
    api::{DeletionPolicy, names},
    credential::{
        Credential,
        annotations::{AnnotatedKind, unread},
        binding::is_named,
        end_of_secret,
    },
    oauth::LifetimeSource,
    rotation::RotatedUntil,
};

/// The metadata of a Secret that apicred stores in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretFacts {
    /// UID.
    pub uid: String,
    /// resourceVersion.
    pub version: String,
    /// Being deleted.
    pub deleting: bool,
    /// The credential that may take this Secret over, if its owner allows it.
    pub adopt_by: Option<String>,
    /// What apicred stored on it, if anything.
    pub published: Option<Box<Published>>,
    /// Kind and name of another controller that owns it.
    pub controller: Option<String>,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// When the client secret in it expires, as set by its owner.
    pub secret_expires_at: Option<Timestamp>,
    /// The owner sets the expiry time, but the text is not a time.
    pub expiry_unreadable: bool,
    /// When the client credential that a rotation stored in it expires.
    pub rotated_until: Option<Box<RotatedUntil>>,
    /// The message about annotations below `apicred.dev` that have no effect.
    pub unread: Option<Box<str>>,
    /// Its owner requests a copy of its last good pair.
    pub wants_copy: bool,
    /// The metadata of such a copy, if it is one.
    pub last_good: Option<Box<LastGood>>,
}

/// How long the garbage collector has to delete the Secret of a deleted credential, from the time at which this process first notices it. It
/// takes seconds, unless its own watch has missed the deletion.
const COLLECTOR: Duration = Duration::from_secs(30);

/// A Secret that apicred published.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// UID of the owning credential.
    pub credential_uid: String,
    /// Name of the owning credential.
    pub credential: String,
    /// Name of the owning credential by its owner reference; `None`: no owner reference has its UID.
    pub owner: Option<String>,
    /// The stored facts; `None`: they are damaged.
    pub record: Option<Record>,
    /// The stored digest.
    pub template_digest: String,
    /// Whether its metadata still matches the stored digest.
    pub template_intact: bool,
    /// The keys that apicred has set.
    pub managed_keys: Arc<ManagedKeys>,
    /// Other writers of the fields that apicred writes.
    pub foreign_write: ForeignWrite,
}

impl Published {
    /// Whether the token was removed because its credential expired.
    pub fn is_emptied(&self) -> bool {
        self.record.is_none() && self.managed_keys.data.is_empty()
    }
}

/// A writer whose name the Secret does not contain.
pub const UNNAMED: &str = "another writer";

/// Other field managers of apicred's fields.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ForeignWrite {
    /// None.
    None,
    /// Edited once, by a user or a script: corrected.
    Edited(String),
    /// Claimed by another manager through server-side apply: reported, and not overwritten.
    Claimed(String),
}

/// The target Secret as one credential sees it.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// It does not exist.
    Absent,
    /// Being deleted; wait until it is deleted. A finalizer may delay this. If the Secret belongs to this credential: its resourceVersion and what
    /// apicred published there.
    Deleting(Option<(String, Box<Published>)>),
    /// It belongs to this credential.
    Ours {
        /// The resourceVersion of these facts.
        version: String,
        /// Its annotations.
        published: Box<Published>,
    },
    /// It does not belong to this credential, but requests adoption.
    Adoptable {
        /// The resourceVersion with that request.
        version: String,
    },
    /// Controlled by an earlier credential of this name. Names are unique, so that object is deleted, and the garbage collector deletes the
    /// Secret. If it does not, the Secret is taken over.
    OwnerGone {
        /// The resourceVersion of these facts.
        version: String,
        /// UID of the earlier credential.
        uid: String,
        /// The time that the garbage collector still has.
        left: Duration,
    },
    /// Controlled by this other `ApiCredential`. If that one was deleted, as in a renaming, the garbage collector deletes the Secret in seconds.
    OfAnother(String),
    /// It belongs to another owner, which the text describes.
    Foreign(String),
}

impl Target {
    /// What apicred published there, if the Secret belongs to this credential.
    pub fn published(&self) -> Option<&Published> {
        match self {
            Self::Ours { published, .. } => Some(published),
            _ => None,
        }
    }

    /// The resourceVersion and what apicred published there, if the Secret belongs to this credential, even if it is being deleted.
    pub fn own(&self) -> Option<(&str, &Published)> {
        match self {
            Self::Ours { version, published } | Self::Deleting(Some((version, published))) => {
                Some((version, published))
            }
            _ => None,
        }
    }

    /// The end of a message about a write that failed, if the Secret is deleted with its credential until then although its spec retains it.
    pub fn not_retained(&self, credential: &Credential) -> &'static str {
        let retain = credential.target.deletion == DeletionPolicy::Retain;
        match self.own() {
            Some((_, published)) if retain && published.owner.is_some() => {
                "; deletionPolicy Retain has no effect yet: the Secret is still deleted with its credential"
            }
            _ => "",
        }
    }

    /// The same after the garbage collector has had this much time.
    #[must_use]
    pub fn seen_for(mut self, time: Duration) -> Self {
        if let Self::OwnerGone { left, .. } = &mut self {
            *left = COLLECTOR.saturating_sub(time);
        }
        self
    }
}

/// Reads a Secret's metadata.
pub fn examine(meta: &ObjectMeta) -> SecretFacts {
    let annotations = meta.annotations.as_ref();
    // If another writer removed the annotation, the owner reference identifies the owner.
    let owner = meta.owner_references.iter().flatten().find(|o| {
        o.controller == Some(true)
            && o.kind == "ApiCredential"
            && o.api_version
                .strip_prefix(names::GROUP)
                .is_some_and(|version| version.starts_with('/'))
    });
    let uid = annotations
        .and_then(|a| a.get(names::CREDENTIAL_UID))
        .or(owner.map(|o| &o.uid));
    let bare = std::collections::BTreeMap::new();
    let published = uid.map(|uid| {
        let a = annotations.unwrap_or(&bare);
        let keys = ManagedKeys::read(a);
        let noted = a.get(names::TEMPLATE_DIGEST).cloned().unwrap_or_default();
        let ours = meta.owner_references.iter().flatten();
        let ours = ours
            .clone()
            .find(|o| o.uid == *uid && o.controller == Some(true));
        let owned = ours.is_some();
        Box::new(Published {
            credential_uid: uid.clone(),
            credential: a.get(names::CREDENTIAL).cloned().unwrap_or_default(),
            owner: owner.filter(|o| o.uid == *uid).map(|o| o.name.clone()),
            record: Record::read(a),
            template_intact: live_digest(meta.labels.as_ref(), Some(a), &keys, owned, &noted)
                == noted,
            template_digest: noted,
            foreign_write: foreign_write(
                meta.managed_fields.as_deref().unwrap_or_default(),
                &keys,
                a.get(names::LIFETIME).map(String::as_str) == Some(LifetimeSource::Static.as_str()),
            ),
            managed_keys: Arc::new(keys),
        })
    });
    let controller = meta
        .owner_references
        .iter()
        .flatten()
        .find(|o| o.controller == Some(true) && Some(&o.uid) != uid)
        .map(|o| format!("{} {}", o.kind, o.name));
    let expiry = annotations.and_then(|a| a.get(names::SECRET_EXPIRES_AT));
    let secret_expires_at = expiry.and_then(|text| end_of_secret(text));
    SecretFacts {
        uid: meta.uid.clone().unwrap_or_default(),
        version: meta.resource_version.clone().unwrap_or_default(),
        deleting: meta.deletion_timestamp.is_some(),
        adopt_by: annotations.and_then(|a| a.get(names::ADOPT_BY)).cloned(),
        published,
        controller,
        created_at: meta.creation_timestamp.as_ref().map(|t| t.0),
        secret_expires_at,
        expiry_unreadable: expiry.is_some() && secret_expires_at.is_none(),
        rotated_until: annotations.and_then(RotatedUntil::read).map(Box::new),
        unread: unread(
            annotations.into_iter().flat_map(|a| a.keys()),
            AnnotatedKind::Secret,
        )
        .map(Into::into),
        wants_copy: last_good::is_wanted(meta),
        last_good: LastGood::read(meta).map(Box::new),
    }
}

/// Whether the Secret belongs to this credential. It must have the credential's UID and no other controller: with a name or a label alone, one
/// credential could overwrite another's Secret.
pub fn target(credential: &Credential, facts: Option<&SecretFacts>) -> Target {
    let Some(facts) = facts else {
        return Target::Absent;
    };
    if facts.deleting {
        let own = facts.published.as_ref();
        let own = own.filter(|p| p.credential_uid == credential.uid && facts.controller.is_none());
        return Target::Deleting(own.map(|p| (facts.version.clone(), p.clone())));
    }
    if let Some(controller) = &facts.controller {
        return Target::Foreign(format!("it is controlled by {controller}"));
    }
    match facts.published.as_deref() {
        Some(published) if published.credential_uid == credential.uid => Target::Ours {
            version: facts.version.clone(),
            published: Box::new(published.clone()),
        },
        Some(published) if published.owner.as_ref() == Some(&credential.name) => {
            Target::OwnerGone {
                version: facts.version.clone(),
                uid: published.credential_uid.clone(),
                left: COLLECTOR,
            }
        }
        _ if facts
            .adopt_by
            .as_deref()
            .is_some_and(|by| is_named(by, &credential.name, &credential.uid)) =>
        {
            Target::Adoptable {
                version: facts.version.clone(),
            }
        }
        Some(Published {
            owner: Some(owner), ..
        }) => Target::OfAnother(owner.clone()),
        // A retained Secret has no owner reference. Only a user knows whether it is still used.
        Some(published) if published.credential == credential.name => Target::Foreign(format!(
            "it was written for an earlier ApiCredential {} and no longer has an owner",
            published.credential
        )),
        Some(published) => Target::Foreign(format!(
            "it was written for ApiCredential {} (another object)",
            published.credential
        )),
        None => Target::Foreign("apicred did not create it".to_owned()),
    }
}

/// Who owns the fields that apicred writes, according to `managedFields`. An empty list counts as no other manager. `endless`: a static key was
/// written.
fn foreign_write(
    entries: &[ManagedFieldsEntry],
    keys: &ManagedKeys,
    endless: bool,
) -> ForeignWrite {
    let moving = || {
        let keys = keys.moving(endless).filter(|(_, moves)| *moves);
        keys.map(|(key, _)| key)
    };
    let ours = |e: &&ManagedFieldsEntry| e.manager.as_deref() == Some(names::MANAGER);
    if !entries.iter().any(|e| ours(&e)) {
        return ForeignWrite::None;
    }
    let name = |e: &ManagedFieldsEntry| e.manager.clone().unwrap_or_else(|| UNNAMED.to_owned());
    let strangers: Vec<&ManagedFieldsEntry> = entries
        .iter()
        .filter(|e| !ours(e) && touches(e, keys))
        .collect();
    if let Some(claim) = strangers
        .iter()
        .find(|e| e.operation.as_deref() == Some("Apply"))
    {
        return ForeignWrite::Claimed(name(claim));
    }
    // A value that changes with each token also changes its owner with each write.
    if let Some(edit) = strangers
        .iter()
        .find(|e| moving().any(|key| owns_data(e, key)))
    {
        return ForeignWrite::Edited(name(edit));
    }
    // Writing an unchanged value does not move field ownership. So another manager (an editor, a restore) may own a field whose value apicred
    // wrote. It counts as an edit only if it is not older than apicred's last write (resolution 1 s).
    let time = |e: &ManagedFieldsEntry| e.time.as_ref().map(|t| t.0);
    let written = entries.iter().filter(ours).filter_map(time).max();
    let is_current =
        |e: &&&ManagedFieldsEntry| time(e).is_none_or(|t| written.is_none_or(|w| t >= w));
    if let Some(edit) = strangers.iter().find(is_current) {
        return ForeignWrite::Edited(name(edit));
    }
    // A removed key has no owner.
    let held = |key: &str| entries.iter().filter(ours).any(|e| owns_data(e, key));
    let there = |key: &str| entries.iter().any(|e| owns_data(e, key));
    let whole = keys
        .moving(endless)
        .all(|(key, moves)| if moves { held(key) } else { there(key) });
    if whole {
        ForeignWrite::None
    } else {
        ForeignWrite::Edited(UNNAMED.to_owned())
    }
}

fn fields(entry: &ManagedFieldsEntry) -> Option<&Value> {
    entry.fields_v1.as_ref().map(|f| &f.0)
}

fn owns_data(entry: &ManagedFieldsEntry, key: &str) -> bool {
    fields(entry)
        .and_then(|f| f.get("f:data")?.get(format!("f:{key}")))
        .is_some()
}

fn touches(entry: &ManagedFieldsEntry, keys: &ManagedKeys) -> bool {
    let annotations = || {
        fields(entry)?
            .get("f:metadata")?
            .get("f:annotations")?
            .as_object()
    };
    let noted =
        || annotations().is_some_and(|a| a.keys().any(|k| is_record(k.trim_start_matches("f:"))));
    // An apply of `stringData` also changes the data, and is recorded under `stringData`.
    let owns_text_key = |key: &str| {
        fields(entry)
            .and_then(|f| f.get("f:stringData")?.get(format!("f:{key}")))
            .is_some()
    };
    keys.files()
        .any(|key| owns_data(entry, key) || owns_text_key(key))
        || noted()
}

fn is_record(key: &str) -> bool {
    names::RECORD.contains(&key)
}
