//! Stores and empties the copy of the certificate that was used for the last token ([`crate::publish::last_good`]).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{
    ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, Resource,
    api::{Patch, PatchParams, PostParams},
};
use secrecy::SecretString;
use serde_json::Value;

use crate::controller::{
    api::calls::{ApiErrorKind, Failed, call_with_message},
    context::Context,
    locks::lock,
};
use crate::{
    api::{ApiClient, ApiCredential, names},
    credential::{Copied, Credential, Key, TLS, source_of},
    plan::Observed,
    publish::{
        copy_fault::CopyFault,
        last_good::{self, Known, LastGood, Step},
        ownership::SecretFacts,
    },
    telemetry::tries::warn_at_first,
};

/// The interval between two sweeps. A credential that names the Secret empties its copy immediately.
const SWEEP: Duration = Duration::from_mins(10);
/// The name of such a write in the log.
const WHAT: &str = "last good certificate";

/// Updates the copies of a credential's certificates, and remembers what the API server refused. Returns true if a write failed and must be
/// retried soon.
pub(in crate::controller) async fn settle(
    context: &Context,
    object: &ApiCredential,
    credential: &Credential,
    observed: &Observed,
) -> bool {
    let copies = credential.authentication.copies();
    let (mut failed, mut faults) = (false, Vec::new());
    for copied in &copies {
        let Some(owner) = owner(context, object, &credential.namespace) else {
            continue;
        };
        let task = Task::new(context, credential, copied, owner);
        let seen = task.pair.seen();
        let step = task.step(&seen, observed);
        let Err(fault) = task.execute(&step, &seen).await else {
            context.worked(WHAT, &credential.uid);
            continue;
        };
        // The watch reports changes that were made in the meantime.
        failed |= fault.error_kind != ApiErrorKind::Unwanted;
        let Some(why) = refusal(&fault) else {
            continue;
        };
        let (uid, secret) = (&credential.uid, &copied.copy.name);
        let failure = context.failed(WHAT, uid, fault.error_kind.as_str());
        warn_at_first!(
            failure,
            namespace = credential.namespace,
            secret,
            "the copy of a certificate could not be written and is tried again: {}",
            why
        );
        faults.extend(task.fault(&step, &seen, why));
    }
    context.note_copy_faults(credential, faults);
    failed
}

/// Who refused a write, if a user must act. No text of the answer: it may repeat the request.
fn refusal(failed: &Failed) -> Option<String> {
    let refused = matches!(
        failed.error_kind,
        ApiErrorKind::Forbidden | ApiErrorKind::Quota | ApiErrorKind::Invalid
    );
    let lasts = refused || failed.server_message.is_webhook_down();
    failed.server_message.rejected_by().filter(|_| lasts)
}

/// The owner of a copy: the ApiClient if `clientRef` is set, else the credential.
fn owner(context: &Context, object: &ApiCredential, namespace: &str) -> Option<OwnerReference> {
    let reference = |version: String, kind: String, name: &str, uid: String| OwnerReference {
        api_version: version,
        kind,
        name: name.to_owned(),
        uid,
        ..OwnerReference::default()
    };
    if let Some(client) = &object.spec.client_ref {
        let found = context
            .clients
            .get(&Key::new(namespace, client.name.as_str()))?;
        let uid = found.metadata.uid.clone()?;
        let (version, kind) = (ApiClient::api_version(&()), ApiClient::kind(&()));
        return Some(reference(version.into(), kind.into(), &client.name, uid));
    }
    let (name, uid) = (object.metadata.name.as_ref()?, object.metadata.uid.clone()?);
    let (version, kind) = (ApiCredential::api_version(&()), ApiCredential::kind(&()));
    Some(reference(version.into(), kind.into(), name, uid))
}

/// A Secret and its copy, as cached.
type Seen = (Option<SecretFacts>, Option<SecretFacts>);

/// A Secret and its copy.
struct Pair<'a> {
    context: &'a Context,
    namespace: &'a str,
    /// The names of the Secret and of its copy.
    source: &'a str,
    copy: &'a str,
    /// The credential that is reconciled, if there is one: its own write does not requeue it.
    by: Key,
    api: Api<Secret>,
}

/// The copy of one certificate of a credential.
struct Task<'a> {
    pair: Pair<'a>,
    copied: &'a Copied<'a>,
    credential: &'a Credential,
    owner: OwnerReference,
}

impl<'a> Task<'a> {
    fn new(
        context: &'a Context,
        credential: &'a Credential,
        copied: &'a Copied<'a>,
        owner: OwnerReference,
    ) -> Self {
        let names = (
            copied.certificate.pair.secret.as_str(),
            copied.copy.name.as_str(),
        );
        let pair = Pair::new(context, &credential.namespace, names, credential.key());
        Self {
            pair,
            copied,
            credential,
            owner,
        }
    }

    /// What must be done.
    fn step(&self, (source, copy): &Seen, observed: &Observed) -> Step {
        let Pair {
            context,
            source: name,
            ..
        } = self.pair;
        let now = context.clock.now();
        let needs = |source: &SecretFacts| {
            let whose = (self.pair.namespace, self.credential.uid.as_str());
            lock(&context.secrets).needs_copy(whose, source, (name, self.pair.copy), now)
        };
        // This reads all Secrets of the namespace, so it is done only while another certificate replaces the pair.
        let replaced = last_good::serves(source.as_ref(), copy.as_ref());
        let replaced = source.as_ref().filter(|_| replaced);
        let valid = observed.valid(self.credential, now);
        let known = Known {
            used: valid.and_then(|record| record.sources.used.as_ref()),
            name,
            owner: &self.owner.uid,
            needed: replaced.is_some_and(needs),
        };
        last_good::step(source.as_ref(), copy.as_ref(), known)
    }

    async fn execute(&self, step: &Step, (source, copy): &Seen) -> Result<(), Failed> {
        match step {
            Step::Leave => Ok(()),
            Step::Store(version) => match source {
                Some(source) => {
                    let stored = copy.as_ref().and_then(|c| c.last_good.as_deref());
                    self.store(source, version.as_deref().zip(stored)).await
                }
                None => Ok(()),
            },
            Step::Empty(version, uid) => self.pair.empty(version, uid).await,
        }
    }

    /// What is reported about a step that was refused.
    fn fault(&self, step: &Step, (source, copy): &Seen, why: String) -> Option<CopyFault> {
        let before = copy.as_ref().and_then(|c| c.last_good.as_deref());
        match step {
            Step::Leave => None,
            Step::Store(_) => CopyFault::storing(self.copied, source.as_ref()?, before, why),
            Step::Empty(_, uid) => Some(CopyFault::emptying(self.copied, uid, before, why)),
        }
    }

    /// Stores the certificate and key of the version that was used for the token.
    async fn store(
        &self,
        seen: &SecretFacts,
        stored: Option<(&str, &LastGood)>,
    ) -> Result<(), Failed> {
        let Pair {
            context,
            source,
            copy,
            api,
            ..
        } = &self.pair;
        let read = || api.get(source);
        let secret = call_with_message(&context.metrics, "get_secret", || true, read, None).await?;
        let meta = &secret.metadata;
        let same = meta.uid.as_ref() == Some(&seen.uid)
            && meta.resource_version.as_ref() == Some(&seen.version)
            && meta.deletion_timestamp.is_none()
            && last_good::is_wanted(meta);
        let mut data = secret.data.unwrap_or_default();
        let pair = [TLS.0, TLS.1].map(|key| data.remove_entry(key));
        let [Some(certificate), Some(key)] = pair else {
            return Err(ApiErrorKind::Unwanted.into());
        };
        if !same {
            return Err(ApiErrorKind::Unwanted.into());
        }
        let hidden = std::str::from_utf8(&key.1.0).ok().map(SecretString::from);
        let pair: BTreeMap<String, ByteString> = [certificate, key].into();
        let of = (seen.uid.as_str(), seen.version.as_str());
        if let Some((version, stored)) = stored {
            let patch = last_good::store_patch(version, of, (&self.owner, stored), &pair);
            return self.pair.patch(&patch, hidden.as_ref()).await;
        }
        let made = last_good::create(self.pair.namespace, copy, of, &self.owner, pair);
        let params = PostParams {
            field_manager: Some(names::MANAGER.to_owned()),
            ..PostParams::default()
        };
        let under_way = context.own_write_of(&self.pair.by, copy);
        let may = || context.may_act();
        let request = || api.create(&params, &made);
        let made = call_with_message(
            &context.metrics,
            "create_secret",
            may,
            request,
            hidden.as_ref(),
        )
        .await?;
        under_way.done(&made.metadata);
        tracing::info!(
            secret = source,
            copy,
            "a copy of the certificate that got the last token was stored"
        );
        Ok(())
    }
}

impl<'a> Pair<'a> {
    fn new(
        context: &'a Context,
        namespace: &'a str,
        (source, copy): (&'a str, &'a str),
        by: Key,
    ) -> Self {
        Self {
            context,
            namespace,
            source,
            copy,
            by,
            api: Api::namespaced(context.client.clone(), namespace),
        }
    }

    /// The two Secrets as cached.
    fn seen(&self) -> Seen {
        let secrets = lock(&self.context.secrets);
        let facts = |name: &str| {
            let name = (self.namespace.to_owned(), name.to_owned());
            secrets.get(&name).map(|seen| seen.facts.clone())
        };
        (facts(self.source), facts(self.copy))
    }

    /// Empties the copy after the API server confirms that the Secret does not request a copy: the cache may be wrong, and the
    /// key cannot be recovered.
    async fn empty(&self, version: &str, uid: &str) -> Result<(), Failed> {
        let metrics = &self.context.metrics;
        let request = || self.api.get_metadata(self.source);
        let read = call_with_message(metrics, "get_secret", || true, request, None).await;
        let asks = match read {
            Ok(found) => {
                found.metadata.uid.as_deref() == Some(uid)
                    && found.metadata.deletion_timestamp.is_none()
                    && last_good::is_wanted(&found.metadata)
            }
            Err(failed) if failed.error_kind == ApiErrorKind::NotFound => false,
            Err(failed) => return Err(failed),
        };
        if asks {
            return Err(ApiErrorKind::Unwanted.into());
        }
        let patch = last_good::empty_patch(version, (self.source, uid));
        self.patch(&patch, None).await
    }

    async fn patch(&self, patch: &Value, hidden: Option<&SecretString>) -> Result<(), Failed> {
        let params = PatchParams {
            field_manager: Some(names::MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Strategic(patch);
        let under_way = self.context.own_write_of(&self.by, self.copy);
        let may = || self.context.may_act();
        let request = || self.api.patch_metadata(self.copy, &params, &patch);
        let metrics = &self.context.metrics;
        let made = call_with_message(metrics, "patch_secret", may, request, hidden).await?;
        under_way.done(&made.metadata);
        tracing::info!(
            secret = self.source,
            copy = self.copy,
            "the copy of a certificate was changed"
        );
        Ok(())
    }
}

/// Empties the copies whose Secret is deleted or no longer requests a copy, also if no credential names the Secret. Never returns.
pub(in crate::controller) async fn sweep(context: Arc<Context>) {
    loop {
        let copies = lock(&context.secrets).copies();
        for (namespace, copy) in copies {
            if context.unsynced.first(&namespace).is_some() {
                continue;
            }
            let Some(source) = source_of(&copy) else {
                continue;
            };
            let by = Key::new(namespace.as_str(), "");
            let pair = Pair::new(&context, &namespace, (source, &copy), by);
            let (seen, stored) = pair.seen();
            let known = Known {
                used: None,
                name: source,
                owner: "",
                needed: false,
            };
            if let Step::Empty(version, uid) =
                last_good::step(seen.as_ref(), stored.as_ref(), known)
            {
                // A failed write is retried by the next sweep.
                let _ = pair.empty(&version, &uid).await;
            }
        }
        tokio::time::sleep(SWEEP).await;
    }
}
