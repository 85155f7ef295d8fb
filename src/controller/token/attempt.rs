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
    sent: Vec<SentContent>,
    /// Whether an entry failed in another way: with the same values, the next attempt may succeed.
    incomparable: bool,
}

impl Noted {
    /// Records what an entry that failed sent.
    pub(super) fn note_sent(&mut self, content: Content) {
        match content {
            Content::Unread => {}
            Content::Failed(sent) => self.sent.push(sent),
            Content::Incomparable => self.incomparable = true,
        }
    }

    /// What all entries sent. `None`: one of them may succeed with the same values.
    pub(in crate::controller) fn contents(self) -> Option<Vec<SentContent>> {
        (!self.incomparable).then_some(self.sent)
    }
}

/// What an entry that failed sent.
pub(super) enum Content {
    /// It was not read.
    Unread,
    /// The same values would fail in the same way.
    Failed(SentContent),
    /// The attempt may end in another way with the same values.
    Incomparable,
}

/// The failure of one entry of the client's list.
pub(super) struct Failed {
    pub(super) token_error: TokenError,
    /// The sources of the grant inputs.
    pub(super) with: Vec<SourceMark>,
    /// The entry, if it does not work.
    pub(super) mark: Option<RefusedSource>,
    pub(super) sent: Content,
    /// Whether another entry may work.
    pub(super) next: bool,
}

#[cfg(test)]
mod tests {
    use super::{Content, Noted};
    use crate::plan::SentContent;

    fn failed(fingerprint: &str) -> Content {
        Content::Failed(SentContent {
            used: None,
            fingerprint: fingerprint.to_owned(),
        })
    }

    /// The content of one entry shows nothing about the failure of another one.
    #[test]
    fn contents_are_compared_only_if_each_entry_has_one() {
        let mut noted = Noted::default();
        assert_eq!(Noted::default().contents().map(|all| all.len()), Some(0));
        noted.note_sent(failed("one"));
        noted.note_sent(Content::Unread);
        noted.note_sent(failed("another"));
        assert_eq!(noted.contents().map(|all| all.len()), Some(2));
        for other_first in [true, false] {
            let mut noted = Noted::default();
            let mut order = [Content::Incomparable, failed("one")];
            if !other_first {
                order.reverse();
            }
            for content in order {
                noted.note_sent(content);
            }
            assert!(noted.contents().is_none(), "{other_first}");
        }
    }
}
