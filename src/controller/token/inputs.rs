//! Reads the inputs of a request: client secrets, certificates, grant inputs, ServiceAccount tokens, the operator's own
//! identity. Each read is checked by the binding of secrets to origins.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use tracing::Instrument;
use url::Url;

use super::{
    denied::denied,
    identity, identity_assertion,
    material::{before, material_of, material_of_copy},
    refresh_token::StateSecret,
    service_account_token::account_token,
    source_secret::{Opened, Taken, open, open_copy, unfit},
};
use crate::controller::context::Context;
use crate::{
    Reason,
    api::{SecretKeyRef, names},
    credential::{
        AuthenticationMethod, Credential, Lacking, StaticKey,
        binding::{self, IssuedBy, Use},
    },
    oauth::{self, Class, Grant, Material, RequiredInput, TokenEndpoint, TokenError},
    plan::{Source, fingerprint, fingerprint::DigestKey},
    publish::{SourceMark, rejection::ServerMessage},
    telemetry::traces,
};

/// Everything that was read for one request.
pub(in crate::controller) struct Read {
    /// The Secret with the client credential, if there is one.
    pub(in crate::controller) used: Option<SourceMark>,
    /// The Secrets for the grant and the parameters, in the order of [`Credential::inputs`].
    pub(in crate::controller) with: Vec<SourceMark>,
    /// The client authentication material. A ServiceAccount's token is not requested yet.
    pub(in crate::controller) material: Material,
    /// The other inputs. Tokens of ServiceAccounts are empty until [`Read::complete`].
    pub(in crate::controller) grant_inputs: Vec<SecretString>,
    /// Keyed digest of the request with the data that was read.
    pub(in crate::controller) fingerprint: String,
    /// The same with the value that a rotation replaced and that is still valid.
    pub(in crate::controller) previous: Option<String>,
    /// Names and annotations of the Secrets. The annotations state where the Secrets may be sent.
    owners: Vec<(String, Option<BTreeMap<String, String>>)>,
    /// The state Secret of a refresh token, as it was read.
    pub(in crate::controller) state: Option<StateSecret>,
}

impl Read {
    /// Checks that all inputs may be sent to this endpoint. A discovery document may name another host than the issuer's, and a
    /// refresh token is sent only to its own issuer.
    pub(in crate::controller) fn may_post(
        &self,
        credential: &Credential,
        endpoint: &TokenEndpoint,
    ) -> Result<(), TokenError> {
        let certificate = self.material.shows_certificate();
        self.may_reach(credential, endpoint.posted(certificate))?;
        self.state.as_ref().map_or(Ok(()), |state| {
            let (name, notes) = (&state.reference.name, state.annotations.as_ref());
            binding::may_refresh(credential, endpoint, name, notes).map_err(|d| denied(&d))
        })
    }

    /// Checks that the owners of all Secrets allow the origin of this URL.
    pub(in crate::controller) fn may_reach(
        &self,
        credential: &Credential,
        url: &Url,
    ) -> Result<(), TokenError> {
        let origin = url.origin().ascii_serialization();
        self.owners.iter().try_for_each(|(name, annotations)| {
            binding::may_post(&credential.issuer, &origin, name, annotations.as_ref())
                .map_err(|d| denied(&d))
        })
    }

    /// The issuer of the refresh token that was read, if its Secret records it. The request that obtained the refresh token is
    /// not recorded, since one refresh token is used for several requests: `request` is used instead.
    pub(in crate::controller) fn issued(&self, request: &str) -> Option<IssuedBy> {
        let notes = self.state.as_ref()?.annotations.as_ref()?;
        Some(IssuedBy {
            request: request.to_owned(),
            issuer: notes.get(names::ISSUED_BY)?.clone(),
        })
    }

    /// Requests short-lived inputs: tokens of ServiceAccounts, and the operator's own federated token.
    pub(in crate::controller) async fn complete(
        &mut self,
        context: &Context,
        credential: &Credential,
        endpoint: Option<&TokenEndpoint>,
    ) -> Result<(), TokenError> {
        match &credential.authentication {
            AuthenticationMethod::ServiceAccount(account) => {
                let token = account_token(context, credential, account, endpoint).await?;
                self.material = Material::Assertion(token);
            }
            AuthenticationMethod::ManagedIdentity(_) => {
                self.material = identity::material(context, credential).await?;
            }
            AuthenticationMethod::IdentityAssertion(selector) => {
                let token = identity_assertion::assertion(context, credential, selector).await?;
                self.material = Material::Assertion(token);
            }
            _ => {}
        }
        let needs = credential.grant.needs();
        for (need, grant_input) in needs.iter().zip(&mut self.grant_inputs) {
            if let RequiredInput::Account(account) = need {
                *grant_input = account_token(context, credential, account, endpoint).await?;
            }
        }
        Ok(())
    }
}

/// Reads all Secrets of a request: `alternative` is the one with the client credential. Each Secret is read once.
pub(in crate::controller) async fn read(
    context: &Context,
    credential: &Credential,
    alternative: Option<&Source>,
) -> Result<Read, TokenError> {
    let span = traces::span!("read sources");
    read_all(context, credential, alternative)
        .instrument(span)
        .await
}

async fn read_all(
    context: &Context,
    credential: &Credential,
    alternative: Option<&Source>,
) -> Result<Read, TokenError> {
    let mut opened: Vec<Opened> = Vec::new();
    let mut used = None;
    let (mut material, mut replaced) = (Material::None, None);
    if let Some(source) = alternative {
        let reference = &source.reference;
        let copied = credential.authentication.original(reference);
        let secret = if let Some(copied) = &copied {
            open_copy(context, credential, &mut opened, copied).await?
        } else {
            let name = &reference.name;
            open(context, credential, &mut opened, name, Use::Client).await?
        };
        material = match &copied {
            Some(copied) => material_of_copy(secret, copied, reference)?,
            None => material_of(context, credential, secret, reference)?,
        };
        used = Some(secret.mark(&reference.key));
        let digests = digest_key(context).await?;
        replaced = before(secret, credential, &reference.key, digests);
    }
    let inputs = Inputs::read(context, credential, &mut opened).await?;
    let fingerprint = digest(context, credential, &material, &inputs.values).await?;
    let previous = match &replaced {
        Some(replaced) => Some(digest(context, credential, replaced, &inputs.values).await?),
        None => None,
    };
    Ok(Read {
        used,
        with: inputs.marks,
        material,
        grant_inputs: inputs.values,
        fingerprint,
        previous,
        owners: opened
            .into_iter()
            .map(|o| (o.name, o.meta.annotations))
            .collect(),
        state: inputs.state,
    })
}

/// The values from Secrets that the grant and the parameters need.
#[derive(Default)]
struct Inputs {
    values: Vec<SecretString>,
    marks: Vec<SourceMark>,
    /// The state Secret of a refresh token.
    state: Option<StateSecret>,
}

impl Inputs {
    async fn read(
        context: &Context,
        credential: &Credential,
        opened: &mut Vec<Opened>,
    ) -> Result<Self, TokenError> {
        let mut inputs = Self::default();
        for (purpose, need) in credential.inputs() {
            let (reference, take): (_, Taken) = match &need {
                RequiredInput::Line(reference) if purpose == Use::StaticKey => {
                    (reference, StaticKey::from_secret_bytes)
                }
                RequiredInput::Line(reference) => (reference, oauth::secret_text),
                RequiredInput::File(reference) => (reference, oauth::file),
                RequiredInput::Account(_) => {
                    inputs.values.push(SecretString::from(""));
                    continue;
                }
            };
            let secret = open(context, credential, opened, &reference.name, purpose).await?;
            let lacking = Lacking::SOURCE;
            let bytes = secret.bytes(&reference.key, lacking);
            let bytes = bytes
                .map_err(|token_error| unsigned(credential, (purpose, reference), token_error))?;
            let value = take(bytes)
                .map_err(|problem| unfit(&reference.name, &reference.key, lacking, &problem))?;
            secret.may_send(context, credential, &value)?;
            inputs.values.push(value);
            inputs.marks.push(secret.mark(&reference.key));
            if purpose == Use::Grant && matches!(credential.grant, Grant::RefreshToken(_)) {
                inputs.state = Some(StateSecret {
                    server_message: ServerMessage::default(),
                    reference: reference.clone(),
                    uid: secret.uid.clone(),
                    version: secret.version.clone(),
                    annotations: secret.meta.annotations.clone(),
                    issuer: String::new(),
                });
            }
        }
        Ok(inputs)
    }
}

/// The error for a state Secret without the key: no user has signed in yet.
fn unsigned(
    credential: &Credential,
    (purpose, reference): (Use, &SecretKeyRef),
    token_error: TokenError,
) -> TokenError {
    if purpose != Use::Grant || !matches!(credential.grant, Grant::RefreshToken(_)) {
        return token_error;
    }
    let name = format!("{}/{}", credential.namespace, credential.name);
    TokenError {
        next_step: oauth::not_signed_in(&reference.name, &reference.key, &name).into(),
        ..token_error
    }
}

/// Keyed digest of a request with its secrets.
pub(in crate::controller) async fn digest(
    context: &Context,
    credential: &Credential,
    material: &Material,
    grant_inputs: &[SecretString],
) -> Result<String, TokenError> {
    let key = digest_key(context).await?;
    let mut secrets = vec![material.fingerprint_input()];
    secrets.extend(grant_inputs.iter().map(ExposeSecret::expose_secret));
    Ok(key.fingerprint(&fingerprint::request(credential), &secrets))
}

/// The operator's key for digests.
pub(super) async fn digest_key(context: &Context) -> Result<&DigestKey, TokenError> {
    let key = context.digest_key.get(&context.metrics).await;
    key.map_err(|why| {
        let step = context.digest_key.step(&why);
        TokenError::local(Class::Transient, Reason::KubernetesUnavailable, step)
    })
}
