//! Names of the steps of a rotation and of their outcomes, for the log.

use crate::rotation::{Outcome, Step};

/// The name of a step, without its content.
pub(super) struct StepName<'a>(pub(super) &'a Step);

impl std::fmt::Debug for StepName<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Step::Write { change, .. } => change.record.state.as_str(),
            Step::ReadApplication => "read the application",
            Step::MakeKeyPair { .. } => "make a key pair",
            Step::AddKey { .. } => "add a certificate",
            Step::AddPassword { .. } => "add a secret",
            Step::RemoveKey { .. } => "remove a certificate",
            Step::RemovePassword { .. } => "remove a secret",
            Step::Trial { of, .. } => of.as_str(),
            Step::Wait { .. } => "wait",
        })
    }
}

/// The name of an outcome, without its content.
pub(super) struct OutcomeName<'a>(pub(super) &'a Outcome);

impl std::fmt::Debug for OutcomeName<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Outcome::Done => "done",
            Outcome::NotWritten => "not written",
            Outcome::Application(_) => "read",
            Outcome::Held(_) => "held",
            Outcome::KeyAdded(_) => "added",
            Outcome::Token => "token",
            Outcome::Refused(_) => "refused",
            Outcome::NoAnswer(..) => "no answer",
            Outcome::Failed(fault) => fault.message.as_str(),
        })
    }
}
