//! A client gets certificates instead of client secrets, in the same Secret.

use dev_issuer::CredentialKind;
use serde_json::json;

use super::{Rig, rig::SOURCE};
use crate::support::{
    World,
    keys::{self, Kind},
    run,
};

#[test]
fn a_client_secret_of_apicred_stays_and_is_named_when_its_client_gets_certificates() {
    run(async {
        let world = World::own().await;
        let long = json!({ "overlap": "1h" });
        let mut rig = Rig::with_secret(&world, "kinds", long).await;
        let first = rig.at_issuer(CredentialKind::Secret).remove(0);
        rig.adopt(&first).await;
        rig.run().await;
        rig.place.ready("a").await;
        rig.place.ready("graph-rotator").await;
        let request = rig.request().await;
        let status = rig.switched(&request).await;
        let made = status.keys[0].key_id.clone().expect("its key ID");
        let ids = rig.at_issuer(CredentialKind::Secret);
        assert_eq!(ids.len(), 2, "{ids:?}");

        let pair = keys::keys(Kind::Rsa, "second", None);
        let certificates = vec![pair.certificate.clone()];
        let known = rig.place.issuer.set_certificates(&rig.app, certificates);
        known.expect("the application");
        let data = json!({ "tls.crt": pair.certificate, "tls.key": pair.key });
        rig.place.put_secrets(SOURCE, &data).await;
        let certificate = json!({
            "secrets": null,
            "certificates": [{ "secretName": SOURCE }],
            "rotation": { "overlap": "1s" },
        });
        rig.point_at(certificate).await;
        rig.until_condition("RotationBlocked", "has certificates now")
            .await;
        rig.until_condition("RotationBlocked", &made).await;
        // Credentials use the certificate meanwhile, and nothing is removed.
        rig.renews().await;
        assert_eq!(rig.at_issuer(CredentialKind::Secret), ids);
        let removed = rig.events("ClientCredentialRemoved").await;
        assert_eq!(removed, Vec::<String>::new());

        // The user takes it back, and the rotation continues where it was.
        let secret = json!({
            "certificates": null,
            "secrets": [{ "name": SOURCE, "key": "value" }],
        });
        rig.point_at(secret).await;
        rig.follows_through(&request).await;
        rig.only(CredentialKind::Secret, &[made]).await;
        assert_eq!(rig.at_issuer(CredentialKind::Certificate).len(), 1);
    });
}
