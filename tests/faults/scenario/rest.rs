//! A case at rest: its state, masked, and the wait until nothing happens any more.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::{ResourceExt, api::ListParams};
use serde_json::{Value, json};
use testenv::eventually;

use super::{CALM, Case, DIGESTS, REFERENCE, pause};
use crate::{oracles::mask_all, support::LATER};

impl Case {
    /// The state of all objects that concern the credential, masked (O8).
    pub(super) async fn state(&self) -> Result<Value, String> {
        let credential = self.place.credentials().get("c").await;
        let credential = credential.map_err(|e| e.to_string())?;
        let issuer = self.place.issuers().get(&self.place.issuer_name).await;
        let issuer = issuer.map_err(|e| e.to_string())?;
        let secret = self.place.secrets().get("token").await;
        let mut secret =
            serde_json::to_value(secret.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
        // The managers and times of fields; the fields themselves are all compared.
        secret["metadata"]["managedFields"] = Value::Null;
        for key in DIGESTS {
            secret["metadata"]["annotations"][key] = Value::Null;
        }
        let mut names: Vec<String> = (self.all_secrets().await.iter())
            .map(ResourceExt::name_any)
            .collect();
        names.retain(|n| n != "apicred-digest-key");
        // Times are masked, so this checks that status shows the present token.
        let reported = credential.status.as_ref().and_then(|s| s.token_id.clone());
        let there = self.place.view("token").await?;
        let fits = reported.as_deref() == Some(there.token_id());
        let mut status = serde_json::to_value(credential.status).map_err(|e| e.to_string())?;
        status["tokenId"] = Value::Null;
        // It is lost with a lost answer, because the Secret does not store it.
        status["lastAttempt"]["correlationId"] = Value::Null;
        let mut state = json!({
            "status": status,
            "statusTellsOfTheSecret": fits,
            "finalizers": credential.metadata.finalizers,
            "issuer": issuer.status,
            "secret": secret,
            "secrets": names,
        });
        mask_all(&self.place, &mut state);
        Ok(state)
    }

    pub(super) async fn all_secrets(&self) -> Vec<Secret> {
        let list = self.place.secrets().list(&ListParams::default()).await;
        list.expect("Secrets").items
    }

    /// Secrets of others.
    pub(super) async fn others(&self) -> Value {
        let mut others = self.all_secrets().await;
        others.retain(|s| s.name_any() == "bystander");
        serde_json::to_value(others).expect("Secrets")
    }

    /// Waits until the state is that of the reference, and then nothing is written or requested (O7, O8). A scenario
    /// that ends in another state fails with both states.
    pub(super) async fn until_at_rest(&mut self) -> Value {
        // The reference itself is compared with nothing; the issuer's condition is written in parallel with the token.
        let wanted = REFERENCE.get().map(|r| r.end.clone());
        let began = Instant::now();
        let state = loop {
            if let Err(error) = self.read().await {
                unreachable!("{}: {error}", self.name);
            }
            let state = self.state().await.expect("a state");
            let there = match &wanted {
                None => state["issuer"] != Value::Null && state["statusTellsOfTheSecret"] == true,
                Some(wanted) => state == *wanted,
            };
            if there {
                break state;
            }
            assert!(
                began.elapsed() < LATER,
                "{}: O8: it ended in\n{state:#}\nin place of\n{:#}\n{:#?}",
                self.name,
                wanted.unwrap_or_default(),
                self.journal(),
            );
            pause(began).await;
        };
        self.stays_quiet(CALM).await;
        let after = self.state().await.expect("a state");
        assert_eq!(after, state, "{}: O7: it did not stay", self.name);
        state
    }

    /// Nothing is written and no token is requested (O7), after the work in progress has ended. That work takes a
    /// few windows on a busy machine; repeated work fills each of them.
    pub(crate) async fn stays_quiet(&self, window: Duration) {
        const UNDER_WAY: usize = 8;
        let made = || {
            (
                self.wire.writes().values().sum::<usize>(),
                self.place.posts(),
            )
        };
        for _ in 0..UNDER_WAY {
            let before = made();
            tokio::time::sleep(window.saturating_mul(2)).await;
            if before == made() {
                return;
            }
        }
        unreachable!("{}: O7: {:#?}", self.name, self.journal());
    }

    /// Waits until the credential and its Secret are deleted, and no more requests concern them (O12).
    pub(crate) async fn until_gone(&self) {
        eventually(LATER, format!("{}: O12: the end", self.name), async || {
            let credential = self.place.credentials().get_opt("c").await;
            let secret = self.place.secrets().get_opt("token").await;
            match (credential, secret) {
                (Ok(None), Ok(None)) => Ok(()),
                (credential, secret) => Err(format!("{credential:?} {:?}", secret.is_ok())),
            }
        })
        .await;
        self.stays_quiet(CALM).await;
        let left = self.place.secrets().get_opt("token").await;
        assert!(left.is_ok_and(|s| s.is_none()), "{}: O12", self.name);
    }

    /// All readable output about the case.
    pub(crate) async fn text(&self) -> String {
        let credential = self.place.credentials().get("c").await.ok();
        let issuer = self.place.issuers().get(&self.place.issuer_name).await.ok();
        let events = self.place.events("c").await;
        let metadata: Vec<_> = (self.all_secrets().await.into_iter())
            .map(|s| (s.metadata.name, s.metadata.annotations, s.metadata.labels))
            .collect();
        format!("{credential:?} {issuer:?} {events:?} {metadata:?} ")
    }
}
