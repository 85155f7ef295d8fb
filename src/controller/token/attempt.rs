//! One attempt to get a token.

use std::sync::Arc;

use crate::controller::{context::Context, limiter::issuers::Permit};
use crate::{
    credential::{Credential, Key},
    oauth::TokenEndpoint,
    plan::Observed,
};

/// The data that is the same for each entry of the client's list.
pub(super) struct TokenAttempt<'a> {
    pub(super) context: &'a Arc<Context>,
    pub(super) credential: &'a Credential,
    pub(super) key: &'a Key,
    pub(super) observed: &'a Observed,
    pub(super) endpoint: TokenEndpoint,
    pub(super) permit: Arc<Permit>,
}
