//! A failed attempt, as the outcome of a reconcile.

use super::context::Context;
use crate::{
    credential::Credential,
    oauth::Refusal,
    plan::{Observed, Outcome, fail},
};

/// Remembers a failed try. The log has it as the condition that it causes, once.
pub(super) fn failed(
    context: &Context,
    credential: &Credential,
    observed: &mut Observed,
    refusal: Refusal,
) -> Outcome {
    tracing::debug!(
        reason = refusal.reason.as_str(),
        class = refusal.class.as_str(),
        http_status = refusal.http_status,
        error = refusal.error,
        code = refusal.code(),
        correlation_id = refusal.correlation_id,
        trace_id = refusal.trace_id,
        "{}",
        refusal.next_step
    );
    observed.memory = fail(credential, observed, refusal, context.clock.now());
    Outcome::Failed
}
