//! The credential whose request a trial sends, at an issuer that issues tokens only for what a credential of the client requests. Any user of the
//! namespace may create such a credential, so one that gets no token must not stop the rotation of the client.

use std::collections::BTreeMap;

use super::seen::user;
use crate::controller::{context::Context, locks::lock, lookup::permission, requeue::reference};
use crate::{api::ApiCredentialSpec, credential::Key, rotation::Rotating};

/// How often a request of each credential was refused for another reason than the value that was tried.
pub(super) type FailedRequests = BTreeMap<String, u32>;

/// A credential whose request can be sent. The first one in order is used.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Rank {
    /// Whether the issuer's limits do not allow its request.
    denied: bool,
    failed_requests: u32,
    /// Whether it has no valid token by this Secret, which would show that its request succeeds.
    without_token: bool,
    name: String,
}

/// The request of a credential of this client that needs only the client for authentication, and the name of the credential.
pub(super) fn trial_request(
    context: &Context,
    client: &Key,
    rotating: &Rotating,
    failed_requests: &FailedRequests,
) -> Option<(String, ApiCredentialSpec)> {
    let source = (client.namespace.clone(), rotating.secret.clone());
    let uid = lock(&context.secrets)
        .get(&source)
        .map_or_else(String::new, |seen| seen.facts.uid.clone());
    let keys = lock(&context.index).of_secret(&source);
    let now = context.clock.now();
    let ranked = keys.iter().filter_map(|key| {
        let object = context.credentials.get(&reference(key))?.open()?;
        let spec = &object.spec;
        let named = spec.client_ref.as_ref();
        let is_over = spec.end().is_some_and(|end| end <= now);
        let rests = spec.suspend == Some(true) || object.metadata.deletion_timestamp.is_some();
        if named?.name != client.name || spec.grant.is_some() || is_over || rests {
            return None;
        }
        let credential = context.parse(&object).ok()?;
        if !credential.inputs().is_empty() {
            return None;
        }
        let user = user(context, key, rotating, &credential.issuer, &uid);
        let has_token = user.is_some_and(|user| user.is_valid && user.version.is_some());
        let rank = Rank {
            denied: permission(context, &credential).0.is_err(),
            failed_requests: failed_requests.get(&key.name).copied().unwrap_or_default(),
            without_token: !has_token,
            name: key.name.clone(),
        };
        Some((rank, object.spec))
    });
    let (rank, spec) = ranked.min_by(|(a, _), (b, _)| a.cmp(b))?;
    Some((rank.name, spec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_that_gets_no_token_is_followed_by_the_next_one() {
        let rank = |name: &str, denied, failed_requests, without_token| Rank {
            denied,
            failed_requests,
            without_token,
            name: name.to_owned(),
        };
        for (ranks, first) in [
            (
                vec![rank("b", false, 0, true), rank("a", false, 0, true)],
                "a",
            ),
            (
                vec![rank("a", false, 0, true), rank("b", false, 0, false)],
                "b",
            ),
            (
                vec![rank("a", false, 1, false), rank("b", false, 0, true)],
                "b",
            ),
            // Each of them in turn.
            (
                vec![rank("a", false, 1, true), rank("b", false, 1, true)],
                "a",
            ),
            (
                vec![rank("a", false, 2, true), rank("b", false, 1, true)],
                "b",
            ),
            (
                vec![rank("a", true, 0, false), rank("b", false, 9, true)],
                "b",
            ),
            (vec![rank("a", true, 0, true)], "a"),
        ] {
            let seen = ranks.iter().min().map(|rank| rank.name.as_str());
            assert_eq!(seen, Some(first), "{ranks:?}");
        }
    }
}
