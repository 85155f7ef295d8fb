//! The reasons of conditions, events and log lines: their names, and their properties. No other module compares a reason as text.

use std::fmt;

macro_rules! reasons {
    ($($name:ident,)*) => {
        /// A stable reason. Alerts and scripts of users contain its text, so the meaning of a name never changes.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[expect(missing_docs, reason = "docs/troubleshooting.md explains each one, by test")]
        pub enum Reason {
            $($name,)*
        }

        impl Reason {
            /// All reasons.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Parses the text of a reason.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text {
                    $(stringify!($name) => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The text in a condition.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

reasons! {
    AccessDenied,
    AccountLocked,
    AddressNotAllowed,
    AnnotationUnknown,
    AnotherOperator,
    AnswerIncomplete,
    AnswerTooLarge,
    AssertionExpired,
    AssertionRefused,
    AssertionReplayed,
    AssertionTimeRefused,
    AudienceMismatch,
    AudienceNotAllowed,
    BlockedByPolicy,
    CaBundleInvalid,
    CertificateExpired,
    CertificateExpiring,
    CertificateInvalid,
    CertificateNotYetValid,
    CertificateRefused,
    CertificateUnknown,
    ClientAuthenticationMissing,
    ClientAuthenticationUnsupported,
    ClientCertificateRefused,
    ClientCredentialAccepted,
    ClientCredentialRotated,
    ClientCredentialRefused,
    ClientCredentialRemoved,
    ClientDisabled,
    ClientNotAuthorized,
    ClientNotFound,
    ClientRefused,
    ClientSecretExpired,
    ClientSecretForbidden,
    ClientSecretForm,
    ClientSecretInvalid,
    ClientSecretKeyMissing,
    ClientSecretMissing,
    ClientSecretRefused,
    ClientUnknown,
    ClientValid,
    CloudNotAllowed,
    CodeRefused,
    ConsentRequired,
    DiscoveryFailed,
    DpopRequired,
    Ended,
    EndpointKnown,
    EndpointNotFound,
    FederatedSignInFailed,
    FederationMismatch,
    FederationUnreachable,
    FinalizerForbidden,
    FormatUnfit,
    GatewayRefused,
    GrantNotAllowed,
    GrantNotSupported,
    GrantRefused,
    GrantSecretForm,
    IdentityEndpointRefused,
    IdentityEndpointUnavailable,
    IdentityEnvironmentMissing,
    IdentityNotAllowed,
    IdentityNotFound,
    InteractionRequired,
    InternalError,
    InvalidRequest,
    InvalidScope,
    InvalidSpec,
    IssuedByAnotherIssuer,
    IssuerFailed,
    IssuerMismatch,
    IssuerNotFound,
    IssuerNotReady,
    IssuerOutOfScope,
    IssuerPaused,
    IssuerRepeatsToken,
    IssuerTimeout,
    IssuerUnavailable,
    IssuerUnreachable,
    KubernetesUnavailable,
    LastGoodNotWritten,
    LifetimeTooShort,
    LifetimeUnclear,
    LifetimeUnknown,
    LoopDetected,
    MalformedAnswer,
    MaterialInvalid,
    MfaRequired,
    NamespaceNotReadable,
    NeedsUser,
    NoRefreshToken,
    NotAuthorizedByIssuer,
    NotAuthorizedBySecret,
    NotLeading,
    NotReadable,
    NotVerifiable,
    ParameterNotAllowed,
    PasswordExpired,
    PasswordRefused,
    Pending,
    PermissionsExceeded,
    PermissionsMissing,
    PodsNotNotified,
    ProxyCredentialsRefused,
    ProxyInvalid,
    ProxyRefused,
    ProxyTimeout,
    ProxyUnreachable,
    PublicClient,
    RedirectRefused,
    RedirectUriMismatch,
    RefreshOutcomeUnknown,
    RefreshRefused,
    RefreshTokenSpent,
    RenewalFailing,
    Renewed,
    RequestRefused,
    RequestTooLarge,
    ResourceDisabled,
    ResourceMisconfigured,
    ResourceUnknown,
    RevocationFailed,
    RoleNotAssigned,
    RolesMissing,
    RotationBlocked,
    RotationDue,
    RotationFailed,
    RotationLeftover,
    ScopeNotAllowed,
    ScopesMissing,
    ScopesNotGranted,
    SecondRequestRefused,
    SecretExpired,
    SecretExpiring,
    SecretExpiryUnreadable,
    SecretNotOwned,
    ServiceAccountForbidden,
    ServiceAccountMissing,
    ServiceAccountTokenRefused,
    SignInDeclined,
    SignInExpired,
    SignInNotAllowed,
    SignInNotPossible,
    SignInRequired,
    SourceInvalid,
    SourceKeyMissing,
    SourceMissing,
    StateChanged,
    StateWriteForbidden,
    StaticKeyOld,
    SubjectNotAllowed,
    SubjectTokenRefused,
    Suspended,
    TargetClaimed,
    TargetConflict,
    TargetContested,
    TargetDeleting,
    TargetInvalid,
    TargetKeyNotAllowed,
    TargetOutOfSync,
    TargetQuotaExceeded,
    TargetRepaired,
    TargetWriteForbidden,
    TenantBlocked,
    TenantMismatch,
    TenantRestricted,
    TenantUnknown,
    Throttled,
    TlsFailed,
    TlsRequired,
    TokenExpired,
    TokenPublished,
    TokenTooLarge,
    TokenTypeNotSupported,
    UserDisabled,
    UserNotAssigned,
    UserUnknown,
    WaitingForGarbageCollector,
    WaitingForIssuer,
    WebPageReceived,
    WrongCloud,
}

impl Reason {
    /// Whether this is a wait, or a state that a user requested, and not a fault.
    #[must_use]
    pub const fn is_wait(self) -> bool {
        matches!(
            self,
            Self::Ended
                | Self::IssuerPaused
                | Self::IssuerRepeatsToken
                | Self::NotLeading
                | Self::Pending
                | Self::RotationDue
                | Self::Suspended
                | Self::TargetDeleting
                | Self::WaitingForGarbageCollector
                | Self::WaitingForIssuer
        )
    }

    /// Whether the first token is being requested. This needs no report.
    #[must_use]
    pub const fn is_first_request(self) -> bool {
        matches!(self, Self::Pending | Self::WaitingForIssuer)
    }

    /// Whether it ends as soon as another object is created or removed, or its owner grants a permission.
    #[must_use]
    pub const fn waits_for_others(self) -> bool {
        matches!(
            self,
            Self::AudienceNotAllowed
                | Self::CaBundleInvalid
                | Self::ClientNotFound
                | Self::ClientSecretForbidden
                | Self::ClientSecretKeyMissing
                | Self::ClientSecretMissing
                | Self::FinalizerForbidden
                | Self::GrantNotAllowed
                | Self::IdentityNotAllowed
                | Self::IssuerNotFound
                | Self::IssuerNotReady
                | Self::NamespaceNotReadable
                | Self::NotAuthorizedByIssuer
                | Self::NotAuthorizedBySecret
                | Self::ParameterNotAllowed
                | Self::ScopeNotAllowed
                | Self::ServiceAccountForbidden
                | Self::ServiceAccountMissing
                | Self::SourceKeyMissing
                | Self::SourceMissing
                | Self::StateWriteForbidden
                | Self::SubjectNotAllowed
                | Self::TargetClaimed
                | Self::TargetQuotaExceeded
                | Self::TargetWriteForbidden
        )
    }

    /// Whether a client secret, certificate, client assertion or password has expired.
    #[must_use]
    pub const fn is_expired(self) -> bool {
        matches!(
            self,
            Self::AssertionExpired
                | Self::CertificateExpired
                | Self::ClientSecretExpired
                | Self::PasswordExpired
                | Self::SecretExpired
        )
    }

    /// Whether it warns before the expiry of a client secret or certificate, or reports that no warning is possible.
    #[must_use]
    pub const fn warns_of_expiry(self) -> bool {
        matches!(
            self,
            Self::CertificateExpiring | Self::SecretExpiring | Self::SecretExpiryUnreadable
        )
    }

    /// Whether it is about the validity period of a client secret, certificate or key, and not about whether the issuer accepts it.
    #[must_use]
    pub const fn is_about_expiry(self) -> bool {
        self.warns_of_expiry() || self.is_expired() || matches!(self, Self::StaticKeyOld)
    }

    /// Whether it reports a success. The others need a next step.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(
            self,
            Self::ClientCredentialAccepted
                | Self::ClientCredentialRemoved
                | Self::ClientCredentialRotated
                | Self::ClientValid
                | Self::EndpointKnown
                | Self::Renewed
                | Self::TokenPublished
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
