//! Labels and their values. Values are fixed lists, so that all series exist from the start; the exceptions are
//! bounded or must be enabled.

use crate::{api::GrantKey, oauth::Class, plan::RenewalCause};

/// Maximum number of issuer names that are label values; further ones are `other`.
pub const MOST_ISSUERS: usize = 50;
/// The issuer of credentials with `spec.entra`.
pub(super) const INLINE: &str = "inline";
/// Issuers that are namespaced objects.
pub(super) const NAMESPACED: &str = "namespaced";
/// Issuers beyond [`MOST_ISSUERS`].
pub(super) const OTHER: &str = "other";

/// Where the values of a label come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Values {
    /// These values. All of them exist from the start.
    Fixed(&'static [&'static str]),
    /// Reasons of conditions, which are a fixed list. Only those that occur have a series.
    Reasons,
    /// Names of `ClusterTokenIssuers`, at most [`MOST_ISSUERS`].
    Issuers,
    /// One value for each build.
    Build,
    /// Names of objects, for metrics that must be enabled.
    Names,
}

/// A label.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Its values.
    pub values: Values,
}

impl Label {
    const fn fixed(name: &'static str, list: &'static [&'static str]) -> Self {
        Self {
            name,
            values: Values::Fixed(list),
        }
    }

    const fn of_names(name: &'static str) -> Self {
        Self {
            name,
            values: Values::Names,
        }
    }

    /// Its values if they are a fixed list, otherwise empty.
    pub const fn list(&self) -> &'static [&'static str] {
        match self.values {
            Values::Fixed(list) => list,
            _ => &[],
        }
    }

    /// The number of its values if they are a fixed list.
    pub fn size(&self) -> Option<usize> {
        matches!(self.values, Values::Fixed(_)).then(|| self.list().len())
    }

    /// The position of a value in the list.
    pub fn position(&self, value: &str) -> Option<usize> {
        self.list().iter().position(|v| *v == value)
    }
}

/// Status of a condition.
pub(super) const READY: Label = Label::fixed("ready", &["true", "false", "unknown"]);
/// Reason of a condition.
pub(super) const REASON: Label = Label {
    name: "reason",
    values: Values::Reasons,
};
/// Kinds whose objects may be unreadable.
pub(super) const OBJECT_KINDS: Label = Label::fixed(
    "kind",
    &[
        "ApiCredential",
        "TokenIssuer",
        "ClusterTokenIssuer",
        "ApiClient",
    ],
);
/// Kinds of issuers.
pub(super) const ISSUER_KINDS: Label = Label::fixed("kind", &["TokenIssuer", "ClusterTokenIssuer"]);
/// Whether a client credential expires soon or has expired.
pub(super) const ENDING: Label = Label::fixed("state", &["expiring", "expired"]);
/// Why a rotation of a client secret or certificate does not continue.
pub(super) const STOPPED: Label = Label::fixed("state", &["blocked", "failed"]);
/// The result of a token request.
pub(super) const RESULTS: Label = Label::fixed(
    "result",
    &[
        "ok",
        Class::Invalid.as_str(),
        Class::Denied.as_str(),
        Class::NeedsUser.as_str(),
        Class::Throttled.as_str(),
        Class::Transient.as_str(),
    ],
);
/// The grant of a token request.
pub(super) const GRANTS: Label = Label::fixed(
    "grant",
    &[
        GrantKey::ClientCredentials.as_str(),
        GrantKey::RefreshToken.as_str(),
        GrantKey::OnBehalfOf.as_str(),
        GrantKey::JwtBearer.as_str(),
        GrantKey::TokenExchange.as_str(),
        GrantKey::Password.as_str(),
        GrantKey::Extension.as_str(),
    ],
);
/// The issuer of a token request.
pub(super) const ISSUERS: Label = Label {
    name: "issuer",
    values: Values::Issuers,
};
/// Labels of a token request.
pub(super) const TOKEN_REQUESTS: &[Label] = &[GRANTS, RESULTS, ISSUERS];
/// Why a token was written.
pub(super) const CAUSES: Label = Label::fixed(
    "cause",
    &[
        RenewalCause::Absent.as_str(),
        RenewalCause::Adopted.as_str(),
        RenewalCause::Expired.as_str(),
        RenewalCause::Due.as_str(),
        RenewalCause::Requested.as_str(),
        RenewalCause::SpecChanged.as_str(),
        RenewalCause::SourceChanged.as_str(),
        RenewalCause::Edited.as_str(),
    ],
);
/// How a reconciliation ended.
pub(super) const OUTCOMES: Label = Label::fixed(
    "outcome",
    &[
        "unchanged",
        "renewed",
        "waiting",
        "queued",
        "failed",
        "backoff",
        "refused",
        "suspended",
        "released",
        "invalid",
        "unreadable",
        "defect",
    ],
);
/// Requests to the Kubernetes API, by what they are for.
pub const OPERATIONS: Label = Label::fixed(
    "operation",
    &[
        "check_credential",
        "check_secret",
        "check_store",
        "create_digest_key",
        "create_event",
        "create_secret",
        "create_service_account_token",
        "get_digest_key",
        "get_secret",
        "get_service_account",
        "get_target_metadata",
        "list_pods",
        "patch_client_secret",
        "patch_client_status",
        "patch_finalizer",
        "patch_issuer_status",
        "patch_pod",
        "patch_secret",
        "patch_state",
        "patch_status",
        "preflight",
    ],
);
/// The result of a request to the Kubernetes API.
pub(super) const TROUBLES: Label = Label::fixed(
    "result",
    &[
        "ok",
        "conflict",
        "not_found",
        "terminating",
        "forbidden",
        "quota",
        "invalid",
        "unavailable",
        "unwanted",
    ],
);
/// Watches of the Kubernetes API.
pub(super) const STREAMS: Label = Label::fixed(
    "stream",
    &[
        "credentials",
        "secrets",
        "apiclients",
        "tokenissuers",
        "clustertokenissuers",
        "namespaces",
        "serviceaccounts",
        "cabundles",
    ],
);
/// The result of a revocation.
pub(super) const REVOCATIONS: Label = Label::fixed("result", &["ok", "failed", "timeout"]);
/// The result of an action that succeeds or fails.
pub(super) const DONE: Label = Label::fixed("result", &["ok", "failed"]);
/// Labels of the build.
pub(super) const BUILD: &[Label] = &[
    Label {
        name: "version",
        values: Values::Build,
    },
    Label {
        name: "revision",
        values: Values::Build,
    },
];
/// Labels of a credential.
pub(super) const CREDENTIAL: &[Label] = &[Label::of_names("namespace"), Label::of_names("name")];
/// Labels for the properties of a credential that do not change.
pub(super) const CREDENTIAL_INFO: &[Label] = &[
    Label::of_names("namespace"),
    Label::of_names("name"),
    Label::of_names("issuer_kind"),
    Label::of_names("issuer"),
    Label::of_names("api"),
    Label::of_names("secret"),
];
