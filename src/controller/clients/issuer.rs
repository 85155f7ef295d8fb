//! Requests of a rotation to the issuer: token requests with one value only, and calls of its management API.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use secrecy::SecretString;
use url::Url;

use crate::controller::{
    api::ids,
    context::Context,
    limiter::issuers::{Admission, Permit},
    locks::lock,
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
    http::SendOptions,
    limits::queue::Urgency,
    oauth::{
        self, AnswerIds, Material, Method, RawAnswer, Token, TokenEndpoint, TokenError,
        TokenRequest,
    },
    plan::fingerprint,
    rotation::{
        Class, Fault, Outcome,
        graph::{self, GraphCall, GraphRequest},
        may_change,
    },
};

/// Entra ID rejects the client credential itself: a wrong secret, an expired secret, or an unknown certificate.
const REFUSED: [u32; 3] = [7_000_215, 7_000_222, 700_027];
/// How long a request waits for a permit.
const TURN: Duration = Duration::from_secs(20);
/// The problem of the credential in `managementRef`.
const NO_VALID_TOKEN: &str = "has no valid token; see its conditions";
/// The same if the token is not the one that this operator published.
const UNKNOWN_TOKEN: &str =
    "has a token that is not known to this operator; renew it (kubectl apicred renew)";
/// The minimum remaining lifetime of a token for Microsoft Graph.
const LEFT: SignedDuration = SignedDuration::from_secs(60);

/// The issuer from the view of one client.
#[derive(Clone)]
pub(super) struct ClientPlace {
    pub(super) context: Arc<Context>,
    /// Represents the client in limits and requests. It requests a token for Microsoft Graph.
    pub(super) credential: Credential,
    /// The `ApiCredential` whose request a trial sends, at an issuer with registrations (RFC 7592).
    pub(super) requested_by: Option<String>,
}

/// The client's own token for Microsoft Graph.
pub(super) struct OwnToken {
    /// Digest of the value that was used to get it.
    digest: String,
    /// The issuer of the token.
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

/// No permit was free within the limits of the issuer.
fn no_room() -> TokenError {
    TokenError::local(
        oauth::Class::Transient,
        Reason::IssuerPaused,
        "the limits of the issuer leave no room; apicred tries again",
    )
}

/// The tenant in the published token of this credential.
fn token_tenant(context: &Context, credential: &Credential) -> Option<String> {
    let target = (credential.namespace.clone(), credential.target.name.clone());
    let secrets = lock(&context.secrets);
    let published = secrets.published(&target, &credential.uid)?;
    published.record.as_ref()?.claims.as_ref()?.tenant.clone()
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
    let retry_after = token_error.retry_after.map(SignedDuration::try_from);
    // Must not contain anything that differs in each response: otherwise the report would change with each attempt.
    let code = token_error.code().or_else(|| token_error.error.clone());
    let code = code.map_or(String::new(), |code| format!(" ({code})"));
    Fault {
        retry_after: retry_after.and_then(Result::ok),
        ..not_sent(
            class,
            format!("{}{code}: {}", token_error.reason, token_error.next_step),
        )
    }
}

/// A token for calls of Microsoft Graph. Only [`ClientPlace::own`] and [`ClientPlace::managed_by`] create one, after they have
/// checked that the current spec allows to send it there, with a proof of possession if there is one. What was requested with a
/// token may be removed there with the same token.
pub(super) struct GraphToken(SecretString);

impl ClientPlace {
    /// Checks that the value of this Secret may be used for the issuer in the current spec. Returns the token endpoint. The
    /// spec may have changed since the last request, so every request and every call makes this check.
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

    /// Requests a token with this value only. The result is not recorded.
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
        let came =
            exchange::request_token(context, credential, request, id, SendOptions::default()).await;
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
                    "no token with a client credential that is being tried"
                );
                let refused = match token_error.aadsts {
                    Some(code) => REFUSED.contains(&code),
                    None => token_error.about_client,
                };
                let answer = AnswerIds::from(&token_error);
                if refused {
                    Outcome::Refused(answer)
                } else {
                    let sent = token_error.stage != oauth::Stage::Own && !token_error.not_sent;
                    let fault = fault(&token_error);
                    let message = match &self.requested_by {
                        Some(name) if fault.class == Class::Token => format!(
                            "the request of ApiCredential {name} was tried: {}",
                            fault.message
                        ),
                        _ => fault.message.clone(),
                    };
                    let fault = Fault {
                        sent,
                        message,
                        ..fault
                    };
                    Outcome::NoAnswer(fault, answer)
                }
            }
        }
    }

    /// Waits for a permit within the issuer's limits.
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
        let answer = self.send(request, "Microsoft Graph").await?;
        if answer.status >= 400 {
            tracing::info!(
                namespace = self.credential.namespace,
                client_id = self.credential.client_id,
                status = answer.status,
                request_id = graph::request_id(&answer),
                client_request_id = request_id,
                "Microsoft Graph refused a request of a rotation"
            );
        }
        Ok(answer)
    }

    /// Checks that the registration access token of this Secret may be sent there. Returns the origin of the token endpoint.
    pub(super) async fn may_manage(&self, url: &Url, secret: &Secret) -> Result<String, Fault> {
        let endpoint = self.opened(secret).await.map_err(|r| fault(&r))?;
        let posted = endpoint.posted(false).origin().ascii_serialization();
        self.may_manage_at((url, &posted), secret)?;
        Ok(posted)
    }

    /// The same check for another address, a short time later.
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
            // Connections are not shared with other clients.
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

    /// The `ApiCredential` that manages this client, if its token is for Microsoft Graph and from the issuer of this client.
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
        let tid = token_tenant(context, &manager);
        may_change(own, &manager, tid.as_deref()).map_err(|why| lacks(&why))?;
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
            NoToken::Replaced => lacks(UNKNOWN_TOKEN),
            _ => lacks(NO_VALID_TOKEN),
        })?;
        if found.expires_at <= context.clock.now() {
            return Err(lacks(NO_VALID_TOKEN));
        }
        // The current spec may differ from the spec that the token was issued for: after an edit, the last valid token remains in the Secret.
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
