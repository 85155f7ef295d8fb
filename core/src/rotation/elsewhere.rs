//! What is rotated now is not what the annotation describes: the client names another application, or has certificates instead of client secrets.
//! If the user takes that back, the rotation continues where it was. Otherwise a user removes what apicred created before, and then the
//! annotation. Until then nothing is written, removed or sent: a key ID of one kind would be sent to a call for the other kind, which finds no
//! such credential, and the credential would count as removed.

use super::{
    observed::{Names, Slots},
    settings::Kind,
    state::{ClientAt, Phase, Record, ValueRecord},
    step::Notice,
};

/// What made the annotation one about something else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Changed {
    /// The client resource names another application.
    Client,
    /// The client resource names the same application, and another kind of credential.
    Kind {
        /// What the annotation describes.
        before: Kind,
        /// What the client resource has now.
        now: Kind,
    },
    /// Another tool creates the certificates of the Secret, and apicred only uploads them.
    Maker,
}

impl Record {
    /// What it describes, if that is not this.
    pub(super) fn is_of_another(&self, client: &ClientAt, kind: Kind) -> Option<Changed> {
        if self.client.as_ref().is_some_and(|noted| noted != client) {
            return Some(Changed::Client);
        }
        let before = self.kind.filter(|noted| *noted != kind)?;
        Some(Changed::Kind { before, now: kind })
    }

    /// What apicred created and has not removed, except the values of `slots`: by ID, or by name if the issuer has not returned the ID.
    fn made(&self, names: &Names, kind: Kind, slots: &Slots) -> Vec<String> {
        let noted = self.all().filter(|k| k.n.is_some());
        let by_name = |n: u32| (kind != Kind::Key).then(|| names.name(n));
        let label = |known: &ValueRecord| known.id.clone().or_else(|| by_name(known.n?));
        let left = noted.chain(self.retiring());
        let left = left.filter(|known| slots.with(&known.digest).is_none());
        let mut made: Vec<String> = left.filter_map(label).collect();
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

    /// The record for this client and kind, without the facts about others.
    pub(super) fn of(self, client: &ClientAt, kind: Kind) -> Self {
        if self.is_of_another(client, kind).is_none() {
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

/// What apicred created for another client than this one, or of another kind, and has not removed.
pub(super) fn elsewhere(
    record: &Record,
    (client, kind): (&ClientAt, Kind),
    names: &Names,
) -> Option<Notice> {
    let changed = record.is_of_another(client, kind)?;
    left_behind((record, changed), names, &Slots::default())
}

/// What apicred created in a Secret before another tool filled it, and has not removed. The values of `slots` are in use.
pub(super) fn before_upload(record: &Record, names: &Names, slots: &Slots) -> Option<Notice> {
    left_behind((record, Changed::Maker), names, slots)
}

fn left_behind(
    (record, changed): (&Record, Changed),
    names: &Names,
    slots: &Slots,
) -> Option<Notice> {
    let kind = record.kind.unwrap_or(Kind::Certificate);
    let left = record.made(names, kind, slots);
    let client = record.client.clone()?;
    (!left.is_empty()).then_some(Notice::Elsewhere {
        client,
        left,
        changed,
    })
}

/// The message of [`Notice::Elsewhere`].
pub(super) fn stays_there(client: &ClientAt, left: &[String], changed: Changed) -> String {
    let (what, back) = match changed {
        Changed::Client => (
            "the ApiClient names another application now, and what apicred made".to_owned(),
            "; name that one again, or remove these there".to_owned(),
        ),
        Changed::Kind { before, now } => (
            format!(
                "the ApiClient has {} now, and the {} that apicred made",
                now.plural(),
                before.plural()
            ),
            format!(
                "; name {} of this Secret again, or remove these there",
                before.plural()
            ),
        ),
        Changed::Maker => (
            "cert-manager makes the certificates of the Secret now, and what apicred made before"
                .to_owned(),
            "; if nobody uses these, remove them there".to_owned(),
        ),
    };
    let stays = match changed {
        Changed::Kind { .. } => "stay",
        Changed::Client | Changed::Maker => "stays",
    };
    format!(
        "{what} for client {} at {} {stays} valid there: {}{back}, then the annotation apicred.dev/rotation and the keys that end with -next and -previous from the Secret",
        client.id,
        client.issuer,
        left.join(", ")
    )
}
