//! Values for unit tests: one healthy credential at a fixed time. A test changes only the part that it checks.

#![allow(
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "only for tests"
)]

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::{
    api::{
        ApiClientSpec, ApiCredential, ClientRef, ClusterTokenIssuer, IssuerRef, SecretKeyRef,
        TokenIssuer,
    },
    credential::{
        AuthenticationMethod, ClientLookup, Credential, FieldError, Issuer, IssuerLookup, parse,
        parse_with_client,
    },
    oauth::{LifetimeSource, RawAnswer, Token},
    plan::{Memory, Observed, Source, fingerprint},
    publish::{
        Record, RefusedSource, SourceMark, SourceUse,
        ownership::{ForeignWrite, Published, Target},
        template,
    },
};

/// The current time in tests, in seconds since 1970.
pub const NOW: i64 = 1_790_000_000;
pub const UID: &str = "11111111-aaaa-bbbb-cccc-000000000001";

/// `NOW` moved by some seconds.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW + seconds).unwrap()
}

pub fn secs(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

/// An object as a user would write it, with `change` merged into its spec (null removes).
pub fn object(change: &Value) -> ApiCredential {
    let mut whole = json!({
        "apiVersion": "apicred.dev/v1alpha1",
        "kind": "ApiCredential",
        "metadata": {
            "name": "alerts", "namespace": "secops", "uid": UID, "generation": 3,
            "creationTimestamp": "2026-01-01T00:00:00Z"
        },
        "spec": {
            "issuerRef": { "kind": "ClusterTokenIssuer", "name": "contoso" },
            "client": { "id": "client-1", "secrets": [{ "name": "client", "key": "secret" }] },
            "scopes": ["https://api.example.com/.default"],
            "target": { "secretName": "alerts-token" }
        }
    });
    merge(&mut whole["spec"], change);
    serde_json::from_value(whole).unwrap()
}

/// JSON merge patch, RFC 7396.
pub fn merge(into: &mut Value, change: &Value) {
    let Value::Object(change) = change else {
        *into = change.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in change {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut into[key.as_str()], value);
        }
    }
}

pub fn cluster_issuer(spec: &Value) -> ClusterTokenIssuer {
    serde_json::from_value(json!({
        "apiVersion": "apicred.dev/v1alpha1",
        "kind": "ClusterTokenIssuer",
        "metadata": { "name": "contoso", "uid": "issuer-uid", "generation": 1 },
        "spec": spec
    }))
    .unwrap()
}

pub fn token_issuer(spec: &Value) -> TokenIssuer {
    serde_json::from_value(json!({
        "apiVersion": "apicred.dev/v1alpha1",
        "kind": "TokenIssuer",
        "metadata": { "name": "local", "namespace": "secops", "uid": "issuer-uid", "generation": 1 },
        "spec": spec
    }))
    .unwrap()
}

/// An administrator's issuer with a token URL, for all namespaces.
pub fn issuer() -> Issuer {
    Issuer::cluster(&cluster_issuer(&json!({
        "oauth2": { "tokenUrl": "https://issuer.example.com/token" },
        "allowedNamespaces": { "selector": {} }
    })))
    .unwrap()
}

/// A credential with `change` in its spec, at [`issuer`].
pub fn credential_with(change: &Value) -> Credential {
    parse(&object(change), |_| IssuerLookup::Found(issuer())).unwrap()
}

pub fn credential() -> Credential {
    credential_with(&json!({}))
}

/// The client secret's Secret at a version.
pub fn mark(version: &str) -> SourceMark {
    SourceMark {
        name: "client".to_owned(),
        key: "secret".to_owned(),
        uid: "source-uid".to_owned(),
        version: version.to_owned(),
    }
}

/// The client secret at a version, just refused by the issuer.
pub fn refused(credential: &Credential, version: &str) -> RefusedSource {
    RefusedSource {
        mark: mark(version),
        request: fingerprint::request(credential),
        since: at(0),
        at: at(0),
        reason: crate::Reason::ClientSecretRefused.into(),
        by_issuer: true,
        not_before: None,
        fingerprint: None,
    }
}

/// The record on a Secret whose token is valid from `issued` to `expires` and due at `renew` (seconds from now).
pub fn record(credential: &Credential, (issued, renew, expires): (i64, i64, i64)) -> Record {
    Record {
        issued_at: at(issued),
        expires_at: at(expires),
        renew_at: at(renew),
        renew_reason: "HalfLife".to_owned(),
        lifetime: "ExpiresIn".to_owned(),
        request: fingerprint::request(credential),
        issuer: "https://issuer.example.com".to_owned(),
        fingerprint: "keyed-fingerprint".to_owned(),
        token_digest: "keyed-token-digest".to_owned(),
        sources: SourceUse {
            used: Some(mark("7")),
            with: Vec::new(),
            refused: Vec::new(),
        },
        claims: None,
        not_granted: Vec::new(),
        token_id: None,
        certificate_validity: None,
        renew_handled: credential.renew_requested.clone(),
        operator: None,
        spent: None,
    }
}

pub fn published(credential: &Credential, record: Option<Record>) -> Published {
    let template = template(credential);
    Published {
        credential_uid: credential.uid.clone(),
        credential: credential.name.clone(),
        owner: Some(credential.name.clone()),
        record,
        template_digest: template.digest(),
        template_intact: true,
        managed_keys: std::sync::Arc::new(template.keys()),
        foreign_write: ForeignWrite::None,
    }
}

pub fn ours(published: Published) -> Target {
    Target::Ours {
        version: "42".to_owned(),
        published: Box::new(published),
    }
}

/// An observation in which a token of an hour was published five minutes ago and nothing has changed since.
pub fn observed(credential: &Credential) -> Observed {
    holding(credential, record(credential, (-300, 1500, 3300)))
}

/// The same observation with another record on the Secret.
pub fn holding(credential: &Credential, record: Record) -> Observed {
    Observed {
        deleting: false,
        target: ours(published(credential, Some(record))),
        senior: None,
        permission: Ok(()),
        sources: vec![Source {
            reference: credential.alternatives()[0].clone(),
            present: Some(("source-uid".to_owned(), "7".to_owned())),
            changed_at: None,
            created_at: None,
            expires_at: None,
            expiry_unreadable: false,
            rotated_until: None,
        }],
        grant_sources: Vec::new(),
        unread: Vec::new(),
        copy_faults: Vec::new(),
        ca_fault: None,
        missing_account: None,
        notify_rights: std::sync::Arc::default(),
        memory: Memory::default(),
        held: false,
        another_operator: false,
    }
}

/// A token with a lifetime of an hour, requested now.
pub fn token(text: &str) -> Token {
    Token {
        secret: SecretString::from(text),
        refresh_token: None,
        instance_url: None,
        answer: std::collections::BTreeMap::new(),
        omitted: std::collections::BTreeMap::new(),
        ends: std::collections::BTreeMap::new(),
        claims: None,
        token_type: "Bearer".to_owned(),
        issued_at: at(0),
        expires_at: at(3600),
        lifetime_source: LifetimeSource::ExpiresIn,
        refresh_in: None,
        scope: None,
        id: None,
        correlation_id: None,
    }
}

/// The client secrets of a credential, to change them.
pub fn secrets(credential: &mut Credential) -> &mut Vec<SecretKeyRef> {
    let AuthenticationMethod::Secrets(references) = &mut credential.authentication else {
        panic!("the credential has no client secret");
    };
    references
}

/// A map of texts.
pub fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

/// The object with its client and issuer in an `ApiClient` named `shared`. None if it has no client.
pub fn shared(object: &ApiCredential) -> Option<(ApiCredential, ApiClientSpec)> {
    let mut object = object.clone();
    let client = ApiClientSpec {
        client: object.spec.client.take()?,
        issuer_ref: object.spec.issuer_ref.take(),
        entra: object.spec.entra.take(),
        object_id: None,
        rotation: None,
    };
    object.spec.client_ref = Some(ClientRef {
        name: "shared".to_owned(),
    });
    Some((object, client))
}

/// Parses the object twice: with its client inline, and with the same client as an `ApiClient`. Both results must be equal.
///
/// # Errors
/// The faults of the object with its client inline.
pub fn parse_both(
    object: &ApiCredential,
    lookup: impl Fn(&IssuerRef) -> IssuerLookup,
) -> Result<Credential, Vec<FieldError>> {
    let inline = parse(object, &lookup);
    if let Some((object, client)) = shared(object) {
        let clients = |_: &str| ClientLookup::Found(Box::new(client));
        let by_reference = parse_with_client(&object, clients, &lookup);
        assert_eq!(by_reference.as_ref().ok(), inline.as_ref().ok());
        return by_reference.or(inline);
    }
    inline
}

/// An answer in JSON, without any other header.
pub fn json_answer(status: u16, body: &Value) -> RawAnswer {
    RawAnswer {
        content_type: Some("application/json".to_owned()),
        ..RawAnswer::new(status, body.to_string().into_bytes())
    }
}

/// Every error class, for property tests of this crate: other packages do not have proptest with the feature `fixtures`.
#[cfg(test)]
pub fn any_class() -> impl proptest::strategy::Strategy<Value = crate::oauth::Class> {
    use crate::oauth::Class;
    proptest::sample::select(vec![
        Class::Invalid,
        Class::Denied,
        Class::NeedsUser,
        Class::Throttled,
        Class::Transient,
    ])
}
