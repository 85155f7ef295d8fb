//! The inputs of an attempt, as one text. A failure is valid until any of them changes.

use super::{Failure, Observed, fingerprint};
use crate::{
    credential::Credential,
    oauth::Grant,
    publish::{ownership::Target, template},
};

impl Observed {
    /// The failure, if the inputs are still the ones that failed.
    pub fn failure(&self, credential: &Credential) -> Option<&Failure> {
        let failure = self.memory.failure.as_ref()?;
        // A token that was held in memory and lost is requested with the same waits.
        let same = |held| failure.stamp == stamp_if(credential, self, held);
        (same(self.held) || !self.held && same(true)).then_some(failure)
    }
}

/// The inputs of an attempt. If any of them changes, a failure is not valid any more and the next attempt is due at once.
pub fn stamp(credential: &Credential, observed: &Observed) -> String {
    stamp_if(credential, observed, observed.held)
}

/// The same as if a token were held, or not.
pub(super) fn stamp_if(credential: &Credential, observed: &Observed, held: bool) -> String {
    digest(credential, observed, held, true)
}

/// The same as if no token were held, without the versions of the sources.
pub(super) fn unversioned(credential: &Credential, observed: &Observed) -> String {
    digest(credential, observed, false, false)
}

fn digest(credential: &Credential, observed: &Observed, held: bool, versions: bool) -> String {
    let mut text = fingerprint::request(credential);
    text.push_str(&format!(
        "|{}|{:?}",
        credential.issuer.version, credential.issuer.style
    ));
    // How a key signs, where a certificate is: these do not change the token, but a user may have fixed them.
    text.push_str(&format!(
        "|{:?}|{:?}",
        credential.authentication, credential.grant
    ));
    if let Some(key) = &credential.static_key {
        text.push_str(&format!("|{key:?}"));
    }
    for source in observed.sources.iter().chain(&observed.grant_sources) {
        let mark = observed.memory.foreign_mark(source);
        let (uid, version) = match &mark {
            Some(mark) if versions => (mark.uid.as_str(), mark.version.as_str()),
            Some(_) => ("present", ""),
            None => ("", ""),
        };
        text.push_str(&format!(
            "|{}/{}@{uid}/{version}",
            source.reference.name, source.reference.key
        ));
    }
    text.push_str(&format!(
        "|{}",
        credential.renew_requested.as_deref().unwrap_or_default()
    ));
    // A token that waits to be written is tried again if it is to be written in another way. If none is held, this must not count: otherwise
    // another label would send a refused password again.
    if held {
        text.push_str(&format!("|{}", template(credential).digest()));
    }
    // A refused password is not sent again because its Secret is deleted or adopted.
    if matches!(credential.grant, Grant::Password(_)) && !held {
        return fingerprint::inputs(&[&text]);
    }
    // A refused write is not relevant any more when the Secret is deleted.
    text.push_str(match observed.target {
        Target::Absent => "|absent",
        Target::Deleting(_) => "|deleting",
        Target::Ours { .. } => "|ours",
        Target::Adoptable { .. } => "|adoptable",
        Target::OwnerGone { .. } => "|owner-gone",
        Target::OfAnother(_) | Target::Foreign(_) => "|foreign",
    });
    fingerprint::inputs(&[&text])
}
