//! The Secret of a client has no usable content: another credential is used.

use apicred::api::ApiCredential;
use serde_json::{Value, json};

use super::{COPY_IN_USE, IN_USE, TLS, pair};
use crate::support::{World, condition, run, unique};

#[test]
fn the_copy_serves_while_the_secret_contains_no_pair_that_can_be_used() {
    run(async {
        let world = World::shared().await;
        let place = world.place("last-good-unusable").await;
        let (old, new) = (pair("old"), pair("new"));
        place.with_copy(&old).await;
        let token = place.ready("c").await.token;
        let falls_back = async |what: &str| {
            let fell = |c: &ApiCredential| {
                let used = c.status.as_ref()?.client_in_use()?;
                let reported = condition(c, "ClientCredentialExpiring")?;
                let ready = condition(c, "Ready")?.status == "True";
                let fell = used == COPY_IN_USE && reported.reason == "CertificateInvalid" && ready;
                (fell && condition(c, "RenewalFailing").is_none()).then_some(())
            };
            place.until("c", what, fell).await;
        };
        let edited = async |keys: Value| place.put_secrets(TLS, &keys).await;
        // The certificate of another pair; the key of another pair; no certificate.
        edited(json!({ "tls.crt": new.certificate })).await;
        falls_back("the certificate of another pair").await;
        assert_ne!(place.ready("c").await.token, token);
        for (what, data) in [
            (
                "the key of another pair",
                json!({ "tls.crt": old.certificate, "tls.key": new.key }),
            ),
            (
                "garbage",
                json!({ "tls.crt": unique(), "tls.key": old.key }),
            ),
        ] {
            edited(data).await;
            place.renews("c").await;
            falls_back(what).await;
        }
        place.copy_is(&old).await;
        // A complete pair takes over.
        place.knows(&[&old, &new]);
        place.put_tls(TLS, &new).await;
        place.uses("c", IN_USE).await;
        place.copy_is(&new).await;
    });
}

/// An entry of the list that cannot be read any more is handled like one that is refused.
#[test]
fn another_client_secret_serves_at_once_if_the_one_in_use_cannot_be_read() {
    run(async {
        let world = World::shared().await;
        let place = world.place("unreadable-in-use").await;
        place.put_secret("second", "k", &place.secret).await;
        let list =
            json!([{ "name": "source", "key": "client-secret" }, { "name": "second", "key": "k" }]);
        place
            .create("c", json!({ "client": { "secrets": list } }))
            .await;
        place.ready("c").await;
        let removed = json!({ "data": { "client-secret": null } });
        place.edit_secret("source", removed).await;
        let second = |c: &ApiCredential| {
            let used = c.status.as_ref()?.client_in_use()?;
            let calm = condition(c, "RenewalFailing").is_none();
            (used == "second/k" && calm).then_some(())
        };
        place.until("c", "the second one in use", second).await;
    });
}
