//! A failed attempt whose source Secrets changed since, perhaps without new content. A new label is not a reason to send a refused secret again.

use jiff::Timestamp;

use super::{Observed, Source, fingerprint, stamp};
use crate::{
    credential::Credential,
    oauth::{Class, TokenError},
    publish::SourceMark,
};

/// What an attempt that failed sent to the issuer.
#[derive(Clone, Debug)]
pub struct SentContent {
    /// The Secret that authenticated the client, if there was one.
    pub used: Option<SourceMark>,
    /// Keyed digest of the request with the values of all its Secrets.
    pub fingerprint: String,
}

impl SentContent {
    /// `None` if the attempt may end in another way although the values are the same: apicred refused it because of an annotation, or a user
    /// must sign in and the issuer may return the same refresh token.
    pub fn of(
        used: Option<SourceMark>,
        fingerprint: String,
        token_error: &TokenError,
    ) -> Option<Self> {
        is_comparable(token_error).then_some(Self { used, fingerprint })
    }
}

/// Whether an attempt with the same values would end in the same way. Not if apicred refused it because of an annotation, or if a user must
/// sign in and the issuer may return the same refresh token.
pub(super) fn is_comparable(token_error: &TokenError) -> bool {
    let passing = matches!(token_error.class, Class::Transient | Class::Throttled);
    (token_error.http_status.is_some() || passing) && token_error.class != Class::NeedsUser
}

/// The contents that failed, with the sources as they were then.
#[derive(Clone, Debug)]
pub struct Sent {
    /// [`stamp::unversioned`] of the inputs that failed.
    inputs: String,
    /// The sources, and when their content changed.
    sources: Vec<(SourceMark, Option<Timestamp>)>,
    /// At least one.
    contents: Vec<SentContent>,
}

/// A Secret to read, and the digest of the request that failed with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The client secret or certificate; `None` if no Secret authenticates the client.
    pub source: Option<Source>,
    /// Keyed digest of the request with the values of all its Secrets.
    pub fingerprint: String,
}

impl Observed {
    /// Stores with the failure what its attempt sent. `None`: the attempt may end in another way with the same values. Empty: the attempt
    /// sent nothing, so what an earlier one sent is still valid.
    pub fn note_sent(&mut self, credential: &Credential, contents: Option<Vec<SentContent>>) {
        let Some(contents) = contents else {
            return self.other_content();
        };
        if contents.is_empty() {
            return;
        }
        let sent = Sent {
            inputs: stamp::unversioned(credential, self),
            sources: self.marks(),
            contents,
        };
        if let Some(failure) = &mut self.memory.failure {
            failure.sent = Some(Box::new(sent));
        }
    }

    /// What to compare before the next attempt. Empty if the last failure is still valid, if it is not valid any more, or if it is not known
    /// what its attempt sent.
    pub fn comparisons(&self, credential: &Credential) -> Vec<Comparison> {
        self.comparable(credential).unwrap_or_default()
    }

    fn comparable(&self, credential: &Credential) -> Option<Vec<Comparison>> {
        let sent = self.memory.failure.as_ref()?.sent.as_deref()?;
        let same = sent.inputs == stamp::unversioned(credential, self);
        if !same || self.failure(credential).is_some() {
            return None;
        }
        let moved = |s: &&Source| {
            let mark = self.memory.foreign_mark(s);
            mark.is_some_and(|mark| !sent.sources.iter().any(|(known, _)| *known == mark))
        };
        let request = fingerprint::request(credential);
        let comparison = |source: &Source| {
            let is_it = |mark: &SourceMark| mark.is(&source.reference);
            let mut contents = sent.contents.iter();
            let tried = contents.find(|c| c.used.as_ref().is_some_and(is_it));
            let refused = || {
                let mut refused = self.memory.refused.iter();
                let found = refused.find(|r| r.request == request && is_it(&r.mark))?;
                found.fingerprint.clone()
            };
            Some(Comparison {
                source: Some(source.clone()),
                fingerprint: tried.map(|c| c.fingerprint.clone()).or_else(refused)?,
            })
        };
        let clients: Vec<&Source> = self.sources.iter().filter(moved).collect();
        if !clients.is_empty() {
            return clients.into_iter().map(comparison).collect();
        }
        if !self.grant_sources.iter().any(|source| moved(&source)) {
            return None;
        }
        // Each digest covers the sources of the grant.
        let first = sent.contents.first()?;
        let Some(used) = &first.used else {
            return Some(vec![Comparison {
                source: None,
                fingerprint: first.fingerprint.clone(),
            }]);
        };
        let source = self.sources.iter().find(|s| used.is(&s.reference))?;
        Some(vec![comparison(source)?])
    }

    /// The sources have the content that failed: the failure stays as it is.
    pub fn same_content(&mut self, credential: &Credential) {
        let (stamp, mut sources) = (stamp(credential, self), self.marks());
        let Some(failure) = &mut self.memory.failure else {
            return;
        };
        let Some(sent) = &mut failure.sent else {
            return;
        };
        let mut moved = Vec::new();
        for (mark, changed_at) in &mut sources {
            let same_key = |m: &SourceMark| (&m.name, &m.key) == (&mark.name, &mark.key);
            let known = sent.sources.iter().find(|(known, _)| same_key(known));
            if let Some((known, at)) = known.filter(|(known, _)| known != mark) {
                moved.push((known.clone(), mark.clone(), *at));
                *changed_at = *at;
            }
        }
        failure.stamp = stamp;
        sent.sources = sources;
        for (known, mark, changed_at) in moved {
            for refused in &mut self.memory.refused {
                if refused.mark == known {
                    refused.mark = mark.clone();
                }
            }
            self.memory.relabelled(mark, changed_at);
        }
    }

    /// The sources do not have the content that failed, or it cannot be read: the next attempt is due.
    pub fn other_content(&mut self) {
        if let Some(failure) = &mut self.memory.failure {
            failure.sent = None;
        }
    }

    fn marks(&self) -> Vec<(SourceMark, Option<Timestamp>)> {
        let sources = self.sources.iter().chain(&self.grant_sources);
        let marks = sources.filter_map(|s| {
            let mark = self.memory.foreign_mark(s)?;
            Some((mark, self.memory.changed_at(s)))
        });
        marks.collect()
    }
}
