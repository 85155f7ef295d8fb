//! The types of conditions, and their status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

macro_rules! types {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Type of a condition. Users write alerts and scripts for its text, so a name never changes its meaning.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum ConditionType {
            $($(#[$doc])* $name,)*
        }

        impl ConditionType {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As it stands in `type`.
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
    /// Progress is expected without a change by somebody (kstatus).
    Reconciling,
    /// Somebody must change something (kstatus).
    Stalled,
    /// A renewal is due and failed, or will fail when it is due.
    RenewalFailing,
    /// Readers may get less than the minimum lifetime.
    LifetimeAtRisk,
    /// The token lacks what `spec.expect` asks for.
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
    /// A rotation waits: somebody must change something, or the issuer must answer.
    RotationBlocked,
    /// The last rotation failed.
    RotationFailed,
    /// A client secret or certificate that a rotation replaced stays valid at the issuer. Nothing waits for that.
    RotationLeftover,
}

impl ConditionType {
    /// The type with this text, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|t| t.as_str() == text)
    }

    /// Is the condition of this type?
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
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known. Also what another text than these three counts as.
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

    /// As it stands in `status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}
