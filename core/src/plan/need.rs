//! Whether a token is needed, according to the annotations of the Secret.

use jiff::Timestamp;

use super::{
    Observed, RenewalCause, Source, fingerprint, reformats, schedule::later_than, sources,
};
use crate::{
    credential::Credential,
    publish::{
        Record, SourceMark,
        ownership::{ForeignWrite, Target},
    },
};

/// The answer.
pub(super) enum RenewalNeed {
    /// No.
    Nothing,
    /// A source has changed, but may still have the same content.
    Verify,
    /// Yes.
    Token(RenewalCause),
}

/// Returns whether a token is needed, according to the annotations of the Secret.
pub(super) fn need(credential: &Credential, observed: &Observed, now: Timestamp) -> RenewalNeed {
    let Some(published) = observed.target.published() else {
        return RenewalNeed::Token(match observed.target {
            Target::Adoptable { .. } => RenewalCause::Adopted,
            _ => RenewalCause::Absent,
        });
    };
    // The credential had expired, and now has another end.
    if published.is_emptied() {
        return RenewalNeed::Token(RenewalCause::SpecChanged);
    }
    let Some(record) = published
        .record
        .as_ref()
        .filter(|_| published.foreign_write == ForeignWrite::None)
    else {
        return RenewalNeed::Token(RenewalCause::Edited);
    };
    if record.request != fingerprint::request(credential) {
        return RenewalNeed::Token(RenewalCause::SpecChanged);
    }
    if credential.renew_requested.is_some() && credential.renew_requested != record.renew_handled {
        return RenewalNeed::Token(RenewalCause::Requested);
    }
    if reformats(credential, observed) && observed.memory.unreadable {
        return RenewalNeed::Token(RenewalCause::SpecChanged);
    }
    let Some(sources) = sources_of(record, observed) else {
        return RenewalNeed::Token(RenewalCause::SourceChanged);
    };
    if record.expires_at <= now {
        return RenewalNeed::Token(RenewalCause::Expired);
    }
    // Requested in the future: the clock was ahead then, so the recorded expiry time is later than the real one.
    if record.renew_at <= now || record.issued_at > later_than(now) {
        return RenewalNeed::Token(RenewalCause::Due);
    }
    // Not changed; or deleted, and then the token can be used until it is due.
    let moved = |(used, source): &(&SourceMark, &Source)| {
        let known = |m: &SourceMark| m == *used || observed.memory.verified.contains(m);
        let seen = [source.mark(), observed.memory.foreign_mark(source)];
        source.present.is_some() && !seen.iter().flatten().any(known)
    };
    if sources.iter().any(moved) || !sources::untried(credential, observed).is_empty() {
        RenewalNeed::Verify
    } else {
        RenewalNeed::Nothing
    }
}

/// The sources that a record names, as they are now; `None` if the spec now names others.
fn sources_of<'a>(
    record: &'a Record,
    observed: &'a Observed,
) -> Option<Vec<(&'a SourceMark, &'a Source)>> {
    let find = |mark: &'a SourceMark, among: &'a [Source]| {
        among
            .iter()
            .find(|s| mark.is(&s.reference))
            .map(|source| (mark, source))
    };
    let mut found = Vec::new();
    match &record.sources.used {
        Some(used) => found.push(find(used, &observed.sources)?),
        None if observed.sources.is_empty() => {}
        None => return None,
    }
    if record.sources.with.len() != observed.grant_sources.len() {
        return None;
    }
    for mark in &record.sources.with {
        found.push(find(mark, &observed.grant_sources)?);
    }
    Some(found)
}
