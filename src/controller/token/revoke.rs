//! Revokes what was issued to a credential (RFC 7009): its refresh token if it has one, else its access token.
//! [`crate::controller::deletion`] decides when this is done.

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;
use url::Url;

use super::{
    acquire,
    denied::denied,
    digest_key::secret_digest,
    exchange, inputs,
    published::{NoToken, published},
};
use crate::controller::{
    api::ids,
    context::Context,
    limiter::issuers::{Admission, Permit},
    locks::lock,
    lookup::{permission, sources},
    requeue::reference,
    state::{Leaving, Revocable},
};
use crate::{
    Reason,
    credential::{
        Credential, Endpoint, Key,
        binding::{self, IssuedBy},
    },
    limits::queue::Urgency,
    oauth::{
        Class, Grant, RequestContext, Revoked, SentSecrets, TokenEndpoint, TokenError, explained,
        revocation, revocation_answer,
    },
    plan::{Source, fingerprint, fingerprint::DigestKey},
    publish::ownership::Published,
};

/// How long one attempt waits for a permit within the limits of the issuer. The rest of an attempt's 15 s is for the request.
const TURN: Duration = Duration::from_secs(8);

/// Makes one attempt to revoke what was issued to this credential.
pub(in crate::controller) async fn attempt(
    context: &Arc<Context>,
    credential: &Credential,
    leaving: &Leaving,
) -> Result<(), TokenError> {
    if matches!(credential.issuer.endpoint, Endpoint::Nowhere) {
        return Err(fault("a static key must be revoked where it was created"));
    }
    if context.orphans.concern(&leaving.key) {
        return Err(passing("a new refresh token is not stored yet"));
    }
    // An issuer that does not serve this namespace must not receive a secret from it, even for a revocation.
    permission(context, credential)
        .0
        .map_err(|denial| TokenError::local(Class::Invalid, denial.reason(), denial.message()))?;
    let endpoint = acquire::endpoint(context, credential).await?;
    let certificate = credential.authentication.shows_certificate();
    let Some(to) = endpoint.revoked_at(certificate).cloned() else {
        return Err(fault(endpoint.unused("revocation_endpoint", certificate).unwrap_or(
            "the issuer names no revocation endpoint; set oauth2.revocationUrl (or oidc.revocationUrl) on it if it has one",
        )));
    };
    let revocation = Revocation {
        context,
        credential,
        now: IssuedBy {
            request: fingerprint::request(credential),
            issuer: binding::issuer_mark(credential, &endpoint),
        },
        endpoint,
        to,
    };
    // A token that could not be written is not in a Secret. It is revoked first: there may be no published token.
    if let Some(unwritten) = &leaving.unwritten {
        revocation.by_any(Some(unwritten)).await?;
        if leaving.token.is_none() && !publishes(context, credential) {
            return Ok(());
        }
    }
    revocation.by_any(leaving.token.as_ref()).await
}

/// Whether this credential has a token in its Secret.
fn publishes(context: &Context, credential: &Credential) -> bool {
    with_published(context, credential, |p| p.record.is_some()).unwrap_or_default()
}

fn with_published<T>(
    context: &Context,
    credential: &Credential,
    read: impl FnOnce(&Published) -> T,
) -> Option<T> {
    let name = (credential.namespace.clone(), credential.target.name.clone());
    let secrets = lock(&context.secrets);
    secrets.published(&name, &credential.uid).map(read)
}

/// One attempt: the data that is the same for each client secret.
struct Revocation<'a> {
    context: &'a Arc<Context>,
    credential: &'a Credential,
    /// What would issue a new token now.
    now: IssuedBy,
    /// The token endpoint, which identifies the issuer. The client authenticates as there.
    endpoint: TokenEndpoint,
    /// The revocation endpoint.
    to: Url,
}

impl Revocation<'_> {
    /// Uses the client secret or certificate in use, then each other one in turn: during a rotation one of them works.
    async fn by_any(&self, known: Option<&Revocable>) -> Result<(), TokenError> {
        let (context, credential) = (self.context, self.credential);
        let credentials = sources(context, credential);
        let Some(first) = credentials.first() else {
            let access = self.access_token(known).await?;
            return self.by(None, access.as_ref()).await;
        };
        let used = with_published(context, credential, |p| {
            p.record.as_ref().and_then(|r| r.sources.used.clone())
        });
        let used = used.flatten();
        let mut present: Vec<&Source> =
            credentials.iter().filter(|s| s.present.is_some()).collect();
        present.sort_by_key(|s| !used.as_ref().is_some_and(|used| used.is(&s.reference)));
        let name = &first.reference.name;
        let mut last = fault(&format!(
            "Secret {name}, which authenticates the client, does not exist any more"
        ));
        if present.is_empty() {
            return Err(last);
        }
        let access = self.access_token(known).await?;
        for source in present {
            match self.by(Some(source), access.as_ref()).await {
                Err(token_error) if token_error.class == Class::Invalid => last = token_error,
                ended => return ended,
            }
        }
        Err(last)
    }

    /// The access token, if it is what is revoked; `None` for a grant with a refresh token. It is read and checked once,
    /// independent of the number of client secrets that are tried.
    async fn access_token(
        &self,
        known: Option<&Revocable>,
    ) -> Result<Option<SecretString>, TokenError> {
        let (context, credential) = (self.context, self.credential);
        if matches!(credential.grant, Grant::RefreshToken(_)) {
            return Ok(None);
        }
        let (token, issued) = if let Some(known) = known {
            (known.token.secret.clone(), Some(known.issued.clone()))
        } else {
            let found = published(context, credential).await;
            let found = found.map_err(not_published)?;
            (found.token, Some(found.issued))
        };
        self.may_return(issued.as_ref())?;
        is_own(context, credential, &token).await?;
        Ok(Some(token))
    }

    /// An issued token may be sent only to its issuer.
    fn may_return(&self, issued: Option<&IssuedBy>) -> Result<(), TokenError> {
        binding::may_return(issued, &self.now, &self.to).map_err(|d| denied(&d))
    }

    /// `access`: the access token. If it is not set, the refresh token is revoked.
    async fn by(
        &self,
        source: Option<&Source>,
        access: Option<&SecretString>,
    ) -> Result<(), TokenError> {
        let (context, credential) = (self.context, self.credential);
        let mut read = inputs::read(context, credential, source).await?;
        read.may_post(credential, &self.endpoint)?;
        read.may_reach(credential, &self.to)?;
        let (token, kind) = match (access, read.grant_inputs.first()) {
            (Some(access), _) => (access.clone(), Revoked::AccessToken),
            (None, Some(refresh_token)) => {
                self.may_return(read.issued(&self.now.request).as_ref())?;
                (refresh_token.clone(), Revoked::RefreshToken)
            }
            (None, None) => return Err(fault("its state Secret contains no refresh token")),
        };
        // The origin of the revocation endpoint is one of the token endpoint: `may_return` has checked this.
        read.complete(context, credential, Some(&self.endpoint))
            .await?;
        let (id, assertion) = (ids::uuid(), ids::uuid());
        let moment = RequestContext {
            now: context.clock.now(),
            request_id: &id,
            assertion_id: &assertion,
        };
        let at = (&self.endpoint, &self.to);
        let request = revocation(credential, at, &read.material, (&token, kind), moment)?;
        let permit = self.turn().await?;
        if !context.may_act() {
            return Err(passing("this process is no longer the leader"));
        }
        let echo = SentSecrets::of(&request);
        let answer = context.http.send(&credential.issuer, request).await;
        drop(permit);
        let ended = answer.and_then(|raw| {
            let now = context.clock.now();
            let explain = |token_error| explained(token_error, credential, &raw, &echo, now);
            revocation_answer(&self.to, &raw, now).map_err(explain)
        });
        exchange::inform(context, credential, ended.as_ref().err());
        ended
    }

    /// Waits for a permit: a revocation is a request to the issuer like any other.
    async fn turn(&self) -> Result<Permit, TokenError> {
        let now = self.context.clock.now();
        let urgency = Urgency::in_an_hour(now);
        let limiter = &self.context.limiter;
        match limiter.turn(self.credential, urgency, TURN).await {
            Admission::Go(permit) => Ok(permit),
            Admission::Wait => Err(passing("the limits of the issuer leave no room")),
            Admission::Paused(until) => Err(TokenError {
                retry_after: Duration::try_from(until.duration_since(now)).ok(),
                ..passing("the issuer is rate limiting")
            }),
        }
    }
}

/// Checks that no other credential has the token in its Secret, except credentials that are being deleted. An issuer may return
/// one token for equal requests, and a credential that shared a response may have received its policy later.
async fn is_own(
    context: &Context,
    credential: &Credential,
    token: &SecretString,
) -> Result<(), TokenError> {
    let digest = secret_digest(digests(context).await?, token);
    let others = lock(&context.secrets).sharing(&credential.namespace, &credential.uid, &digest);
    let stays = |(name, uid): &(String, String)| {
        let key = Key::new(credential.namespace.as_str(), name.as_str());
        let packed = context.credentials.get(&reference(&key));
        let object = packed.filter(|packed| *packed.uid == **uid);
        // A credential that cannot be read counts as one that is not being deleted.
        object.is_some_and(|packed| {
            let meta = packed.open().map(|object| object.metadata);
            meta.is_none_or(|meta| meta.deletion_timestamp.is_none())
        })
    };
    if others.iter().any(stays) {
        return Err(fault("another credential has the same token"));
    }
    Ok(())
}

async fn digests(context: &Context) -> Result<&DigestKey, TokenError> {
    context
        .digest_key
        .get(&context.metrics)
        .await
        .map_err(|_| no_digest_key())
}

fn no_digest_key() -> TokenError {
    passing("the operator's digest key cannot be read")
}

/// An error that another attempt does not change.
fn fault(text: &str) -> TokenError {
    TokenError::local(Class::Invalid, Reason::RevocationFailed, text)
}

/// An error that may be temporary.
fn passing(text: &str) -> TokenError {
    TokenError::local(Class::Transient, Reason::RevocationFailed, text)
}

/// Why a token is not revoked that is not in a Secret, or not as it was published.
fn not_published(why: NoToken) -> TokenError {
    match why {
        NoToken::NoSecret => fault("its Secret was deleted before the revocation"),
        NoToken::Unreadable => passing("its Secret cannot be read"),
        NoToken::NoDigestKey => no_digest_key(),
        NoToken::NotOwned => fault("its Secret does not belong to this credential any more"),
        NoToken::NoRecord => fault("its Secret does not record what issued the token"),
        NoToken::Static => fault("its Secret contains a static key, which no issuer issued"),
        NoToken::NotPlain => fault("its Secret does not contain the token in plain text"),
        NoToken::Replaced => {
            fault("its Secret contains another token than the one that was published")
        }
    }
}
