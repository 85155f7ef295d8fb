//! A certificate that was replaced in its Secret before the new one is registered at the issuer: until then, tokens are requested with
//! the last good one, from a copy.

mod refused;
mod unusable;

use std::collections::BTreeMap;

use apicred::api::ApiCredential;
use dev_issuer::Client as OauthClient;
use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use testenv::eventually;

use crate::clients::by_client;
use crate::support::{
    LATER, Place, SOON, World, condition,
    keys::{self, Keys, Kind},
    merge, run, unique,
};

/// The Secret that cert-manager writes, and its copy.
const TLS: &str = "tls";
const COPY: &str = "tls-last-good";
const IN_USE: &str = "tls/tls.key";
const COPY_IN_USE: &str = "tls-last-good/tls.key";

fn pair(name: &str) -> Keys {
    keys::keys(Kind::Rsa, name, None)
}

fn by_certificate(id: &str) -> Value {
    json!({ "client": { "id": id, "secrets": null, "certificates": [{ "secretName": TLS }] } })
}

impl Place {
    /// Registers these certificates of the client, and its client secret, at the issuer.
    fn knows(&self, certificates: &[&Keys]) {
        let with = |client: OauthClient, keys: &&Keys| client.certificate(&keys.certificate);
        self.add_client(certificates.iter().fold(self.oauth_client(), with));
    }

    async fn set_keep_last_good(&self, value: Value) {
        let annotations = json!({ "apicred.dev/keep-last-good": value });
        let edit = json!({ "metadata": { "annotations": annotations } });
        self.edit_secret(TLS, edit).await;
    }

    /// A credential `c` whose certificate has obtained a token and has a copy.
    async fn with_copy(&self, first: &Keys) {
        self.knows(&[first]);
        self.put_tls(TLS, first).await;
        // As cert-manager does.
        let annotations = json!({ "cert-manager.io/certificate-name": TLS });
        let edit = json!({ "metadata": { "annotations": annotations } });
        self.edit_secret(TLS, edit).await;
        self.create("c", by_certificate(&self.client)).await;
        self.ready("c").await;
        self.copy_is(first).await;
    }

    async fn copy_is(&self, keys: &Keys) -> Secret {
        eventually(SOON, "the copy of the pair", async || {
            let copy = self
                .secrets()
                .get_opt(COPY)
                .await
                .map_err(|e| e.to_string())?;
            let copy = copy.ok_or("no copy")?;
            let same =
                text(&copy, "tls.key") == keys.key && text(&copy, "tls.crt") == keys.certificate;
            same.then_some(copy)
                .ok_or_else(|| "another pair".to_owned())
        })
        .await
    }

    /// Waits until this client credential is in use, and no fault of one is reported.
    async fn uses(&self, name: &str, entry: &str) {
        let what = format!("{entry} in use");
        let calm = |c: &ApiCredential| {
            let used = c.status.as_ref()?.client_in_use()?;
            let calm = condition(c, "ClientCredentialExpiring").is_none();
            (used == entry && calm).then_some(())
        };
        self.until(name, &what, calm).await;
    }

    /// Waits until the copy is in use because the new certificate is refused. Returns the reported message.
    async fn falls_back(&self, name: &str) -> String {
        let refused = |c: &ApiCredential| {
            let used = c.status.as_ref()?.client_in_use()?;
            let reported = condition(c, "ClientCredentialExpiring")?;
            let ready = condition(c, "Ready")?.status == "True";
            let fell = used == COPY_IN_USE && reported.reason == "ClientCredentialRefused" && ready;
            (fell && condition(c, "RenewalFailing").is_none()).then_some(reported.message)
        };
        self.until(name, "the last good certificate in use", refused)
            .await
    }

    /// Waits until a requested renewal was served.
    async fn renews(&self, name: &str) {
        let set_keep_last_good = self.request_renewal(name).await;
        let served = |c: &ApiCredential| {
            let handled = c.status.as_ref()?.last_handled_renew_request.as_deref();
            (handled == Some(set_keep_last_good.as_str())).then_some(())
        };
        self.until(name, "the renewal served", served).await;
    }

    /// Waits until the garbage collector has deleted the copy.
    async fn no_copy(&self) {
        eventually(LATER, "the end of the copy", async || {
            let copy = self.secrets().get_opt(COPY).await;
            let copy = copy.map_err(|e| e.to_string())?;
            copy.map_or(Ok(()), |c| Err(format!("{:?}", c.metadata)))
        })
        .await;
    }

    /// Names of the Secrets with this private key.
    async fn holders(&self, keys: &Keys) -> Vec<String> {
        let all = self
            .secrets()
            .list(&kube::api::ListParams::default())
            .await
            .expect("Secrets");
        let holds = |s: &&Secret| {
            let data = s.data.iter().flat_map(BTreeMap::values);
            data.into_iter().any(|v| v.0 == keys.key.as_bytes())
        };
        all.items
            .iter()
            .filter(holds)
            .filter_map(|s| s.metadata.name.clone())
            .collect()
    }
}

fn text(secret: &Secret, key: &str) -> String {
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    String::from_utf8(value.map(|v| v.0.clone()).unwrap_or_default()).expect("text")
}

fn owners(secret: &Secret) -> Vec<(String, String)> {
    let owners = secret.metadata.owner_references.iter().flatten();
    owners.map(|o| (o.kind.clone(), o.name.clone())).collect()
}

#[test]
fn tokens_go_on_until_the_issuer_knows_the_new_certificate() {
    run(async {
        let mut world = World::own().await;
        world.start_operator().await;
        let place = world.place("last-good").await;
        let (old, new) = (pair("old"), pair("new"));
        place.with_copy(&old).await;
        let copy = place.copy_is(&old).await;
        assert_eq!(copy.type_.as_deref(), Some("kubernetes.io/tls"));
        assert_eq!(
            owners(&copy),
            [("ApiCredential".to_owned(), "c".to_owned())]
        );
        let labels = copy.metadata.labels.unwrap_or_default();
        assert_eq!(
            labels
                .get("app.kubernetes.io/managed-by")
                .map(String::as_str),
            Some("apicred")
        );
        let (mark, posts) = (world.mark(), place.posts());

        // cert-manager renews. One request shows that the new one is not registered at the issuer, the next one gets a token.
        place.put_tls(TLS, &new).await;
        let reported = place.falls_back("c").await;
        assert!(
            reported.contains("the certificate in Secret tls (key tls.key)"),
            "{reported}"
        );
        assert!(
            reported.contains("the last good certificate of Secret tls"),
            "{reported}"
        );
        assert_eq!(place.posts(), posts + 2);
        place.copy_is(&old).await;

        // A restart loses nothing.
        world.kill_operator().await;
        world.start_operator().await;
        place.renews("c").await;
        place.falls_back("c").await;
        assert_eq!(
            place.posts(),
            posts + 4,
            "the new one is tried again, and refused"
        );
        let writes = world.since(mark, &place).writes();
        assert!(writes.iter().all(|w| !w.contains(COPY)), "{writes:?}");

        // The new one is registered: it takes over, and the old key is stored nowhere.
        place.knows(&[&new]);
        place.renews("c").await;
        place.uses("c", IN_USE).await;
        place.copy_is(&new).await;
        assert_eq!(place.holders(&old).await, Vec::<String>::new());
        assert_eq!(place.posts(), posts + 5);

        // While no operator runs, the credential gets another certificate, and the Secret is deleted. No object refers to the copy any more.
        world.kill_operator().await;
        place.put_tls("other", &new).await;
        let other = json!([{ "secretName": "other" }]);
        place
            .edit(
                "c",
                json!({ "spec": { "client": { "certificates": other } } }),
            )
            .await;
        let params = DeleteParams::default();
        place
            .secrets()
            .delete(TLS, &params)
            .await
            .expect("a deletion");
        world.start_operator().await;
        place.no_copy().await;
        place.uses("c", "other/tls.key").await;
        assert_eq!(place.holders(&new).await, ["other"]);
    });
}

#[test]
fn the_copy_is_deleted_with_its_annotation_and_with_its_secret() {
    run(async {
        let world = World::shared().await;
        let place = world.place("last-good-ends").await;
        let (old, new) = (pair("old"), pair("new"));
        place.with_copy(&old).await;
        let emptied = async || {
            let copy = place
                .secrets()
                .get_opt(COPY)
                .await
                .map_err(|e| e.to_string())?;
            let empty = copy.is_none_or(|c| text(&c, "tls.key").is_empty());
            empty.then_some(()).ok_or_else(|| "it has a key".to_owned())
        };
        place.set_keep_last_good(json!("false")).await;
        eventually(SOON, "an empty copy", emptied).await;
        assert_eq!(place.holders(&old).await, [TLS]);
        // Switched on again: the next token shows that the pair works.
        place.set_keep_last_good(json!("true")).await;
        place.renews("c").await;
        place.copy_is(&old).await;

        place.put_tls(TLS, &new).await;
        place.falls_back("c").await;
        let token = place.ready("c").await.token;
        let params = DeleteParams::default();
        place
            .secrets()
            .delete(TLS, &params)
            .await
            .expect("a deletion");
        let fails = |c: &ApiCredential| {
            let failing = condition(c, "RenewalFailing")?;
            (failing.reason == "SourceMissing").then_some(())
        };
        place.until("c", "no certificate any more", fails).await;
        // The garbage collector deletes it: the operator may not.
        place.no_copy().await;
        assert_eq!(place.ready("c").await.token, token, "the token stays");
        assert_eq!(place.holders(&old).await, Vec::<String>::new());
    });
}

#[test]
fn two_credentials_share_a_certificate_and_the_slower_issuer_counts() {
    run(async {
        let world = World::shared().await;
        let place = world.place("last-good-shared").await;
        let (old, new) = (pair("old"), pair("new"));
        place.with_copy(&old).await;
        // Another application with the same certificate.
        let id = unique();
        let other = |keys: &Keys| {
            let client = OauthClient::new(&id).role("demo", "Records.Read");
            place.add_client(client.certificate(&keys.certificate));
        };
        other(&old);
        let target = json!({ "target": { "secretName": "other" } });
        place
            .create("other", merge(by_certificate(&id), target))
            .await;
        place.ready("other").await;
        // A client secret has no copy, whatever the annotation of its Secret is.
        let set_keep_last_good =
            json!({ "metadata": { "annotations": { "apicred.dev/keep-last-good": "true" } } });
        place.edit_secret("source", set_keep_last_good).await;
        let target = json!({ "target": { "secretName": "by-secret" } });
        place.create("by-secret", target).await;
        place.ready("by-secret").await;
        eventually(SOON, "both own the copy", async || {
            let copy = place.copy_is(&old).await;
            owners(&copy).len() == 2
        })
        .await;

        place.knows(&[&old, &new]);
        place.put_tls(TLS, &new).await;
        place.falls_back("other").await;
        place.uses("c", IN_USE).await;
        place.renews("c").await;
        place.renews("other").await;
        place.falls_back("other").await;
        place.copy_is(&old).await;

        other(&new);
        place.renews("other").await;
        place.uses("other", IN_USE).await;
        place.copy_is(&new).await;
        place.uses("c", IN_USE).await;
        let none = place.secrets().get_opt("source-last-good").await;
        assert!(none.expect("an answer").is_none());
    });
}

#[test]
fn the_copy_goes_nowhere_that_its_secret_may_not_go() {
    run(async {
        let world = World::shared().await;
        let place = world.place("last-good-bound").await;
        let (old, new) = (pair("old"), pair("new"));
        // A user who may create Secrets, but not read them, makes a tool copy a Secret that apicred stores.
        place.put_secret(COPY, "tls.key", "").await;
        let led = json!({ "metadata": {
            "labels": { "replicate": "yes" },
            "annotations": { "apicred.dev/last-good-of": "", "replicator.v1.mittwald.de/replicate-to": "theirs" },
        } });
        place.edit_secret(COPY, led).await;
        place.with_copy(&old).await;
        let copy = place.copy_is(&old).await.metadata;
        let keys = |map: Option<BTreeMap<String, String>>| -> Vec<String> {
            map.unwrap_or_default().into_keys().collect()
        };
        assert_eq!(keys(copy.labels), ["app.kubernetes.io/managed-by"]);
        assert_eq!(keys(copy.annotations), ["apicred.dev/last-good-of"]);
        // No credential may refer to the copy itself.
        let named = json!({
            "client": { "id": place.client, "secrets": null, "certificates": [{ "secretName": COPY }] },
            "target": { "secretName": "named" },
        });
        place.create("named", named).await;
        let reported = place.not_ready("named", "NotAuthorizedBySecret").await;
        assert!(
            reported.contains("a copy of a certificate that apicred keeps"),
            "{reported}"
        );

        place.put_tls(TLS, &new).await;
        place.falls_back("c").await;
        let posts = place.posts();
        let elsewhere = json!({ "metadata": { "annotations": { "apicred.dev/allowed-issuers": "https://other.example" } } });
        place.edit_secret(TLS, elsewhere).await;
        place.request_renewal("c").await;
        let denied = |c: &ApiCredential| {
            let failing = condition(c, "RenewalFailing")?;
            (failing.reason == "NotAuthorizedBySecret").then_some(())
        };
        place.until("c", "no issuer may receive it", denied).await;
        assert_eq!(place.posts(), posts, "nothing was sent");

        // Neither is registered at the issuer: the message is about the certificate of the Secret.
        let anywhere =
            json!({ "metadata": { "annotations": { "apicred.dev/allowed-issuers": null } } });
        place.edit_secret(TLS, anywhere).await;
        place.knows(&[]);
        place.request_renewal("c").await;
        let refused = |c: &ApiCredential| {
            let failing = condition(c, "RenewalFailing")?;
            let about = failing
                .message
                .contains("the certificate in Secret tls (key tls.key)");
            (failing.reason == "ClientRefused" || about).then_some(failing.message)
        };
        let reported = place.until("c", "both refused", refused).await;
        assert!(!reported.contains(COPY), "{reported}");
        place.copy_is(&old).await;
    });
}

#[test]
fn a_shared_client_owns_the_copy_and_a_secret_in_the_way_stays() {
    run(async {
        let world = World::shared().await;
        let place = world.place("last-good-client").await;
        let old = pair("old");
        place.knows(&[&old]);
        place.put_tls(TLS, &old).await;
        place.set_keep_last_good(json!("true")).await;
        let note = unique();
        place.put_secret(COPY, "note", &note).await;
        let way = json!({ "secrets": null, "certificates": [{ "secretName": TLS }] });
        place.put_client("shared", way).await;
        for name in ["a", "b"] {
            place.create(name, by_client(name)).await;
            place.ready(name).await;
        }
        let blocked = |c: &ApiCredential| {
            let reported = condition(c, "ClientCredentialExpiring")?;
            let named = reported.message.contains("Secret tls-last-good exists");
            (named && reported.reason == "LastGoodNotWritten").then_some(())
        };
        place
            .until("a", "the Secret in the way reported", blocked)
            .await;
        let stays = place.secrets().get(COPY).await.expect("a Secret");
        assert_eq!(text(&stays, "note"), note);
        let params = DeleteParams::default();
        place
            .secrets()
            .delete(COPY, &params)
            .await
            .expect("a deletion");
        let copy = place.copy_is(&old).await;
        assert_eq!(
            owners(&copy),
            [("ApiClient".to_owned(), "shared".to_owned())]
        );
        let calm = |c: &ApiCredential| {
            let reported = condition(c, "ClientCredentialExpiring");
            reported.is_none().then_some(())
        };
        place.until("a", "nothing in the way", calm).await;
        // It is deleted with its owner.
        place.delete("a").await;
        place.delete("b").await;
        place.copy_is(&old).await;
        place.delete_client("shared").await;
        place.no_copy().await;
        assert_eq!(place.holders(&old).await, [TLS]);
    });
}
