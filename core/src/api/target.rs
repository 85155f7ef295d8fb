//! `spec.target`: the name of the target Secret, its labels and annotations, and its keys and formats.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::selector::LabelCondition;

/// The Secret for the token.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.type) || self.type != 'kubernetes.io/dockerconfigjson' || (has(self.keys) && self.keys.exists(k, k.format == 'DockerConfig' && (!has(k.key) || k.key == '.dockerconfigjson')))")
    .reason(Reason::FieldValueInvalid).field_path(".type")
    .message("a Secret of type kubernetes.io/dockerconfigjson needs a key of format DockerConfig named .dockerconfigjson"))]
pub struct Target {
    /// Name of the Secret, in the credential's namespace. Created by apicred; an existing one is refused. Cannot be
    /// changed.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]+((-+|[.])[a-z0-9]+)*$')")
        .reason(Reason::FieldValueInvalid)
        .message("secretName must be a valid object name: lower case letters, digits, '-' and '.', and each part between dots begins and ends with a letter or digit"),
        validation = Rule::new("!self.matches('^(sh[.]helm[.]release[.]|bootstrap-token-|sealed-secrets-key)|-last-good$')")
        .reason(Reason::FieldValueInvalid)
        .message("secretName is a name that a tool (Helm, kubeadm, Sealed Secrets, apicred) uses for its own Secrets; choose another name"),
        validation = Rule::new("self == oldSelf").reason(Reason::FieldValueForbidden)
        .message("secretName cannot be changed, because workloads would keep the old Secret, which nobody renews: create another ApiCredential with the new name, move the workloads, then delete this one"))]
    pub secret_name: String,
    /// Type of the Secret; `Opaque` if not set. Cannot be changed while the Secret exists.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<SecretType>,
    /// Labels for the Secret: `app.kubernetes.io/name`, `component`, `part-of` and `version`, and what the administrator
    /// allows (chart value `targetMetadata.allow`). None if not set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32), schema_with = "super::crd::bounded_map")]
    #[x_kube(validation = Rule::new("self.all(k, k.matches('^app[.]kubernetes[.]io/(name|component|part-of|version)$') || !k.matches('(^|[.])(kubernetes[.]io|k8s[.]io|apicred[.]dev|argoproj[.]io|fluxcd[.]io)/'))")
        .reason(Reason::FieldValueInvalid)
        .message("labels of kubernetes.io, k8s.io, apicred.dev, argoproj.io and fluxcd.io are set by their owners only, save app.kubernetes.io/name, component, part-of and version"),
        validation = Rule::new("self.all(k, self[k].matches('^(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?$') && k.matches('^([a-z0-9]+((-+|[.])[a-z0-9]+)*/)?([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]$'))")
        .reason(Reason::FieldValueInvalid)
        .message(Message::Expression("'label \\'' + self.filter(k, !(self[k].matches('^(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?$') && k.matches('^([a-z0-9]+((-+|[.])[a-z0-9]+)*/)?([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]$')))[0] + '\\' is not valid: a label\\'s key is a name of up to 63 letters, digits, - _ and ., with a DNS prefix if you like; its value is such a name or empty'".into())))]
    pub labels: BTreeMap<String, String>,
    /// Annotations for the Secret: what the administrator allows (chart value `targetMetadata.allow`). None if not set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32), schema_with = "super::crd::bounded_map")]
    #[x_kube(validation = Rule::new("self.all(k, !k.matches('(^|[.])(kubernetes[.]io|k8s[.]io|apicred[.]dev|argoproj[.]io|fluxcd[.]io)/'))")
        .reason(Reason::FieldValueInvalid)
        .message("annotations of kubernetes.io, k8s.io, apicred.dev, argoproj.io and fluxcd.io are set by their owners only"))]
    pub annotations: BTreeMap<String, String>,
    /// The keys of the Secret, each a file if it is mounted. If not set: `token`, `token_type`, `expires_at` and `token.json`. If set, only
    /// these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = super::crd::names_once())]
    pub keys: Vec<TargetKey>,
    /// Pods that get the annotation `apicred.dev/token-updated-at` after each write, so the kubelet updates their files at once. Needs
    /// permission on pods (docs/workloads.md). None if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify_pods: Option<NotifyPods>,
}

/// Pods of the credential's namespace.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct NotifyPods {
    /// Which pods.
    pub selector: PodSelector,
}

/// Pods by label.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.matchLabels) && size(self.matchLabels) > 0) || has(self.matchExpressions)")
    .reason(Reason::FieldValueRequired).field_path(".matchLabels")
    .message("no label would select every pod: set labels of the pods that mount the Secret"))]
pub struct PodSelector {
    /// Labels that a pod must have, all of them. None if not set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16), schema_with = "super::crd::bounded_map")]
    pub match_labels: BTreeMap<String, String>,
    /// More conditions on labels. None if not set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<LabelCondition>,
}

/// One key of the Secret.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(self.format in ['Netrc', 'DockerConfig']) || has(self.host)")
        .reason(Reason::FieldValueRequired).field_path(".host")
        .message("formats Netrc and DockerConfig need host: the machine or registry that the token is for"),
    validation = Rule::new("!has(self.host) || self.format in ['Netrc', 'DockerConfig']")
        .reason(Reason::FieldValueForbidden).field_path(".host")
        .message("host is for the formats Netrc and DockerConfig"),
    validation = Rule::new("self.format != 'Netrc' || !has(self.host) || !self.host.matches('[:/]')")
        .reason(Reason::FieldValueInvalid).field_path(".host")
        .message("host of the format Netrc is a host name alone, without a port or path"),
    validation = Rule::new("!has(self.username) || self.format in ['Netrc', 'DockerConfig']")
        .reason(Reason::FieldValueForbidden).field_path(".username")
        .message("username is for the formats Netrc and DockerConfig"),
    validation = Rule::new("!has(self.variable) || self.format == 'DotEnv'")
        .reason(Reason::FieldValueForbidden).field_path(".variable")
        .message("variable is for the format DotEnv"),
    validation = Rule::new("self.format == 'AnswerField' ? has(self.field) && has(self.key) : !has(self.field)")
        .reason(Reason::FieldValueInvalid).field_path(".field")
        .message("field is for the format AnswerField, which needs it and key: the field of the issuer's answer, such as id_token, and the name of the file")
)]
pub struct TargetKey {
    /// The content of the key.
    pub format: TargetFormat,
    /// Name of the key; each format has its own if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = super::crd::data_key())]
    pub key: Option<String>,
    /// Machine or registry, for `Netrc` and `DockerConfig`, which need it. Not set for other formats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*(:[0-9]{1,5})?(/[-A-Za-z0-9._/]*)?$')")
        .reason(Reason::FieldValueInvalid)
        .message("host is a host name such as git.example.com, for DockerConfig also with a port or path"))]
    pub host: Option<String>,
    /// User name for the token, for `Netrc` and `DockerConfig`; `oauth2` if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9][-A-Za-z0-9._@+]*$')")
        .reason(Reason::FieldValueInvalid)
        .message("username is made of letters, digits and '-', '.', '_', '@', '+'"))]
    pub username: Option<String>,
    /// Name of the variable, for `DotEnv`; `ACCESS_TOKEN` if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z_][A-Za-z0-9_]*$')")
        .reason(Reason::FieldValueInvalid)
        .message("variable is a name of a shell variable: letters, digits and '_', not starting with a digit"))]
    pub variable: Option<String>,
    /// Field of the issuer's answer, for `AnswerField`, which needs it: a text or a number at the top level, such as `id_token`. Never a
    /// refresh token. Not set for other formats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_.-]+$')")
        .reason(Reason::FieldValueInvalid)
        .message("field is a name of letters, digits, '_', '-' and '.'"),
        validation = Rule::new("!self.lowerAscii().contains('refresh')")
        .reason(Reason::FieldValueForbidden)
        .message("a refresh token is not published: workloads mount the Secret, and it outlives every access token"))]
    pub field: Option<String>,
}

/// The formats of a key.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = super::crd::undescribed)]
pub enum TargetFormat {
    /// Only the access token, without a line end (`token`).
    Token,
    /// `Bearer`, or the scheme of a static key (`token_type`).
    TokenType,
    /// Token expiry, RFC 3339 (`expires_at`). A static key has none.
    ExpiresAt,
    /// Everything in one file (`token.json`).
    Json,
    /// Value of an `Authorization` header (`authorization`).
    Authorization,
    /// A header line, for `curl --header @file` (`header`).
    Header,
    /// A dotenv file (`.env`).
    DotEnv,
    /// A netrc file (`.netrc`).
    Netrc,
    /// A docker client's configuration (`.dockerconfigjson`).
    DockerConfig,
    /// A curl configuration, for `curl --config` (`curlrc`).
    CurlConfig,
    /// The `ExecCredential` of Kubernetes' client plugins (`exec-credential.json`).
    ExecCredential,
    /// One field of the issuer's answer, without a line end: `field` names it, `key` the file.
    AnswerField,
}

impl TargetFormat {
    /// All formats.
    pub const ALL: [Self; 12] = [
        Self::Token,
        Self::TokenType,
        Self::ExpiresAt,
        Self::Json,
        Self::Authorization,
        Self::Header,
        Self::DotEnv,
        Self::Netrc,
        Self::DockerConfig,
        Self::CurlConfig,
        Self::ExecCredential,
        Self::AnswerField,
    ];

    /// Its name in the spec.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "Token",
            Self::TokenType => "TokenType",
            Self::ExpiresAt => "ExpiresAt",
            Self::Json => "Json",
            Self::Authorization => "Authorization",
            Self::Header => "Header",
            Self::DotEnv => "DotEnv",
            Self::Netrc => "Netrc",
            Self::DockerConfig => "DockerConfig",
            Self::CurlConfig => "CurlConfig",
            Self::ExecCredential => "ExecCredential",
            Self::AnswerField => "AnswerField",
        }
    }

    /// The default name of the key.
    pub const fn usual_key(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::TokenType => "token_type",
            Self::ExpiresAt => "expires_at",
            Self::Json => "token.json",
            Self::Authorization => "authorization",
            Self::Header => "header",
            Self::DotEnv => ".env",
            Self::Netrc => ".netrc",
            Self::DockerConfig => ".dockerconfigjson",
            Self::CurlConfig => "curlrc",
            Self::ExecCredential => "exec-credential.json",
            Self::AnswerField => "answer-field",
        }
    }
}

/// Types of a target Secret: none that grants access in Kubernetes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = super::crd::undescribed)]
pub enum SecretType {
    /// The general type.
    #[default]
    Opaque,
    /// apicred's own type, for policies that select by type.
    #[serde(rename = "apicred.dev/token")]
    Token,
    /// For `imagePullSecrets`.
    #[serde(rename = "kubernetes.io/dockerconfigjson")]
    DockerConfigJson,
}

impl SecretType {
    /// The value of the Secret's `type` field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opaque => "Opaque",
            Self::Token => "apicred.dev/token",
            Self::DockerConfigJson => "kubernetes.io/dockerconfigjson",
        }
    }
}

/// What happens to the Secret and its token when the credential is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = super::crd::undescribed)]
pub enum DeletionPolicy {
    /// Deleted with the credential, by an owner reference.
    #[default]
    Delete,
    /// The Secret stays, and is not renewed any more.
    Retain,
    /// The token is revoked at the issuer, then the Secret is deleted.
    Revoke,
}
