//! The material for client authentication from the content of its Secret: a client secret, a certificate, a key, an assertion.

use secrecy::{ExposeSecret, SecretString};

use super::source_secret::{Opened, Taken, unfit};
use crate::controller::context::Context;
use crate::{
    Reason,
    api::SecretKeyRef,
    credential::{
        AuthenticationMethod, Certificate, Copied, Credential, KeyPair, Lacking, PrivateKey,
    },
    oauth::{self, Class, ClientKey, Identity, Material, TokenError},
    plan::fingerprint::DigestKey,
    rotation::{Record, StoredRecord, graph::thumbprints, values::PREVIOUS},
};

/// The list in the spec and the observed list are the same. Otherwise there is a defect.
fn changed() -> TokenError {
    TokenError::local(
        Class::Transient,
        Reason::InternalError,
        "the certificate is not in the spec any more; apicred tries again",
    )
}

/// The client credential from its Secret.
pub(super) fn material_of(
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
        _ => Material::Secret(text(Lacking::CLIENT_SECRET, oauth::secret_text)?),
    })
}

/// The last good certificate of a Secret, from its copy.
pub(super) fn material_of_copy(
    secret: &Opened,
    copied: &Copied<'_>,
    reference: &SecretKeyRef,
) -> Result<Material, TokenError> {
    let pair = KeyPair {
        secret: reference.name.clone(),
        ..copied.certificate.pair.clone()
    };
    let identity = identity_of(secret, &pair, false)?;
    Ok(Material::Signer(Box::new(identity), copied.place))
}

/// The value that a rotation of this client replaced, if it is still in the Secret. `None` if another writer has replaced the current value since.
pub(super) fn before(
    secret: &Opened,
    credential: &Credential,
    key: &str,
    digests: &DigestKey,
) -> Option<Material> {
    let StoredRecord::Record(record) = Record::read(secret.meta.annotations.as_ref()?) else {
        return None;
    };
    let current = current(secret, credential, key)?;
    if !record.has_put(digests, &[current.expose_secret()]) {
        return None;
    }
    match &credential.authentication {
        AuthenticationMethod::Secrets(_) => {
            let bytes = secret.data.get(&format!("{key}{PREVIOUS}"))?;
            oauth::secret_text(&bytes.0).ok().map(Material::Secret)
        }
        AuthenticationMethod::Certificates(all) => {
            let pair = &pair_of(all, secret, key)?.pair;
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

/// What a rotation computes the digest of the current value from.
fn current(secret: &Opened, credential: &Credential, key: &str) -> Option<SecretString> {
    let text = |key: &str, take: Taken| take(&secret.data.get(key)?.0).ok();
    match &credential.authentication {
        AuthenticationMethod::Secrets(_) => text(key, oauth::secret_text),
        AuthenticationMethod::Certificates(all) => {
            let pair = &pair_of(all, secret, key)?.pair;
            let identity = identity_of(secret, pair, false).ok()?;
            Some(SecretString::from(thumbprints(&identity)?.digested()?))
        }
        AuthenticationMethod::Key(_) => text(key, oauth::file),
        _ => None,
    }
}

/// The entry in the list with this private key.
fn pair_of<'a>(all: &'a [Certificate], secret: &Opened, key: &str) -> Option<&'a Certificate> {
    let mut all = all.iter();
    all.find(|c| c.pair.private_key == key && c.pair.secret == secret.name)
}

/// The certificate and key of a Secret. `tls`: they are used in the TLS handshake.
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

/// The private key of a Secret without a certificate.
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
