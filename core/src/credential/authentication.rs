//! The client authentication of a credential, parsed.

use super::{
    FieldError,
    client_keys::{AccountToken, Certificate, KeyPair, PrivateKey, pair},
};
use crate::Reason;
use crate::{
    api::{Client, ClientSecret, ManagedIdentityClient, SecretKeyRef},
    printable,
};

/// The fields for the authentication methods, in the order in which they are checked.
const WAYS: [&str; 8] = [
    "secrets",
    "certificates",
    "key",
    "assertion",
    "serviceAccount",
    "managedIdentity",
    "mtls",
    "public",
];

/// Characters that a copied value may contain by mistake: a line end, blanks, invisible characters.
pub(super) fn stray(text: &str) -> Option<&'static str> {
    let at_end = |is: fn(char) -> bool| text.starts_with(is) || text.ends_with(is);
    if text.contains(['\n', '\r']) {
        Some("a line end")
    } else if text.contains('\t') {
        Some("a tab")
    } else if at_end(char::is_whitespace) {
        Some("a space at its start or end")
    } else if text.chars().any(char::is_control) {
        Some("a control character")
    } else if printable(text) != text {
        Some("an invisible character")
    } else {
        None
    }
}

/// The client authentication method.
#[derive(Clone, Debug, PartialEq)]
pub enum AuthenticationMethod {
    /// There is no client: the grant does not need one.
    Absent,
    /// A public client: no client authentication.
    Public,
    /// Client secrets, in the order in which they are tried.
    Secrets(Vec<SecretKeyRef>),
    /// Certificates whose keys sign assertions, in the order in which they are tried.
    Certificates(Vec<Certificate>),
    /// A private key that signs assertions.
    Key(PrivateKey),
    /// A ready assertion in a Secret.
    Assertion(SecretKeyRef),
    /// A ServiceAccount token is the assertion.
    ServiceAccount(AccountToken),
    /// The operator's identity in Azure.
    ManagedIdentity(Selector),
    /// A token of the operator's identity in Azure is the assertion.
    IdentityAssertion(Selector),
    /// A certificate in the TLS handshake.
    Mtls(KeyPair),
}

/// Stable reasons for parts of a Secret that cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lacking {
    /// There is no such Secret.
    pub secret: Reason,
    /// The Secret has no such key.
    pub key: Reason,
    /// The value under the key cannot be used.
    pub value: Reason,
}

impl Lacking {
    /// Of a client secret.
    pub const CLIENT_SECRET: Self = Self {
        secret: Reason::ClientSecretMissing,
        key: Reason::ClientSecretKeyMissing,
        value: Reason::ClientSecretInvalid,
    };
    /// Of a certificate, and of what a grant needs: a password, a token, a key.
    pub const SOURCE: Self = Self {
        secret: Reason::SourceMissing,
        key: Reason::SourceKeyMissing,
        value: Reason::SourceInvalid,
    };
}

/// Which managed identity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Selector {
    /// The system-assigned one, or the only one.
    System,
    /// By client id.
    Client(String),
    /// By object id.
    Object(String),
    /// By resource id.
    Resource(String),
}

impl AuthenticationMethod {
    /// Whether the client shows a certificate in the TLS handshake. Issuers may have other endpoints for such clients (RFC 8705 section 5).
    pub const fn shows_certificate(&self) -> bool {
        matches!(self, Self::Mtls(_))
    }

    /// Parses `spec.client`. If not set, the result is [`AuthenticationMethod::Absent`].
    ///
    /// # Errors
    /// Every fault, with field paths.
    pub fn parse(client: Option<&Client>) -> Result<Self, Vec<FieldError>> {
        let Some(client) = client else {
            return Ok(Self::Absent);
        };
        let errors = faults(client);
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(if !client.certificates.is_empty() {
            Self::Certificates(client.certificates.iter().map(Into::into).collect())
        } else if let Some(m) = &client.mtls {
            Self::Mtls(pair(
                &m.secret_name,
                m.certificate_key.as_ref(),
                m.private_key_key.as_ref(),
            ))
        } else if let Some(account) = &client.service_account {
            Self::ServiceAccount(account.as_ref().into())
        } else if let Some(key) = &client.key {
            Self::Key(key.as_ref().into())
        } else if let Some(assertion) = &client.assertion {
            Self::Assertion(SecretKeyRef {
                name: assertion.secret_name.clone(),
                key: assertion.key.clone(),
            })
        } else if let Some(identity) = &client.managed_identity {
            let id = client.id.as_deref().unwrap_or_default();
            return of_identity(identity, id).map_err(|fault| vec![fault]);
        } else if client.public.is_some() {
            Self::Public
        } else {
            Self::Secrets(client.secrets.iter().map(ClientSecret::reference).collect())
        })
    }

    /// Keys of Secrets of which one is enough, in the order in which they are tried.
    pub fn alternatives(&self) -> Vec<SecretKeyRef> {
        match self {
            Self::Secrets(references) => references.clone(),
            Self::Certificates(certificates) => {
                certificates.iter().map(|c| c.pair.reference()).collect()
            }
            Self::Mtls(pair) => vec![pair.reference()],
            Self::Key(key) => vec![key.reference.clone()],
            Self::Assertion(reference) => vec![reference.clone()],
            _ => Vec::new(),
        }
    }

    /// The keys that each of these entries needs in its Secret.
    pub fn keys(&self) -> Vec<Vec<&str>> {
        fn pair(pair: &KeyPair) -> Vec<&str> {
            vec![&pair.certificate, &pair.private_key]
        }
        match self {
            Self::Secrets(references) => references.iter().map(|r| vec![&*r.key]).collect(),
            Self::Certificates(certificates) => {
                certificates.iter().map(|c| pair(&c.pair)).collect()
            }
            Self::Mtls(one) => vec![pair(one)],
            Self::Key(key) => vec![vec![&key.reference.key]],
            Self::Assertion(reference) => vec![vec![&reference.key]],
            _ => Vec::new(),
        }
    }

    /// How messages name one of the entries of its list.
    pub fn entry(&self, name: &str, key: &str) -> String {
        let copy = SecretKeyRef {
            name: name.to_owned(),
            key: key.to_owned(),
        };
        if let Some(copied) = self.original(&copy) {
            let original = &copied.certificate.pair.secret;
            return format!(
                "the last good certificate of Secret {original}, kept in Secret {name}"
            );
        }
        match self {
            Self::Certificates(_) => format!("the certificate in Secret {name} (key {key})"),
            _ => format!("key {key} of Secret {name}"),
        }
    }

    /// Reasons for an entry that cannot be read.
    pub const fn lacking(&self) -> Lacking {
        match self {
            Self::Secrets(_) => Lacking::CLIENT_SECRET,
            _ => Lacking::SOURCE,
        }
    }

    /// Its name in messages.
    pub const fn noun(&self) -> &'static str {
        match self {
            Self::Secrets(_) => "client secret",
            Self::Certificates(_) | Self::Mtls(_) => "certificate",
            Self::ServiceAccount(_) => "ServiceAccount's federated credential",
            Self::ManagedIdentity(_) => "managed identity",
            Self::IdentityAssertion(_) => "federated credential for the managed identity",
            Self::Key(_) => "private key",
            Self::Assertion(_) => "client assertion",
            Self::Absent | Self::Public => "client's settings at the issuer",
        }
    }

    /// Values that identify the requested token, for its fingerprint: the kind, and what it names in addition to Secrets.
    pub fn fingerprint_parts(&self) -> Vec<String> {
        let one = |w: &str| vec![w.to_owned()];
        match self {
            Self::Absent => one("none"),
            Self::Public => one("public"),
            Self::Secrets(_) => one("secret"),
            Self::Certificates(_) => one("certificate"),
            Self::Mtls(_) => one("mtls"),
            Self::ServiceAccount(a) => vec![
                "service_account".to_owned(),
                a.name.clone(),
                a.audience.clone().unwrap_or_default(),
            ],
            Self::Key(_) => one("key"),
            Self::Assertion(_) => one("assertion"),
            Self::ManagedIdentity(selector) => {
                vec!["managed_identity".to_owned(), format!("{selector:?}")]
            }
            Self::IdentityAssertion(selector) => {
                vec!["identity_assertion".to_owned(), format!("{selector:?}")]
            }
        }
    }
}

/// Faults of `spec.client` that do not depend on the authentication method: the id, and the number of methods.
fn faults(client: &Client) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let id = client.id.as_deref().unwrap_or_default();
    let identity = client.managed_identity.as_ref();
    if id.is_empty() && identity.is_none_or(|i| i.as_assertion.is_some()) {
        errors.push(FieldError::new(
            "spec.client.id",
            "is missing; set the client (application) id",
        ));
    }
    errors.extend(
        stray(id).map(|what| FieldError::new("spec.client.id", format!("has {what}; remove it"))),
    );
    let ways = [
        !client.secrets.is_empty(),
        !client.certificates.is_empty(),
        client.key.is_some(),
        client.assertion.is_some(),
        client.service_account.is_some(),
        client.managed_identity.is_some(),
        client.mtls.is_some(),
        client.public.is_some(),
    ];
    match ways.iter().filter(|w| **w).count() {
        0 => errors.push(FieldError::new(
            "spec.client.secrets",
            "name the Secret and key that hold the client secret, or set certificates, key, assertion, serviceAccount, managedIdentity, mtls or public",
        )),
        1 => {}
        _ => {
            let named = ways.iter().zip(WAYS).filter(|(set, _)| **set);
            let named: Vec<&str> = named.map(|(_, name)| name).collect();
            errors.push(FieldError::new(
                "spec.client",
                format!(
                    "has {}, but a client authenticates in exactly one way; remove the others",
                    named.join(" and ")
                ),
            ));
        }
    }
    errors
}

/// The managed identity that a client names, as the client itself or to authenticate it.
fn of_identity(
    identity: &ManagedIdentityClient,
    id: &str,
) -> Result<AuthenticationMethod, FieldError> {
    let asserts = identity.as_assertion.is_some();
    let fault = |problem: &str| FieldError::new("spec.client.managedIdentity", problem);
    if identity.client_id.is_some() && !asserts {
        return Err(fault(
            "has clientId, which can only be used with asAssertion; set client.id to it",
        ));
    }
    let own = identity.client_id.as_deref();
    let id = if asserts {
        own
    } else {
        Some(id).filter(|id| !id.is_empty())
    };
    let selector = match (id, &identity.object_id, &identity.resource_id) {
        (None, None, None) => Selector::System,
        (Some(id), None, None) => Selector::Client(id.to_owned()),
        (None, Some(object), None) => Selector::Object(object.clone()),
        (None, None, Some(resource)) => Selector::Resource(resource.clone()),
        _ => {
            return Err(fault(
                "name a user-assigned identity once: client.id (clientId with asAssertion), objectId or resourceId",
            ));
        }
    };
    Ok(if asserts {
        AuthenticationMethod::IdentityAssertion(selector)
    } else {
        AuthenticationMethod::ManagedIdentity(selector)
    })
}
