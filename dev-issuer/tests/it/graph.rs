//! Microsoft Graph, driven with the requests that apicred sends and read as apicred reads it.

use std::time::Duration;

use apicred_core::oauth::{Identity, PROOF_AUDIENCE, RawAnswer, proof_of_possession};
use apicred_core::rotation::graph::{
    Address, Graph, GraphCall, GraphRequest, application, new_key, new_password, removed,
    thumbprints,
};
use apicred_core::rotation::{Class, Fault, Key, KeyMark, Kind, Mark};
use dev_issuer::{AppPolicy, Client, CredentialKind, Effect, ReplicaLag, RetryAfter, Surface};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::signer::{Signer, claims, now, with, with_assertion};
use crate::support::{Bench, Reply};

/// The application whose credentials change.
const APP: &str = "11111111-0000-4000-8000-000000000001";
/// Owns it.
const OWNER: &str = "11111111-0000-4000-8000-000000000002";
/// Has the same permission and owns nothing.
const STRANGER: &str = "11111111-0000-4000-8000-000000000003";
/// May read.
const READER: &str = "11111111-0000-4000-8000-000000000004";
const REQUEST: &str = "22222222-0000-4000-8000-000000000001";
const V2: &str = "/{tenant}/oauth2/v2.0/token";
const OWNED: &str = "Application.ReadWrite.OwnedBy";
const HOUR: Duration = Duration::from_hours(1);

struct Rig {
    bench: Bench,
    graph: Graph,
    signer: Signer,
    object: String,
}

fn identity(signer: &Signer) -> Identity {
    Identity::from_pem(&signer.pem, &signer.pair.serialize_pem()).unwrap()
}

fn secret_of(client: &str) -> String {
    format!("{client}~secret")
}

impl Rig {
    async fn new() -> Self {
        let bench = Bench::new().await;
        let signer = Signer::rsa();
        let client = |id: &str| Client::new(id).secret(secret_of(id));
        for client in [
            client(APP)
                .certificate(&signer.pem)
                .role("demo", "Records.Read"),
            client(OWNER).role("graph", OWNED).owns(APP),
            client(STRANGER).role("graph", OWNED),
            client(READER).role("graph", "Application.Read.All"),
        ] {
            bench.issuer.add_client(client).unwrap();
        }
        let graph = Graph::new(bench.url("/v1.0").parse().unwrap());
        let object = bench.issuer.object_id(APP);
        Self {
            bench,
            graph,
            signer,
            object,
        }
    }

    /// A token of a client with its first secret.
    async fn token(&self, client: &str, scope: &str) -> SecretString {
        let reply = self.by_secret(client, &secret_of(client), scope).await;
        SecretString::from(reply.token())
    }

    async fn graph_token(&self, client: &str) -> SecretString {
        self.token(client, "https://graph.microsoft.com/.default")
            .await
    }

    async fn by_secret(&self, client: &str, secret: &str, scope: &str) -> Reply {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("client_secret", secret),
            ("scope", scope),
        ];
        self.bench.v2(&form).await
    }

    /// Does the token endpoint take this secret?
    async fn takes_secret(&self, secret: &SecretString) -> bool {
        let reply = self.by_secret(APP, secret.expose_secret(), "api://demo/.default");
        reply.await.status == 200
    }

    /// Does the token endpoint take this certificate?
    async fn takes_certificate(&self, signer: &Signer) -> bool {
        let header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": signer.x5t_s256() });
        let text = signer.sign(&header, &claims(APP, &self.bench.url(V2)));
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", APP),
            ("scope", "api://demo/.default"),
        ];
        self.bench.v2(&with_assertion(&form, &text)).await.status == 200
    }

    async fn send(&self, request: Option<GraphRequest>) -> RawAnswer {
        let request = request.expect("the address is good");
        let http = &self.bench.http;
        let mut builder = if request.body.is_some() {
            http.post(request.url)
        } else {
            http.get(request.url)
        };
        for (name, value) in request.headers {
            builder = builder.header(name, value.expose_secret());
        }
        if let Some(body) = request.body {
            builder = builder.body(body.expose_secret().to_owned());
        }
        let response = builder.send().await.unwrap();
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        RawAnswer {
            content_type: header("content-type"),
            retry_after: header("retry-after"),
            date: header("date"),
            ..RawAnswer::new(
                response.status().as_u16(),
                response.bytes().await.unwrap().to_vec(),
            )
        }
    }

    fn proof(&self) -> SecretString {
        proof_by(&self.signer, &self.object)
    }

    async fn read(&self, token: &SecretString, kind: Kind) -> Result<Vec<Key>, Fault> {
        let address = Address::Object(&self.object);
        let answer = self.send(self.graph.read(address, call(token))).await;
        let (id, application) = application(&answer, APP, kind, Timestamp::now())?;
        assert_eq!(id, self.object);
        Ok(application.keys)
    }

    async fn add_key(
        &self,
        token: &SecretString,
        signer: &Signer,
        proof: &SecretString,
    ) -> Result<Option<String>, Fault> {
        let address = Address::Object(&self.object);
        let identity = identity(signer);
        let request = self.graph.add_key(address, &identity, proof, call(token));
        new_key(&self.send(request).await, Timestamp::now())
    }

    async fn remove_key(
        &self,
        token: &SecretString,
        id: &str,
        proof: &SecretString,
    ) -> Result<(), Fault> {
        let address = Address::Client(APP);
        let request = self.graph.remove_key(address, id, proof, call(token));
        removed(
            &self.send(request).await,
            Kind::Certificate,
            Timestamp::now(),
        )
    }

    /// A new secret: its id and value.
    async fn add_password(
        &self,
        token: &SecretString,
        lifetime: SignedDuration,
    ) -> Result<(String, SecretString), Fault> {
        let until = Timestamp::now() + lifetime;
        let address = Address::Client(APP);
        let request = self
            .graph
            .add_password(address, ("apicred test 1", until), call(token));
        let new = new_password(&self.send(request).await, Timestamp::now())?;
        let seconds = new.until.map(Timestamp::as_second);
        assert_eq!(seconds, Some(until.as_second()));
        Ok((new.id, new.value))
    }

    async fn remove_password(&self, token: &SecretString, id: &str) -> Result<(), Fault> {
        let address = Address::Object(&self.object);
        let request = self.graph.remove_password(address, id, call(token));
        removed(&self.send(request).await, Kind::Secret, Timestamp::now())
    }

    fn count(&self, kind: CredentialKind) -> usize {
        let all = self.bench.issuer.credentials_of(APP);
        all.iter().filter(|c| c.kind == kind).count()
    }

    fn lag(&self, reads: Duration, tokens: Duration) {
        let lag = ReplicaLag { reads, tokens };
        self.bench.issuer.set_replica_lag(lag);
    }
}

fn call(token: &SecretString) -> GraphCall<'_> {
    GraphCall {
        token,
        request_id: REQUEST,
    }
}

fn proof_by(signer: &Signer, object: &str) -> SecretString {
    let identity = identity(signer);
    proof_of_possession(&identity, (PROOF_AUDIENCE, object), Timestamp::now()).unwrap()
}

fn day() -> SignedDuration {
    SignedDuration::from_hours(24)
}

/// The id of the certificate of this signer.
fn id_of(keys: &[Key], signer: &Signer) -> Option<String> {
    let Some(Mark::Certificate { sha1, .. }) = thumbprints(&identity(signer)) else {
        panic!("a certificate has thumbprints");
    };
    let is_it = |key: &&Key| key.mark == Some(KeyMark::Thumbprint(sha1.clone()));
    keys.iter().find(is_it).map(|key| key.id.clone())
}

#[track_caller]
/// Gives the message.
fn assert_class<T>(
    what: &str,
    result: Result<T, Fault>,
    class: Class,
    may_have_happened: bool,
) -> String {
    let Err(fault) = result else {
        panic!("{what}: was not refused");
    };
    let seen = (fault.class, fault.may_have_happened);
    assert_eq!(seen, (class, may_have_happened), "{what}: {fault:?}");
    fault.message
}

#[tokio::test]
async fn an_application_rolls_its_certificate_without_a_permission() {
    let rig = Rig::new().await;
    let (own, reader) = (rig.graph_token(APP).await, rig.graph_token(READER).await);
    let next = Signer::rsa();
    assert!(rig.takes_certificate(&rig.signer).await);
    assert!(!rig.takes_certificate(&next).await);
    rig.add_key(&own, &next, &rig.proof()).await.unwrap();
    assert!(rig.takes_certificate(&next).await);
    let keys = rig.read(&reader, Kind::Certificate).await.unwrap();
    assert_eq!(keys.len(), 2);
    let old = id_of(&keys, &rig.signer).unwrap();
    let new = id_of(&keys, &next).unwrap();
    // The new one proves the removal of the old one.
    let proof = proof_by(&next, &rig.object);
    rig.remove_key(&own, &old, &proof).await.unwrap();
    assert!(!rig.takes_certificate(&rig.signer).await);
    assert!(rig.takes_certificate(&next).await);
    // What is gone is removed.
    rig.remove_key(&own, &old, &proof).await.unwrap();
    let keys = rig.read(&reader, Kind::Certificate).await.unwrap();
    assert_eq!(id_of(&keys, &next), Some(new));
    assert_eq!(id_of(&keys, &rig.signer), None);
    // And proves nothing any more.
    let refused = rig.add_key(&own, &Signer::rsa(), &rig.proof()).await;
    assert_class("removed", refused, Class::Proof, false);
}

#[tokio::test]
async fn an_owner_rolls_a_secret() {
    let rig = Rig::new().await;
    let owner = rig.graph_token(OWNER).await;
    let (id, value) = rig.add_password(&owner, day()).await.unwrap();
    assert!(rig.takes_secret(&value).await);
    let keys = rig.read(&owner, Kind::Secret).await.unwrap();
    assert_eq!(keys.len(), 2);
    let new = keys.iter().find(|key| key.id == id).unwrap();
    let hint = value.expose_secret()[..3].to_owned();
    assert_eq!(new.mark, Some(KeyMark::Hint(hint)));
    assert_eq!(new.name.as_deref(), Some("apicred test 1"));
    let first = keys.iter().find(|key| key.id != id).unwrap();
    rig.remove_password(&owner, &first.id).await.unwrap();
    rig.remove_password(&owner, &first.id).await.unwrap();
    assert!(!rig.takes_secret(&secret_of(APP).into()).await);
    assert!(rig.takes_secret(&value).await);
}

#[tokio::test]
async fn each_flaw_of_a_proof_has_the_same_answer() {
    let rig = Rig::new().await;
    let own = rig.graph_token(APP).await;
    let other = Signer::rsa();
    let header = json!({ "alg": "RS256", "typ": "JWT", "x5t": rig.signer.x5t() });
    let good = json!({
        "aud": PROOF_AUDIENCE, "iss": rig.object, "nbf": now(), "exp": now() + 600,
    });
    let signed = |changes: &Value| rig.signer.sign(&header, &with(&good, changes));
    let mut table = vec![
        ("another key", other.sign(&header, &good)),
        ("padding", format!("{}=", signed(&json!({})))),
        ("no JWT", "x".to_owned()),
        ("nothing", String::new()),
    ];
    let graph = "00000003-0000-0000-c000-000000000000";
    for (what, changes) in [
        ("the audience of Graph", json!({ "aud": graph })),
        ("a list", json!({ "aud": [PROOF_AUDIENCE, graph] })),
        ("no audience", json!({ "aud": null })),
        ("the client ID", json!({ "iss": APP })),
        ("no issuer", json!({ "iss": null })),
        ("eleven minutes", json!({ "exp": now() + 660 })),
        ("expired", json!({ "nbf": now() - 600, "exp": now() - 60 })),
        ("not yet", json!({ "nbf": now() + 60 })),
        ("no beginning", json!({ "nbf": null })),
        ("no end", json!({ "exp": null })),
    ] {
        table.push((what, signed(&changes)));
    }
    let next = Signer::rsa();
    for (what, text) in table {
        let proof = SecretString::from(text);
        let refused = rig.add_key(&own, &next, &proof).await;
        assert_class(what, refused, Class::Proof, false);
        let refused = rig.remove_key(&own, REQUEST, &proof).await;
        assert_class(what, refused, Class::Proof, false);
    }
    assert_eq!(rig.count(CredentialKind::Certificate), 1);
    // What all of them differ from is good.
    let proof = SecretString::from(signed(&json!({})));
    rig.add_key(&own, &next, &proof).await.unwrap();
}

#[tokio::test]
async fn a_caller_without_the_permission_is_refused() {
    let rig = Rig::new().await;
    let demo = rig.token(APP, "api://demo/.default").await;
    let own = rig.graph_token(APP).await;
    let stranger = rig.graph_token(STRANGER).await;
    let reader = rig.graph_token(READER).await;
    for (what, token, class) in [
        ("a token for another API", &demo, Class::Token),
        ("without a permission", &own, Class::Permission),
        ("not an owner", &stranger, Class::Permission),
        ("may only read", &reader, Class::Permission),
    ] {
        let refused = rig.add_password(token, day()).await;
        assert_class(what, refused, class, false);
        let refused = rig.remove_password(token, REQUEST).await;
        assert_class(what, refused, class, false);
        if class == Class::Permission && what != "may only read" {
            let refused = rig.read(token, Kind::Secret).await;
            assert_class(what, refused, class, false);
        }
    }
    let refused = rig.add_key(&stranger, &Signer::rsa(), &rig.proof()).await;
    assert_class("a certificate", refused, Class::Permission, false);
    assert_eq!(rig.count(CredentialKind::Secret), 1);
    assert_eq!(rig.count(CredentialKind::Certificate), 1);
    let address = Address::Object(REQUEST);
    let answer = rig.send(rig.graph.read(address, call(&reader))).await;
    let refused = application(&answer, APP, Kind::Secret, Timestamp::now());
    assert_class("no application", refused, Class::NoApplication, false);
}

#[tokio::test]
async fn a_replica_that_lags_does_not_know_a_change() {
    let rig = Rig::new().await;
    let owner = rig.graph_token(OWNER).await;
    let (id, value) = rig.add_password(&owner, day()).await.unwrap();
    let next = Signer::rsa();
    rig.add_key(&owner, &next, &rig.proof()).await.unwrap();
    rig.lag(HOUR, HOUR);
    let count = async || rig.read(&owner, Kind::Secret).await.unwrap().len();
    assert_eq!((count().await, count().await), (2, 1));
    let secret = async || rig.takes_secret(&value).await;
    assert_eq!((secret().await, secret().await), (true, false));
    let certificate = async || rig.takes_certificate(&next).await;
    assert_eq!((certificate().await, certificate().await), (true, false));
    // The next reading meets the second replica after this one.
    assert_eq!(count().await, 2);
    let proof = proof_by(&next, &rig.object);
    let refused = rig.add_key(&owner, &Signer::rsa(), &proof).await;
    assert_class("too early a proof", refused, Class::Proof, false);
    assert_eq!(count().await, 2);
    let refused = rig.remove_password(&owner, &id).await;
    assert_class("too early a removal", refused, Class::Transient, true);
    rig.bench.issuer.replicas_catch_up();
    assert_eq!((count().await, count().await), (2, 2));
    assert_eq!((secret().await, secret().await), (true, true));
    assert_eq!((certificate().await, certificate().await), (true, true));
    rig.remove_password(&owner, &id).await.unwrap();
    rig.lag(HOUR, HOUR);
    assert_eq!((secret().await, secret().await), (false, true));
    rig.bench.issuer.replicas_catch_up();
    assert_eq!((secret().await, secret().await), (false, false));
}

#[tokio::test]
async fn an_error_of_the_server_differs_from_a_refused_request() {
    let rig = Rig::new().await;
    let owner = rig.graph_token(OWNER).await;
    let (id, _) = rig.add_password(&owner, day()).await.unwrap();
    rig.bench.issuer.set_write_gap(HOUR);
    let refused = rig.add_password(&owner, day()).await;
    assert_class("two writes", refused, Class::Conflict, false);
    let refused = rig.remove_password(&owner, &id).await;
    assert_class("a removal", refused, Class::Conflict, false);
    let refused = rig.add_key(&owner, &Signer::rsa(), &rig.proof()).await;
    assert_class("a certificate", refused, Class::Conflict, false);
    rig.bench.issuer.set_write_gap(Duration::ZERO);

    let at_graph = |effect| dev_issuer::Fault::new(effect).on(Surface::Graph).times(1);
    let retry_after = Some(RetryAfter::Seconds(7));
    let busy = Effect::TooManyRequests { retry_after };
    rig.bench.issuer.fault(at_graph(busy));
    let fault = rig.add_password(&owner, day()).await.err().unwrap();
    let retry_after = fault.retry_after;
    assert_eq!(retry_after, Some(SignedDuration::from_secs(7)), "{fault:?}");
    assert_class::<()>("throttled", Err(fault), Class::Throttled, false);
    assert_eq!(rig.count(CredentialKind::Secret), 2);

    let broken = || at_graph(Effect::ErrorAfter { status: 500 });
    rig.bench.issuer.fault(broken());
    let refused = rig.add_password(&owner, day()).await;
    assert_class("a secret", refused, Class::Transient, true);
    assert_eq!(rig.count(CredentialKind::Secret), 3);
    let next = Signer::rsa();
    rig.bench.issuer.fault(broken());
    let refused = rig.add_key(&owner, &next, &rig.proof()).await;
    assert_class("a certificate", refused, Class::Transient, true);
    assert!(rig.takes_certificate(&next).await);
    rig.bench.issuer.fault(broken());
    let refused = rig.remove_password(&owner, &id).await;
    assert_class("a removal", refused, Class::Transient, true);
    rig.remove_password(&owner, &id).await.unwrap();
    assert_eq!(rig.count(CredentialKind::Secret), 2);
}

#[tokio::test]
async fn policies_refuse_what_is_new() {
    let rig = Rig::new().await;
    let owner = rig.graph_token(OWNER).await;
    let policy = |policy| rig.bench.issuer.set_app_policies(vec![policy]);
    policy(AppPolicy::PasswordAddition);
    let refused = rig.add_password(&owner, day()).await;
    assert_class("no secrets", refused, Class::Policy, false);
    policy(AppPolicy::PasswordLifetime(day()));
    let refused = rig.add_password(&owner, day() * 2).await;
    assert_class("too long", refused, Class::Policy, false);
    rig.add_password(&owner, day()).await.unwrap();
    // Certificates that rcgen makes end in the year 4096.
    let next = Signer::rsa();
    policy(AppPolicy::AsymmetricKeyLifetime(day()));
    let refused = rig.add_key(&owner, &next, &rig.proof()).await;
    assert_class("a certificate", refused, Class::Policy, false);
    policy(AppPolicy::TrustedCertificateAuthority);
    let refused = rig.add_key(&owner, &next, &rig.proof()).await;
    let fault = assert_class("no authority", refused, Class::Policy, false);
    assert!(fault.contains("self-signed"), "{fault}");
    // What is there goes on.
    assert!(rig.takes_certificate(&rig.signer).await);
    rig.bench.issuer.set_app_policies(Vec::new());
    rig.add_key(&owner, &next, &rig.proof()).await.unwrap();
}
