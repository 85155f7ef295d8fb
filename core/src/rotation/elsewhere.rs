//! The client now names another application than the one that the annotation describes. If the user takes that back, the rotation continues
//! where it was. Otherwise a user removes what apicred created for the other application, and then the annotation. Until then nothing is
//! written, removed or sent.

use super::{
    observed::Names,
    settings::Kind,
    state::{ClientAt, Known, Phase, Record},
    step::Notice,
};

impl Record {
    /// Whether it describes another client than this one.
    fn is_of_another(&self, client: &ClientAt) -> bool {
        self.client.as_ref().is_some_and(|noted| noted != client)
    }

    /// What apicred created and has not removed: by ID, or by name if the issuer has not returned the ID.
    fn made(&self, names: &Names, kind: Kind) -> Vec<String> {
        let retiring = match &self.state {
            Phase::Retiring { key, .. } => Some(key),
            _ => None,
        };
        let noted = self.all().filter(|k| k.n.is_some());
        let by_name = |n: u32| (kind != Kind::Key).then(|| names.name(n));
        let label = |known: &Known| known.id.clone().or_else(|| by_name(known.n?));
        let mut made: Vec<String> = noted.chain(retiring).filter_map(label).collect();
        // The answer was lost.
        if let Phase::Adding { n, .. } = self.state
            && self.next.as_ref().is_none_or(|next| next.n != Some(n))
        {
            made.extend(by_name(n));
        }
        made.sort();
        made.dedup();
        made
    }

    /// The record for this client, without the facts about another client.
    pub(super) fn of_client(self, client: &ClientAt) -> Self {
        if !self.is_of_another(client) {
            return self;
        }
        Self {
            n: self.n,
            handled: self.handled,
            failure: self.failure,
            ..Self::default()
        }
    }
}

/// What apicred created for another client than this one and has not removed.
pub(super) fn elsewhere(
    record: &Record,
    client: &ClientAt,
    (names, kind): (&Names, Kind),
) -> Option<Notice> {
    let left = record
        .is_of_another(client)
        .then(|| record.made(names, kind))?;
    let client = record.client.clone()?;
    (!left.is_empty()).then_some(Notice::Elsewhere { client, left })
}
