//! The status of a credential: a view of the target Secret, written after it.
//!
//! It is never read back as input, except to delay a retry after a restart.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Status of an `ApiCredential`. Times are whole seconds in UTC.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiCredentialStatus {
    /// Generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready` always: `True` if the Secret has a valid token of this spec, `Unknown` while the first one is requested. The others only while
    /// true: `Reconciling` (no valid token, and progress is expected), `Stalled` (no valid token, and a user must change something),
    /// `RenewalFailing`, `LifetimeAtRisk`, `PermissionsMissing` (or `Unknown`), `PermissionsExceeded`, `ClientCredentialExpiring`,
    /// `AnnotationsIgnored`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// When the token in the Secret was requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Time>,
    /// When the token in the Secret expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// When the next token will be requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_at: Option<Time>,
    /// Which rule chose `renewAt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_reason: Option<String>,
    /// The last request to the issuer and its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<Box<LastAttempt>>,
    /// Failed requests since the last success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consecutive_failures: Option<i32>,
    /// When the next attempt after a failure is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<Time>,
    /// The client secret or certificate that is in use, and why others are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Box<ClientStatus>>,
    /// The token's own id (`uti` or `jti`), as in the issuer's sign-in logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// The value of the annotation `apicred.dev/renew-requested-at` handled last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_renew_request: Option<String>,
}

impl ApiCredentialStatus {
    /// The client secret or certificate in use, as `name/key`.
    pub fn client_in_use(&self) -> Option<String> {
        let used = self.client.as_ref()?.secret_ref.as_ref()?;
        Some(format!("{}/{}", used.name, used.key))
    }

    /// The entries that do not work.
    pub fn refused(&self) -> &[RefusedRef] {
        self.client.as_ref().map_or(&[], |client| &client.refused)
    }
}

/// What authenticates the client. A refused password is not tried again while it is listed here unchanged.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientStatus {
    /// The key of the Secret with which the token was requested. Not set if no Secret authenticates the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<UsedRef>,
    /// `metadata.generation` of the `ApiClient` that this status is about. Not set without `clientRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When the client secret or certificate in use expires: as declared, or from the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Entries that were refused or cannot be used, also while another one works, and a password that was refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub refused: Vec<RefusedRef>,
}

/// A key of a Secret in the credential's namespace.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct UsedRef {
    /// Name of the Secret.
    pub name: String,
    /// Key in its data.
    pub key: String,
}

/// A key of a Secret that does not work, and why.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedRef {
    /// Which key, and which version of its Secret.
    #[serde(rename = "ref")]
    pub reference: SourceRef,
    /// Stable reason.
    pub reason: String,
    /// When it was refused last. Not set for a Secret that does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}

/// A key of a version of a Secret in the credential's namespace.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceRef {
    /// Name of the Secret.
    pub name: String,
    /// Key in its data.
    pub key: String,
    /// Version of the Secret that was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
}

/// One exchange with the issuer. The ids are also in its sign-in logs.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastAttempt {
    /// When it was sent.
    pub time: Time,
    /// Its result.
    pub result: AttemptResult,
    /// Stable reason of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// HTTP status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<i32>,
    /// OAuth `error` code of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The server's own code of the error, such as `AADSTS7000215`, `E0000004` or `BXNIM0415E`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Entra's id of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Entra's id of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Claims that the issuer requests from a user (step-up authentication), as JSON. `kubectl apicred login` sends them at the next sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<String>,
    /// Digest of all inputs of a failed request. While it is unchanged, another process also waits until `nextAttempt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<String>,
    /// Requests with a password in a row without a clear answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unclear: Option<i32>,
}

/// The result of a request.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = super::crd::undescribed)]
pub enum AttemptResult {
    /// A token came back.
    Succeeded,
    /// None came.
    Failed,
}
