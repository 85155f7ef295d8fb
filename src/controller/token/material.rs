//! Reads the inputs of a request: client secrets, certificates, grant inputs, ServiceAccount tokens, the operator's own identity. Each read is checked
//! by the binding of secrets to origins.

use crate::Reason;
use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Api;
use secrecy::{ExposeSecret, SecretString};
use tracing::Instrument;

use super::{
    denied::{denied, unavailable},
    identity, identity_assertion,
    refresh_token::StateSecret,
    service_account_token::account_token,
};
use crate::controller::{
    api::calls::{Trouble, call},
    context::Context,
};
use crate::{
    api::{SecretKeyRef, names},
    credential::{
        AuthenticationMethod, Certificate, Copied, Credential, KeyPair, Lacking, PrivateKey,
        StaticKey, TLS,
        binding::{self, IssuedBy, Use},
    },
    oauth::{self, Class, ClientKey, Grant, Identity, Material, Need, TokenEndpoint, TokenError},
    plan::{Source, fingerprint},
    publish::{
        SourceMark,
        last_good::{self, LastGood},
        rejection::Said,
    },
    rotation::{Noted, Record, values::PREVIOUS},
    telemetry::traces,
};

/// Everything that was read for one request.
pub(in crate::controller) struct Read {
    /// The Secret with the client credential, if there is one.
    pub(in crate::controller) used: Option<SourceMark>,
    /// The Secrets that the grant and the parameters draw on, in the order of [`Credential::inputs`].
    pub(in crate::controller) with: Vec<SourceMark>,
    /// The client authentication material. A ServiceAccount's token is not requested yet.
    pub(in crate::controller) material: Material,
    /// What is needed beside; tokens of ServiceAccounts are empty until [`Read::complete`].
    pub(in crate::controller) grant_inputs: Vec<SecretString>,
    /// Keyed digest of the request with what was read.
    pub(in crate::controller) fingerprint: String,
    /// The same with the value that a rotation replaced and that is still valid.
    pub(in crate::controller) previous: Option<String>,
    /// Names and annotations of the Secrets, which say where they may go.
    owners: Vec<(String, Option<BTreeMap<String, String>>)>,
    /// The state Secret of a refresh token, as it was read.
    pub(in crate::controller) state: Option<StateSecret>,
}

/// A Secret as it was read.
struct Opened {
    name: String,
    uid: String,
    version: String,
    meta: ObjectMeta,
    data: BTreeMap<String, ByteString>,
}

impl Opened {
    fn mark(&self, key: &str) -> SourceMark {
        SourceMark {
            name: self.name.clone(),
            key: key.to_owned(),
            uid: self.uid.clone(),
            version: self.version.clone(),
        }
    }

    /// May this text of it be sent to any issuer?
    fn may_send(
        &self,
        context: &Context,
        credential: &Credential,
        text: &SecretString,
    ) -> Result<(), TokenError> {
        let own = &context.settings.identity.api_audiences;
        let (notes, text) = (self.meta.annotations.as_ref(), text.expose_secret());
        binding::may_send_text(credential, &self.name, notes, text, own).map_err(|d| denied(&d))
    }

    fn bytes(&self, key: &str, lacking: Lacking) -> Result<&[u8], TokenError> {
        self.data.get(key).map(|b| b.0.as_slice()).ok_or_else(|| {
            TokenError::local(
                Class::Invalid,
                lacking.key,
                // Which keys it has is not reported: who may name a Secret may not be who may read it.
                format!(
                    "Secret {} has no key {key}; correct the key or add it",
                    self.name
                ),
            )
        })
    }
}

/// How bytes become what a grant needs; an error is the rest of a sentence that begins with the key's name.
type Taken = fn(&[u8]) -> Result<SecretString, String>;

/// The list of the spec and the list that was observed are the same, unless there is a defect.
fn changed() -> TokenError {
    TokenError::local(
        Class::Transient,
        Reason::InternalError,
        "the certificate is not in the spec any more; apicred tries again",
    )
}

/// A state Secret without the key is one that nobody has signed in for.
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

fn unfit(name: &str, key: &str, lacking: Lacking, problem: &str) -> TokenError {
    TokenError::local(
        Class::Invalid,
        lacking.value,
        format!("key {key} of Secret {name} {problem}"),
    )
}

/// Reads all Secrets of a request: `alternative` is the one with the client credential. One read for each Secret.
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
        material = match copied {
            Some(copied) => {
                let pair = KeyPair {
                    secret: reference.name.clone(),
                    ..copied.certificate.pair.clone()
                };
                Material::Signer(Box::new(identity_of(secret, &pair, false)?), copied.place)
            }
            None => material_of(context, credential, secret, reference)?,
        };
        used = Some(secret.mark(&reference.key));
        replaced = before(secret, credential, &reference.key);
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

/// The client credential out of its Secret.
fn material_of(
    context: &Context,
    credential: &Credential,
    secret: &Opened,
    reference: &SecretKeyRef,
) -> Result<Material, TokenError> {
    let text = |lacking: Lacking, take: Taken| {
        let text = take(secret.bytes(&reference.key, lacking)?)
            .map_err(|problem| unfit(&reference.name, &reference.key, lacking, &problem))?;
        secret.may_send(context, credential, &text)?;
        Ok::<_, TokenError>(text)
    };
    Ok(match &credential.authentication {
        AuthenticationMethod::Certificates(certificates) => {
            let named = |c: &Certificate| c.pair.reference() == *reference;
            let place = certificates.iter().position(named).ok_or_else(changed)?;
            let identity = identity_of(secret, &certificates[place].pair, false)?;
            Material::Signer(Box::new(identity), place)
        }
        AuthenticationMethod::Mtls(pair) => {
            Material::Tls(Box::new(identity_of(secret, pair, true)?))
        }
        AuthenticationMethod::Key(settings) => Material::Key(Box::new(key_of(secret, settings)?)),
        AuthenticationMethod::Assertion(_) => {
            Material::Stored(text(Lacking::SOURCE, oauth::stored_assertion)?)
        }
        _ => Material::Secret(text(Lacking::CLIENT_SECRET, oauth::word)?),
    })
}

/// What the grant and the parameters need out of Secrets.
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
                Need::Word(reference) if purpose == Use::StaticKey => {
                    (reference, StaticKey::from_secret_bytes)
                }
                Need::Word(reference) => (reference, oauth::word),
                Need::File(reference) => (reference, oauth::file),
                Need::Account(_) => {
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
                    said: Said::default(),
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

/// The value that a rotation of this client has replaced, while it is in the Secret.
fn before(secret: &Opened, credential: &Credential, key: &str) -> Option<Material> {
    let annotations = secret.meta.annotations.as_ref()?;
    if !matches!(Record::read(annotations), Noted::Record(_)) {
        return None;
    }
    match &credential.authentication {
        AuthenticationMethod::Secrets(_) => {
            let bytes = secret.data.get(&format!("{key}{PREVIOUS}"))?;
            oauth::word(&bytes.0).ok().map(Material::Secret)
        }
        AuthenticationMethod::Certificates(all) => {
            let named =
                |c: &&Certificate| c.pair.private_key == key && c.pair.secret == secret.name;
            let pair = &all.iter().find(named)?.pair;
            let pair = KeyPair {
                secret: pair.secret.clone(),
                certificate: format!("{}{PREVIOUS}", pair.certificate),
                private_key: format!("{}{PREVIOUS}", pair.private_key),
            };
            let identity = identity_of(secret, &pair, false).ok()?;
            Some(Material::Signer(Box::new(identity), 0))
        }
        AuthenticationMethod::Key(_) => {
            let text = oauth::file(&secret.data.get(&format!("{key}{PREVIOUS}"))?.0).ok()?;
            let key = oauth::ClientKey::read(text.expose_secret()).ok()?;
            Some(Material::Key(Box::new(key)))
        }
        _ => None,
    }
}

/// Keyed digest of a request with its secrets.
pub(in crate::controller) async fn digest(
    context: &Context,
    credential: &Credential,
    material: &Material,
    grant_inputs: &[SecretString],
) -> Result<String, TokenError> {
    let key = context
        .digest_key
        .get(&context.metrics)
        .await
        .map_err(|trouble| {
            let step = match trouble {
                Trouble::Invalid => {
                    "the operator's Secret apicred-digest-key is damaged; an administrator must delete it, and apicred creates a new one"
                }
                _ => "the operator's digest key cannot be read; apicred tries again",
            };
            TokenError::local(Class::Transient, Reason::KubernetesUnavailable, step)
        })?;
    let mut secrets = vec![material.fingerprint_input()];
    secrets.extend(grant_inputs.iter().map(ExposeSecret::expose_secret));
    Ok(key.fingerprint(&fingerprint::request(credential), &secrets))
}

/// The certificate and key of a Secret. `tls`: they are shown in the handshake.
fn identity_of(secret: &Opened, pair: &KeyPair, tls: bool) -> Result<Identity, TokenError> {
    let fault = |text: String| TokenError::local(Class::Invalid, Reason::CertificateInvalid, text);
    let text = |key: &str| -> Result<SecretString, TokenError> {
        oauth::file(secret.bytes(key, Lacking::SOURCE)?)
            .map_err(|problem| fault(format!("key {key} of Secret {} {problem}", secret.name)))
    };
    let (certificate, key) = (text(&pair.certificate)?, text(&pair.private_key)?);
    Identity::from_pem(certificate.expose_secret(), key.expose_secret())
        .and_then(|identity| {
            if tls {
                identity.fits_tls()?;
            }
            Ok(identity)
        })
        .map_err(|problem| fault(format!("Secret {}: {problem}", secret.name)))
}

/// The private key of a Secret that has no certificate.
fn key_of(secret: &Opened, settings: &PrivateKey) -> Result<ClientKey, TokenError> {
    let fault = |text: &str| {
        TokenError::local(
            Class::Invalid,
            Lacking::SOURCE.value,
            settings.sentence(text),
        )
    };
    let bytes = secret.bytes(&settings.reference.key, Lacking::SOURCE)?;
    let text = oauth::file(bytes).map_err(|problem| fault(&problem))?;
    ClientKey::read(text.expose_secret()).map_err(|problem| fault(&problem))
}

/// Reads a Secret that was not read yet, and checks that its content may serve this purpose and go to this issuer: for
/// each purpose, since one Secret may be named for several.
async fn open<'a>(
    context: &Context,
    credential: &Credential,
    opened: &'a mut Vec<Opened>,
    name: &str,
    purpose: Use,
) -> Result<&'a Opened, TokenError> {
    let allowed = |meta| binding::may_open(credential, purpose, meta).map_err(|d| denied(&d));
    if let Some(at) = opened.iter().position(|o| o.name == name) {
        allowed(&opened[at].meta)?;
        return Ok(&opened[at]);
    }
    let lacking = match purpose {
        Use::Client => credential.authentication.lacking(),
        Use::Grant | Use::StaticKey | Use::Parameter => Lacking::SOURCE,
    };
    let secret = get(context, credential, name, lacking).await?;
    allowed(&secret.meta)?;
    keep(opened, secret)
}

fn keep(opened: &mut Vec<Opened>, secret: Opened) -> Result<&Opened, TokenError> {
    opened.push(secret);
    opened.last().ok_or_else(|| {
        TokenError::local(
            Class::Transient,
            Reason::InternalError,
            "no client secret was read; apicred tries again",
        )
    })
}

/// Reads a Secret.
async fn get(
    context: &Context,
    credential: &Credential,
    name: &str,
    lacking: Lacking,
) -> Result<Opened, TokenError> {
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &credential.namespace);
    let mut secret = call(&context.metrics, "get_secret", || api.get(name)).await.map_err(|trouble| match trouble {
        Trouble::NotFound => TokenError::local(
            Class::Invalid,
            lacking.secret,
            format!("Secret {name} does not exist; create it"),
        ),
        Trouble::Forbidden => TokenError::local(
            Class::Transient,
            Reason::ClientSecretForbidden,
            format!("apicred may not read Secret {name}; its role lacks get on secrets in this namespace"),
        ),
        _ => unavailable(),
    })?;
    Ok(Opened {
        name: name.to_owned(),
        uid: secret.metadata.uid.clone().unwrap_or_default(),
        version: secret.metadata.resource_version.clone().unwrap_or_default(),
        meta: secret.metadata,
        data: secret.data.take().unwrap_or_default(),
    })
}

/// Reads the last good certificate of a Secret: only while this Secret exists, contains a pair, and asks for the copy. The
/// copy may go where the Secret itself may go now, by the annotations of the Secret.
async fn open_copy<'a>(
    context: &Context,
    credential: &Credential,
    opened: &'a mut Vec<Opened>,
    copied: &Copied<'_>,
) -> Result<&'a Opened, TokenError> {
    let name = &copied.certificate.pair.secret;
    let source = open(context, credential, opened, name, Use::Client).await?;
    let refuse = |text: &str| {
        let place = &copied.copy.name;
        let text = format!("Secret {place} {text}");
        Err(TokenError::local(
            Class::Invalid,
            Lacking::SOURCE.value,
            text,
        ))
    };
    let own = [TLS.0, TLS.1].map(|key| source.data.get(key).filter(|value| !value.0.is_empty()));
    let [Some(certificate), Some(_)] = own else {
        return refuse(
            "is not used, because the Secret that it is a copy of contains no certificate any more; store one",
        );
    };
    let (uid, meta, wanted) = (
        &source.uid,
        source.meta.clone(),
        last_good::is_wanted(&source.meta),
    );
    let mut copy = get(context, credential, &copied.copy.name, Lacking::SOURCE).await?;
    let of = LastGood::read(&copy.meta).and_then(|kept| kept.of);
    if !wanted || of.is_none_or(|(of, _)| of != *uid) {
        return refuse(
            "is not a copy that may be used now; apicred looks at it again after its next change",
        );
    }
    if copy.data.get(TLS.0) == Some(certificate) {
        return refuse(
            "contains the same certificate as the Secret that it is a copy of; register it at the issuer",
        );
    }
    copy.meta = meta;
    keep(opened, copy)
}

impl Read {
    /// May all of it be posted there? A discovery document may name another host than the issuer's, and a refresh token
    /// goes to no other issuer than its own.
    pub(in crate::controller) fn may_post(
        &self,
        credential: &Credential,
        endpoint: &TokenEndpoint,
    ) -> Result<(), TokenError> {
        let origin = endpoint
            .posted(matches!(self.material, Material::Tls(_)))
            .origin()
            .ascii_serialization();
        for (name, annotations) in &self.owners {
            binding::may_post(&credential.issuer, &origin, name, annotations.as_ref())
                .map_err(|d| denied(&d))?;
        }
        self.state.as_ref().map_or(Ok(()), |state| {
            let (name, notes) = (&state.reference.name, state.annotations.as_ref());
            binding::may_refresh(credential, endpoint, name, notes).map_err(|d| denied(&d))
        })
    }

    /// What issued the refresh token that was read, if its Secret says so. Which request got it is not noted, since one
    /// refresh token gets tokens of several: it is as good as `request`.
    pub(in crate::controller) fn issued(&self, request: &str) -> Option<IssuedBy> {
        let notes = self.state.as_ref()?.annotations.as_ref()?;
        Some(IssuedBy {
            request: request.to_owned(),
            issuer: notes.get(names::ISSUED_BY)?.clone(),
        })
    }

    /// Requests short-lived inputs: tokens of ServiceAccounts, the operator's own federated token.
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
            if let Need::Account(account) = need {
                *grant_input = account_token(context, credential, account, endpoint).await?;
            }
        }
        Ok(())
    }
}
