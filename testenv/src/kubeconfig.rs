//! The file that Kubernetes clients use to find the server.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::{Error, scratch};

/// A kubeconfig with one cluster, one user and one context.
pub(crate) struct Kubeconfig<'a> {
    pub(crate) server: &'a str,
    pub(crate) ca_pem: &'a str,
    pub(crate) user: &'a str,
    pub(crate) token: &'a str,
    pub(crate) namespace: &'a str,
}

impl Kubeconfig<'_> {
    /// Writes it with the CA inside, so that it can be copied and merged.
    ///
    /// It is JSON, which is YAML as well, so no quoting rules of YAML apply.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        let ca = STANDARD.encode(self.ca_pem);
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "testenv",
                "cluster": { "server": self.server, "certificate-authority-data": ca },
            }],
            "users": [{ "name": self.user, "user": { "token": self.token } }],
            "contexts": [{
                "name": "testenv",
                "context": { "cluster": "testenv", "user": self.user, "namespace": self.namespace },
            }],
            "current-context": "testenv",
        });
        scratch::write_private(path, &format!("{config:#}\n"))
    }
}
