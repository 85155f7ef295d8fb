//! Checks an issuer, and builds its status.

use crate::{ConditionType, Reason};
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use url::Url;

use super::{api::calls::Failed, context::Context, token::denied::denied};
use crate::{
    api::{AllowedNamespaces, IssuerStatus},
    credential::{
        CaFault, Endpoint, FieldError, Issuer, OperatorIdentity, addresses,
        annotations::{self, AnnotatedKind},
        binding,
    },
    oauth::{Class, Stage, TokenError},
    plan::conditions::Conditions,
};

/// The result of one reconcile of an issuer.
pub(super) enum Reconciled {
    /// Its status is written, and the issuer works.
    Settled,
    /// Its status is written, and a further check cannot change it: the spec is invalid, or the issuer is deleted.
    Gone,
    /// A check failed.
    Unsettled,
    /// Its status could not be written.
    Lost(Failed),
}

/// The results of the checks of an issuer.
struct Findings {
    endpoint: Option<String>,
    /// Whether it works; `None` while this is not known.
    works: Option<bool>,
    /// True if only the change of an object can correct it.
    stalled: bool,
    reason: Reason,
    message: String,
    /// What is missing in the discovery document.
    unlisted: Option<String>,
    reconciled: Reconciled,
}

/// Follows the message about a discovery document if the endpoint of an earlier document is used.
const STILL_USED: &str =
    "; until the operator restarts, the token endpoint of the last correct document is used";

/// Checks an issuer.
async fn findings(context: &Context, parsed: Result<Issuer, Vec<FieldError>>) -> Findings {
    let issuer = match parsed {
        Ok(issuer) => issuer,
        Err(errors) => {
            return Findings {
                endpoint: None,
                works: Some(false),
                stalled: true,
                reason: errors.first().map_or(Reason::InvalidSpec, |e| e.reason),
                message: FieldError::join(&errors),
                unlisted: None,
                reconciled: Reconciled::Gone,
            };
        }
    };
    if let Some(CaFault::Unread(message)) = &issuer.ca_fault {
        return Findings {
            endpoint: None,
            works: None,
            stalled: false,
            reason: Reason::Pending,
            message: format!("the CAs of this issuer are needed first: {message}"),
            unlisted: None,
            // The end of the read is reported. This is the fallback.
            reconciled: Reconciled::Unsettled,
        };
    }
    match check(context, &issuer).await {
        (Some(found), None) => Findings {
            endpoint: Some(found.url),
            works: Some(true),
            stalled: false,
            reason: Reason::EndpointKnown,
            message: known(&issuer).to_owned(),
            unlisted: found.unlisted,
            reconciled: Reconciled::Settled,
        },
        (found, token_error) => {
            let token_error = token_error.unwrap_or_else(|| {
                TokenError::local(
                    Class::Transient,
                    Reason::InternalError,
                    "the issuer has no token endpoint and no failure; report this with the operator's log",
                )
            });
            failed(&issuer, found, &token_error)
        }
    }
}

/// An issuer that does not work, or whose endpoint is that of an earlier document.
fn failed(issuer: &Issuer, found: Option<Found>, token_error: &TokenError) -> Findings {
    let fault = found.as_ref().and_then(|found| found.fault.as_ref());
    let falls_back = fault.is_some_and(|fault| fault.message() == token_error.message());
    let mut message = token_error.message();
    if falls_back {
        message.push_str(STILL_USED);
    }
    Findings {
        endpoint: found.map(|found| found.url),
        works: Some(false),
        // A CA bundle in another object may be added together with that object.
        stalled: token_error.stage == Stage::Own
            && matches!(token_error.class, Class::Invalid | Class::Denied)
            && issuer.ca_fault.is_none()
            && !falls_back,
        reason: token_error.reason,
        message,
        unlisted: None,
        reconciled: Reconciled::Unsettled,
    }
}

pub(super) async fn issuer_status(
    context: &Context,
    parsed: Result<Issuer, Vec<FieldError>>,
    old: Option<&IssuerStatus>,
    meta: &ObjectMeta,
) -> (IssuerStatus, Reconciled) {
    let found = findings(context, parsed).await;
    let say = Conditions {
        previous: old.map_or(&[][..], |s| s.conditions.as_slice()),
        generation: meta.generation.unwrap_or_default(),
        now: context.clock.now(),
    };
    if let (None, Some(old)) = (found.works, old.filter(|old| is_of(old, meta))) {
        // A restart does not withdraw what is reported about this spec.
        return (old.clone(), found.reconciled);
    }
    let ready = ConditionType::Ready;
    let mut conditions = vec![match found.works {
        Some(works) => say.condition(ready, works, found.reason, &found.message),
        None => say.unknown(ready, found.reason, &found.message),
    }];
    // Only a change by a user can end this state. Tools that use kstatus then do not need to wait for their timeout.
    if found.stalled {
        conditions.push(say.condition(ConditionType::Stalled, true, found.reason, &found.message));
    }
    conditions.extend(unread(meta).map(|message| {
        let (kind, reason) = (ConditionType::AnnotationsIgnored, Reason::AnnotationUnknown);
        say.condition(kind, true, reason, &message)
    }));
    conditions.extend(found.unlisted.map(|message| {
        let kind = ConditionType::ClientAuthenticationUnlisted;
        let reason = Reason::ClientAuthenticationUnsupported;
        say.condition(kind, true, reason, &message)
    }));
    (
        IssuerStatus {
            observed_generation: meta.generation,
            conditions,
            token_endpoint: found.endpoint,
        },
        found.reconciled,
    )
}

/// Whether this status is about the present spec.
fn is_of(status: &IssuerStatus, meta: &ObjectMeta) -> bool {
    status.observed_generation == meta.generation
        && ConditionType::Ready.find(&status.conditions).is_some()
}

/// The message about annotations of an issuer: no annotation has an effect.
fn unread(meta: &ObjectMeta) -> Option<String> {
    let keys = meta.annotations.iter().flat_map(BTreeMap::keys);
    let reported = annotations::unread(keys, AnnotatedKind::Issuer)?;
    Some(format!(
        "an annotation has no effect: {reported}; what an issuer allows is in its spec"
    ))
}

/// The message about an issuer whose endpoint is known. An issuer without allowed namespaces is rarely intended.
fn known(issuer: &Issuer) -> &'static str {
    let serves_none = |allowed: &AllowedNamespaces| {
        allowed.selector.is_none() && allowed.names.as_ref().is_none_or(Vec::is_empty)
    };
    if issuer.allowed_namespaces.as_ref().is_some_and(serves_none) {
        "the token endpoint is known; no namespace may use it: name some in spec.allowedNamespaces"
    } else {
        "the token endpoint is known"
    }
}

/// Everything that a credential needs from this issuer: the token endpoint if it is known, and what does not work.
async fn check(context: &Context, issuer: &Issuer) -> (Option<Found>, Option<TokenError>) {
    let found = match endpoint(context, issuer).await {
        Ok(found) => found,
        Err(token_error) => return (None, Some(token_error)),
    };
    // An issuer that uses the identity endpoint of the machine uses no other endpoint.
    let local = issuer
        .operator_identity
        .as_ref()
        .is_some_and(|l| *l != OperatorIdentity::WorkloadIdentity);
    let Some(place) = Url::parse(&found.url)
        .ok()
        .filter(|_| context.settings.issuer_checks && !local)
    else {
        let fault = found.fault.clone();
        return (Some(found), fault);
    };
    let clock = context.clock.as_ref();
    let reached = context
        .discovery
        .reached(&context.http, issuer, &place, clock);
    let fault = reached.await.err().map(|r| part("token endpoint", r));
    let fault = fault.or_else(|| found.fault.clone());
    (Some(found), fault)
}

/// What is known about the token endpoint of an issuer.
struct Found {
    url: String,
    /// The message about `clientAuthentication` of the issuer.
    unlisted: Option<String>,
    /// Why there is no new discovery document, if the endpoint is that of an earlier one.
    fault: Option<TokenError>,
}

/// Adds the part that failed to the error, unless the message names another part.
fn part(name: &'static str, token_error: TokenError) -> TokenError {
    let is_network_stage = match token_error.stage {
        Stage::Own | Stage::Proxy | Stage::Tunnel | Stage::Foreign | Stage::Answered => false,
        Stage::Name
        | Stage::Connect
        | Stage::Tls
        | Stage::ClientCertificate
        | Stage::Timeout
        | Stage::BrokenOff => true,
    };
    if !is_network_stage || token_error.http_status.is_some() {
        return token_error;
    }
    TokenError {
        next_step: token_error.next_step.of_part(name),
        ..token_error
    }
}

async fn endpoint(context: &Context, issuer: &Issuer) -> Result<Found, TokenError> {
    // An address that must not be requested is also reported here, where the author of the issuer sees it.
    if let Ok(origin) = Url::parse(&issuer.origin) {
        addresses::check_literal(&origin, &issuer.allowed_cidrs)?;
    }
    binding::may_use_cloud(&context.settings.entra_clouds, issuer).map_err(|d| denied(&d))?;
    let url = match &issuer.endpoint {
        Endpoint::Entra { authority } => format!("{authority}/oauth2/v2.0/token"),
        Endpoint::Fixed(url) => url.to_string(),
        // An issuer object always has a place.
        Endpoint::Nowhere => String::new(),
        Endpoint::Discover(_) => {
            let found = context
                .discovery
                .discovered(&context.http, issuer, context.clock.as_ref())
                .await
                .map_err(|token_error| part("discovery document", token_error))?;
            return Ok(Found {
                url: found.endpoint.url.to_string(),
                unlisted: found.endpoint.unlisted,
                fault: found.fault.map(|f| part("discovery document", f)),
            });
        }
    };
    Ok(Found {
        url,
        unlisted: None,
        fault: None,
    })
}

#[cfg(test)]
mod tests;
