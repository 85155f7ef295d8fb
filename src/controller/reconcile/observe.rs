//! Collects the inputs of a plan from what the watches have delivered. No call is made here.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::controller::{
    cache::secrets::Secrets,
    context::Context,
    locks::lock,
    lookup::{client_sources, of_secrets, permission},
    state::{State, UnpublishedToken},
};
use crate::{
    credential::{CaFault, Credential, Issuer, Key},
    oauth::bundle,
    plan::{
        Observed,
        fingerprint::{self, DigestKey},
        schedule,
    },
    publish::{
        Record,
        copy_fault::{self, CopyFault},
        last_good,
        ownership::{self, Target},
    },
};

/// Why the issuer's `caBundle` is unusable. Determined once for each version of an issuer: reading the certificates of a large
/// bundle takes as long as the rest of a reconcile.
fn ca_fault(context: &Context, issuer: &Issuer) -> Option<CaFault> {
    if issuer.ca_fault.is_some() {
        return issuer.ca_fault.clone();
    }
    issuer.ca_bundle.as_ref()?;
    let mut known = lock(&context.ca_faults);
    if let Some(fault) = known.get(&issuer.version) {
        return fault.clone();
    }
    let fault = bundle::fault(issuer);
    known.insert(issuer.version.clone(), fault.clone());
    fault
}

/// The observations for a credential.
pub(in crate::controller) fn observe(
    context: &Context,
    credential: &Credential,
    key: &Key,
    deleting: bool,
    now: Timestamp,
) -> Observed {
    let (target, target_uid, sources, grant_sources, unread) = {
        let secrets = lock(&context.secrets);
        let home = &credential.namespace;
        let target = secrets.get(&(home.clone(), credential.target.name.clone()));
        (
            ownership::target(credential, target.map(|s| &s.facts)),
            target.map(|s| s.facts.uid.clone()).unwrap_or_default(),
            client_sources(&secrets, credential),
            of_secrets(&secrets, home, credential.grant_sources()),
            unread(&secrets, credential),
        )
    };
    let unread = [unread, context.accounts.unread(credential)].concat();
    let (permission, terminating) = permission(context, credential);
    let permission = permission.and_then(|()| {
        let own = &context.settings.identity.api_audiences;
        context.accounts.may_use(credential, own)
    });
    let deleting = deleting || terminating;
    let senior = lock(&context.index).senior(key);
    let (memory, held, target) = context.with_state(key, &credential.uid, |state| {
        let target = noted_target(state, target, target_uid);
        let held = has_held(state, credential, now);
        let mut memory = state.memory.clone();
        memory.own_writes.clone_from(&state.own_writes);
        memory.notified.clone_from(&state.notified);
        (memory, held, target)
    });
    let mut observed = Observed {
        deleting,
        target,
        senior,
        permission,
        sources,
        grant_sources,
        unread,
        copy_faults: copy_faults(context, credential),
        ca_fault: ca_fault(context, &credential.issuer),
        missing_account: context.accounts.missing(credential),
        notify_rights: Arc::clone(&context.settings.notify_rights),
        memory,
        held,
        another_operator: false,
    };
    observed.another_operator = observed
        .record()
        .is_some_and(|record| is_of_another(context, record));
    if let Some(record) = observed.record().cloned() {
        observed.memory.learn(&record);
    }
    observed
}

/// The target, with the time for which it has been observed as the Secret of an earlier credential.
fn noted_target(state: &mut State, target: Target, target_uid: String) -> Target {
    let Target::OwnerGone { uid, .. } = &target else {
        state.owner_gone = None;
        return target;
    };
    let known = state.owner_gone.take();
    let same = known.filter(|(secret, owner, _)| *secret == target_uid && owner == uid);
    // With a monotonic clock, which is never set.
    let since = same.map_or_else(Instant::now, |(_, _, since)| since);
    state.owner_gone = Some((target_uid, uid.clone(), since));
    target.seen_for(since.elapsed())
}

/// Whether there is a token that is not written yet and that this spec still wants. Any other unwritten token is removed.
fn has_held(state: &mut State, credential: &Credential, now: Timestamp) -> bool {
    let request = fingerprint::request(credential);
    let fits = |h: &UnpublishedToken| {
        h.issued.request == request
            && h.token.end_with(&credential.target.keys) > now
            && h.renew_requested == credential.renew_requested
    };
    if !state.held.as_ref().is_some_and(fits) {
        state.held = None;
    }
    // The spec requests another token: this one must not be sent anywhere under the new spec.
    state.revocable.take_if(|r| r.issued.request != request);
    state.held.is_some()
}

/// Whether the digest key must be read to find out whether another operator wrote the token. For a token of this process the key was already needed.
pub(in crate::controller) fn needs_key(context: &Context, observed: &Observed) -> bool {
    context.digest_key.known().is_none()
        && observed
            .record()
            .is_some_and(|r| r.operator.is_some() && is_of_this_term(context, r))
}

/// Whether this token was issued while this process is the leader. The record has whole seconds.
fn is_of_this_term(context: &Context, record: &Record) -> bool {
    record.issued_at > schedule::later(context.leads_since, -SignedDuration::from_secs(1))
}

/// Whether another operator wrote this token while this process is the leader. An earlier token may belong to a lost key. A
/// process that has not needed the key yet has written no token.
fn is_of_another(context: &Context, record: &Record) -> bool {
    let own = context.digest_key.known().map(DigestKey::phase);
    is_of_this_term(context, record)
        && record
            .operator
            .zip(own)
            .is_some_and(|(writer, own)| writer != own)
}

/// Annotations without effect on the Secrets that a credential names. Each Secret is listed once.
fn unread(secrets: &Secrets, credential: &Credential) -> Vec<String> {
    let sources = credential.alternatives().into_iter();
    let sources = sources.chain(credential.grant_sources());
    let mut names: Vec<String> = sources.map(|reference| reference.name).collect();
    names.push(credential.target.name.clone());
    names.sort_unstable();
    names.dedup();
    let facts = |name: &str| {
        let name = (credential.namespace.clone(), name.to_owned());
        secrets.get(&name).map(|seen| &seen.facts)
    };
    let unknown = names.iter().filter_map(|name| {
        let reported = facts(name)?.unread.as_ref()?;
        Some(format!("on Secret {name} the annotation {reported}"))
    });
    unknown.collect()
}

/// Messages about copies of certificates that cannot be written.
pub(in crate::controller) fn copy_faults(
    context: &Context,
    credential: &Credential,
) -> Vec<String> {
    let copies = credential.authentication.copies();
    if copies.is_empty() {
        return Vec::new();
    }
    let refused = context.copy_faults(credential);
    let secrets = lock(&context.secrets);
    let facts = |name: &str| {
        let name = (credential.namespace.clone(), name.to_owned());
        secrets.get(&name).map(|seen| &seen.facts)
    };
    let blocked = copies.iter().filter_map(|copied| {
        let (name, copy) = (&copied.certificate.pair.secret, &copied.copy.name);
        let blocked = last_good::blocked(facts(name), facts(copy));
        blocked.then(|| copy_fault::in_the_way(name, copy, facts(copy)))
    });
    let refused = refused.iter().map(CopyFault::message);
    refused.chain(blocked).collect()
}
