//! Reads a source that changed, or that was not tried yet: a label on it is no reason for a token, another content is.

use super::mint::mint;
use crate::controller::{
    reconciliation::Reconciliation,
    target::publish::publish,
    token::inputs::{self, Read},
};
use crate::{
    oauth::{Class, TokenError},
    plan::{Outcome, Source, Why, fingerprint, untried},
    publish::{Record, RefusedSource, SourceMark},
};

/// What is read, and the sources as the watch has shown them. What was read may be newer, and is read again once the watch
/// shows that.
struct Checked {
    source: Option<Source>,
    /// Is the source one that is not in use and was not tried yet?
    new: bool,
    /// Is the client credential in use another version than the one that got the token, beside other entries of the list?
    replaced: bool,
    mark: Option<SourceMark>,
    /// The sources of the grant.
    with: Vec<SourceMark>,
}

/// Reads one source: the next plan finds the next one.
pub(super) async fn verify(reconciliation: &mut Reconciliation<'_>) -> Outcome {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    let Some(record) = reconciliation.observed.record().cloned() else {
        return reconciliation.again();
    };
    let checked = checked(reconciliation, &record);
    match inputs::read(context, credential, checked.source.as_ref()).await {
        // A rotation has replaced the value that got the token: the next one is requested when it is due.
        Ok(read)
            if record.fingerprint == read.fingerprint
                || read.previous.as_ref() == Some(&record.fingerprint) =>
        {
            unchanged(reconciliation, checked)
        }
        Ok(read) => changed(reconciliation, checked, read).await,
        // The secret in use is as good as before.
        Err(token_error) if checked.new && token_error.class == Class::Invalid => {
            if let Some(mark) = checked.mark {
                refuse_unread(reconciliation, mark, &token_error);
            }
            reconciliation.again()
        }
        // Another entry of the list, or the last good certificate, may get a token.
        Err(token_error) if checked.replaced && token_error.class == Class::Invalid => {
            mint(reconciliation, Why::SourceChanged, None).await
        }
        Err(token_error) => reconciliation.failed(token_error),
    }
}

/// Chooses the source: one that changed, else one that was not tried yet.
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

/// The content is the one that got the token.
fn unchanged(reconciliation: &mut Reconciliation<'_>, checked: Checked) -> Outcome {
    let memory = &mut reconciliation.observed.memory;
    for mark in checked.mark.into_iter().chain(checked.with) {
        let other = |v: &SourceMark| (&v.name, &v.key) != (&mark.name, &mark.key);
        memory.verified.retain(other);
        memory.verified.push(mark);
    }
    memory.failure = None;
    // Labels may have changed in the same edit: reconcile again with this out of the way.
    reconciliation.again()
}

/// The content is another one.
async fn changed(reconciliation: &mut Reconciliation<'_>, checked: Checked, read: Read) -> Outcome {
    let why = Why::SourceChanged;
    // It was asked for already and could not be written: the next try costs the issuer nothing.
    let held = reconciliation.held();
    if let Some(held) = held.filter(|h| h.fingerprint == read.fingerprint) {
        return publish(reconciliation, &held, why).await;
    }
    let memory = &mut reconciliation.observed.memory;
    let same = |r: &&RefusedSource| r.fingerprint.as_ref() == Some(&read.fingerprint);
    let known = memory.refused.iter().find(same).cloned();
    if let (true, Some(known), Some(mark)) = (checked.new, known, checked.mark) {
        // A label on a refused Secret makes it no better.
        memory.refuse(RefusedSource { mark, ..known });
        return reconciliation.again();
    }
    mint(reconciliation, why, Some(read)).await
}

/// Remembers a source that cannot be read, so that it is not read again before it changes.
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
