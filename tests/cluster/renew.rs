//! `kubectl apicred renew --wait`, and requests that the cluster's own rules forbid, with their messages.

use dev_issuer::Secret;
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    authentication::v1::TokenRequest,
    core::v1::ServiceAccount,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use testenv::eventually;

use crate::{
    plugin::Plugin,
    service_accounts::service_account,
    support::{LATER, Place, World, run, typed},
};

/// Runs `renew --wait`; returns its exit code and its output.
async fn renew(world: &World, place: &Place, name: &str, more: &[&str]) -> (Option<i32>, String) {
    let args = [&["renew", name, "-n", &place.namespace, "--wait"], more].concat();
    let kubeconfig = world.cluster.admin_kubeconfig().into();
    Plugin::start(&kubeconfig, &args).ended().await
}

/// A policy that denies these requests in the namespace of the place, with this message, unless the expression is true.
pub(crate) struct Policy {
    name: String,
    policies: Api<ValidatingAdmissionPolicy>,
    bindings: Api<ValidatingAdmissionPolicyBinding>,
}

impl Policy {
    pub(crate) async fn put(place: &Place, rule: Value, (unless, message): (&str, &str)) -> Self {
        let name = place.namespace.clone();
        let policy = typed(json!({ "metadata": { "name": name }, "spec": {
            "matchConstraints": { "resourceRules": [rule] },
            "validations": [{ "expression": unless, "message": message }],
        } }));
        let binding = typed(json!({ "metadata": { "name": name }, "spec": {
            "policyName": name, "validationActions": ["Deny"],
            "matchResources": { "namespaceSelector": { "matchLabels": {
                "kubernetes.io/metadata.name": name,
            } } },
        } }));
        let (policies, bindings) = (Api::all(place.kube.clone()), Api::all(place.kube.clone()));
        let params = PostParams::default();
        policies.create(&params, &policy).await.expect("a policy");
        bindings.create(&params, &binding).await.expect("a binding");
        Self {
            name,
            policies,
            bindings,
        }
    }

    pub(crate) async fn lift(self) {
        let params = DeleteParams::default();
        let gone = self.bindings.delete(&self.name, &params).await;
        gone.expect("it goes");
        let gone = self.policies.delete(&self.name, &params).await;
        gone.expect("it goes");
    }
}

#[test]
fn a_renewal_that_is_waited_for_ends_with_its_outcome() {
    run(async {
        let world = World::shared().await;
        let place = world.place("renew-wait").await;
        place.create("c", json!({})).await;
        let first = place.ready("c").await;
        let (code, printed) = renew(world, &place, "c", &[]).await;
        assert!(
            code == Some(0)
                && printed
                    .contains("/c renewed: Secret token contains a token that is valid until "),
            "{printed}"
        );
        let second = place.view("token").await.expect("a token");
        assert_ne!(
            first.token, second.token,
            "it is there when the command ends"
        );

        // The issuer refuses a secret that is new: it may become active soon, so the command waits until its timeout.
        let other = vec![Secret::new("another~secret")];
        place
            .issuer
            .set_secrets(&place.client, other)
            .expect("a secret");
        let (code, printed) = renew(world, &place, "c", &["--timeout", "10s"]).await;
        let expected = "/c was not renewed within 10 s: ClientSecretRefused: ";
        // The exit code of timeout(1): the token may arrive later.
        assert!(code == Some(124) && printed.contains(expected), "{printed}");
        assert!(!printed.contains(&place.secret), "{printed}");
        // If only a user can change the cause, the command does not wait. The second run does not wait either: its status does not change.
        let scopes = json!({ "allowedScopes": ["api://other/.default"] });
        let issuer = crate::support::merge(place.entra_issuer(), scopes);
        place.put_issuer(issuer).await;
        for _ in 0..2 {
            let (code, printed) = renew(world, &place, "c", &["--timeout", "1m"]).await;
            let expected = "/c was not renewed: ScopeNotAllowed: ";
            assert!(code == Some(1) && printed.contains(expected), "{printed}");
        }
        let unchanged = place.view("token").await.expect("a token");
        assert_eq!(unchanged.token, second.token);

        place
            .edit("c", json!({ "spec": { "suspend": true } }))
            .await;
        let (code, printed) = renew(world, &place, "c", &[]).await;
        assert!(
            code == Some(1) && printed.contains("it is suspended"),
            "{printed}"
        );

        let (code, printed) = renew(world, &place, "nobody", &[]).await;
        assert!(
            code == Some(1) && printed.contains("does not exist; check the name and the namespace"),
            "{printed}"
        );
    });
}

#[test]
fn a_policy_that_forbids_a_renewal_request_is_quoted_by_the_plugin() {
    run(async {
        let world = World::shared().await;
        let place = world.place("renew-policy").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        let rule = json!({ "apiGroups": ["apicred.dev"], "apiVersions": ["*"], "resources": ["apicredentials"], "operations": ["UPDATE"] });
        let policy = Policy::put(&place, rule, ("false", "renewals are frozen until Monday")).await;
        eventually(LATER, "a policy in force", async || {
            let params = PatchParams {
                dry_run: true,
                ..PatchParams::default()
            };
            let note = Patch::Merge(json!({ "metadata": { "annotations": { "note": "x" } } }));
            place
                .credentials()
                .patch("c", &params, &note)
                .await
                .is_err()
        })
        .await;
        let (code, printed) = renew(world, &place, "c", &[]).await;
        let expected = format!(
            "the admission policy {} denies it: \"renewals are frozen until Monday\"; change what it names, or ask its owner to allow it",
            policy.name
        );
        assert!(code == Some(1) && printed.contains(&expected), "{printed}");
        policy.lift().await;
    });
}

#[test]
fn a_policy_that_forbids_the_token_of_a_service_account_is_quoted_and_no_request_is_sent() {
    run(async {
        let world = World::shared().await;
        let place = world.place("account-policy").await;
        service_account(&place, "workload", Value::Null).await;
        let rule = json!({ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["serviceaccounts/token"], "operations": ["CREATE"] });
        let policy = Policy::put(
            &place,
            rule,
            ("false", "tokens for other clouds need a ticket"),
        )
        .await;
        let accounts: Api<ServiceAccount> = Api::namespaced(place.kube.clone(), &place.namespace);
        eventually(LATER, "a policy in force", async || {
            let params = PostParams {
                dry_run: true,
                ..PostParams::default()
            };
            let token_request: TokenRequest = typed(json!({ "spec": { "audiences": [] } }));
            let made: Result<TokenRequest, _> = accounts
                .create_subresource("token", "workload", &params, &token_request)
                .await;
            made.is_err()
        })
        .await;
        let client = json!({ "client": {
            "id": place.client, "secrets": null, "serviceAccount": { "name": "workload" },
        } });
        place.create("c", client).await;
        let reported = place.not_ready("c", "ServiceAccountTokenRefused").await;
        let expected = format!(
            "the admission policy {} denies it: \"tokens for other clouds need a ticket\"",
            policy.name
        );
        assert!(
            reported.contains(&expected) && reported.contains("ServiceAccount workload"),
            "{reported}"
        );
        assert_eq!(place.posts(), 0);
        policy.lift().await;
    });
}
