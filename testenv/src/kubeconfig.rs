//! The file through which every Kubernetes client finds the server.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::{Error, scratch};

/// Writes a kubeconfig with the CA inside, so that it can be copied and merged.
///
/// It is JSON, which is YAML as well; quoting is then no concern of ours.
pub(crate) fn write(
    path: &Path,
    server: &str,
    ca_pem: &str,
    user: &str,
    token: &str,
    namespace: &str,
) -> Result<(), Error> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "testenv",
            "cluster": { "server": server, "certificate-authority-data": STANDARD.encode(ca_pem) },
        }],
        "users": [{ "name": user, "user": { "token": token } }],
        "contexts": [{
            "name": "testenv",
            "context": { "cluster": "testenv", "user": user, "namespace": namespace },
        }],
        "current-context": "testenv",
    });
    scratch::write_private(path, &format!("{config:#}\n"))
}
