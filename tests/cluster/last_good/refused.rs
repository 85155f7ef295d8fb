//! The copy of a certificate cannot be written: the credential reports it until the copy is written.

use apicred::api::ApiCredential;
use k8s_openapi::api::{
    authorization::v1::SubjectAccessReview,
    core::v1::{ResourceQuota, Secret},
    rbac::v1::ClusterRole,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use testenv::eventually;

use super::{COPY, IN_USE, TLS, by_certificate, pair};
use crate::{
    leader::without,
    support::{LATER, NAMESPACE, Place, SOON, World, condition, keys::Keys, run, typed},
};

const REASON: &str = "LastGoodNotWritten";

impl Place {
    /// A quota `few` that allows this number of Secrets, and that is in force.
    pub(crate) async fn allow_secrets(&self, number: usize) {
        let quotas: Api<ResourceQuota> = Api::namespaced(self.kube.clone(), &self.namespace);
        let quota = typed(json!({
            "metadata": { "name": "few" }, "spec": { "hard": { "count/secrets": number.to_string() } },
        }));
        let made = quotas.create(&PostParams::default(), &quota).await;
        made.expect("a quota");
        eventually(SOON, "a quota that counts", async || {
            let quota = quotas.get("few").await.ok().and_then(|q| q.status);
            quota.is_some_and(|s| s.used.is_some_and(|u| u.contains_key("count/secrets")))
        })
        .await;
    }

    /// Deletes the quota, and waits until it has no effect.
    pub(crate) async fn allow_all_secrets(&self) {
        let quotas: Api<ResourceQuota> = Api::namespaced(self.kube.clone(), &self.namespace);
        let gone = quotas.delete("few", &DeleteParams::default()).await;
        gone.expect("a quota");
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let probe: Secret = typed(json!({ "metadata": { "name": "probe" } }));
        eventually(LATER, "no quota", async || {
            self.secrets().create(&params, &probe).await.is_ok()
        })
        .await;
    }

    /// Waits until the credential reports that the copy is missing. Its token is not affected.
    async fn reports_no_copy(&self, name: &str, words: &str) {
        let reports = |c: &ApiCredential| {
            let reported = condition(c, "ClientCredentialExpiring")?;
            let ready = condition(c, "Ready")?.status == "True";
            let fits = reported.reason == REASON && reported.message.contains(words);
            (fits && ready).then_some(())
        };
        self.until(name, words, reports).await;
    }

    /// The number of events about the missing copy.
    async fn events_about_copies(&self, name: &str) -> usize {
        let events = self.events(name).await.into_iter();
        let own = events.filter(|(severity, reason, _)| severity == "Warning" && reason == REASON);
        own.count()
    }

    /// A credential `c` with a token by the certificate in the Secret of cert-manager.
    async fn uses_certificate(&self, keys: &Keys, keeps: &str) {
        self.knows(&[keys]);
        self.put_tls(TLS, keys).await;
        let annotations = json!({
            "cert-manager.io/certificate-name": TLS, "apicred.dev/keep-last-good": keeps,
        });
        let edit = json!({ "metadata": { "annotations": annotations } });
        self.edit_secret(TLS, edit).await;
        self.create("c", by_certificate(&self.client)).await;
        self.ready("c").await;
    }
}

#[test]
fn a_quota_that_leaves_no_room_for_the_copy_is_reported_once_until_it_is_written() {
    run(async {
        let world = World::shared().await;
        let place = world.place("last-good-quota").await;
        let (old, new) = (pair("old"), pair("new"));
        // The client secret of the place, the certificate and the token.
        place.allow_secrets(3).await;
        place.uses_certificate(&old, "true").await;
        let refused = "Secret tls-last-good cannot be written (the quota few leaves no room)";
        place.reports_no_copy("c", refused).await;

        // The certificate is replaced before the issuer knows the new one.
        place.put_tls(TLS, &new).await;
        let fails = |c: &ApiCredential| condition(c, "RenewalFailing").map(|_| ());
        place.until("c", "no usable certificate", fails).await;
        place.reports_no_copy("c", refused).await;
        place.knows(&[&new]);
        place.renews("c").await;
        let renewed = |c: &ApiCredential| condition(c, "RenewalFailing").is_none().then_some(());
        place.until("c", "a renewal", renewed).await;
        place.reports_no_copy("c", refused).await;

        place.allow_all_secrets().await;
        place.renews("c").await;
        place.copy_is(&new).await;
        place.uses("c", IN_USE).await;
        assert_eq!(place.events_about_copies("c").await, 1);
    });
}

/// Waits until the operator may create Secrets, or may not any more.
async fn may_create(world: &World, expected: bool) {
    let reviews: Api<SubjectAccessReview> = Api::all(world.admin.clone());
    let review: SubjectAccessReview = typed(json!({ "spec": {
        "user": format!("system:serviceaccount:{NAMESPACE}:apicred"),
        "groups": ["system:serviceaccounts", "system:authenticated"],
        "resourceAttributes": { "verb": "create", "resource": "secrets", "namespace": "default" },
    } }));
    eventually(SOON, format!("may create: {expected}"), async || {
        let answer = reviews.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|e| e.to_string())?.status;
        (answer.is_some_and(|status| status.allowed) == expected)
            .then_some(())
            .ok_or_else(|| "not yet".to_owned())
    })
    .await;
}

#[test]
fn a_role_that_does_not_allow_the_copy_is_reported_once_also_after_a_restart() {
    run(async {
        let mut world = World::own().await;
        world.start_operator().await;
        let place = world.place("last-good-role").await;
        let old = pair("old");
        place.uses_certificate(&old, "false").await;
        let roles: Api<ClusterRole> = Api::all(world.admin.clone());
        let role = roles.get("apicred").await.expect("the chart's role");
        let all = role.rules.unwrap_or_default();
        let grant = async |rules| {
            let (params, patch) = (
                PatchParams::default(),
                Patch::Merge(json!({ "rules": rules })),
            );
            let patched = roles.patch("apicred", &params, &patch).await;
            patched.expect("an edit");
        };
        grant(without(&all, "create", "secrets")).await;
        may_create(&world, false).await;
        place.set_keep_last_good(json!("true")).await;
        place.renews("c").await;
        let refused =
            "Secret tls-last-good cannot be written (the operator's role does not allow create)";
        place.reports_no_copy("c", refused).await;

        // The next process knows it before it reports anything.
        world.kill_operator().await;
        let mark = world.mark();
        world.start_operator().await;
        place.renews("c").await;
        place.reports_no_copy("c", refused).await;
        let writes = world.since(mark, &place).writes();
        assert!(writes.iter().all(|w| !w.contains(COPY)), "{writes:?}");
        assert_eq!(place.events_about_copies("c").await, 1);

        grant(all).await;
        may_create(&world, true).await;
        place.renews("c").await;
        place.copy_is(&old).await;
        place.uses("c", IN_USE).await;
        assert_eq!(place.events_about_copies("c").await, 1);
    });
}
