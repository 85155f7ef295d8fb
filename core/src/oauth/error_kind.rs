//! Kinds of errors: the class, the reason and the next step of each.

use super::{Class, NextStep, Then};
use crate::Reason;

/// The meaning of an error.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Meaning {
    pub(super) class: Class,
    pub(super) reason: Reason,
    pub(super) next_step: NextStep,
    /// True if the client's secret, certificate or assertion was refused, so that the next one may work.
    pub(super) about_client: bool,
}

/// A kind of failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Throttled,
    Unavailable,
    NotNow,
    Redirects,
    NoEndpoint,
    TooLarge,
    ProxyAuth,
    Legal,
    Page,
    ClientRefused,
    SecretExpired,
    CertificateRefused,
    CertificateNotTrusted,
    ClientUnknown,
    ClientDisabled,
    ClientNotAuthorized,
    AuthMethod,
    Audience,
    Algorithm,
    Signature,
    Replayed,
    Time,
    Assertion,
    Scope,
    Resource,
    Licence,
    Grant,
    Request,
    User,
    Mfa,
    Consent,
    TokenDead,
    Password,
    Denied,
    Forbidden,
    Dpop,
    Redirect,
    Answer,
    Malformed,
    Unknown,
}

type Row = (Class, Reason, bool, &'static str);

impl Kind {
    #[rustfmt::skip]
    const fn row(self) -> Row {
        match self {
            Self::Throttled => (Class::Throttled, Reason::Throttled, false, "the issuer is rate limiting"),
            Self::Unavailable => (Class::Transient, Reason::IssuerUnavailable, false, "the issuer failed"),
            Self::NotNow => (Class::Transient, Reason::IssuerUnavailable, false, "the issuer, or a server between, does not accept the request on this connection or at this time"),
            Self::Redirects => (Class::Invalid, Reason::RedirectRefused, false, "the token endpoint redirects, and apicred follows no redirects; set the final URL"),
            Self::NoEndpoint => (Class::Invalid, Reason::EndpointNotFound, false, "no token endpoint answers at this URL; correct the issuer"),
            Self::TooLarge => (Class::Invalid, Reason::RequestTooLarge, false, "the issuer, or a proxy between, does not accept a request of this size: request fewer scopes, use a shorter assertion, or do not send the certificate chain (x5c)"),
            Self::ProxyAuth => (Class::Transient, Reason::ProxyCredentialsRefused, false, "a proxy between the operator and the issuer requires credentials; an administrator must set them for the operator's proxy"),
            Self::Legal => (Class::Denied, Reason::AccessDenied, false, "the issuer, or a proxy between, does not serve this network for legal reasons; its owner decides"),
            Self::Page => (Class::Transient, Reason::WebPageReceived, false, "a web page arrived instead of an OAuth answer: a captive portal, a proxy, a firewall or a login page answers for the issuer; check the URL of the issuer and the network between"),
            Self::ClientRefused => (Class::Denied, Reason::ClientRefused, true, "check client.id and the client secret"),
            Self::SecretExpired => (Class::Denied, Reason::ClientSecretExpired, true, "the client secret has expired; create a new one at the issuer and store it in the Secret"),
            Self::CertificateRefused => (Class::Denied, Reason::CertificateRefused, true, "the server at the token endpoint requires a client certificate that it trusts, and received none: set client.mtls with a certificate of a CA that the issuer trusts"),
            Self::CertificateNotTrusted => (Class::Denied, Reason::CertificateRefused, true, "the server at the token endpoint does not trust the client certificate that it received: check that it has not expired, that the server trusts its CA, and that the Secret contains the whole chain"),
            Self::ClientUnknown => (Class::Denied, Reason::ClientUnknown, false, "the issuer does not know this client; check client.id"),
            Self::ClientDisabled => (Class::Denied, Reason::ClientDisabled, false, "the client, or its account, is disabled at the issuer; enable it there"),
            Self::ClientNotAuthorized => (Class::Denied, Reason::ClientNotAuthorized, false, "the issuer knows the client and does not allow it this grant, scope or audience; allow it there"),
            Self::AuthMethod => (Class::Invalid, Reason::ClientAuthenticationUnsupported, false, "the issuer does not accept this client authentication method for this client: set clientAuthentication on the issuer to the method that is registered, or register this one"),
            Self::Audience => (Class::Denied, Reason::AssertionRefused, false, "the issuer expects another audience in the assertion; set assertionAudience on the issuer"),
            Self::Algorithm => (Class::Denied, Reason::AssertionRefused, false, "the issuer does not accept the signature algorithm or the key of the assertion; register the key (its kid is keyId of the certificate), or set another algorithm"),
            Self::Signature => (Class::Denied, Reason::AssertionRefused, true, "the issuer does not accept the signature or the key of the assertion; register the key (its kid is keyId of the certificate), or set another algorithm"),
            Self::Replayed => (Class::Transient, Reason::AssertionReplayed, false, "the issuer has seen the id of this assertion before; apicred makes a new one for each attempt"),
            Self::Time => (Class::Transient, Reason::AssertionTimeRefused, false, "the assertion was outside of the time that the issuer accepts; check the clocks (apicred makes a new one for each attempt)"),
            Self::Assertion => (Class::Denied, Reason::AssertionRefused, false, "the issuer does not accept the assertion: check the registered key, and issuer, subject and audience of the assertion"),
            Self::Scope => (Class::Invalid, Reason::InvalidScope, false, "correct spec.scopes"),
            Self::Resource => (Class::Invalid, Reason::ResourceUnknown, false, "correct spec.resources, spec.audience or spec.scopes"),
            Self::Licence => (Class::Denied, Reason::ResourceDisabled, false, "the licence or subscription for this API has lapsed or is missing; renew it"),
            Self::Grant => (Class::Invalid, Reason::GrantNotSupported, false, "the issuer does not know this grant; choose another"),
            Self::Request => (Class::Invalid, Reason::InvalidRequest, false, "a request parameter is missing or not accepted: check scopes, resources, audience and parameters"),
            Self::User => (Class::NeedsUser, Reason::NeedsUser, false, "the issuer requires a user to consent or to sign in"),
            Self::Mfa => (Class::NeedsUser, Reason::MfaRequired, false, "the user must sign in again with MFA"),
            Self::Consent => (Class::NeedsUser, Reason::ConsentRequired, false, "a user or administrator must consent to the client's permissions at the issuer"),
            Self::TokenDead => (Class::NeedsUser, Reason::SignInRequired, false, "the refresh token or code is not valid any more"),
            Self::Password => (Class::Denied, Reason::PasswordRefused, false, "the user name or password is wrong; correct it before the next attempt, because failed attempts lock the user out"),
            Self::Denied => (Class::Denied, Reason::AccessDenied, false, "the issuer forbids this request; check the client's permissions there"),
            Self::Forbidden => (Class::Denied, Reason::AccessDenied, false, "the answer has no OAuth error: a firewall, proxy or gateway may answer for the issuer; if it is the issuer, check the client's permissions there"),
            Self::Dpop => (Class::Invalid, Reason::DpopRequired, false, "the issuer requires DPoP proofs of this client, which apicred does not send: turn DPoP off for the client (Okta: \"Require Demonstrating Proof of Possession (DPoP) header\")"),
            Self::Redirect => (Class::Invalid, Reason::RedirectUriMismatch, false, "register this redirect URI for the client at the issuer"),
            Self::Answer => (Class::Invalid, Reason::RequestRefused, false, "the issuer answered with an error that apicred does not know; look it up in the issuer's documentation or log"),
            Self::Malformed => (Class::Transient, Reason::MalformedAnswer, false, "the answer is not an OAuth token answer; check that the URL is the token endpoint, and that nothing between changes answers"),
            Self::Unknown => (Class::Invalid, Reason::RequestRefused, false, "the issuer rejected the request with an error that apicred does not know; look it up in the issuer's documentation or log"),
        }
    }
}

pub(super) fn meaning(kind: Kind) -> Meaning {
    let (class, reason, about_client, next_step) = kind.row();
    Meaning {
        class,
        reason,
        next_step: NextStep::new(next_step, then(reason)),
        about_client,
    }
}

/// What happens after a failure of the tables: a server that fails or limits requests may answer the same request later.
pub(super) const fn then(reason: Reason) -> Then {
    match reason {
        Reason::Throttled | Reason::LoopDetected => Then::Pause,
        Reason::IssuerUnavailable | Reason::IssuerFailed | Reason::WebPageReceived => {
            Then::TryAgain
        }
        _ => Then::Stated,
    }
}
