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
    api::names,
    credential::{
        Credential,
        annotations::{Place, unread},
        binding::is_named,
        end_of_secret,
    },
    oauth::LifetimeSource,
    rotation::RotatedUntil,
};

/// What apicred keeps of a Secret's metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretFacts {
    /// UID.
    pub uid: String,
    /// resourceVersion.
    pub version: String,
    /// Being deleted.
    pub deleting: bool,
    /// The credential that may take this Secret over, if its owner says so.
    pub adopt_by: Option<String>,
    /// What apicred noted on it, if anything.
    pub published: Option<Box<Published>>,
    /// Kind and name of another controller that owns it.
    pub controller: Option<String>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When the client secret in it expires, as set by its owner.
    pub secret_expires_at: Option<Timestamp>,
    /// The owner says when, but not in a form that is a time.
    pub expiry_unreadable: bool,
    /// When the client credential in it ends that a rotation put there.
    pub rotated_until: Option<Box<RotatedUntil>>,
    /// The message about annotations below `apicred.dev` that have no effect.
    pub unread: Option<Box<str>>,
    /// Its owner asks apicred to keep the last good pair of it.
    pub keeps_last_good: bool,
    /// It is such a copy.
    pub last_good: Option<Box<LastGood>>,
}

/// How long the garbage collector has to delete the Secret of a credential that is gone, from the moment at which this
/// process first sees it. It takes seconds, unless its own watch has missed the deletion.
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
    /// The noted facts; `None`: they are damaged.
    pub record: Option<Record>,
    /// The digest that was noted.
    pub template_digest: String,
    /// Does it still have what was noted?
    pub template_intact: bool,
    /// The keys that were put on.
    pub managed_keys: Arc<ManagedKeys>,
    /// Who else wrote where apicred writes.
    pub foreign_write: ForeignWrite,
}

impl Published {
    /// Was the token removed because its credential ended?
    pub fn is_emptied(&self) -> bool {
        self.record.is_none() && self.managed_keys.data.is_empty()
    }
}

/// A writer whose name the Secret does not say.
pub const UNNAMED: &str = "somebody";

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
    /// Not there.
    Absent,
    /// Being deleted; wait until it is gone.
    Deleting,
    /// Ours.
    Ours {
        /// The resourceVersion that these facts belong to.
        version: String,
        /// Its annotations.
        published: Box<Published>,
    },
    /// Not ours, but it requests adoption.
    Adoptable {
        /// The resourceVersion with that request.
        version: String,
    },
    /// Controlled by an earlier credential of this name. Names are unique, so that object is gone, and the garbage
    /// collector deletes the Secret. If it does not, the Secret is taken over.
    OwnerGone {
        /// The resourceVersion that these facts belong to.
        version: String,
        /// UID of the earlier credential.
        uid: String,
        /// How long the garbage collector still has.
        left: Duration,
    },
    /// Another owner's, described in words.
    Foreign(String),
}

impl Target {
    /// What apicred published there, if the Secret is its own.
    pub fn published(&self) -> Option<&Published> {
        match self {
            Self::Ours { published, .. } => Some(published),
            _ => None,
        }
    }

    /// The same after the garbage collector has had so much time.
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
        let keys = a
            .get(names::MANAGED_KEYS)
            .and_then(|j| serde_json::from_str(j).ok())
            .unwrap_or_else(ManagedKeys::unknown);
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
            Place::Secret,
        )
        .map(Into::into),
        keeps_last_good: last_good::is_wanted(meta),
        last_good: LastGood::read(meta).map(Box::new),
    }
}

/// Whose the Secret is for this credential. Ours is what carries our UID and no other controller: a name or a
/// label alone would let one credential write over another's Secret.
pub fn target(credential: &Credential, facts: Option<&SecretFacts>) -> Target {
    let Some(facts) = facts else {
        return Target::Absent;
    };
    if facts.deleting {
        return Target::Deleting;
    }
    if let Some(controller) = &facts.controller {
        return Target::Foreign(format!("it is controlled by {controller}"));
    }
    match &facts.published {
        Some(published) if published.credential_uid == credential.uid => Target::Ours {
            version: facts.version.clone(),
            published: published.clone(),
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
        // A retained Secret has no owner reference: only a user knows whether it is still used.
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

/// Who owns the fields that apicred writes, by `managedFields`. An empty list counts as no other manager.
/// `endless`: what was written is a static key.
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
    // What changes with each token changes its owner with each write as well.
    if let Some(edit) = strangers
        .iter()
        .find(|e| moving().any(|key| owns_data(e, key)))
    {
        return ForeignWrite::Edited(name(edit));
    }
    // Writing an unchanged value does not move field ownership. So another manager (an editor, a restore) may own a field
    // whose value is ours. It counts as an edit only if it is not older than our last write (resolution 1 s).
    let time = |e: &ManagedFieldsEntry| e.time.as_ref().map(|t| t.0);
    let written = entries.iter().filter(ours).filter_map(time).max();
    let stands = |e: &&&ManagedFieldsEntry| time(e).is_none_or(|t| written.is_none_or(|w| t >= w));
    if let Some(edit) = strangers.iter().find(stands) {
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
    // An apply of `stringData` changes the data as well, and is noted under the name it was sent by.
    let words = |key: &str| {
        fields(entry)
            .and_then(|f| f.get("f:stringData")?.get(format!("f:{key}")))
            .is_some()
    };
    keys.files().any(|key| owns_data(entry, key) || words(key)) || noted()
}

fn is_record(key: &str) -> bool {
    names::RECORD.contains(&key)
}
