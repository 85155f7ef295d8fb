//! Asks the operator for a new token now.

use apicred::{
    api::{ApiCredential, names},
    clock::{Clock, SystemClock},
};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::{
    Target,
    cluster::{Cluster, call},
    tell,
};

pub(crate) async fn run(target: &Target) -> Result<(), String> {
    let cluster = Cluster::connect(target).await?;
    let name = target.credential.as_str();
    let now = SystemClock.now().to_string();
    let change = json!({ "metadata": { "annotations": { (names::RENEW_REQUESTED_AT): now } } });
    let (api, params) = (cluster.api::<ApiCredential>(), PatchParams::default());
    call(api.patch(name, &params, &Patch::Merge(&change)))
        .await
        .map_err(|t| {
            t.about(&format!(
                "changing ApiCredential {}/{name}",
                cluster.namespace
            ))
        })?;
    tell::out(&format!(
        "renewal of {}/{name} requested",
        cluster.namespace
    ));
    Ok(())
}
