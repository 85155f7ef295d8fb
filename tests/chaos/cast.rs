//! The credentials of the soak, and the Secrets that they read.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::issuer::{Prepared, Refresh, source};

/// Namespaces of the credentials. The last one has its own issuers.
pub(crate) const NAMESPACES: [&str; 3] = ["soak-0", "soak-1", "soak-2"];
/// For how long the issuer with a grace period accepts a refresh token a second time.
pub(crate) const GRACE: SignedDuration = SignedDuration::from_secs(10);
/// The key of each Secret that a credential reads.
pub(crate) const KEY: &str = "value";

/// A way to get a token.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Kind {
    ClientCredentials,
    /// The second use of a refresh token revokes its family.
    Refresh,
    /// The same, but for some seconds after the first use.
    RefreshWindow,
    Static,
    Exchange,
    JwtBearer,
}

/// Kinds and the first letters of their clients, in the order of the credentials.
const KINDS: [(Kind, &str); 10] = [
    (Kind::ClientCredentials, "cc"),
    (Kind::Refresh, "rr"),
    (Kind::Exchange, "ex"),
    (Kind::Refresh, "rr"),
    (Kind::ClientCredentials, "cc"),
    (Kind::Static, "st"),
    (Kind::RefreshWindow, "rw"),
    (Kind::ClientCredentials, "cc"),
    (Kind::JwtBearer, "jb"),
    (Kind::ClientCredentials, "cc"),
];

impl Kind {
    /// The kind of a client, by its name.
    pub(crate) fn of_client(client: &str) -> Option<Self> {
        let letters = client.split('-').next()?;
        let known = KINDS.iter().find(|(_, known)| *known == letters)?;
        Some(known.0)
    }

    pub(crate) fn is_refresh(self) -> bool {
        matches!(self, Self::Refresh | Self::RefreshWindow)
    }

    /// Whether an issuer issues its tokens.
    pub(crate) fn has_issuer(self) -> bool {
        self != Self::Static
    }
}

/// A credential of the soak.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    pub(crate) kind: Kind,
    /// The name of the credential and of its client.
    pub(crate) name: String,
    pub(crate) namespace: &'static str,
}

impl Role {
    pub(crate) fn number(number: usize) -> Self {
        let (kind, letters) = KINDS[number % KINDS.len()];
        Self {
            kind,
            name: format!("{letters}-{number}"),
            namespace: NAMESPACES[(number / KINDS.len()) % NAMESPACES.len()],
        }
    }

    /// The Secret with the client secret, the assertion or the static key.
    pub(crate) fn source(&self) -> String {
        format!("source-{}", self.name)
    }

    /// The Secret with the refresh token.
    pub(crate) fn state(&self) -> String {
        format!("state-{}", self.name)
    }

    pub(crate) fn target(&self) -> String {
        format!("token-{}", self.name)
    }

    fn issuer_name(&self) -> &'static str {
        if self.kind == Kind::RefreshWindow {
            "soak-window"
        } else {
            "soak"
        }
    }

    fn has_own_issuer(&self) -> bool {
        self.namespace == NAMESPACES[NAMESPACES.len() - 1]
    }

    /// The credential, which requests this scope.
    pub(crate) fn credential(&self, scope: &str) -> Value {
        let reference = |name: String| json!({ "name": name, "key": KEY });
        let mut spec = json!({ "target": { "secretName": self.target() } });
        if self.kind.has_issuer() {
            let kind = if self.has_own_issuer() {
                "TokenIssuer"
            } else {
                "ClusterTokenIssuer"
            };
            spec["issuerRef"] = json!({ "kind": kind, "name": self.issuer_name() });
            spec["scopes"] = json!([scope]);
            if self.kind != Kind::JwtBearer {
                let secrets = [reference(self.source())];
                spec["client"] = json!({ "id": self.name, "secrets": secrets });
            }
        }
        let grant = match self.kind {
            Kind::ClientCredentials => None,
            Kind::Refresh | Kind::RefreshWindow => {
                Some(json!({ "refreshToken": { "secretRef": reference(self.state()) } }))
            }
            Kind::Static => {
                spec["static"] = json!({ "tokenRef": reference(self.source()) });
                None
            }
            Kind::Exchange => Some(json!({ "tokenExchange": { "subject": {
                "secretRef": reference(self.source()),
            } } })),
            Kind::JwtBearer => {
                Some(json!({ "jwtBearer": { "assertionRef": reference(self.source()) } }))
            }
        };
        if let Some(grant) = grant {
            spec["grant"] = grant;
        }
        json!({
            "apiVersion": "apicred.dev/v1alpha1",
            "kind": "ApiCredential",
            "metadata": { "name": self.name, "namespace": self.namespace },
            "spec": spec,
        })
    }

    /// The source Secret with the value of this number.
    pub(crate) fn source_secret(&self, number: u64, issuer: &Prepared) -> Value {
        let mut annotations = json!({});
        if self.kind == Kind::Static {
            annotations["apicred.dev/publish-by"] = json!(self.name);
        }
        self.secret(
            &self.source(),
            &source(&self.name, number),
            annotations,
            issuer,
        )
    }

    /// The state Secret after a sign-in.
    pub(crate) fn state_secret(&self, family: u64, issuer: &Prepared) -> Value {
        let token = Refresh::first(&self.name, family).text();
        let annotations = json!({ "apicred.dev/state-of": self.name });
        self.secret(&self.state(), &token, annotations, issuer)
    }

    fn secret(&self, name: &str, value: &str, mut notes: Value, issuer: &Prepared) -> Value {
        if self.has_own_issuer() && self.kind.has_issuer() {
            notes["apicred.dev/allowed-issuers"] = json!(issuer.origin());
        }
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": name, "namespace": self.namespace, "annotations": notes },
            "stringData": { KEY: value },
        })
    }
}

impl Prepared {
    fn origin(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Namespaces and issuers, for `kubectl apply`.
    pub(crate) fn objects(&self) -> Vec<Value> {
        let namespaces = NAMESPACES.map(
            |name| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }),
        );
        let spec = |window: Option<SignedDuration>| {
            let mut spec = json!({
                "oauth2": {
                    "tokenUrl": format!("{}/token", self.origin()),
                    "clientAuthentication": { "post": {} },
                },
                "caBundle": self.ca_pem,
                "limits": { "requestsPerSecond": 200, "maxInFlight": 64 },
            });
            // If `reuse` were not set, the used token of a lost answer would be sent once more when the published token has expired.
            // This issuer must never receive one twice.
            spec["refreshTokens"] = json!({ "reuse": "Never" });
            if let Some(window) = window {
                spec["refreshTokens"]["reuseWindow"] = json!(format!("{}s", window.as_secs()));
            }
            spec
        };
        let mut objects = Vec::from(namespaces);
        for (name, window) in [("soak", None), ("soak-window", Some(GRACE))] {
            let mut cluster = spec(window);
            cluster["allowedNamespaces"] = json!({ "names": NAMESPACES });
            cluster["network"] = json!({ "allowedCidrs": ["127.0.0.0/8"] });
            objects.push(json!({
                "apiVersion": "apicred.dev/v1alpha1",
                "kind": "ClusterTokenIssuer",
                "metadata": { "name": name },
                "spec": cluster,
            }));
            objects.push(json!({
                "apiVersion": "apicred.dev/v1alpha1",
                "kind": "TokenIssuer",
                "metadata": { "name": name, "namespace": NAMESPACES[NAMESPACES.len() - 1] },
                "spec": spec(window),
            }));
        }
        objects
    }
}
