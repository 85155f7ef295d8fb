//! Reads the sources that changed since an attempt failed: what was refused is not sent again because of a new label.

use jiff::{SignedDuration, Timestamp};

use crate::controller::{reconciliation::Reconciliation, token::inputs};
use crate::{
    oauth::Class,
    plan::{Outcome, schedule},
};

/// The wait after the API server could not be asked about a value that must not be sent again before it changes.
const AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// Compares the content of the sources with the one that failed. The next plan uses the result.
pub(super) async fn compare(reconciliation: &mut Reconciliation<'_>) -> Outcome {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    for comparison in reconciliation.observed.comparisons(credential) {
        match inputs::read(context, credential, comparison.source.as_ref()).await {
            Ok(read) if read.fingerprint == comparison.fingerprint => {}
            Err(token_error) if token_error.class == Class::Transient && waits(reconciliation) => {
                let until = schedule::later(context.clock.now(), AGAIN);
                return Outcome::Queued { until };
            }
            Ok(_) | Err(_) => {
                reconciliation.observed.other_content();
                return reconciliation.again();
            }
        }
    }
    reconciliation.observed.same_content(credential);
    reconciliation.again()
}

/// Whether only a change ends the failure: a refused password.
fn waits(reconciliation: &Reconciliation<'_>) -> bool {
    let failure = reconciliation.observed.memory.failure.as_ref();
    failure.is_some_and(|f| f.next_attempt == Timestamp::MAX)
}
