//! Label selectors: of the namespaces of an issuer, and of the pods that are notified.
//!
//! The types of `k8s-openapi` take any text as an operator and as a key, and the API server checks a selector only in its own kinds.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Namespaces by name, by label, or both: either match is enough.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.names) || has(self.selector)")
    .reason(Reason::FieldValueRequired).field_path(".names")
    .message("allowedNamespaces needs names or selector; an empty selector {} allows every namespace"))]
pub struct AllowedNamespaces {
    /// Namespaces by name. None if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(n, n.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))")
        .reason(Reason::FieldValueInvalid)
        .message("this is not the name of a namespace: lower case letters, digits and '-', without patterns; selector: {} allows every namespace"))]
    pub names: Option<Vec<String>>,
    /// Namespaces by label; `{}` matches all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<NamespaceSelector>,
}

/// Namespaces by label: all labels and all conditions. An empty one matches all.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Labels that a namespace must have, all of them. None if not set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16), schema_with = "super::crd::bounded_map")]
    #[x_kube(validation = super::crd::labels())]
    pub match_labels: BTreeMap<String, String>,
    /// More conditions on labels. None if not set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = super::crd::conditions())]
    pub match_expressions: Vec<LabelCondition>,
}

/// A condition, as in label selectors of Kubernetes.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.values) == (self.operator in ['In', 'NotIn'])")
    .reason(Reason::FieldValueInvalid).field_path(".values")
    .message("the operators In and NotIn need values; Exists and DoesNotExist have none"))]
pub struct LabelCondition {
    /// Key of the label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// How the label is compared.
    pub operator: LabelOperator,
    /// Values of the label. Not set for `Exists` and `DoesNotExist`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), inner(length(max = 63)), extend("x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = super::crd::undescribed)]
pub enum LabelOperator {
    /// It has one of the values.
    In,
    /// It has none of the values, or does not exist.
    NotIn,
    /// It exists.
    Exists,
    /// It does not exist.
    DoesNotExist,
}
