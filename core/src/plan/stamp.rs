//! What an attempt depends on, as one text: a failure counts until any of it changes.

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
        // A token that was held in memory and is lost is requested in the same rhythm.
        let same = |held| failure.stamp == stamp_if(credential, self, held);
        (same(self.held) || !self.held && same(true)).then_some(failure)
    }
}

/// What a try depends on: when any of it changes, a failure says nothing any more and the next try is due at once.
pub fn stamp(credential: &Credential, observed: &Observed) -> String {
    stamp_if(credential, observed, observed.held)
}

/// The same as if a token were held, or not.
pub(super) fn stamp_if(credential: &Credential, observed: &Observed, held: bool) -> String {
    let mut text = fingerprint::request(credential);
    text.push_str(&format!(
        "|{}|{:?}",
        credential.issuer.version, credential.issuer.style
    ));
    // How a key signs, where a certificate is: not a part of the token, but something that a user may have fixed.
    text.push_str(&format!(
        "|{:?}|{:?}",
        credential.authentication, credential.grant
    ));
    if let Some(key) = &credential.static_key {
        text.push_str(&format!("|{key:?}"));
    }
    for source in observed.sources.iter().chain(&observed.grant_sources) {
        let mark = observed.memory.foreign_mark(source);
        let (uid, version) = mark.as_ref().map_or(("", ""), |m| (&m.uid, &m.version));
        text.push_str(&format!(
            "|{}/{}@{uid}/{version}",
            source.reference.name, source.reference.key
        ));
    }
    text.push_str(&format!(
        "|{}",
        credential.renew_requested.as_deref().unwrap_or_default()
    ));
    // A token that waits to be written is tried again when it is to be written in another way. Without one this
    // must not count, or another label would send a refused password again.
    if held {
        text.push_str(&format!("|{}", template(credential).digest()));
    }
    // A password that was refused is not sent again because its Secret is deleted, or adopted.
    if matches!(credential.grant, Grant::Password(_)) && !held {
        return fingerprint::inputs(&[&text]);
    }
    // A refused write does not count any more once the Secret is gone.
    text.push_str(match observed.target {
        Target::Absent => "|absent",
        Target::Deleting => "|deleting",
        Target::Ours { .. } => "|ours",
        Target::Adoptable { .. } => "|adoptable",
        Target::OwnerGone { .. } => "|owner-gone",
        Target::Foreign(_) => "|foreign",
    });
    fingerprint::inputs(&[&text])
}
