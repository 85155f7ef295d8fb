//! Reads a source that changed or that was not tried yet: a new label is not a reason to request a token, but new content is.

use super::mint::mint;
use crate::controller::{
    reconciliation::Reconciliation,
    target::publish::publish,
    token::inputs::{self, Read},
};
use crate::{
    oauth::{self, Class, TokenError},
    plan::{Outcome, RenewalCause, Source, fingerprint, untried},
    publish::{Record, RefusedSource, SourceMark},
};

/// The data that is read, and the sources as the watch has delivered them. The data may be newer. It is read again when the
/// watch delivers that version.
struct Checked {
    source: Option<Source>,
    /// Whether the source is not in use and was not tried yet.
    new: bool,
    /// Whether the client credential in use has another version than the one that was used for the token, and the list has other entries.
    replaced: bool,
    mark: Option<SourceMark>,
    /// The sources of the grant.
    with: Vec<SourceMark>,
}

/// Reads one source: the next plan selects the next one.
pub(super) async fn verify(reconciliation: &mut Reconciliation<'_>) -> Outcome {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    let Some(record) = reconciliation.observed.record().cloned() else {
        return reconciliation.again();
    };
    let checked = checked(reconciliation, &record);
    match inputs::read(context, credential, checked.source.as_ref()).await {
        // If a rotation has replaced the value that was used for the token, the next token is requested when it is due.
        Ok(read)
            if record.fingerprint == read.fingerprint
                || read.previous.as_ref() == Some(&record.fingerprint) =>
        {
            // Another assertion does not produce another token, but one that has expired must be reported before the token is due.
            let now = context.clock.now();
            if let Some(expired) = oauth::expired_assertion(credential, &read.material, now) {
                return reconciliation.failed(expired);
            }
            let same = record.fingerprint == read.fingerprint;
            unchanged(reconciliation, checked, same)
        }
        Ok(read) => changed(reconciliation, checked, read).await,
        // The secret in use is still valid.
        Err(token_error) if checked.new && token_error.class == Class::Invalid => {
            if let Some(mark) = checked.mark {
                refuse_unread(reconciliation, mark, &token_error);
            }
            reconciliation.again()
        }
        // Another entry of the list, or the last good certificate, may work.
        Err(token_error) if checked.replaced && token_error.class == Class::Invalid => {
            mint(reconciliation, RenewalCause::SourceChanged, None).await
        }
        Err(token_error) => reconciliation.failed(token_error),
    }
}

/// Selects the source: one that changed, else one that was not tried yet.
fn checked(reconciliation: &Reconciliation<'_>, record: &Record) -> Checked {
    let observed = &reconciliation.observed;
    let used = record.sources.used.as_ref();
    let used = used.and_then(|used| observed.sources.iter().find(|s| used.is(&s.reference)));
    let changed = |mark: Option<SourceMark>| {
        mark.is_some_and(|m| {
            let known = record.sources.used.iter().chain(&record.sources.with);
            !observed.memory.verified.contains(&m) && !known.into_iter().any(|k| *k == m)
        })
    };
    let used_moved = used.is_some_and(|s| changed(s.mark()));
    let moved = used_moved || observed.grant_sources.iter().any(|s| changed(s.mark()));
    let untried = (!moved).then(|| {
        untried(reconciliation.credential, observed)
            .first()
            .map(|s| Source::clone(s))
    });
    let (source, new) = match untried.flatten() {
        Some(source) => (Some(source), true),
        None => (used.cloned(), false),
    };
    let with = observed.grant_sources.iter().filter_map(Source::mark);
    Checked {
        mark: source.as_ref().and_then(Source::mark),
        with: with.collect(),
        replaced: used_moved
            && observed
                .sources
                .iter()
                .filter(|s| s.present.is_some())
                .count()
                > 1,
        source,
        new,
    }
}

/// The content needs no other token. `same`: it is the one of the token, which the issuer knows.
fn unchanged(reconciliation: &mut Reconciliation<'_>, checked: Checked, same: bool) -> Outcome {
    let memory = &mut reconciliation.observed.memory;
    for mark in checked.mark.into_iter().chain(checked.with) {
        let other = |v: &SourceMark| (&v.name, &v.key) != (&mark.name, &mark.key);
        memory.verified.retain(other);
        if same {
            memory.relabelled(mark.clone(), None);
        }
        memory.verified.push(mark);
    }
    memory.failure = None;
    // Labels may have changed in the same edit: reconcile again after this check.
    reconciliation.again()
}

/// The content is different.
async fn changed(reconciliation: &mut Reconciliation<'_>, checked: Checked, read: Read) -> Outcome {
    let why = RenewalCause::SourceChanged;
    // The token was already requested and could not be written: the next attempt needs no request to the issuer.
    let held = reconciliation.held();
    if let Some(held) = held.filter(|h| h.fingerprint == read.fingerprint) {
        return publish(reconciliation, &held, why).await;
    }
    let memory = &mut reconciliation.observed.memory;
    let same = |r: &&RefusedSource| r.fingerprint.as_ref() == Some(&read.fingerprint);
    let known = memory.refused.iter().find(same).cloned();
    if let (true, Some(known), Some(mark)) = (checked.new, known, checked.mark) {
        // A new label on a rejected Secret changes nothing.
        memory.refuse(RefusedSource { mark, ..known });
        return reconciliation.again();
    }
    mint(reconciliation, why, Some(read)).await
}

/// Records a source that cannot be read, so that it is not read again before it changes.
fn refuse_unread(
    reconciliation: &mut Reconciliation<'_>,
    mark: SourceMark,
    token_error: &TokenError,
) {
    let now = reconciliation.context.clock.now();
    let request = fingerprint::request(reconciliation.credential);
    reconciliation.observed.memory.refuse(RefusedSource {
        mark,
        request,
        since: now,
        at: now,
        reason: token_error.reason.into(),
        by_issuer: false,
        not_before: None,
        fingerprint: None,
    });
}
