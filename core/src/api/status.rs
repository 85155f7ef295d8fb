//! What apicred says about a credential. A view of the Secret, written after it, never read back as input.

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
    /// `Ready` always: `True` if the Secret holds a valid token of this spec, `Unknown` while the first one is
    /// requested. The others only while true: `Reconciling` (no valid token, and progress is expected), `Stalled` (no
    /// valid token, and somebody must change something), `RenewalFailing`, `LifetimeAtRisk`, `PermissionsMissing`,
    /// `ClientCredentialExpiring`, `AnnotationsIgnored`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// When the token in the Secret was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Time>,
    /// When the token in the Secret ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// When the next token will be asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_at: Option<Time>,
    /// Which rule chose `renewAt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_reason: Option<String>,
    /// The last request to the issuer and how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<Box<LastAttempt>>,
    /// Failed requests since the last good one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consecutive_failures: Option<i32>,
    /// When the next try after a failure is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<Time>,
    /// The `name/key` of the client secret that got the token in the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_in_use: Option<String>,
    /// When what proves the client ends: the client secret as declared, the certificate as it says, a static key at
    /// its age limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_credential_expires_at: Option<Time>,
    /// The token's own id (`uti` or `jti`), as the issuer's sign-in logs have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// Sources that were refused or unusable, as `name/key@version`, also while another one works. A refused password is
    /// not tried again while it is listed here unchanged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub refused_sources: Vec<String>,
    /// The value of the annotation `apicred.dev/renew-requested-at` that was served last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_renew_request: Option<String>,
}

/// One exchange with the issuer. The ids let its sign-in logs be joined with apicred's.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastAttempt {
    /// When it was made.
    pub time: Time,
    /// How it ended.
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
    /// `AADSTS` number of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aadsts: Option<i32>,
    /// Entra's id of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Entra's id of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Digest of everything that a failed request depended on. While it is unchanged, another process keeps to
    /// `nextAttempt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<String>,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = super::crd::undescribed)]
pub enum AttemptResult {
    /// A token came back.
    Succeeded,
    /// None came.
    Failed,
}
