//! `ApiClients` while lists, watches and statuses fail (F14, F15).

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use apicred::api::{ApiClient, ApiCredential};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use testenv::eventually;
use tokio::sync::Semaphore;

use crate::{
    calls::{Call, Fault},
    scenario::{Case, Mode, in_both_modes, world},
    support::{LATER, merge, run, typed, unique},
};

impl Case {
    fn clients(&self) -> Api<ApiClient> {
        Api::namespaced(self.place.kube.clone(), &self.place.namespace)
    }

    /// Creates the `ApiClient` that the credential `c` refers to.
    async fn put_client(&self, secret: &str) {
        let client = typed(json!({
            "apiVersion": "apicred.dev/v1alpha1", "kind": "ApiClient",
            "metadata": { "name": "shared" },
            "spec": {
                "issuerRef": { "kind": "ClusterTokenIssuer", "name": self.place.issuer_name },
                "id": self.place.client, "secrets": [{ "name": secret, "key": "client-secret" }],
            },
        }));
        let made = self.clients().create(&PostParams::default(), &client).await;
        made.expect("a client");
    }

    /// Waits until status describes the present client, and its `Ready` has this status.
    async fn client_is(&self, ready: &str) {
        let what = format!("{}: the client's status", self.name);
        eventually(LATER, what, async || {
            let client = self.clients().get("shared").await;
            let client = client.map_err(|e| e.to_string())?;
            let seen = client.status.clone().unwrap_or_default();
            let current = seen.observed_generation == client.metadata.generation;
            let mut conditions = seen.conditions.iter();
            let fits = conditions.any(|c| c.type_ == "Ready" && c.status == ready);
            if current && fits {
                Ok(())
            } else {
                Err(format!("{seen:?}\n{:#?}", self.journal()))
            }
        })
        .await;
    }
}

/// A credential with the client `shared`.
fn by_client() -> Value {
    json!({ "client": null, "issuerRef": null, "clientRef": { "name": "shared" } })
}

fn lists(resource: &'static str) -> impl Fn(&Call) -> bool {
    move |call| call.verb == "list" && call.resource == resource
}

/// The credentials in an incomplete list can be read only when the list is complete.
#[test]
fn a_client_that_is_edited_while_credentials_are_listed_leaves_none_of_them_behind() {
    run(in_both_modes(async |mode| {
        let mut case = Case::within(world().await, "client-edit", mode).await;
        let wrong = format!("{}~wrong", unique());
        case.place
            .put_secret("later", "client-secret", &wrong)
            .await;
        case.put_client("source").await;
        case.place.create("c", by_client()).await;
        let go = Arc::new(Semaphore::new(0));
        let end = Arc::clone(&go);
        case.wire.rule(move |call| {
            let hit = lists("apicredentials")(call);
            hit.then(|| Fault::Paused(Arc::clone(&end)))
        });
        case.start();
        let listed = format!("{}: the list names the credential", case.name);
        eventually(LATER, listed, async || {
            if case.probe.started() && case.probe.sizes().index > 0 {
                Ok(())
            } else {
                Err(format!("{:#?}", case.journal()))
            }
        })
        .await;
        let secrets = json!([{ "name": "later", "key": "client-secret" }]);
        let edit = Patch::Merge(json!({ "spec": { "secrets": secrets } }));
        let (clients, params) = (case.clients(), PatchParams::default());
        let edited = clients.patch("shared", &params, &edit).await;
        edited.expect("an edit");
        case.client_is("True").await;
        go.close();
        case.place.not_ready("c", "ClientSecretRefused").await;
        // It waits for a change of the Secret that its client names now.
        case.frozen.store(true, Ordering::SeqCst);
        let right = case.place.secret.clone();
        case.place
            .put_secret("later", "client-secret", &right)
            .await;
        case.until_ready(None).await;
        case.stop().await;
    }));
}

/// In a list that failed every object is missing. Each refused password is a step towards a lockout.
#[test]
fn a_restart_without_the_list_of_clients_sends_no_refused_password() {
    run(async {
        let case = Case::within(world().await, "client-list", Mode::Namespaced).await;
        let mut case = case;
        let place = Arc::clone(&case.place);
        let grants = json!({ "allowedGrants": ["ClientCredentials", "Password"] });
        place.put_issuer(merge(place.entra_issuer(), grants)).await;
        let user = format!("{}@contoso.example", place.client);
        let right = format!("{}~right", unique());
        let known = dev_issuer::User::new(&user, &right);
        place.issuer.add_user(known).expect("a user");
        let wrong = format!("{}~wrong", unique());
        place.put_secret("user", "password", &wrong).await;
        let mut by_password = by_client();
        by_password["grant"] = json!({ "password": {
            "username": user, "passwordRef": { "name": "user", "key": "password" } } });
        case.put_client("source").await;
        case.start();
        place.create("c", by_password).await;
        place.not_ready("c", "PasswordRefused").await;
        let posts = place.posts();
        assert_eq!(posts, 1);
        case.stop().await;

        let on = Arc::new(AtomicBool::new(true));
        let still = Arc::clone(&on);
        case.wire.rule(move |call| {
            let refused = lists("apiclients")(call) && still.load(Ordering::SeqCst);
            refused.then(|| Fault::status(403, "Forbidden", &[]))
        });
        case.start();
        let log = place.not_ready("c", "NamespaceNotReadable").await;
        assert!(log.contains("may not list apiclients"), "{log}");
        on.store(false, Ordering::SeqCst);
        place.not_ready("c", "PasswordRefused").await;
        case.client_is("True").await;
        assert_eq!(place.posts(), posts, "it was sent again");
        let reported = place.events("c").await;
        let missing = |e: &&(String, String, String)| e.1.ends_with("NotFound");
        assert_eq!(reported.iter().find(missing), None);
        // Another password is sent at once.
        place
            .put_secret("user", "password", &format!("{}~other", unique()))
            .await;
        let again = |_: &ApiCredential| (place.posts() > posts).then_some(());
        place.until("c", "another attempt", again).await;
        case.stop().await;
    });
}

#[test]
fn a_status_of_a_client_that_cannot_be_written_is_logged_and_written_later() {
    run(in_both_modes(async |mode| {
        let mut case = Case::within(world().await, "client-status", mode).await;
        let on = Arc::new(AtomicBool::new(true));
        let still = Arc::clone(&on);
        case.wire.rule(move |call| {
            let status = call.text() == "patch apiclients/status shared";
            let refused = status && still.load(Ordering::SeqCst);
            refused.then(|| Fault::status(403, "Forbidden", &[]))
        });
        case.put_client("source").await;
        case.start();
        case.place.create("c", by_client()).await;
        // Credentials do not need it.
        case.until_ready(None).await;
        let unwritten = |line: &str| {
            let parts = [
                "the status cannot be written",
                "\"kind\":\"ApiClient\"",
                "shared",
            ];
            parts.iter().all(|part| line.contains(part))
        };
        let lines = || {
            let log = case.log.text();
            log.lines().filter(|line| unwritten(line)).count()
        };
        let what = format!("{}: a line in the log", case.name);
        eventually(LATER, what, async || match lines() {
            0 => Err(format!("{:#?}", case.journal())),
            _ => Ok(()),
        })
        .await;
        on.store(false, Ordering::SeqCst);
        case.client_is("True").await;
        assert_eq!(lines(), 1, "{}: each try would say the same", case.name);
        case.stop().await;
    }));
}
