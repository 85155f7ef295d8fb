//! Writes the published token in other formats if `spec.target.keys` changed. The token is read from its own Secret. A new
//! token is requested only if no key contains it in plain text.

use crate::Reason;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use super::{
    metadata::patch_metadata,
    rejected::{unfit, write_failed},
};
use crate::controller::{
    api::calls::{ApiErrorKind, call},
    notify,
    reconciliation::Reconciliation,
    token::digest_key::token_digest,
};
use crate::{
    credential::Credential,
    oauth::{LifetimeSource, Token},
    plan::{Failure, Outcome},
    publish::{
        Record, Recovered, data, has_fields, ownership::Target, recover, rotate_patch, template,
    },
};

/// Writes the Secret. If the token cannot be read back, this is stored in memory.
pub(in crate::controller) async fn reformat(reconciliation: &mut Reconciliation<'_>) -> Outcome {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    let observed = &mut reconciliation.observed;
    let (Target::Ours { version, published }, Some(record)) =
        (observed.target.clone(), observed.record().cloned())
    else {
        return reconciliation.again();
    };
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &credential.namespace);
    let request = || api.get(&credential.target.name);
    let secret = match call(&context.metrics, "get_secret", request).await {
        Ok(secret) => secret,
        Err(error_kind) => return write_failed(reconciliation, error_kind),
    };
    if secret.metadata.resource_version.as_ref() != Some(&version) {
        // The Secret changed after it was observed; the watch will report the change.
        return write_failed(reconciliation, ApiErrorKind::Conflict);
    }
    let written = &published.managed_keys.data;
    let recovered = recover(&secret.data.unwrap_or_default(), written);
    // Fields that the Secret does not contain require a new token response.
    let recovered = recovered.filter(|r| has_fields(&r.answer, &credential.target.keys));
    let Some(recovered) = recovered else {
        observed.memory.unreadable = true;
        return reconciliation.again();
    };
    let token = token(credential, &record, recovered);
    let Ok(digests) = context.digest_key.get(&context.metrics).await else {
        return write_failed(reconciliation, ApiErrorKind::Unavailable);
    };
    if token_digest(digests, &token) != record.token_digest {
        // The value is not the published token, for whatever reason. It must not be copied into further keys.
        observed.memory.unreadable = true;
        return reconciliation.again();
    }
    let template = template(credential);
    let data = match data(&token, &template.keys) {
        Ok(data) => data,
        Err(problem) => return unfit(reconciliation, problem),
    };
    let unfit = |f: &mut Failure| f.is(Reason::FormatUnfit);
    observed.memory.failure.take_if(unfit);
    let patch = rotate_patch(&version, &template, &published.managed_keys, &record, &data);
    let outcome = patch_metadata(reconciliation, (&patch, Some(&token.secret))).await;
    let is_written = matches!(
        outcome,
        Outcome::Steady | Outcome::Backoff | Outcome::Suspended
    );
    if is_written {
        notify::wrote(context, credential, context.clock.now());
    }
    outcome
}

fn token(credential: &Credential, record: &Record, recovered: Recovered) -> Token {
    let fixed = credential.static_key.as_ref();
    let fixed = fixed.map(|key| key.scheme.clone());
    Token {
        secret: recovered.secret,
        refresh_token: None,
        instance_url: recovered.instance_url,
        answer: recovered.answer,
        omitted: std::collections::BTreeMap::new(),
        ends: std::collections::BTreeMap::new(),
        claims: record.claims.clone(),
        lifetime_source: if fixed.is_some() {
            LifetimeSource::Static
        } else {
            LifetimeSource::ExpiresIn
        },
        token_type: fixed.unwrap_or_else(|| "Bearer".to_owned()),
        issued_at: record.issued_at,
        expires_at: record.expires_at,
        refresh_in: None,
        scope: recovered.scope,
        id: record.token_id.clone(),
        correlation_id: None,
    }
}
