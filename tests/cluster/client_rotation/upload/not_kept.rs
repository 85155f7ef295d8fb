//! The certificate that got a token cannot be copied, so apicred cannot upload the next one.

use dev_issuer::Client as OauthClient;
use serde_json::json;

use super::{CERTIFICATE, pair};
use crate::{
    client_rotation::rig::{RECORDS, Rig},
    support::{World, run},
};

#[test]
fn a_copy_that_cannot_be_written_is_reported_before_the_next_certificate_needs_it() {
    run(async {
        let world = World::own().await;
        let (first, second) = (pair("first"), pair("second"));
        let own = (&[][..], json!({}));
        let mut rig = Rig::by_cert_manager(&world, "not-kept", &first, own).await;
        // The client secret of the place, the certificate and the token.
        rig.place.allow_secrets(3).await;
        rig.run().await;
        rig.place.ready("a").await;
        let why = "Secret shared-client-last-good cannot be written (the quota few leaves no room)";
        let early = format!("apicred cannot upload the next one: {why}");
        rig.until_condition("RotationBlocked", &early).await;
        let reported = rig.reported().await;
        let blocked = reported
            .iter()
            .filter(|reason| *reason == "RotationBlocked");
        assert_eq!(blocked.count(), 1, "{reported:?}");

        rig.renewed(&second).await;
        rig.until_condition(
            "RotationBlocked",
            &format!("the client, could not be copied: {why}"),
        )
        .await;
        // The next process does not know why there is no copy.
        rig.kill().await;
        rig.run().await;
        let unknown = "there is no copy of the certificate that got a token before";
        rig.until_condition("RotationBlocked", unknown).await;
        assert_eq!(rig.at_issuer(CERTIFICATE).len(), 1);

        // A user uploads it, and makes room.
        let app = OauthClient::new(&rig.app).certificate(&second.certificate);
        rig.place.add_client(app.role(RECORDS.0, RECORDS.1));
        rig.place.allow_all_secrets().await;
        rig.place.request_renewal("a").await;
        rig.rests(&second).await;
    });
}
