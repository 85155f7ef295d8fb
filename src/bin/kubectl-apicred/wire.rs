//! Requests to the issuer, one after the other, with the HTTP client of the operator.

use apicred::Reason;
use std::time::{Duration, Instant};

use apicred::{
    clock::{Clock, SystemClock},
    credential::{AuthenticationMethod, Credential},
    http::Http,
    issuer::lookup::discover,
    oauth::{
        Material, Note, RawAnswer, Reader, RequestContext, SentSecrets, Token, TokenEndpoint,
        TokenError, TokenRequest, explained, known_endpoint,
        sign_in::{
            Consent, Flow, RedeemableCode, added, random_text, redeemed, redemption, user_name,
            with_fewer_scopes,
        },
    },
};
use jiff::Timestamp;

use crate::{
    authentication::{self, Candidate},
    cluster::Cluster,
};

/// A ServiceAccount's token is requested again after this time; its lifetime is ten minutes or more.
const FRESH: Duration = Duration::from_mins(5);

/// A scope is not known, or not allowed for the client (RFC 6749 sections 4.1.2.1 and 5.2).
const INVALID_SCOPE: &str = "invalid_scope";

/// The connection of a sign-in to the issuer.
pub(crate) struct Wire<'a> {
    cluster: &'a Cluster,
    http: Http,
    /// The credential, with the request parameters of a sign-in.
    pub(crate) credential: Credential,
    pub(crate) endpoint: TokenEndpoint,
    /// The scopes that the credential or the command line names for the sign-in. The other scopes in
    /// `credential` were added.
    pub(crate) own_scopes: Vec<String>,
    /// The origins that the user allowed.
    pub(crate) consent: Consent,
    flow: Flow,
    candidates: Vec<Candidate>,
    made: Instant,
}

/// The tokens, and the user to whom they belong.
pub(crate) struct SignedIn {
    pub(crate) token: Token,
    pub(crate) user: Option<String>,
}

/// The endpoints of the credential's issuer.
pub(crate) async fn endpoint(
    http: &Http,
    credential: &Credential,
) -> Result<TokenEndpoint, TokenError> {
    match known_endpoint(credential) {
        Some(endpoint) => Ok(endpoint),
        None => discover(http, &credential.issuer, SystemClock.now()).await,
    }
}

impl<'a> Wire<'a> {
    /// Reads the client authentication material.
    pub(crate) async fn new(
        cluster: &'a Cluster,
        http: Http,
        (credential, endpoint): (Credential, TokenEndpoint),
        flow: Flow,
        consent: Consent,
    ) -> Result<Self, String> {
        let candidates = authentication::candidates(cluster, &credential, &endpoint, flow).await?;
        Ok(Self {
            cluster,
            http,
            own_scopes: credential.request.scopes.clone(),
            credential,
            endpoint,
            consent,
            flow,
            candidates,
            made: Instant::now(),
        })
    }

    /// After `invalid_scope`: from now on fewer of the added scopes are requested. Returns the message for the user, or
    /// `None` if fewer scopes would not help.
    pub(crate) fn request_fewer_scopes(&mut self, token_error: &TokenError) -> Option<String> {
        if token_error.error.as_deref() != Some(INVALID_SCOPE) {
            return None;
        }
        let (fewer, removed) = with_fewer_scopes(&self.credential, &self.own_scopes)?;
        self.credential = fewer;
        let left = self.credential.request.scopes.join(" ");
        let left = if left.is_empty() {
            "without scopes".to_owned()
        } else {
            format!("with: {left}")
        };
        Some(format!(
            "The issuer answered {INVALID_SCOPE}. The sign-in had added {}, which the credential does not name; it is requested again {left}.",
            removed.join(" and ")
        ))
    }

    /// A token error for the user. It names the scopes that the sign-in added if they may be the cause.
    pub(crate) fn explain(&self, token_error: &TokenError) -> String {
        let text = explain(token_error);
        let added = added(&self.credential, &self.own_scopes);
        if token_error.error.as_deref() != Some(INVALID_SCOPE) || added.is_empty() {
            return text;
        }
        format!(
            "{text}; the sign-in added {} to the scopes of the credential: set --scopes to the scopes that the issuer supports",
            added.join(" and ")
        )
    }

    /// Redeems a code.
    pub(crate) async fn redeem(
        &mut self,
        ticket: &RedeemableCode<'_>,
    ) -> Result<SignedIn, TokenError> {
        let build = |credential: &Credential,
                     endpoint: &TokenEndpoint,
                     material: &Material,
                     moment: RequestContext<'_>| {
            redemption(credential, endpoint, material, ticket, moment)
        };
        self.exchange(build, |credential, raw, sent, now| {
            let token = redeemed(credential, raw, sent, now)?;
            let user = user_name(raw);
            Ok(SignedIn { token, user })
        })
        .await
    }

    /// Requests the token of the `ServiceAccount` again if the present one is old.
    async fn refresh_candidates(&mut self) {
        if matches!(
            self.credential.authentication,
            AuthenticationMethod::ServiceAccount(_)
        ) && self.made.elapsed() > FRESH
            && let Ok(fresh) = authentication::candidates(
                self.cluster,
                &self.credential,
                &self.endpoint,
                self.flow,
            )
            .await
        {
            (self.candidates, self.made) = (fresh, Instant::now());
        }
    }

    /// Sends a request with one client credential after the other while the issuer refuses them. This uses up no code, because an
    /// issuer checks the client first.
    pub(crate) async fn exchange<T>(
        &mut self,
        build: impl Fn(
            &Credential,
            &TokenEndpoint,
            &Material,
            RequestContext<'_>,
        ) -> Result<TokenRequest, TokenError>,
        read: impl Fn(&Credential, &RawAnswer, Timestamp, Timestamp) -> Result<T, TokenError>,
    ) -> Result<T, TokenError> {
        self.refresh_candidates().await;
        let mut last = None;
        for (at, candidate) in self.candidates.iter().enumerate() {
            let (id, assertion, now) = (uuid(), uuid(), SystemClock.now());
            let moment = RequestContext {
                now,
                request_id: &id,
                assertion_id: &assertion,
            };
            let request = build(
                &self.credential,
                &self.endpoint,
                &candidate.material,
                moment,
            )?;
            // Whatever created the request, it is sent to no other origin.
            if !self.consent.covers(&request.url) {
                return Err(TokenError::local(
                    apicred::oauth::Class::Invalid,
                    Reason::SignInNotAllowed,
                    "the request would go to an origin that you did not allow; nothing was sent",
                ));
            }
            let sent = apicred::whole_second(now);
            let echo = SentSecrets::of(&request);
            let raw = self.http.send(&self.credential.issuer, request).await?;
            let now = SystemClock.now();
            let done = read(&self.credential, &raw, sent, now)
                .map_err(|token_error| explained(token_error, &self.credential, &raw, &echo, now));
            match done {
                Ok(done) => {
                    // The next request begins with the credential that was accepted.
                    self.candidates.swap(0, at);
                    return Ok(done);
                }
                Err(mut token_error) => {
                    let next = token_error.about_client;
                    if next {
                        token_error
                            .next_step
                            .note(Note::Used(candidate.name.clone()));
                    }
                    last = Some(token_error);
                    if !next {
                        break;
                    }
                }
            }
        }
        Err(last.unwrap_or_else(|| {
            let class = apicred::oauth::Class::Invalid;
            TokenError::local(
                class,
                Reason::ClientSecretMissing,
                "the client has no client secret or other credential",
            )
        }))
    }
}

/// A token error for an interactive user, who can run the command again.
pub(crate) fn explain(token_error: &TokenError) -> String {
    let text = token_error.message_for(Reader::Command);
    if token_error.reason == Reason::AddressNotAllowed {
        return format!(
            "{text}; the operator's own settings do not apply to this command: if you know this network, add --allow-cidr NETWORK"
        );
    }
    text
}

/// A random secret for one request: `state`, a PKCE verifier.
pub(crate) fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    // The library's generator aborts the process instead of returning an error.
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// A `state` (RFC 6749 section 10.12).
pub(crate) fn state() -> String {
    random_text(&random())
}

/// A version 4 UUID.
pub(crate) fn uuid() -> String {
    let random = random();
    let mut digits: Vec<char> = random[..16]
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .filter_map(|d| char::from_digit(u32::from(d), 16))
        .collect();
    digits[12] = '4';
    digits[16] = char::from(b"89ab"[usize::from(random[16] & 3)]);
    for at in [20, 16, 12, 8] {
        digits.insert(at, '-');
    }
    digits.into_iter().collect()
}
