//! A user who has signed in once: the changes of the refresh token, and whether the user must sign in again.

use std::time::Duration;

use apicred::api::ApiCredential;
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use testenv::eventually;
use tokio::sync::Semaphore;

use crate::{
    refresh_issuer::{CLIENT, Rotating},
    scenario::{Case, Mode, world},
    support::{LATER, condition, merge},
};

/// Scenarios at once: more would only wait for each other.
pub(crate) static TURNS: Semaphore = Semaphore::const_new(16);
pub(crate) const STATE: &str = "state";
pub(crate) const KEY: &str = "refresh-token";
pub(crate) const MARK: &str = "apicred.dev/in-flight-since";

/// A user's sign-in at an issuer, and a credential that uses it.
pub(crate) struct User {
    pub(crate) case: Case,
    pub(crate) issuer: Rotating,
}

impl User {
    /// Everything except the credential. `tokens` is `refreshTokens` of the issuer.
    pub(crate) async fn new(mode: Mode, name: &str, tokens: Value) -> Self {
        let case = Case::within(world().await, name, mode).await;
        let issuer = Rotating::start();
        let user = Self { case, issuer };
        user.put_issuer(&user.issuer.url, &user.issuer.ca, tokens)
            .await;
        let token = user.issuer.sign_in();
        user.put(&token).await;
        user
    }

    pub(crate) async fn put_issuer(&self, url: &str, ca: &str, tokens: Value) {
        let place = &self.case.place;
        let spec = json!({
            "entra": null, "oauth2": { "tokenUrl": url }, "caBundle": ca, "refreshTokens": tokens,
        });
        place.put_issuer(merge(place.entra_issuer(), spec)).await;
    }

    /// Stores a refresh token in the state Secret, as a tool does that applies it.
    pub(crate) async fn put(&self, token: &str) {
        self.case.place.canaries.add(token);
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": STATE, "annotations": { "apicred.dev/state-of": "c" } },
            "stringData": { KEY: token },
        });
        let params = PatchParams::apply("a-git-tool").force();
        let secrets = self.case.place.secrets();
        let put = secrets.patch(STATE, &params, &Patch::Apply(&secret)).await;
        put.expect("a state Secret");
    }

    /// Replaces the whole state Secret, including its annotations.
    pub(crate) async fn replace(&self, token: &str) {
        let secrets = self.case.place.secrets();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": STATE, "annotations": { "apicred.dev/state-of": "c" } },
            "stringData": { KEY: token },
        });
        let secret = serde_json::from_value(secret).expect("a Secret");
        let params = PostParams {
            field_manager: Some("a-backup".to_owned()),
            ..PostParams::default()
        };
        let replaced = secrets.replace(STATE, &params, &secret).await;
        replaced.expect("a state Secret");
    }

    /// Restores a Secret, including all annotations, as a restore from a backup does.
    pub(crate) async fn restore(&self, backup: &Secret, in_place: bool) {
        let secrets = self.case.place.secrets();
        let mut secret = backup.clone();
        let name = secret.metadata.name.clone().expect("a name");
        secret.metadata = ObjectMeta {
            name: Some(name.clone()),
            annotations: secret.metadata.annotations,
            labels: secret.metadata.labels,
            owner_references: secret.metadata.owner_references,
            ..ObjectMeta::default()
        };
        let params = PostParams {
            field_manager: Some("velero-server".to_owned()),
            ..PostParams::default()
        };
        if in_place {
            let replaced = secrets.replace(&name, &params, &secret).await;
            replaced.expect("a Secret that is restored");
        } else {
            let deleted = secrets.delete(&name, &DeleteParams::default()).await;
            deleted.expect("a Secret that is deleted");
            let made = secrets.create(&params, &secret).await;
            made.expect("a Secret that is restored");
        }
    }

    /// Creates Secret `copy` with the content of a state Secret, for credential `d`.
    pub(crate) async fn store_copy(&self, state: &Secret) {
        let mut copy = state.clone();
        copy.metadata = ObjectMeta {
            name: Some("copy".to_owned()),
            annotations: Some([("apicred.dev/state-of".to_owned(), "d".to_owned())].into()),
            ..ObjectMeta::default()
        };
        let secrets = self.case.place.secrets();
        let made = secrets.create(&PostParams::default(), &copy).await;
        made.expect("a copy");
    }

    /// Waits until the issuer has received this number of requests.
    pub(crate) async fn until_requests(&self, count: usize) {
        eventually(LATER, "the request", async || {
            let requests = self.issuer.requests();
            if requests == count {
                Ok(())
            } else {
                Err(requests)
            }
        })
        .await;
    }

    pub(crate) fn spec(change: Value) -> Value {
        merge(
            json!({
                "client": { "id": CLIENT, "secrets": null, "public": {} },
                "grant": { "refreshToken": { "secretRef": { "name": STATE, "key": KEY } } },
                "scopes": ["read"],
            }),
            change,
        )
    }

    pub(crate) async fn begin(&mut self, change: Value) {
        self.case.start();
        self.case.place.create("c", Self::spec(change)).await;
    }

    /// The refresh token and the annotations in the state Secret.
    pub(crate) async fn stored(&self) -> (String, Value) {
        let secret = self.case.place.secrets().get(STATE).await;
        let secret = secret.expect("a state Secret");
        let data = secret.data.unwrap_or_default();
        let token = String::from_utf8_lossy(&data[KEY].0).into_owned();
        (token, json!(secret.metadata.annotations))
    }

    /// Waits until the check of the credential succeeds. The clock advances, and an operator that was killed is started again.
    pub(crate) async fn until<T>(
        &mut self,
        what: &str,
        check: impl Fn(&ApiCredential) -> Option<T>,
    ) -> T {
        let began = std::time::Instant::now();
        loop {
            let seen = self.case.read().await;
            if let Ok(credential) = &seen
                && let Some(found) = check(credential)
            {
                return found;
            }
            let status = seen.map(|c| c.status);
            assert!(
                began.elapsed() < LATER,
                "{}: {what}: {status:?}\n{:?}\n{:#?}\n{}",
                self.case.name,
                self.issuer.family().requests,
                self.case.journal(),
                self.case
                    .log
                    .text()
                    .lines()
                    .rev()
                    .take(12)
                    .collect::<Vec<_>>()
                    .join("\n"),
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a condition has this reason.
    pub(crate) async fn until_reason(&mut self, reason: &str) -> String {
        self.until(reason, |c| {
            let condition_of = |kind| condition(c, kind).filter(|c| c.reason == reason);
            condition_of("Ready")
                .or_else(|| condition_of("RenewalFailing"))
                .map(|c| c.message)
        })
        .await
    }

    /// Waits until the request is served, or a user must sign in. Returns true if it was served.
    pub(crate) async fn until_served(&mut self, renewal_id: Option<&str>) -> bool {
        self.until("an end", |c| {
            let lost =
                |kind| condition(c, kind).is_some_and(|c| c.reason == "RefreshOutcomeUnknown");
            let status = c.status.as_ref()?;
            let ready = condition(c, "Ready")?.status == "True";
            let served =
                renewal_id.is_none() || status.last_handled_renew_request.as_deref() == renewal_id;
            let current = status.observed_generation == c.metadata.generation;
            if lost("Ready") || lost("RenewalFailing") {
                Some(false)
            } else {
                (ready && served && current).then_some(true)
            }
        })
        .await
    }

    pub(crate) async fn renew(&mut self) -> bool {
        let renewal_id = self.case.place.request_renewal("c").await;
        self.until_served(Some(&renewal_id)).await
    }

    /// The refresh token in the Secret is the one that the issuer accepts, and no second use occurred.
    pub(crate) async fn whole(&self, reused: usize) {
        let (token, notes) = self.stored().await;
        let family = self.issuer.family();
        assert_eq!(family.reused, reused, "{}: a second use", self.case.name);
        assert_eq!(family.current.as_ref(), Some(&token), "{}", self.case.name);
        assert_eq!(notes[MARK], Value::Null, "{}: {notes}", self.case.name);
        let log = self.case.log.text();
        assert!(!log.contains(&token), "{}: O10", self.case.name);
    }

    pub(crate) async fn end(mut self) {
        self.case.stop().await;
    }
}
