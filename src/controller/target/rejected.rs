//! Reports a write that the API server did not carry out, and a token that does not fit a format.

use jiff::Timestamp;

use crate::controller::{
    api::calls::{ApiErrorKind, Failed},
    reconciliation::Reconciliation,
};
use crate::{
    Reason,
    credential::Credential,
    oauth::{Class, TokenError},
    plan::{Observed, Outcome},
    publish::{noted_type, ownership::Target, rejection::ServerMessage},
};

/// The token is retained: after a change of the formats it is published without a request.
pub(super) fn unfit(reconciliation: &mut Reconciliation<'_>, problem: String) -> Outcome {
    reconciliation.failed(TokenError::local(
        Class::Invalid,
        Reason::FormatUnfit,
        problem,
    ))
}

/// The outcome of a reconciliation whose write the API server did not carry out.
pub(in crate::controller) fn write_failed(
    reconciliation: &mut Reconciliation<'_>,
    failed: impl Into<Failed>,
) -> Outcome {
    let Failed {
        error_kind,
        server_message,
    } = failed.into();
    match error_kind {
        ApiErrorKind::Conflict | ApiErrorKind::NotFound => {
            return out_of_sync(reconciliation, &server_message);
        }
        ApiErrorKind::Unwanted => return reconciliation.again(),
        ApiErrorKind::Terminating => return Outcome::Released,
        ApiErrorKind::Forbidden
        | ApiErrorKind::Quota
        | ApiErrorKind::Invalid
        | ApiErrorKind::Unavailable => {}
    }
    let target = &reconciliation.observed.target;
    let token_error = rejected(
        reconciliation.credential,
        target,
        error_kind,
        &server_message,
    );
    reconciliation.failed(token_error)
}

/// The API server did not show whether the credential exists. Nothing is written without this.
pub(in crate::controller) fn unconfirmed(
    reconciliation: &mut Reconciliation<'_>,
    error_kind: ApiErrorKind,
) -> Outcome {
    let token_error = match error_kind {
        ApiErrorKind::Forbidden | ApiErrorKind::Invalid | ApiErrorKind::Quota => TokenError::local(
            Class::Denied,
            Reason::NamespaceNotReadable,
            "apicred may not list apicredentials in this namespace; an administrator must restore its role",
        ),
        ApiErrorKind::Terminating => return Outcome::Released,
        ApiErrorKind::Conflict
        | ApiErrorKind::NotFound
        | ApiErrorKind::Unwanted
        | ApiErrorKind::Unavailable => TokenError::local(
            Class::Transient,
            Reason::KubernetesUnavailable,
            "the Kubernetes API did not show whether this ApiCredential still exists; apicred tries again",
        ),
    };
    reconciliation.failed(token_error)
}

/// Why the target was not written, with the message of the API server if there is one.
fn rejected(
    credential: &Credential,
    target: &Target,
    error_kind: ApiErrorKind,
    server_message: &ServerMessage,
) -> TokenError {
    let name = &credential.target.name;
    let has = match target {
        Target::Ours { published, .. } => noted_type(&published.template_digest),
        _ => None,
    };
    let sentence = server_message.sentence(name, (has, credential.target.type_.as_str()));
    let retain = target.not_retained(credential);
    let or = |text: &str| format!("{}{retain}", sentence.as_deref().unwrap_or(text));
    match error_kind {
        ApiErrorKind::Forbidden => TokenError::local(
            Class::Denied,
            Reason::TargetWriteForbidden,
            or(
                "apicred may not write the target Secret; give its role create and patch on secrets here",
            ),
        ),
        ApiErrorKind::Quota => TokenError::local(
            Class::Denied,
            Reason::TargetQuotaExceeded,
            or(
                "the namespace's quota leaves no room for the target Secret; raise it or delete a Secret",
            ),
        ),
        ApiErrorKind::Invalid => TokenError::local(
            Class::Invalid,
            Reason::TargetInvalid,
            or("the API server rejects the target Secret; correct spec.target"),
        ),
        _ => TokenError::local(
            Class::Transient,
            Reason::KubernetesUnavailable,
            match server_message.fault() {
                Some(_) if server_message.is_webhook_down() => or(""),
                Some(fault) => format!(
                    "the Kubernetes API could not write Secret {name} ({fault}); apicred tries again{retain}"
                ),
                None => format!("the Kubernetes API did not answer; apicred tries again{retain}"),
            },
        ),
    }
}

/// The Secret differs from the cache. The watch may report the change soon; if it does not, the Secret is read.
fn out_of_sync(reconciliation: &mut Reconciliation<'_>, server_message: &ServerMessage) -> Outcome {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    let observed = &mut reconciliation.observed;
    let name = (credential.namespace.clone(), credential.target.name.clone());
    context.doubts.raise(name);
    context.metrics.write_conflicted();
    let now = context.clock.now();
    let count = observed.memory.conflicted(&observed.target, now);
    let server_message = server_message.fault();
    tracing::debug!(
        count,
        server_message,
        "the target Secret is not what the cache says"
    );
    if let Some(sync) = &mut observed.memory.out_of_sync {
        sync.server_message = server_message;
    }
    let until = observed.memory.in_sync_at(&observed.target, now);
    waiting_for_sync(credential, observed, until.unwrap_or(now))
}

/// Waits until the cache and the API server agree. This is reported only after a while: a short delay of the watch is normal.
pub(in crate::controller) fn waiting_for_sync(
    credential: &Credential,
    observed: &Observed,
    until: Timestamp,
) -> Outcome {
    let Some(count) = observed.memory.reported_conflicts() else {
        return Outcome::Queued { until };
    };
    Outcome::Waiting {
        reason: Reason::TargetOutOfSync,
        message: out_of_sync_message(credential, observed, count),
        until,
    }
}

fn out_of_sync_message(credential: &Credential, observed: &Observed, count: u32) -> String {
    let server_message = observed.memory.out_of_sync.as_ref();
    let server_message = server_message.and_then(|sync| sync.server_message.as_ref());
    let server_message =
        server_message.map_or_else(String::new, |server_message| format!(" ({server_message})"));
    format!(
        "the API server has rejected {count} writes of Secret {} in a row, because the Secret is not in the state that apicred expects{server_message}; apicred reads it again and retries. Check for a controller that changes this Secret all the time, or an admission webhook that answers 404 or 409",
        credential.target.name
    )
}
