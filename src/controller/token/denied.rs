//! Reasons why apicred itself does not send a request.

use crate::Reason;
use crate::{
    credential::binding::Denial,
    oauth::{Class, TokenError},
};

pub(in crate::controller) fn unavailable() -> TokenError {
    TokenError::local(
        Class::Transient,
        Reason::KubernetesUnavailable,
        "the Kubernetes API did not answer; apicred tries again",
    )
}

/// A denial as the reason why no request is made.
pub(in crate::controller) fn denied(denial: &Denial) -> TokenError {
    TokenError::local(Class::Invalid, denial.reason(), denial.message())
}
