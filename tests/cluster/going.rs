//! Objects that a renewal needs and that are removed before it is due, one row for each kind: reported within seconds. The token
//! is not changed and no request is sent.

use std::time::Duration;

use apicred::api::{ApiCredential, ClusterTokenIssuer, TokenIssuer};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    logs::log_of_credential,
    service_accounts::service_account,
    support::{Listener, Place, SOON, World, condition, keys, merge, run, typed, unique},
};

/// The object that is removed.
enum Go {
    /// A Secret.
    Secret(&'static str),
    /// A key of a Secret.
    Key(&'static str, &'static str),
    /// The validity of a certificate: an expired one replaces it.
    Time(&'static str),
    /// An annotation of a Secret; the second value is its new one.
    Note(&'static str, &'static str, Value),
    /// A permission: this becomes part of the spec of the row's `ClusterTokenIssuer`.
    Issuer(Value),
    /// The row's `ClusterTokenIssuer`.
    Cluster,
    /// The row's `TokenIssuer`.
    Own,
    /// The row's `ApiClient`.
    Client,
    /// A ServiceAccount.
    Account(&'static str),
    /// A permission of the owner of a ServiceAccount: its annotation `allowed-issuers` names another one.
    AccountNote(&'static str),
}

/// A credential, the object that it loses, and the reason that is reported.
struct Row {
    name: &'static str,
    spec: Value,
    go: Go,
    reason: &'static str,
}

fn row(name: &'static str, spec: Value, go: Go, reason: &'static str) -> Row {
    Row {
        name,
        spec,
        go,
        reason,
    }
}

/// A reference to the row's own Secret, which has the keys `value` and `other`.
fn own(name: &str) -> Value {
    json!({ "name": name, "key": "value" })
}

fn rows() -> Vec<Row> {
    use Go::{Account, AccountNote, Client, Cluster, Issuer, Key, Note, Own, Secret, Time};
    let secret = |name: &str| json!({ "client": { "secrets": [own(name)] } });
    let certificate = |name: &str| json!({ "client": { "secrets": null, "certificates": [{ "secretName": name }] } });
    let mtls =
        |name: &str| json!({ "client": { "secrets": null, "mtls": { "secretName": name } } });
    let exchange = |name: &str| json!({ "grant": { "tokenExchange": { "subject": { "secretRef": own(name) } } } });
    let actor = |name: &str| {
        json!({ "grant": { "tokenExchange": {
            "subject": { "secretRef": { "name": "source", "key": "client-secret" } },
            "actor": { "secretRef": own(name) },
        } } })
    };
    let assertion = |name: &str| json!({ "grant": { "jwtBearer": { "assertionRef": own(name) } } });
    let obo = |name: &str| json!({ "grant": { "onBehalfOf": { "assertionRef": own(name) } } });
    let refresh = |name: &str| json!({ "grant": { "refreshToken": { "secretRef": own(name) } }, "client": { "secrets": null, "public": {} } });
    let parameter =
        |name: &str| json!({ "parameters": [{ "name": "acr", "secretRef": own(name) }] });
    let password = |name: &str| json!({ "grant": { "password": { "username": "ada", "passwordRef": own(name) } } });
    let account =
        |name: &str| json!({ "client": { "secrets": null, "serviceAccount": { "name": name } } });
    let exchanged = json!({ "grant": { "tokenExchange": { "subject": { "serviceAccount": { "name": "narrowed" } } } } });
    let mine = |name: &str| {
        merge(
            secret(name),
            json!({ "issuerRef": { "kind": "TokenIssuer", "name": name } }),
        )
    };
    let fixed = |name: &str| json!({ "issuerRef": null, "client": null, "static": { "tokenRef": own(name) } });
    // Refers to an `ApiClient` with the name of the row.
    let by_client = json!({ "client": null, "clientRef": {} });
    let other = "https://other.example";
    #[rustfmt::skip]
    let rows = vec![
        row("client-secret", secret("client-secret"), Secret("client-secret"), "ClientSecretMissing"),
        row("client-secret-key", secret("client-secret-key"), Key("client-secret-key", "value"), "ClientSecretKeyMissing"),
        row("certificate", certificate("certificate"), Secret("certificate"), "SourceMissing"),
        row("certificate-crt", certificate("certificate-crt"), Key("certificate-crt", "tls.crt"), "SourceKeyMissing"),
        row("certificate-key", certificate("certificate-key"), Key("certificate-key", "tls.key"), "SourceKeyMissing"),
        row("mtls", mtls("mtls"), Secret("mtls"), "SourceMissing"),
        row("mtls-key", mtls("mtls-key"), Key("mtls-key", "tls.key"), "SourceKeyMissing"),
        row("subject", exchange("subject"), Secret("subject"), "SourceMissing"),
        row("subject-key", exchange("subject-key"), Key("subject-key", "value"), "SourceKeyMissing"),
        row("actor", actor("actor"), Secret("actor"), "SourceMissing"),
        row("assertion", assertion("assertion"), Secret("assertion"), "SourceMissing"),
        row("assertion-key", assertion("assertion-key"), Key("assertion-key", "value"), "SourceKeyMissing"),
        row("obo", obo("obo"), Secret("obo"), "SourceMissing"),
        row("obo-key", obo("obo-key"), Key("obo-key", "value"), "SourceKeyMissing"),
        row("obo-use", obo("obo-use"), Note("obo-use", "apicred.dev/state-of", json!("another")), "NotAuthorizedBySecret"),
        row("state", refresh("state"), Secret("state"), "SignInRequired"),
        row("state-key", refresh("state-key"), Key("state-key", "value"), "SourceKeyMissing"),
        row("state-owner", refresh("state-owner"), Note("state-owner", "apicred.dev/state-of", json!("another")), "NotAuthorizedBySecret"),
        row("parameter", parameter("parameter"), Secret("parameter"), "SourceMissing"),
        row("parameter-key", parameter("parameter-key"), Key("parameter-key", "value"), "SourceKeyMissing"),
        row("certificate-time", certificate("certificate-time"), Time("certificate-time"), "CertificateExpired"),
        row("mtls-time", mtls("mtls-time"), Time("mtls-time"), "CertificateExpired"),
        row("password", password("password"), Secret("password"), "SourceMissing"),
        row("static", fixed("static"), Secret("static"), "SourceMissing"),
        row("static-key", fixed("static-key"), Key("static-key", "value"), "SourceKeyMissing"),
        row("static-owner", fixed("static-owner"), Note("static-owner", "apicred.dev/publish-by", json!("another")), "NotAuthorizedBySecret"),
        row("account", account("goes"), Account("goes"), "ServiceAccountMissing"),
        row("account-origin", account("narrowed"), AccountNote("narrowed"), "NotAuthorizedBySecret"),
        row("account-subject", exchanged, AccountNote("narrowed"), "NotAuthorizedBySecret"),
        row("issuer", secret("issuer"), Cluster, "IssuerNotFound"),
        row("own-issuer", mine("own-issuer"), Own, "IssuerNotFound"),
        row("client", by_client.clone(), Client, "ClientNotFound"),
        row("client-source", by_client, Secret("client-source"), "ClientSecretMissing"),
        row("own-origin", mine("own-origin"), Note("own-origin", "apicred.dev/allowed-issuers", json!(other)), "NotAuthorizedBySecret"),
        row("origin", secret("origin"), Note("origin", "apicred.dev/allowed-issuers", json!(other)), "NotAuthorizedBySecret"),
        row("use", secret("use"), Note("use", "apicred.dev/state-of", json!("another")), "NotAuthorizedBySecret"),
        row("namespaces", secret("namespaces"), Issuer(json!({ "allowedNamespaces": { "names": ["elsewhere"] } })), "NotAuthorizedByIssuer"),
        row("scopes", secret("scopes"), Issuer(json!({ "allowedScopes": ["other"] })), "ScopeNotAllowed"),
        row("parameters", merge(secret("parameters"), json!({ "parameters": [{ "name": "acr", "value": "x" }] })), Issuer(json!({ "allowedParameters": ["other"] })), "ParameterNotAllowed"),
        row("grants", secret("grants"), Issuer(json!({ "allowedGrants": ["JwtBearer"] })), "GrantNotAllowed"),
        row("subjects", password("subjects"), Issuer(json!({ "allowedSubjects": ["bob"] })), "SubjectNotAllowed"),
        row("ca", secret("ca"), Issuer(json!({ "caBundle": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" })), "CaBundleInvalid"),
    ];
    rows
}

/// The place, with an issuer for each row.
struct Stage<'a> {
    place: &'a Place,
    listener: &'a Listener,
}

impl Stage<'_> {
    fn issuers(&self) -> Api<ClusterTokenIssuer> {
        Api::all(self.place.kube.clone())
    }

    fn issuer(&self, row: &str) -> String {
        format!("{}-{row}", self.place.namespace)
    }

    async fn set_up(&self, row: &Row) {
        let name = row.name;
        let place = self.place;
        // Only Entra ID has this grant.
        let kind = if row.spec.pointer("/grant/onBehalfOf").is_some() {
            json!({ "entra": { "tenantId": "t.example", "authorityHost": self.listener.origin() } })
        } else {
            json!({ "oauth2": { "tokenUrl": self.listener.token_url } })
        };
        let issuer = json!({
            "apiVersion": "apicred.dev/v1alpha1", "kind": "ClusterTokenIssuer",
            "metadata": { "name": self.issuer(name) },
            "spec": {
                "caBundle": self.listener.ca_pem,
                "network": { "allowedCidrs": ["127.0.0.0/8"] },
                "allowedNamespaces": { "names": [place.namespace] },
                "allowedGrants": ["ClientCredentials", "Password", "TokenExchange", "JwtBearer", "OnBehalfOf", "RefreshToken"],
            },
        });
        let issuer = merge(issuer, json!({ "spec": kind }));
        let issuers = self.issuers();
        let made = issuers.create(&PostParams::default(), &typed(issuer)).await;
        made.expect("an issuer");
        place
            .put_secret(name, "value", &format!("s3cr3t~{}", unique()))
            .await;
        let certificate = ["/client/certificates", "/client/mtls"];
        if certificate
            .iter()
            .any(|way| row.spec.pointer(way).is_some())
        {
            let pair = keys::keys(keys::Kind::P256, "client", None);
            // No key can be removed from a Secret of type kubernetes.io/tls. A certificate is not a secret for the search for leaks.
            let pair =
                json!({ "stringData": { "tls.crt": pair.certificate, "tls.key": pair.key } });
            place.edit_secret(name, pair).await;
        }
        let allowed = json!({ "apicred.dev/allowed-issuers": self.listener.origin() });
        let allowed = json!({ "metadata": { "annotations": allowed } });
        place.edit_secret(name, allowed).await;
        // Nulls remove a part of the usual spec.
        let mut spec = row.spec.clone();
        spec["target"] = json!({ "secretName": format!("token-{name}") });
        let fixed = spec.pointer("/static").is_some();
        spec["scopes"] = if fixed { Value::Null } else { json!(["read"]) };
        if spec.get("issuerRef").is_none() {
            spec["issuerRef"] = json!({ "kind": "ClusterTokenIssuer", "name": self.issuer(name) });
        }
        if spec["issuerRef"]["kind"] == "TokenIssuer" {
            self.own_issuer(name).await;
        }
        if row.spec.pointer("/grant/refreshToken").is_some() {
            let note = json!({ "apicred.dev/state-of": name });
            let note = json!({ "metadata": { "annotations": note } });
            place.edit_secret(name, note).await;
        }
        if spec.get("clientRef").is_some() {
            spec["clientRef"] = json!({ "name": name });
            let secrets = json!([own(name)]);
            let client = json!({ "issuerRef": spec["issuerRef"], "secrets": secrets });
            place.put_client(name, client).await;
        }
        if fixed {
            let note = json!({ "apicred.dev/publish-by": name });
            let note = json!({ "metadata": { "annotations": note } });
            place.edit_secret(name, note).await;
        }
        place.create(name, spec).await;
    }

    async fn own_issuer(&self, name: &str) {
        let own: Api<TokenIssuer> = Api::namespaced(self.place.kube.clone(), &self.place.namespace);
        let oauth2 = json!({ "tokenUrl": self.listener.token_url });
        let issuer = typed(json!({
            "apiVersion": "apicred.dev/v1alpha1", "kind": "TokenIssuer",
            "metadata": { "name": name },
            "spec": { "oauth2": oauth2, "caBundle": self.listener.ca_pem },
        }));
        let made = own.create(&PostParams::default(), &issuer).await;
        made.expect("an issuer");
    }

    async fn go(&self, row: &Row) {
        let place = self.place;
        let delete = DeleteParams::default();
        match &row.go {
            Go::Secret(name) => {
                place
                    .secrets()
                    .delete(name, &delete)
                    .await
                    .expect("it goes");
            }
            Go::Key(name, key) => {
                place
                    .edit_secret(name, json!({ "data": { *key: null } }))
                    .await;
            }
            Go::Time(name) => {
                let pair = keys::keys_until(keys::Kind::P256, "client", None, -1);
                let pair =
                    json!({ "stringData": { "tls.crt": pair.certificate, "tls.key": pair.key } });
                place.edit_secret(name, pair).await;
            }
            Go::Note(name, note, value) => {
                let note = json!({ "metadata": { "annotations": { *note: value } } });
                place.edit_secret(name, note).await;
            }
            Go::Issuer(change) => {
                let patch = Patch::Merge(json!({ "spec": change }));
                let (issuers, name) = (self.issuers(), self.issuer(row.name));
                let params = PatchParams::default();
                let patched = issuers.patch(&name, &params, &patch);
                patched.await.expect("another spec");
            }
            Go::Cluster => {
                let gone = self.issuers();
                gone.delete(&self.issuer(row.name), &delete)
                    .await
                    .expect("it goes");
            }
            Go::Own => {
                let own: Api<TokenIssuer> = Api::namespaced(place.kube.clone(), &place.namespace);
                own.delete(row.name, &delete).await.expect("it goes");
            }
            Go::Client => place.delete_client(row.name).await,
            Go::Account(name) => {
                let accounts: Api<ServiceAccount> =
                    Api::namespaced(place.kube.clone(), &place.namespace);
                accounts.delete(name, &delete).await.expect("it goes");
            }
            Go::AccountNote(name) => {
                let accounts: Api<ServiceAccount> =
                    Api::namespaced(place.kube.clone(), &place.namespace);
                let note = json!({ "apicred.dev/allowed-issuers": "https://other.example" });
                let change = Patch::Merge(json!({ "metadata": { "annotations": note } }));
                let params = PatchParams::default();
                let patched = accounts.patch(name, &params, &change).await;
                patched.expect("another annotation");
            }
        }
    }

    /// The condition, the event and the token, after the removal.
    async fn reported(&self, row: &Row, token: &[u8]) -> Result<(), String> {
        let place = self.place;
        let credential = place.credentials().get(row.name).await;
        let credential = credential.map_err(|e| e.to_string())?;
        let condition_of = |kind: &str| condition(&credential, kind).map(|c| (c.status, c.reason));
        let expected = Some(("True".to_owned(), row.reason.to_owned()));
        if condition_of("RenewalFailing") != expected {
            return Err(format!("{}: {:?}", row.name, credential.status));
        }
        let ready = condition_of("Ready").unwrap_or_default();
        if ready != ("True".to_owned(), "TokenPublished".to_owned()) {
            return Err(format!("{}: Ready is {ready:?}", row.name));
        }
        let events = place.events(row.name).await;
        if !events.iter().any(|e| e.0 == "Warning" && e.1 == row.reason) {
            return Err(format!("{}: no event: {events:?}", row.name));
        }
        (self.token(row).await? == token)
            .then_some(())
            .ok_or_else(|| format!("{}: another token", row.name))
    }

    /// The token, or the static key.
    async fn token(&self, row: &Row) -> Result<Vec<u8>, String> {
        let secret = self
            .place
            .secrets()
            .get(&format!("token-{}", row.name))
            .await;
        let data = secret.map_err(|e| e.to_string())?.data.unwrap_or_default();
        let token = data.get("token").map(|token| token.0.clone());
        token.ok_or_else(|| "no token".to_owned())
    }
}

#[test]
fn whatever_goes_is_reported_at_once_and_the_token_stays() {
    run(async {
        let world = World::shared().await;
        let place = world.place("going").await;
        let listener = Listener::start();
        let stage = Stage {
            place: &place,
            listener: &listener,
        };
        for account in ["goes", "narrowed"] {
            let allowed = json!({ "apicred.dev/allowed-issuers": listener.origin() });
            service_account(&place, account, allowed).await;
        }
        let rows = rows();
        for row in &rows {
            stage.set_up(row).await;
        }
        let mut tokens = Vec::new();
        for row in &rows {
            let ready = |c: &ApiCredential| condition(c, "Ready").filter(|c| c.status == "True");
            place.until(row.name, "a token", ready).await;
            tokens.push(stage.token(row).await.expect("a token"));
        }
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        let sent = listener.requests().len();
        let lines = |row: &Row| log_of_credential(world, &place.namespace, row.name);
        let before: Vec<usize> = rows.iter().map(|row| lines(row).len()).collect();
        for row in &rows {
            stage.go(row).await;
        }
        let mut failed = Vec::new();
        let deadline = tokio::time::Instant::now() + SOON;
        for (row, token) in rows.iter().zip(&tokens) {
            loop {
                match stage.reported(row, token).await {
                    Ok(()) => break,
                    Err(why) if tokio::time::Instant::now() > deadline => {
                        failed.push(why);
                        break;
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        }
        assert!(
            failed.is_empty(),
            "{} of {}: {failed:#?}",
            failed.len(),
            rows.len()
        );
        assert_eq!(listener.requests().len(), sent, "a request was sent");
        // One line of the log for each.
        for (row, before) in rows.iter().zip(before) {
            let line = format!("began RenewalFailing {}", row.reason);
            assert_eq!(lines(row)[before..], [line], "{}", row.name);
        }
    });
}
