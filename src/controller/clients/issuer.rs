//! What a rotation asks of the issuer: tokens by one value alone, and calls of its management API.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use secrecy::SecretString;
use url::Url;

use crate::controller::{
    api::ids,
    context::Context,
    limiter::issuers::{Admission, Permit},
    requeue::reference,
    token::{
        acquire,
        denied::denied,
        exchange,
        published::{NoToken, published},
    },
};
use crate::{
    Reason,
    credential::{
        Credential, Issuer, Key,
        binding::{self, Denial, IssuedBy, Use, issuer_mark},
    },
    http::Manner,
    limits::queue::Urgency,
    oauth::{self, Material, Method, RawAnswer, Token, TokenEndpoint, TokenError, TokenRequest},
    plan::fingerprint,
    rotation::{
        Answer, Class, Fault, Outcome,
        graph::{GraphCall, GraphRequest},
        may_change,
    },
};

/// Entra ID refuses the credential itself: a wrong secret, an expired one, a certificate that it does not know.
const REFUSED: [u32; 3] = [7_000_215, 7_000_222, 700_027];
/// How long a request waits for its turn.
const TURN: Duration = Duration::from_secs(20);
/// What the credential in `managementRef` lacks.
const NO_VALID_TOKEN: &str = "has no valid token; see its conditions";
/// A token for Microsoft Graph is used for so long at least.
const LEFT: SignedDuration = SignedDuration::from_secs(60);

/// The issuer as one client sees it.
#[derive(Clone)]
pub(super) struct ClientPlace {
    pub(super) context: Arc<Context>,
    /// Stands for the client in limits and requests. It asks for Microsoft Graph.
    pub(super) credential: Credential,
}

/// The client's own token for Microsoft Graph.
pub(super) struct OwnToken {
    /// Digest of the value that got it.
    digest: String,
    /// What issued it.
    issuer: String,
    token: Token,
}

/// A local fault of a call that was not sent.
pub(super) fn not_sent(class: Class, message: impl Into<String>) -> Fault {
    Fault {
        class,
        sent: false,
        may_have_happened: false,
        retry_after: None,
        message: message.into(),
    }
}

/// No turn came in the limits of the issuer.
fn no_room() -> TokenError {
    TokenError::local(
        oauth::Class::Transient,
        Reason::IssuerPaused,
        "the limits of the issuer leave no room; apicred tries again",
    )
}

/// A fault of the `ApiCredential` in `managementRef`.
fn lacks(name: &str, what: &str) -> Fault {
    not_sent(Class::Caller, format!("ApiCredential {name} {what}"))
}

fn fault(token_error: &TokenError) -> Fault {
    let class = match token_error.class {
        oauth::Class::Throttled => Class::Throttled,
        oauth::Class::Transient => Class::Transient,
        _ => Class::Token,
    };
    let asked = token_error.retry_after.map(SignedDuration::try_from);
    // Nothing that is another one in each answer: what is reported would change with each attempt.
    let code = token_error.code().or_else(|| token_error.error.clone());
    let code = code.map_or(String::new(), |code| format!(" ({code})"));
    Fault {
        retry_after: asked.and_then(Result::ok),
        ..not_sent(
            class,
            format!("{}{code}: {}", token_error.reason, token_error.next_step),
        )
    }
}

/// A token that calls Microsoft Graph. Only [`ClientPlace::own`] and [`ClientPlace::managed_by`] make one, after they have checked that it, and a
/// proof beside it, may be sent there by the spec of this moment. What was requested with one may be removed there with it.
pub(super) struct GraphToken(SecretString);

impl ClientPlace {
    /// Checks that the value of this Secret may serve the issuer of this moment. Returns the token endpoint. The spec may have changed since
    /// the last request, so that every request and every call asks this.
    async fn opened(&self, secret: &Secret) -> Result<TokenEndpoint, TokenError> {
        let (context, credential) = (&self.context, &self.credential);
        let meta = &secret.metadata;
        binding::may_open(credential, Use::Client, meta).map_err(|d| denied(&d))?;
        let endpoint = acquire::endpoint(context, credential).await?;
        let origin = endpoint.posted(false).origin().ascii_serialization();
        let name = meta.name.as_deref().unwrap_or_default();
        binding::may_post(&credential.issuer, &origin, name, meta.annotations.as_ref())
            .map_err(|d| denied(&d))?;
        Ok(endpoint)
    }

    /// The same for Microsoft Graph.
    async fn may_call(&self, secret: &Secret) -> Result<TokenEndpoint, Fault> {
        let endpoint = self.opened(secret).await.map_err(|r| fault(&r))?;
        let denial = |d: &Denial| not_sent(Class::Caller, d.message());
        binding::may_call_graph(&self.credential.issuer).map_err(|d| denial(&d))?;
        Ok(endpoint)
    }

    /// Requests a token with this value alone. What comes of it is noted nowhere.
    pub(super) async fn token(
        &self,
        material: Material,
        secret: &Secret,
    ) -> Result<Token, TokenError> {
        let (context, credential) = (&self.context, &self.credential);
        let endpoint = self.opened(secret).await?;
        let permit = self.turn().await?;
        let parts = (material, Vec::new());
        let (request, id, _) = exchange::build(credential, &endpoint, parts, context).await?;
        let came = exchange::ask(context, credential, request, id, Manner::default()).await;
        drop(permit);
        came.result
    }

    /// A trial of a value.
    pub(super) async fn trial(&self, material: Material, secret: &Secret) -> Outcome {
        match self.token(material, secret).await {
            Ok(_) => Outcome::Token,
            Err(token_error) => {
                tracing::debug!(
                    reason = token_error.reason.as_str(),
                    code = token_error.code(),
                    correlation_id = token_error.correlation_id,
                    "no token by a credential that is being tried"
                );
                let refused = match token_error.aadsts {
                    Some(code) => REFUSED.contains(&code),
                    None => token_error.about_client,
                };
                let answer = Answer {
                    status: token_error.http_status,
                    error: token_error.error.clone(),
                    code: token_error.code(),
                    correlation_id: token_error.correlation_id.clone(),
                };
                if refused {
                    Outcome::Refused(answer)
                } else {
                    let sent = token_error.stage != oauth::Stage::Own && !token_error.not_sent;
                    let fault = Fault {
                        sent,
                        ..fault(&token_error)
                    };
                    Outcome::NoAnswer(fault, answer)
                }
            }
        }
    }

    /// Waits for a turn in the issuer's limits.
    async fn turn(&self) -> Result<Permit, TokenError> {
        let (context, credential) = (&self.context, &self.credential);
        let urgency = Urgency::in_an_hour(context.clock.now());
        match context.limiter.turn(credential, urgency, TURN).await {
            Admission::Go(permit) => Ok(permit),
            Admission::Wait => Err(no_room()),
            Admission::Paused(until) => {
                let left = until.duration_since(context.clock.now());
                Err(TokenError {
                    retry_after: Duration::try_from(left).ok(),
                    ..no_room()
                })
            }
        }
    }

    /// Calls Microsoft Graph.
    pub(super) async fn call(
        &self,
        token: &GraphToken,
        build: impl FnOnce(GraphCall<'_>) -> Option<GraphRequest>,
    ) -> Result<RawAnswer, Fault> {
        let request_id = ids::uuid();
        let request = build(GraphCall {
            token: &token.0,
            request_id: &request_id,
        });
        let Some(request) = request else {
            return Err(not_sent(
                Class::Invalid,
                "the application cannot be named: neither objectId nor the client ID is a GUID; correct them",
            ));
        };
        self.send(request, "Microsoft Graph").await
    }

    /// May the registration access token of this Secret be sent there? Returns the origin of the token endpoint.
    pub(super) async fn may_manage(&self, url: &Url, secret: &Secret) -> Result<String, Fault> {
        let endpoint = self.opened(secret).await.map_err(|r| fault(&r))?;
        let posted = endpoint.posted(false).origin().ascii_serialization();
        self.may_manage_at((url, &posted), secret)?;
        Ok(posted)
    }

    /// The same for another address, a moment later.
    pub(super) fn may_manage_at(
        &self,
        address: (&Url, &str),
        secret: &Secret,
    ) -> Result<(), Fault> {
        let (issuer, meta) = (&self.credential.issuer, &secret.metadata);
        let name = meta.name.as_deref().unwrap_or_default();
        binding::may_manage(issuer, address, name, meta.annotations.as_ref())
            .map_err(|d| not_sent(Class::Invalid, d.message()))
    }

    /// Sends a request to a management API.
    pub(super) async fn send(&self, request: GraphRequest, to: &str) -> Result<RawAnswer, Fault> {
        let (context, credential) = (&self.context, &self.credential);
        let permit = self
            .turn()
            .await
            .map_err(|token_error| fault(&token_error))?;
        if !context.may_act() {
            return Err(not_sent(
                Class::Transient,
                exchange::not_leading().next_step.to_string(),
            ));
        }
        let issuer = Issuer {
            // Connections are shared with nobody else.
            origin: request.url.origin().ascii_serialization(),
            ..credential.issuer.clone()
        };
        let reads = request.method == Method::Get;
        let request = TokenRequest {
            method: request.method,
            url: request.url,
            headers: request.headers,
            body: request.body.unwrap_or_default(),
            tls: None,
            local: false,
        };
        let sent = Box::pin(context.http.send(&issuer, request)).await;
        drop(permit);
        sent.map_err(|token_error| Fault {
            class: Class::Transient,
            sent: !token_error.not_sent,
            may_have_happened: !reads && !token_error.not_sent,
            message: format!("{to}: {}", token_error.next_step),
            retry_after: None,
        })
    }

    /// The `ApiCredential` that manages this client, if its token is one for Microsoft Graph by the issuer of this client.
    pub(super) fn manager(&self, name: &str) -> Result<Credential, Fault> {
        let (context, own) = (&self.context, &self.credential);
        let lacks = |what: &str| lacks(name, what);
        let key = Key::new(own.namespace.as_str(), name);
        let object = context.credentials.get(&reference(&key));
        let object = object.and_then(|packed| packed.open());
        let object = object.ok_or_else(|| {
            lacks("does not exist in this namespace; create it, or correct managementRef")
        })?;
        let manager = context.parse(&object);
        let manager = manager.map_err(|_| lacks("is not valid; see its conditions"))?;
        may_change(own, &manager).map_err(|why| lacks(&why))?;
        Ok(manager)
    }

    /// The token of the `ApiCredential` that manages this client, from its target Secret.
    pub(super) async fn managed_by(
        &self,
        name: &str,
        source: &Secret,
    ) -> Result<GraphToken, Fault> {
        self.may_call(source).await?;
        let context = &self.context;
        let lacks = |what: &str| lacks(name, what);
        let manager = self.manager(name)?;
        let found = published(context, &manager).await;
        let found = found.map_err(|why| match why {
            NoToken::NoSecret => lacks("has no token yet; see its conditions"),
            NoToken::Unreadable | NoToken::NoDigestKey => not_sent(
                Class::Transient,
                format!("the token of ApiCredential {name} cannot be read; apicred tries again"),
            ),
            _ => lacks(NO_VALID_TOKEN),
        })?;
        if found.expires_at <= context.clock.now() {
            return Err(lacks(NO_VALID_TOKEN));
        }
        // What its spec says now is not what issued the token: the last valid one stays in the Secret after an edit.
        let endpoint = acquire::endpoint(context, &manager).await;
        let endpoint = endpoint.map_err(|token_error| fault(&token_error))?;
        let now = IssuedBy {
            request: fingerprint::request(&manager),
            issuer: issuer_mark(&manager, &endpoint),
        };
        binding::may_return(Some(&found.issued), &now, &endpoint.url)
            .map_err(|d| lacks(&format!("has a token of an earlier spec: {}", d.message())))?;
        Ok(GraphToken(found.token))
    }

    /// The client's own token for Microsoft Graph.
    pub(super) async fn own(
        &self,
        cached: &mut Option<OwnToken>,
        (material, digest): (Material, &str),
        secret: &Secret,
    ) -> Result<GraphToken, Fault> {
        let endpoint = self.may_call(secret).await?;
        let issuer = issuer_mark(&self.credential, &endpoint);
        let now = self.context.clock.now();
        let is_good = |own: &&OwnToken| {
            let left = own.token.expires_at.duration_since(now);
            own.digest == digest && own.issuer == issuer && left > LEFT
        };
        if let Some(own) = cached.as_ref().filter(is_good) {
            return Ok(GraphToken(own.token.secret.clone()));
        }
        let token = self.token(material, secret).await.map_err(|r| fault(&r))?;
        let value = token.secret.clone();
        *cached = Some(OwnToken {
            digest: digest.to_owned(),
            issuer,
            token,
        });
        Ok(GraphToken(value))
    }
}
