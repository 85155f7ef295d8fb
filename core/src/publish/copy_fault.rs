//! A copy of a certificate ([`super::last_good`]) that could not be written: how long this is reported, and the message. PURE.

use super::{last_good::LastGood, ownership::SecretFacts};
use crate::{api::names, credential::Copied};

/// A write of a copy that the API server refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CopyFault {
    /// Name of the Secret of the certificate.
    pub source: String,
    /// Name of the copy.
    pub copy: String,
    /// UID of the Secret of the certificate.
    uid: String,
    /// The copy at that time, if there was one.
    before: Option<LastGood>,
    /// The copy was to be emptied.
    empties: bool,
    /// Who refused the write.
    why: String,
}

impl CopyFault {
    /// The pair that got the last token could not be stored. `None` if the copy contains this pair, and only its owner could not be added.
    pub fn storing(
        copied: &Copied<'_>,
        source: &SecretFacts,
        before: Option<&LastGood>,
        why: String,
    ) -> Option<Self> {
        let of = (source.uid.clone(), source.version.clone());
        let stored = before.is_some_and(|before| before.of.as_ref() == Some(&of));
        (!stored).then(|| Self {
            source: copied.certificate.pair.secret.clone(),
            copy: copied.copy.name.clone(),
            uid: of.0,
            before: before.cloned(),
            empties: false,
            why,
        })
    }

    /// The copy of the Secret with this UID could not be emptied.
    pub fn emptying(
        copied: &Copied<'_>,
        uid: &str,
        before: Option<&LastGood>,
        why: String,
    ) -> Self {
        Self {
            source: copied.certificate.pair.secret.clone(),
            copy: copied.copy.name.clone(),
            uid: uid.to_owned(),
            before: before.cloned(),
            empties: true,
            why,
        }
    }

    /// Whether it is about this certificate.
    pub fn is_about(&self, copied: &Copied<'_>) -> bool {
        self.source == copied.certificate.pair.secret && self.copy == copied.copy.name
    }

    /// Whether the pair could not be stored.
    pub const fn stores(&self) -> bool {
        !self.empties
    }

    /// Whether it is still true: the copy has not changed, and its Secret still requests it, or still does not. Another attempt is made only
    /// while the pair of the Secret is the one that got the last token, so it cannot be the condition.
    pub fn lasts(&self, source: Option<&SecretFacts>, copy: Option<&SecretFacts>) -> bool {
        let requests = |s: &SecretFacts| s.uid == self.uid && !s.deleting && s.wants_copy;
        let same = match copy {
            None => self.before.is_none(),
            Some(copy) => {
                copy.last_good.is_some() && copy.last_good.as_deref() == self.before.as_ref()
            }
        };
        same && source.is_some_and(requests) != self.empties
    }

    /// What could not be done, and who refused it.
    pub fn why(&self) -> String {
        let (copy, why) = (&self.copy, &self.why);
        let verb = if self.empties { "emptied" } else { "written" };
        format!("Secret {copy} cannot be {verb} ({why})")
    }

    /// The message for users, with one next step.
    pub fn message(&self) -> String {
        let (source, copy, why) = (&self.source, &self.copy, self.why());
        if self.empties {
            return format!(
                "Secret {copy} still contains a private key, although Secret {source} requests no copy any more: {why}; make that write possible, or delete Secret {copy}"
            );
        }
        not_kept(source, &why, "make that write possible")
    }
}

/// The message about a Secret that has the name of the copy and is no copy. `found`: its metadata.
pub fn in_the_way(source: &str, copy: &str, found: Option<&SecretFacts>) -> String {
    let published = found.and_then(|found| found.published.as_deref());
    let owner = published.map(|p| p.owner.as_deref().unwrap_or(&p.credential));
    let Some(owner) = owner.filter(|owner| !owner.is_empty()) else {
        let why = format!("Secret {copy} exists, and apicred did not create it");
        return not_kept(source, &why, &format!("delete or rename Secret {copy}"));
    };
    let owner = crate::printable(owner);
    let why = format!("Secret {copy} exists, and it was written for ApiCredential {owner}");
    let step = format!(
        "create an ApiCredential with another target.secretName in place of ApiCredential {owner}, and delete Secret {copy}"
    );
    not_kept(source, &why, &step)
}

fn not_kept(source: &str, why: &str, step: &str) -> String {
    format!(
        "the certificate in Secret {source} is not stored as the last good one: {why}; {step}, or set the annotation {}: \"false\" on Secret {source}",
        names::KEEP_LAST_GOOD
    )
}
