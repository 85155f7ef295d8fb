//! A credential that gets no token, although the issuer does not refuse it.

use dev_issuer::{CredentialKind, Effect, Fault, Surface};

use super::{Rig, soon};
use crate::{
    plugin::Plugin,
    support::{World, run},
};

/// Conditional Access blocks the client.
const BLOCKED: u32 = 53_003;

#[test]
fn a_rotation_that_gets_no_token_reports_the_reason_and_changes_nothing() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::with_secret(&world, "no-token", soon()).await;
        rig.run().await;
        rig.place.ready("a").await;
        rig.place.ready("graph-rotator").await;
        let app = rig.app.as_str();
        let blocked = Fault::new(Effect::Aadsts { code: BLOCKED });
        let blocked = blocked.on(Surface::Token).client(app);
        rig.place.issuer.fault(blocked);
        // A user made the secret, so it must get a token first.
        let kubeconfig = world.cluster.admin_kubeconfig().into();
        let namespace = &rig.place.namespace;
        let args = [
            "rotate",
            "shared",
            "--wait",
            "--timeout",
            "15s",
            "-n",
            namespace,
        ];
        let (good, output) = Plugin::start(&kubeconfig, &args).end().await;
        assert!(!good && output.contains("AADSTS53003"), "{output}");
        let request = rig.requested().await;
        rig.until_condition("RotationBlocked", "AADSTS53003").await;
        assert_eq!(rig.at_issuer(CredentialKind::Secret).len(), 1);
        assert_eq!(rig.data().await.len(), 1);
        rig.place.issuer.clear_faults();
        rig.switched(&request).await;
    });
}
