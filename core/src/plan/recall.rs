//! What a process takes over from the status that an earlier one wrote: the wait after a failed attempt.

use jiff::Timestamp;

use super::{
    Cause, Failure, Memory, Observed, Recalled, Source, fingerprint,
    schedule::{self, later, later_than},
    stamp::{stamp, stamp_if},
    unclear::MOST,
};
use crate::{
    ConditionType, Reason,
    api::{ApiCredentialStatus, AttemptResult, LastAttempt, RefusedRef, SourceRef},
    credential::Credential,
    oauth::{Class, Grant, TokenError},
    publish::{RefusedSource, SourceMark},
};

impl Memory {
    /// Takes over a refused password from status. A process that was restarted must not try it again, because a few attempts lock the user out.
    /// It is valid while all inputs of the attempt are unchanged: the issuer, the client, the user, the Secrets. An edit of the credential
    /// alone does not show a change of these, and its client may be an `ApiClient`.
    fn recall_password(
        &mut self,
        credential: &Credential,
        observed: &Observed,
        (status, last): (&ApiCredentialStatus, &LastAttempt),
    ) {
        let marks: Vec<SourceMark> = observed
            .grant_sources
            .iter()
            .filter_map(Source::mark)
            .collect();
        let listed = |m: &SourceMark| status.refused().iter().any(|r| is_of(r, m));
        if !same_inputs(credential, observed, last) || !marks.iter().any(listed) {
            return;
        }
        let token_error = TokenError {
            until_change: true,
            http_status: last.http_status.and_then(|n| u16::try_from(n).ok()),
            error: last.error.clone(),
            aadsts: last.code.as_deref().and_then(TokenError::number),
            correlation_id: last.correlation_id.clone(),
            trace_id: last.trace_id.clone(),
            ..TokenError::local(
                Class::Denied,
                Reason::PasswordRefused,
                "the issuer refused the user name or password, or its answer did not show whether it did; correct them in the Secret; apicred does not send the same again, because repeated attempts lock the user out",
            )
        };
        for mark in marks {
            self.refuse(recalled_source(credential, mark, last));
        }
        self.failure = Some(Failure {
            stamp: stamp(credential, observed),
            requested: None,
            failures: 1,
            unclear: 0,
            at: last.time.0,
            next_attempt: Timestamp::MAX,
            cause: Cause::Seen(token_error),
            sent: None,
            changed: None,
        });
    }

    /// Takes over the failure in status, so that a restart or another leader does not end its wait. Nothing else is read back from status. It
    /// is valid only while all inputs of the attempt are unchanged. A user who may write the status can delay one renewal by it, but not longer
    /// than a real failure would.
    pub fn recall(
        &mut self,
        credential: &Credential,
        observed: &Observed,
        status: Option<&ApiCredentialStatus>,
        now: Timestamp,
    ) {
        let Some((status, last)) = status.and_then(|s| Some((s, s.last_attempt.as_deref()?)))
        else {
            return;
        };
        if self.failure.is_some() || last.result != AttemptResult::Failed {
            return;
        }
        if matches!(credential.grant, Grant::Password(_)) {
            self.recall_password(credential, observed, (status, last));
        }
        let (Some(next), Some(failures)) = (&status.next_attempt, status.consecutive_failures)
        else {
            return;
        };
        if self.failure.is_some()
            || !same_inputs(credential, observed, last)
            || last.time.0 > later_than(now)
        {
            return;
        }
        let reason = last.reason.clone().unwrap_or_default();
        let reported = |kind: ConditionType| {
            let found = kind.find(&status.conditions);
            found.filter(|c| c.status == "True" && c.reason == reason)
        };
        let text = ConditionType::Ready
            .find(&status.conditions)
            .filter(|c| c.status == "False" && c.reason == reason);
        let message = text
            .or_else(|| reported(ConditionType::RenewalFailing))
            .map_or_else(
                || "the last attempt failed".to_owned(),
                |c| c.message.clone(),
            );
        let listed = |m: &SourceMark| status.refused().iter().any(|r| is_of(r, m));
        for mark in observed.sources.iter().filter_map(Source::mark) {
            let known = self.refused_source(&mark, &fingerprint::request(credential));
            if known.is_none() && listed(&mark) {
                self.refuse(recalled_source(credential, mark, last));
            }
        }
        self.failure = Some(Failure {
            stamp: last.inputs.clone().unwrap_or_default(),
            requested: None,
            failures: u32::try_from(failures).unwrap_or(1).max(1),
            unclear: last
                .unclear
                .map_or(0, |count| u32::try_from(count).unwrap_or(0).min(MOST)),
            at: last.time.0,
            next_attempt: next.0.min(later(now, schedule::LONGEST)),
            cause: Cause::Recalled(Box::new(Recalled {
                stalled: reported(ConditionType::Stalled).is_some(),
                reason: reason.as_str().into(),
                message,
                attempt: last.clone(),
            })),
            sent: None,
            changed: None,
        });
    }
}

/// Whether all inputs of this attempt are unchanged.
fn same_inputs(credential: &Credential, observed: &Observed, last: &LastAttempt) -> bool {
    // A token that could not be written was lost with its process.
    let same = |held| last.inputs == Some(stamp_if(credential, observed, held));
    same(false) || same(true)
}

/// Whether this entry of status is about this version of a source.
fn is_of(refused: &RefusedRef, mark: &SourceMark) -> bool {
    let SourceRef {
        name,
        key,
        resource_version,
    } = &refused.reference;
    (name, key, resource_version.as_ref()) == (&mark.name, &mark.key, Some(&mark.version))
}

/// A refused source that is known only from status.
fn recalled_source(credential: &Credential, mark: SourceMark, last: &LastAttempt) -> RefusedSource {
    RefusedSource {
        mark,
        request: fingerprint::request(credential),
        since: last.time.0,
        at: last.time.0,
        reason: last.reason.as_deref().unwrap_or_default().into(),
        by_issuer: true,
        not_before: None,
        fingerprint: None,
    }
}
