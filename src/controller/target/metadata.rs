//! Writes of the target Secret without a new token: labels, annotations, its owner.

use secrecy::SecretString;

use super::publish::{patch_secret, wants_metadata, write_trouble};
use crate::controller::{api::existence::is_gone, context::Context};
use crate::{
    credential::{Credential, Key},
    plan::{Observed, Outcome},
    publish::{ownership::Target, render_patch, take_over_patch, template},
};

/// Changes labels, annotations and owner; the token is not touched.
pub(in crate::controller) async fn render(
    context: &Context,
    credential: &Credential,
    key: &Key,
    observed: &mut Observed,
) -> Outcome {
    let Target::Ours { version, published } = &observed.target else {
        return Outcome::Queued {
            until: context.clock.now(),
        };
    };
    let patch = render_patch(version, &template(credential), &published.managed_keys);
    patch_metadata(context, credential, key, observed, (&patch, None)).await
}

/// Puts this credential in place of an earlier one as the owner of the Secret.
pub(in crate::controller) async fn take_over(
    context: &Context,
    credential: &Credential,
    key: &Key,
    observed: &mut Observed,
) -> Outcome {
    let Target::OwnerGone { version, uid, .. } = &observed.target else {
        return again(context);
    };
    // It is ours only if ours is the later one of the two.
    match is_gone(context, &credential.uid, key).await {
        Ok(false) => {}
        Ok(true) => return Outcome::Released,
        Err(trouble) => return write_trouble(context, credential, observed, trouble),
    }
    let patch = take_over_patch(version, &template(credential), uid);
    let wanted = || wants_metadata(context, credential, key);
    match patch_secret(context, credential, wanted, (&patch, None)).await {
        Ok(()) => {
            observed.memory.out_of_sync = None;
            again(context)
        }
        Err(trouble) => write_trouble(context, credential, observed, trouble),
    }
}

/// Writes a patch that brings no new token, and says what the credential waits for besides.
pub(in crate::controller) async fn patch_metadata(
    context: &Context,
    credential: &Credential,
    key: &Key,
    observed: &mut Observed,
    patch: (&serde_json::Value, Option<&SecretString>),
) -> Outcome {
    let waiting = observed.failure(credential).is_some();
    let wanted = || wants_metadata(context, credential, key);
    if let Err(trouble) = patch_secret(context, credential, wanted, patch).await {
        return write_trouble(context, credential, observed, trouble);
    }
    observed.memory.out_of_sync = None;
    if waiting {
        Outcome::Backoff
    } else if credential.suspend {
        Outcome::Suspended
    } else {
        Outcome::Steady
    }
}

/// Something was learnt: the next plan decides with it.
fn again(context: &Context) -> Outcome {
    Outcome::Queued {
        until: context.clock.now(),
    }
}
