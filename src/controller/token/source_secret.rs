//! Reads the Secrets of a request, each one once. The binding of secrets to origins is checked for each purpose.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Api;
use secrecy::{ExposeSecret, SecretString};

use super::denied::{denied, unavailable};
use crate::controller::{
    api::calls::{ApiErrorKind, call},
    context::Context,
};
use crate::{
    Reason,
    credential::{
        Copied, Credential, Lacking, TLS,
        binding::{self, Use},
    },
    oauth::{Class, TokenError},
    publish::{
        SourceMark,
        last_good::{self, LastGood},
    },
};

/// A Secret as it was read.
pub(super) struct Opened {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) version: String,
    pub(super) meta: ObjectMeta,
    pub(super) data: BTreeMap<String, ByteString>,
}

impl Opened {
    pub(super) fn mark(&self, key: &str) -> SourceMark {
        SourceMark {
            name: self.name.clone(),
            key: key.to_owned(),
            uid: self.uid.clone(),
            version: self.version.clone(),
        }
    }

    /// Checks that this text from the Secret may be sent to any issuer.
    pub(super) fn may_send(
        &self,
        context: &Context,
        credential: &Credential,
        text: &SecretString,
    ) -> Result<(), TokenError> {
        let own = &context.settings.identity.api_audiences;
        let (notes, text) = (self.meta.annotations.as_ref(), text.expose_secret());
        binding::may_send_text(credential, &self.name, notes, text, own).map_err(|d| denied(&d))
    }

    pub(super) fn bytes(&self, key: &str, lacking: Lacking) -> Result<&[u8], TokenError> {
        let name = &self.name;
        let fault = match self.data.get(key) {
            Some(bytes) if !bytes.0.is_empty() => return Ok(&bytes.0),
            // Some tools create a Secret and fill it later: apicred waits for the value, as for a key that is added later.
            Some(_) => format!("key {key} of Secret {name} is empty; store the value under it"),
            // The existing keys are not reported: a user who may name a Secret may not be allowed to read it.
            None => format!("Secret {name} has no key {key}; correct the key or add it"),
        };
        Err(TokenError::local(Class::Invalid, lacking.key, fault))
    }
}

/// The conversion of bytes to an input of a grant. An error is the rest of a sentence that starts with the name of the key.
pub(super) type Taken = fn(&[u8]) -> Result<SecretString, String>;

pub(super) fn unfit(name: &str, key: &str, lacking: Lacking, problem: &str) -> TokenError {
    TokenError::local(
        Class::Invalid,
        lacking.value,
        format!("key {key} of Secret {name} {problem}"),
    )
}

/// Reads a Secret that was not read yet, and checks that its content may be used for this purpose and sent to this issuer. This
/// is checked for each purpose, since one Secret may be named for several purposes.
pub(super) async fn open<'a>(
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
    let mut secret = call(&context.metrics, "get_secret", || api.get(name)).await.map_err(|error_kind| match error_kind {
        ApiErrorKind::NotFound => TokenError::local(
            Class::Invalid,
            lacking.secret,
            format!("Secret {name} does not exist; create it"),
        ),
        ApiErrorKind::Forbidden => TokenError::local(
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

/// Reads the last good certificate of a Secret. The Secret must exist, contain a certificate and key, and request the copy. The
/// copy may be sent where the Secret itself may be sent now, according to the annotations of the Secret.
pub(super) async fn open_copy<'a>(
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
    let [Some(certificate), Some(key)] = own else {
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
    let of = LastGood::read(&copy.meta).and_then(|stored| stored.of);
    if !wanted || of.is_none_or(|(of, _)| of != *uid) {
        return refuse(
            "is not a copy that may be used now; apicred reads it again after its next change",
        );
    }
    // The same certificate with a key that does not match it is another pair.
    if (copy.data.get(TLS.0), copy.data.get(TLS.1)) == (Some(certificate), Some(key)) {
        return refuse(
            "contains the same certificate as the Secret that it is a copy of; register it at the issuer",
        );
    }
    copy.meta = meta;
    keep(opened, copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_empty_is_waited_for_as_one_that_is_missing() {
        let value = |text: &str| ByteString(text.as_bytes().to_vec());
        let secret = Opened {
            name: "crm".to_owned(),
            uid: String::new(),
            version: String::new(),
            meta: ObjectMeta::default(),
            data: BTreeMap::from([
                ("full".to_owned(), value("x")),
                ("empty".to_owned(), value("")),
            ]),
        };
        for lacking in [Lacking::CLIENT_SECRET, Lacking::SOURCE] {
            assert_eq!(secret.bytes("full", lacking).ok(), Some(&b"x"[..]));
            for (key, words) in [
                ("empty", "key empty of Secret crm is empty; store the value"),
                ("none", "Secret crm has no key none"),
            ] {
                let error = secret.bytes(key, lacking).err().unwrap();
                assert!(error.reason.waits_for_others(), "{}", error.reason);
                assert_eq!(error.reason, lacking.key);
                assert!(error.message().contains(words), "{}", error.message());
            }
        }
    }
}
