//! The types of conditions, and their status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

macro_rules! types {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Type of a condition. Alerts and scripts of users contain its text, so the meaning of a name never changes.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum ConditionType {
            $($(#[$doc])* $name,)*
        }

        impl ConditionType {
            /// All types.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The text in `type`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

types! {
    /// The Secret has a valid token; the issuer can be used.
    Ready,
    /// Progress is expected without a change by a user (kstatus).
    Reconciling,
    /// A user must change something (kstatus).
    Stalled,
    /// A renewal is due and failed, or will fail when it is due.
    RenewalFailing,
    /// Readers may get less than the minimum lifetime.
    LifetimeAtRisk,
    /// The token lacks permissions or properties of `spec.expect`.
    PermissionsMissing,
    /// The token has permissions beyond those of `spec.expect`.
    PermissionsExceeded,
    /// A client secret, certificate or key expires, has expired, or is refused while another one works.
    ClientCredentialExpiring,
    /// Annotations have no effect.
    AnnotationsIgnored,
    /// The spec of an issuer selects a client authentication method that its discovery document does not list.
    ClientAuthenticationUnlisted,
    /// A rotation of the client secret or certificate is due and has not begun.
    RotationDue,
    /// A rotation waits: a user must change something, or the issuer must answer.
    RotationBlocked,
    /// The last rotation failed.
    RotationFailed,
    /// A client secret or certificate that a rotation replaced stays valid at the issuer. Nothing waits for its removal.
    RotationLeftover,
}

impl ConditionType {
    /// Parses the text of a type.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|t| t.as_str() == text)
    }

    /// Whether the condition has this type.
    #[must_use]
    pub fn is(self, condition: &Condition) -> bool {
        condition.type_ == self.as_str()
    }

    /// The condition of this type.
    #[must_use]
    pub fn find(self, conditions: &[Condition]) -> Option<&Condition> {
        conditions.iter().find(|c| self.is(c))
    }
}

/// Status of a condition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConditionStatus {
    /// The condition is true.
    True,
    /// The condition is false.
    False,
    /// It is not known. Any other text also counts as this.
    Unknown,
}

impl ConditionStatus {
    /// The status of a stored condition.
    #[must_use]
    pub fn of(condition: &Condition) -> Self {
        match condition.status.as_str() {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }

    /// The text in `status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}
