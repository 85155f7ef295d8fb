//! Keyed digests of everything that would produce a different token.

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    credential::{AuthenticationMethod, Credential, Endpoint, OperatorIdentity},
    oauth::{Material, TokenEndpoint},
};

/// 128 bits are enough against accidents, and a forged digest gives no advantage.
const SHORT: usize = 16;

/// Digest of all inputs except the secret that would produce a different token: endpoint, client, grant, request parameters. It does not
/// include how the secret is sent, nor root certificates, limits or labels.
pub fn request(credential: &Credential) -> String {
    let place = match &credential.issuer.endpoint {
        Endpoint::Entra { authority } => format!("entra {authority}"),
        Endpoint::Fixed(url) => format!("url {url}"),
        Endpoint::Discover(url) => format!("issuer {url}"),
        Endpoint::Nowhere => "nowhere".to_owned(),
    };
    let request = &credential.request;
    let mut text = Fields::new("request/2");
    text.add(&place);
    match &credential.static_key {
        Some(key) => text.add_all(key.fingerprint_parts().iter()),
        None => text.add_all(credential.grant.fingerprint_parts().iter()),
    }
    text.add_all(credential.authentication.fingerprint_parts().iter());
    text.add(&credential.client_id);
    text.add_all(request.scopes.iter());
    text.add_all(request.resources.iter());
    text.add_all(request.audience.iter());
    text.add_all(request.parameters.iter().flat_map(|(k, v)| [k, v]));
    if let Some(hop) = &credential.issuer.hop {
        text.add_all(hop.fingerprint_parts().iter());
    }
    // Their values are in the keyed fingerprint.
    text.add_all(request.secret_parameters.keys());
    if let Some(machine) = machine(credential) {
        text.add(machine);
    }
    URL_SAFE_NO_PAD.encode(&digest(&SHA256, text.0.as_bytes()).as_ref()[..SHORT])
}

/// The kind of machine whose identity is used, because each has an identity of its own. IMDS is the first kind that existed: it has no name, so
/// that its fingerprints do not change. The address of an endpoint does not count: it is the same machine.
fn machine(credential: &Credential) -> Option<&'static str> {
    let is_used = matches!(
        credential.authentication,
        AuthenticationMethod::ManagedIdentity(_) | AuthenticationMethod::IdentityAssertion(_)
    );
    let kind = match credential.issuer.operator_identity.as_ref()? {
        OperatorIdentity::Imds(_) => return None,
        OperatorIdentity::AppService => "app service",
        OperatorIdentity::AzureArc(_) => "azure arc",
        OperatorIdentity::WorkloadIdentity => "workload identity",
    };
    is_used.then_some(kind)
}

/// Digest of all inputs of a request in progress, and of the use of its answer. `fingerprint` covers the values that were read. The other
/// inputs do not change the token, but the issuer may refuse the request because of them: `keyId` and `algorithm` of a key, how a secret is
/// sent, names of Secrets in a message. Whole values are included, so that no new field is forgotten. Those of the issuer are covered by its
/// version.
pub fn in_flight(
    fingerprint: &str,
    credential: &Credential,
    endpoint: &TokenEndpoint,
    material: &Material,
) -> String {
    let mut text = Fields::new("in-flight/1");
    text.add(fingerprint);
    text.add(&credential.namespace);
    text.add(&credential.client_id);
    text.add(&format!("{:?}", credential.authentication));
    text.add(&format!("{:?}", credential.grant));
    text.add(&format!("{:?}", credential.request));
    text.add(&format!("{:?}", credential.issuer.id));
    text.add(&credential.issuer.version);
    text.add(&format!("{endpoint:?}"));
    text.add(material.in_flight_input());
    // Two entries of a list of certificates may contain the same certificate, with other settings.
    if let Material::Signer(_, place) = material {
        text.add(&place.to_string());
    }
    URL_SAFE_NO_PAD.encode(&digest(&SHA256, text.0.as_bytes()).as_ref()[..SHORT])
}

/// Digest of all inputs of an attempt, to compare them with those of the next one.
pub(super) fn inputs(texts: &[&str]) -> String {
    let mut text = Fields::new("inputs/1");
    text.add_all(texts.iter());
    URL_SAFE_NO_PAD.encode(&digest(&SHA256, text.0.as_bytes()).as_ref()[..SHORT])
}

/// The operator's key for digests of secrets. Without a key, a user who reads a digest on a Secret could test guesses.
#[derive(Clone)]
pub struct DigestKey(hmac::Key);

impl DigestKey {
    /// From 32 random bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Digest of a request with its secrets.
    pub fn fingerprint(&self, request: &str, secrets: &[&str]) -> String {
        let mut text = Fields::new("fingerprint/2");
        text.add(request);
        text.add_all(secrets.iter());
        self.sign(&text)
    }

    /// Digest of a token.
    pub fn token(&self, token: &str) -> String {
        let mut text = Fields::new("token/1");
        text.add(token);
        self.sign(&text)
    }

    /// Digest of a refresh token. It is shorter, because one annotation contains dozens of them.
    pub fn refresh_token(&self, token: &str) -> String {
        let mut text = Fields::new("refresh/1");
        text.add(token);
        URL_SAFE_NO_PAD.encode(&hmac::sign(&self.0, text.0.as_bytes()).as_ref()[..SHORT - 4])
    }

    /// A number that differs between clusters and reveals nothing about the key.
    pub fn phase(&self) -> u32 {
        let text = Fields::new("phase/1");
        number(hmac::sign(&self.0, text.0.as_bytes()).as_ref())
    }

    fn sign(&self, text: &Fields) -> String {
        URL_SAFE_NO_PAD.encode(&hmac::sign(&self.0, text.0.as_bytes()).as_ref()[..SHORT])
    }
}

/// A number in `0..1` that is the same for the same texts: jitter that does not change at a restart.
pub fn fraction(inputs: &[&str]) -> f64 {
    let mut text = Fields::new("jitter/1");
    text.add_all(inputs.iter());
    let hash = digest(&SHA256, text.0.as_bytes());
    f64::from(number(hash.as_ref())) / (f64::from(u32::MAX) + 1.0)
}

/// The first bytes of a digest as a number.
fn number(digest: &[u8]) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&digest[..4]);
    u32::from_be_bytes(bytes)
}

/// Concatenates texts with their lengths, so that different lists never give the same text.
struct Fields(String);

impl Fields {
    fn new(domain: &str) -> Self {
        Self(format!("apicred/{domain}"))
    }

    fn add(&mut self, text: &str) {
        self.0.push_str(&format!("|{}:", text.len()));
        self.0.push_str(text);
    }

    fn add_all<T: AsRef<str>>(&mut self, texts: impl Iterator<Item = T>) {
        let texts: Vec<T> = texts.collect();
        self.0.push_str(&format!("|#{}", texts.len()));
        for text in texts {
            self.add(text.as_ref());
        }
    }
}
