//! Writes a token into its Secret: checks that it is still needed, makes the one write, and reports what went wrong.

use crate::Reason;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use secrecy::SecretString;
use serde_json::Value;

use crate::controller::{
    api::calls::{Failed, Trouble, call_heard},
    context::Context,
    lookup::permission,
    notify,
    reconciliation::Reconciliation,
    requeue::reference,
    state::{Held, Revocable},
    token::digest_key::token_digest,
};
use crate::{
    api::{DeletionPolicy, names},
    credential::Credential,
    oauth::{Class, TokenError},
    plan::{
        Memory, Minted, Observed, Outcome, Why,
        fingerprint::{self},
        later_than, over, record, schedule,
    },
    publish::{
        ManagedKeys, Record, SourceUse, create, data, noted_type, ownership::Target,
        rejection::Said, rotate_patch, template,
    },
};

/// Writes a token that was received.
pub(in crate::controller) async fn publish(
    reconciliation: &mut Reconciliation<'_>,
    held: &Held,
    why: Why,
) -> Outcome {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    let Ok(digests) = context.digest_key.get(&context.metrics).await else {
        return write_trouble(reconciliation, Trouble::Unavailable);
    };
    // After the wait for the key, and again right before each try of the write.
    match wanted(reconciliation) {
        Wanted::Here => {}
        other => return unwanted(reconciliation, other),
    }
    let token_digest = token_digest(digests, &held.token);
    if let Some(until) = is_repeated(reconciliation, held, why, &token_digest) {
        return repeated(reconciliation, why, until);
    }
    let observed = &reconciliation.observed;
    let record = Record {
        issuer: held.issued.issuer.clone(),
        spent: held.spent.clone(),
        ..record(
            credential,
            &held.token,
            (observed.promise(credential), digests.phase()),
            held.fingerprint.clone(),
            token_digest,
            held.sources.clone(),
            held.certificate_validity,
        )
    };
    match write(reconciliation, &record, held).await {
        Ok(()) => published(reconciliation, &record, held, why),
        Err(WriteTrouble::Call(failed)) if failed.trouble == Trouble::Unwanted => {
            let now = wanted(reconciliation);
            unwanted(reconciliation, now)
        }
        Err(WriteTrouble::Call(failed)) => write_trouble(reconciliation, failed),
        Err(WriteTrouble::Unfit(problem)) => unfit(reconciliation, problem),
    }
}

/// The token is correct, but its Secret or metadata changed: the next reconcile finds it in memory.
fn unwanted(reconciliation: &Reconciliation<'_>, wanted: Wanted) -> Outcome {
    if wanted == Wanted::Nowhere {
        reconciliation.drop_held();
    }
    reconciliation.again()
}

/// Until when the issuer is not asked again, if this is the token that the Secret contains, or one that expires no later:
/// `expires-at` never goes down for one fingerprint, and an issuer that caches would make apicred write in a loop.
fn is_repeated(
    reconciliation: &Reconciliation<'_>,
    held: &Held,
    why: Why,
    token_digest: &str,
) -> Option<Timestamp> {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    let observed = &reconciliation.observed;
    let old = observed.record()?;
    // The same token in other formats is no loop.
    let asked_for = why == Why::Requested || observed.memory.unreadable;
    if old.fingerprint != held.fingerprint || asked_for {
        return None;
    }
    // The last good certificate got it in place of a new one: it is written, so that the new one is not read again and again.
    if !same_place(&old.sources, &held.sources) {
        return None;
    }
    let now = context.clock.now();
    observed.valid(credential, now)?;
    let repeats = old.issued_at <= later_than(now)
        && (old.token_digest == token_digest || held.token.expires_at <= old.expires_at);
    let left = old.expires_at.duration_since(now);
    repeats.then(|| schedule::later(now, (left / 4).max(SignedDuration::from_secs(30))))
}

/// Did the same Secret get both?
fn same_place(old: &SourceUse, new: &SourceUse) -> bool {
    let place = |sources: &SourceUse| {
        let used = sources.used.as_ref();
        used.map(|used| (used.name.clone(), used.key.clone()))
    };
    place(old) == place(new)
}

fn repeated(reconciliation: &mut Reconciliation<'_>, why: Why, until: Timestamp) -> Outcome {
    reconciliation.observed.memory.failure = None;
    reconciliation.drop_held();
    if why == Why::SourceChanged {
        // Nothing is due: another secret was tried, and what came of it is remembered.
        return reconciliation.again();
    }
    reconciliation.observed.memory.not_before = Some(until);
    repeating(until)
}

/// The token was written.
fn published(
    reconciliation: &mut Reconciliation<'_>,
    record: &Record,
    held: &Held,
    why: Why,
) -> Outcome {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    let revocable = (credential.target.deletion == DeletionPolicy::Revoke).then(|| Revocable {
        token: Arc::clone(&held.token),
        issued: held.issued.clone(),
    });
    reconciliation.written(revocable);
    let observed = &mut reconciliation.observed;
    observed.memory = Memory {
        refused: record.sources.refused.clone(),
        repairs: observed.memory.repairs,
        paced_until: observed.memory.paced_until,
        ..Memory::default()
    };
    let now = context.clock.now();
    // A first token repairs nothing.
    if why != Why::Absent || context.has_published(&reconciliation.key) {
        observed.memory.published(why, now);
    }
    notify::wrote(context, credential, now);
    measure(context, observed.record(), why);
    // A static key has no end that anybody knows.
    let timed = !record.is_static();
    tracing::info!(
        why = why.as_str(),
        expires_at = timed.then(|| record.expires_at.to_string()),
        renew_at = timed.then(|| record.renew_at.to_string()),
        renew_reason = timed.then_some(&record.renew_reason),
        token_id = held.token.id,
        correlation_id = held.token.correlation_id,
        "token published"
    );
    Outcome::Minted(Minted {
        why,
        at: held.token.issued_at,
        correlation_id: held.token.correlation_id.clone(),
    })
}

/// Counts a token that was written, and measures what its readers had of the old one.
fn measure(context: &Context, old: Option<&Record>, why: Why) {
    context.metrics.published(why.as_str());
    // A static key has no end that anybody knows.
    let Some(old) = old.filter(|old| !old.is_static()) else {
        return;
    };
    let now = context.clock.now();
    let left = old.expires_at.duration_since(now);
    context.metrics.replaced(left.as_secs_f64());
    // Others are early: nothing was due.
    if matches!(why, Why::Due | Why::Expired) {
        let late = now.duration_since(old.renew_at);
        context.metrics.renewed(late.as_secs_f64());
    }
}

/// Why a token could not be written.
enum WriteTrouble {
    Call(Failed),
    /// A format cannot carry it.
    Unfit(String),
}

impl From<Failed> for WriteTrouble {
    fn from(failed: Failed) -> Self {
        Self::Call(failed)
    }
}

/// The token is held: another choice of formats publishes it without a request.
pub(in crate::controller) fn unfit(
    reconciliation: &mut Reconciliation<'_>,
    problem: String,
) -> Outcome {
    reconciliation.failed(TokenError::local(
        Class::Invalid,
        Reason::FormatUnfit,
        problem,
    ))
}

/// One write: a create if nothing was there, else a patch that demands the version that was decided on.
async fn write(
    reconciliation: &Reconciliation<'_>,
    record: &Record,
    held: &Held,
) -> Result<(), WriteTrouble> {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    let observed = &reconciliation.observed;
    let is_wanted = || wanted(reconciliation) == Wanted::Here;
    let template = template(credential);
    let data = data(&held.token, &template.keys).map_err(WriteTrouble::Unfit)?;
    match &observed.target {
        Target::Absent | Target::Deleting | Target::OwnerGone { .. } | Target::Foreign(_) => {
            let secret = create(
                &credential.namespace,
                &credential.target.name,
                &template,
                record,
                data,
            );
            let params = PostParams {
                field_manager: Some(names::MANAGER.to_owned()),
                ..PostParams::default()
            };
            let api = secrets(context, credential);
            let under_way = context.own_write(credential, &credential.target.name);
            let made = call_heard(
                &context.metrics,
                "create_secret",
                || context.may_act() && is_wanted(),
                || api.create(&params, &secret),
                Some(&held.token.secret),
            )
            .await?;
            under_way.done(&made.metadata);
            Ok(())
        }
        Target::Ours { version, .. } | Target::Adoptable { version } => {
            let keys = match &observed.target {
                Target::Ours { published, .. } => &published.managed_keys,
                _ => &ManagedKeys::default(),
            };
            let patch = rotate_patch(version, &template, keys, record, &data);
            let patch = (&patch, Some(&held.token.secret));
            Ok(patch_secret(reconciliation, is_wanted, patch).await?)
        }
    }
}

/// Patches the target Secret, if this process may still act and the patch is still `wanted`.
pub(in crate::controller) async fn patch_secret(
    reconciliation: &Reconciliation<'_>,
    mut wanted: impl FnMut() -> bool,
    (patch, token): (&Value, Option<&SecretString>),
) -> Result<(), Failed> {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    let params = PatchParams {
        field_manager: Some(names::MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let api = secrets(context, credential);
    let patch = Patch::Strategic(patch);
    // The answer need not bring the token back.
    let request = || api.patch_metadata(&credential.target.name, &params, &patch);
    let under_way = context.own_write(credential, &credential.target.name);
    let may = || context.may_act() && wanted();
    let made = call_heard(&context.metrics, "patch_secret", may, request, token).await?;
    under_way.done(&made.metadata);
    Ok(())
}

fn secrets(context: &Context, credential: &Credential) -> Api<Secret> {
    Api::namespaced(context.client.clone(), &credential.namespace)
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Wanted {
    Here,
    Elsewhere,
    Nowhere,
}

/// The credential as the newest spec has it, if the object still is the one that the look began with, and neither it nor
/// its namespace is being deleted.
fn newest(reconciliation: &Reconciliation<'_>) -> Option<Credential> {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    let newest = context.credentials.get(&reference(&reconciliation.key))?;
    let newest = newest.open()?;
    let same = newest.metadata.uid.as_deref() == Some(credential.uid.as_str());
    let terminating = context
        .namespace(&credential.namespace)
        .is_some_and(|namespace| namespace.terminating);
    if !same || newest.metadata.deletion_timestamp.is_some() || terminating {
        return None;
    }
    context.parse(&newest).ok()
}

/// Is the token still what the newest spec asks for? The request took its time, and the credential or its issuer
/// may have been edited or deleted meanwhile: what was asked for under an old spec is never written as new.
fn wanted(reconciliation: &Reconciliation<'_>) -> Wanted {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    match newest(reconciliation) {
        None => Wanted::Nowhere,
        Some(now)
            // Another request for a renewal makes this token no worse: it is noted as the answer to the earlier one, and
            // the new one is served next. Dropped, it would cost a request for each edit.
            if now.suspend
                || over::is_over(now.end, context.clock.now())
                || fingerprint::request(&now) != fingerprint::request(credential)
                || permission(context, &now) != (Ok(()), false) =>
        {
            Wanted::Nowhere
        }
        Some(now) if now.target == credential.target => Wanted::Here,
        Some(_) => Wanted::Elsewhere,
    }
}

/// Does the newest spec still want the Secret to look like this? A suspended credential wants its labels and its owner,
/// but no token.
pub(in crate::controller) fn wants_metadata(reconciliation: &Reconciliation<'_>) -> bool {
    let target = &reconciliation.credential.target;
    newest(reconciliation).is_some_and(|now| now.target == *target)
}

/// The outcome of a reconciliation whose write the API server did not carry out.
pub(in crate::controller) fn write_trouble(
    reconciliation: &mut Reconciliation<'_>,
    failed: impl Into<Failed>,
) -> Outcome {
    let Failed { trouble, said } = failed.into();
    match trouble {
        Trouble::Conflict | Trouble::NotFound => {
            return out_of_sync(reconciliation, &said);
        }
        Trouble::Unwanted => return reconciliation.again(),
        Trouble::Terminating => return Outcome::Released,
        Trouble::Forbidden | Trouble::Quota | Trouble::Invalid | Trouble::Unavailable => {}
    }
    let target = &reconciliation.observed.target;
    let token_error = rejected(reconciliation.credential, target, trouble, &said);
    reconciliation.failed(token_error)
}

/// Why the target was not written, in words of the API server where it has some.
fn rejected(credential: &Credential, target: &Target, trouble: Trouble, said: &Said) -> TokenError {
    let name = &credential.target.name;
    let has = match target {
        Target::Ours { published, .. } => noted_type(&published.template_digest),
        _ => None,
    };
    let sentence = said.sentence(name, (has, credential.target.type_.as_str()));
    let or = |text: &str| sentence.clone().unwrap_or_else(|| text.to_owned());
    match trouble {
        Trouble::Forbidden => TokenError::local(
            Class::Denied,
            Reason::TargetWriteForbidden,
            or(
                "apicred may not write the target Secret; give its role create and patch on secrets here",
            ),
        ),
        Trouble::Quota => TokenError::local(
            Class::Denied,
            Reason::TargetQuotaExceeded,
            or(
                "the namespace's quota leaves no room for the target Secret; raise it or delete a Secret",
            ),
        ),
        Trouble::Invalid => TokenError::local(
            Class::Invalid,
            Reason::TargetInvalid,
            or("the API server rejects the target Secret; correct spec.target"),
        ),
        _ => TokenError::local(
            Class::Transient,
            Reason::KubernetesUnavailable,
            match said.fault() {
                Some(_) if said.is_webhook_down() => or(""),
                Some(fault) => format!(
                    "the Kubernetes API could not write Secret {name} ({fault}); apicred tries again"
                ),
                None => "the Kubernetes API did not answer; apicred tries again".to_owned(),
            },
        ),
    }
}

/// The Secret is not what the cache says. The watch may show it in a moment; in case it does not, the Secret is read.
fn out_of_sync(reconciliation: &mut Reconciliation<'_>, said: &Said) -> Outcome {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    let observed = &mut reconciliation.observed;
    let name = (credential.namespace.clone(), credential.target.name.clone());
    context.doubts.raise(name);
    context.metrics.write_conflicted();
    let now = context.clock.now();
    let count = observed.memory.conflicted(&observed.target, now);
    let said = said.fault();
    tracing::debug!(count, said, "the target Secret is not what the cache says");
    if let Some(sync) = &mut observed.memory.out_of_sync {
        sync.said = said;
    }
    let until = observed.memory.in_sync_at(&observed.target, now);
    waiting_for_sync(credential, observed, until.unwrap_or(now))
}

/// Waits for a cache and a server that agree. Reported only once it lasts: a watch that lags a little is normal.
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
    let said = observed.memory.out_of_sync.as_ref();
    let said = said.and_then(|sync| sync.said.as_ref());
    let said = said.map_or_else(String::new, |said| format!(" ({said})"));
    format!(
        "the API server has rejected {count} writes of Secret {} in a row, because the Secret is not in the state that apicred expects{said}; apicred reads it again and retries. Check for a controller that changes this Secret all the time, or an admission webhook that answers 404 or 409",
        credential.target.name
    )
}

pub(in crate::controller) fn repeating(until: Timestamp) -> Outcome {
    Outcome::Waiting {
        reason: Reason::IssuerRepeatsToken,
        message:
            "the issuer returned the same token again (it caches tokens); apicred requests again later"
                .to_owned(),
        until,
    }
}
