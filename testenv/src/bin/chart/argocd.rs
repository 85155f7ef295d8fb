//! The copies of the scripts for Argo CD. Each script has one source in `resource_customizations/`, whose layout is that of
//! Argo CD's repository, and so has a copy for each kind.

use std::path::Path;

use crate::{Made, read};

const FOLDER: &str = "deploy/argocd";
const SCRIPTS: &str = "deploy/argocd/resource_customizations/apicred.dev";
/// The kind whose `health.lua` is the source, and the kinds that have a copy of it.
const SOURCE: &str = "ClusterTokenIssuer";
const COPIES: [&str; 2] = ["TokenIssuer", "ApiClient"];
const CREDENTIAL: &str = "ApiCredential";
const ACTIONS: [&str; 3] = ["renew", "suspend", "resume"];
const HEAD: &str = "\
# Adds health checks and actions for the kinds of apicred to Argo CD:
#   kubectl patch configmap argocd-cm --namespace argocd --patch-file argocd-cm.yaml
# `make manifests` writes this file from the scripts in resource_customizations/.
apiVersion: v1
kind: ConfigMap
metadata:
  name: argocd-cm
  namespace: argocd
  labels:
    app.kubernetes.io/name: argocd-cm
    app.kubernetes.io/part-of: argocd
data:
";

/// The copies of the health script, and the `ConfigMap` with all scripts.
pub(crate) fn checked_in(root: &Path) -> Result<Vec<Made>, String> {
    let health = |kind: &str| read(root, &format!("{SCRIPTS}/{kind}/health.lua"));
    let shared = health(SOURCE)?;
    let copies = COPIES.map(|kind| {
        let path = format!("{SCRIPTS}/{kind}/health.lua");
        (path.into(), shared.clone())
    });
    let mut map = HEAD.to_owned();
    let own = health(CREDENTIAL)?;
    for (kind, script) in [
        (CREDENTIAL, &own),
        ("ApiClient", &shared),
        ("TokenIssuer", &shared),
        (SOURCE, &shared),
    ] {
        let key = format!("  resource.customizations.health.apicred.dev_{kind}: |\n");
        map.push_str(&key);
        map.push_str(&indented(script, 4));
    }
    map.push_str(&actions(root)?);
    let mut made: Vec<Made> = copies.into();
    made.push((format!("{FOLDER}/argocd-cm.yaml").into(), map));
    Ok(made)
}

/// The key with the actions of a credential.
fn actions(root: &Path) -> Result<String, String> {
    let script = |path: &str| read(root, &format!("{SCRIPTS}/{CREDENTIAL}/actions/{path}"));
    let mut text = format!(
        "  resource.customizations.actions.apicred.dev_{CREDENTIAL}: |\n    discovery.lua: |\n{}    definitions:\n",
        indented(&script("discovery.lua")?, 6)
    );
    for name in ACTIONS {
        let action = script(&format!("{name}/action.lua"))?;
        let definition = format!(
            "    - name: {name}\n      action.lua: |\n{}",
            indented(&action, 8)
        );
        text.push_str(&definition);
    }
    Ok(text)
}

/// The lines of a block of YAML.
fn indented(script: &str, by: usize) -> String {
    let line = |line: &str| format!("{:by$}{line}\n", "");
    script.lines().map(line).collect()
}
