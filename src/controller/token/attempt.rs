//! One attempt to get a token.

use std::sync::Arc;

use crate::controller::{context::Context, limiter::issuers::Permit};
use crate::{
    credential::Credential,
    oauth::{TokenEndpoint, TokenError},
    plan::{Observed, SentContent},
    publish::{RefusedSource, SourceMark},
};

/// The data that is the same for each entry of the client's list.
pub(super) struct TokenAttempt<'a> {
    pub(super) context: &'a Arc<Context>,
    pub(super) credential: &'a Credential,
    pub(super) observed: &'a Observed,
    pub(super) endpoint: TokenEndpoint,
    pub(super) permit: Arc<Permit>,
}

/// What an attempt leaves for the next ones.
#[derive(Default)]
pub(in crate::controller) struct Noted {
    /// The entries of the client's list that did not work.
    pub(in crate::controller) refused: Vec<RefusedSource>,
    /// What was sent to the issuer without a token in return.
    pub(in crate::controller) sent: Vec<SentContent>,
}

/// The failure of one entry of the client's list.
pub(super) struct Failed {
    pub(super) token_error: TokenError,
    /// The sources of the grant inputs.
    pub(super) with: Vec<SourceMark>,
    /// The entry, if it does not work.
    pub(super) mark: Option<RefusedSource>,
    pub(super) sent: Option<SentContent>,
    /// Whether another entry may work.
    pub(super) next: bool,
}
