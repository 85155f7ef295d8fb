//! The meaning of Entra's `AADSTS` codes: a better message, and the correct class if `error` misleads.
//!
//! Microsoft recommends to react to `error`, and states that the codes may change
//! (learn.microsoft.com/entra/identity-platform/reference-error-codes). So an unknown code changes nothing.

use crate::Reason;
use std::time::Duration;

use super::Class;

/// Entra ID received the same request from one client repeatedly. The other clients of the tenant are not affected: if they
/// waited as well, one looping client would delay a whole company.
pub const LOOP: u32 = 50_196;

/// The page that explains a number. The pages of the national clouds explain the same numbers.
pub(super) fn link(code: u32) -> String {
    format!("https://login.microsoftonline.com/error?code={code}")
}

/// What is known about a number.
#[derive(Clone, Copy)]
pub(super) struct Known {
    /// How to wait.
    pub(super) class: Class,
    /// Stable reason.
    pub(super) reason: Reason,
    /// True if the client's secret or certificate was refused, so that another one may work.
    pub(super) about_client: bool,
    /// What to do.
    pub(super) next_step: &'static str,
    /// The minimum wait before the next request, if the wait of the class is too short.
    pub(super) wait: Option<Duration>,
}

type Row = (&'static [u32], Class, Reason, &'static str);

/// Numbers about a secret or certificate of the client, so that another one may work. No other number is about one.
#[rustfmt::skip]
const CLIENT_CREDENTIALS: &[Row] = &[
    (&[7_000_215, 70_002], Class::Denied, Reason::ClientSecretRefused, "the client secret is wrong; store the secret's value (not its id) in the Secret; a new secret can take several minutes to become active"),
    (&[7_000_222], Class::Denied, Reason::ClientSecretExpired, "the client secret has expired; make a new one in Entra ID and store it in the Secret"),
    (&[700_027], Class::Denied, Reason::CertificateUnknown, "the application does not know this certificate (or its key did not sign): upload the certificate to the application; one just uploaded needs some minutes"),
    (&[50_012, 700_030, 50_048], Class::Denied, Reason::CertificateRefused, "the application does not accept this certificate; check its subject, issuer and the tenant's policy for certificates"),
    (&[1_000_502], Class::Denied, Reason::CertificateExpired, "the certificate is outside its validity period; renew it, upload it to the application, and store it in the Secret"),
    (&[7_000_214, 7_000_277], Class::Denied, Reason::CertificateRefused, "the certificate is revoked; issue a new one, upload it to the application, and store it in the Secret"),
    (&[7_000_274], Class::Denied, Reason::CertificateRefused, "the signature of the client assertion is not valid for the registered certificate: store the certificate and the private key that belong together"),
];

/// All others.
#[rustfmt::skip]
const OTHERS: &[Row] = &[
    // The client and its tenant.
    (&[7_000_218, 7_000_216], Class::Invalid, Reason::ClientAuthenticationMissing, "no client secret or assertion reached Entra ID, or the application is confidential: set client.secrets, certificates or serviceAccount, or allow public client flows in the application"),
    (&[700_025], Class::Invalid, Reason::PublicClient, "the application is a public client and must not authenticate; set client.public, or remove the public platform from the application"),
    (&[700_016], Class::Denied, Reason::ClientUnknown, "check client.id and the tenant, or consent to the application in this tenant"),
    (&[7_000_229], Class::Denied, Reason::ClientUnknown, "the application has no service principal in this tenant: create the enterprise application (az ad sp create --id CLIENT_ID), or consent to the application in this tenant"),
    (&[7_000_232], Class::Invalid, Reason::ClientUnknown, "client.id is that of a managed identity, which has neither client secrets nor certificates: use client.managedIdentity, or client.serviceAccount with a federated credential on the identity"),
    (&[70_001, 700_011, 7_000_112, 1_000_031], Class::Denied, Reason::ClientDisabled, "enable the application in this tenant or install it again"),
    (&[500_014], Class::Denied, Reason::ResourceDisabled, "the service principal of the API is disabled in this tenant: renew the tenant's licence or subscription for the API, or enable its enterprise application"),
    (&[501_051], Class::Denied, Reason::RoleNotAssigned, "the API requires an assignment: assign one of its app roles to the application (enterprise application of the API, \"Users and groups\", or Microsoft Graph appRoleAssignments)"),
    (&[90_002], Class::Invalid, Reason::TenantUnknown, "check tenantId and the cloud; this tenant does not exist there"),
    (&[900_023], Class::Invalid, Reason::TenantUnknown, "tenantId must be the tenant's GUID or a verified domain"),
    (&[9_001_023, 50_194, 50_059, 90_019, 50_128, 50_029, 90_124, 90_130, 9_002_332, 90_027], Class::Invalid, Reason::TenantUnknown, "set tenantId to one tenant; this application or grant does not work for any tenant"),
    (&[9_002_331, 9_002_346], Class::Invalid, Reason::TenantUnknown, "the application is for personal Microsoft accounts only; allow accounts of organizations in its registration"),
    (&[5_000_225, 5_000_224], Class::Denied, Reason::TenantBlocked, "Microsoft has blocked this tenant (for inactivity, or for its subscription); an administrator of the tenant must contact Microsoft's support, or tenantId is wrong"),
    (&[500_021, 500_022, 50_002], Class::Denied, Reason::TenantRestricted, "a proxy between the operator and Entra ID restricts sign-ins to certain tenants (header Restrict-Access-To-Tenants): allow this tenant there"),
    (&[500_212, 500_213], Class::Denied, Reason::TenantRestricted, "a cross-tenant access policy of one of the two tenants forbids this; an administrator of that tenant must allow it"),
    (&[90_038, 900_382, 900_432, 900_439, 50_049, 90_043, 90_051, 1_000_104], Class::Invalid, Reason::WrongCloud, "set cloud to the national cloud of this tenant and register the application there"),
    (&[65_002], Class::Denied, Reason::ClientNotAuthorized, "client.id is that of an application of Microsoft, which may not request this API; register an application of your own"),
    (&[7_000_114, 7_000_113], Class::Invalid, Reason::GrantNotSupported, "this application may not act on behalf of users; choose another grant"),
    (&[50_003, 50_146, 501_461, 50_007, 50_010, 50_124, 501_241, 501_621, 50_042, 50_043], Class::Invalid, Reason::ResourceMisconfigured, "the registration of the API in Entra ID is not complete (signing key, claims or identifier); its owner must correct it"),
    // What is requested.
    (&[500_011, 50_001, 221_000], Class::Invalid, Reason::ResourceUnknown, "check the API in scopes or resource; its service principal must exist in this tenant"),
    (&[650_054], Class::Invalid, Reason::ResourceUnknown, "the API was removed from this tenant; remove it from scopes or resource, or install it again"),
    (&[1_002_012], Class::Invalid, Reason::InvalidScope, "request \"<api>/.default\""),
    (&[70_011, 28_002, 28_003, 700_022, 650_053], Class::Invalid, Reason::InvalidScope, "request one API as \"<api>/.default\", or permissions that it has"),
    (&[901_002], Class::Invalid, Reason::InvalidRequest, "the v2 endpoint requires scopes instead of resource"),
    (&[900_144, 90_014, 90_023, 90_100, 9_002_313, 90_004, 90_013, 90_102, 90_117, 90_121, 100_007], Class::Invalid, Reason::InvalidRequest, "a request parameter is missing or not accepted: check scopes, resource and parameters"),
    (&[90_015], Class::Invalid, Reason::RequestTooLarge, "the request is too long for Entra ID; request fewer scopes, or remove parameters"),
    (&[900_561, 90_056], Class::Invalid, Reason::EndpointNotFound, "the request did not arrive as a posted form; a proxy between changes it, or the URL is not the token endpoint"),
    (&[1_002_016], Class::Invalid, Reason::TlsFailed, "Entra ID saw a version of TLS before 1.2, which apicred does not use; a proxy between inspects TLS: configure it to use TLS 1.2 or later"),
    (&[70_003], Class::Invalid, Reason::GrantNotSupported, "Entra ID does not know this grant here; choose another, or the other endpointVersion"),
    (&[90_009], Class::Invalid, Reason::ResourceUnknown, "an application that requests a token for itself must name itself by its client id in scopes or resource"),
    (&[76_021], Class::Invalid, Reason::RequestRefused, "the application demands signed requests, which apicred does not send; turn that off in its registration"),
    // What an administrator has to do.
    (&[65_001, 90_008, 90_094, 90_095, 90_099, 90_093], Class::NeedsUser, Reason::ConsentRequired, "an administrator of the tenant must consent to the application's permissions"),
    (&[65_004], Class::NeedsUser, Reason::ConsentRequired, "consent to the application's permissions was declined at the sign-in; consent there, or ask an administrator of the tenant to consent"),
    (&[650_057, 650_056, 65_005], Class::NeedsUser, Reason::ConsentRequired, "add the API to the application's permissions, and ask an administrator of the tenant to consent"),
    (&[650_052], Class::NeedsUser, Reason::ConsentRequired, "the tenant has not subscribed to this API or not enabled it: check its licence, add the API to the application's permissions, and ask an administrator of the tenant to consent"),
    (&[53_000, 53_001, 53_002, 53_003, 53_004, 53_005, 53_008, 53_009, 53_010, 53_011, 50_131, 530_031, 530_032, 530_034, 530_035, 530_084], Class::NeedsUser, Reason::BlockedByPolicy, "a Conditional Access policy blocks this; its owner must change it or exempt the client (for an application it checks the location and the risk of its service principal)"),
    (&[50_005, 50_097, 50_127, 50_129, 50_155, 50_187, 700_003, 135_011, 130_007, 130_008], Class::NeedsUser, Reason::BlockedByPolicy, "a Conditional Access policy requires a registered or compliant device, which the operator is not; its owner must exempt this client or user, or use a grant without a user"),
    (&[50_105], Class::NeedsUser, Reason::UserNotAssigned, "an administrator must assign the user to the application"),
    // What the user has to do.
    (&[50_072, 50_074, 50_076, 50_078, 50_079], Class::NeedsUser, Reason::MfaRequired, "the user must sign in again with MFA"),
    (&[50_158, 50_161, 50_170, 50_177, 50_178], Class::NeedsUser, Reason::InteractionRequired, "the user must sign in again and complete the challenge of the external identity provider"),
    (&[700_020, 50_125, 50_140, 50_199, 50_180, 51_006, 16_000, 16_001, 16_002, 160_021, 50_015, 54_000], Class::NeedsUser, Reason::InteractionRequired, "the user must sign in again and complete the dialog of Entra ID"),
    (&[50_173, 50_089, 50_132, 50_133, 50_139], Class::NeedsUser, Reason::SignInRequired, "the sign-in was revoked"),
    (&[50_058, 50_085, 50_086, 40_009], Class::NeedsUser, Reason::SignInRequired, "the sign-in is not valid any more"),
    (&[70_008, 700_082], Class::NeedsUser, Reason::SignInRequired, "the refresh token was not used for too long"),
    (&[700_084], Class::NeedsUser, Reason::SignInRequired, "the refresh token was issued to a single-page application and expires after a day; register the redirect URI for the platform mobile and desktop, or web"),
    (&[70_043], Class::NeedsUser, Reason::SignInRequired, "a policy limits how long a sign-in lasts; use application context, or change the policy"),
    (&[70_000, 54_005], Class::NeedsUser, Reason::SignInRequired, "the refresh token or code is not valid any more"),
    (&[7_000_012, 700_005], Class::NeedsUser, Reason::SignInRequired, "the refresh token or code belongs to another tenant; sign in at the tenant that tenantId names, or correct tenantId"),
    (&[70_019, 70_018, 90_119, 90_120], Class::NeedsUser, Reason::SignInRequired, "the code of the sign-in was entered wrongly, used before, or has expired; sign in again"),
    (&[50_055, 50_144, 50_135], Class::NeedsUser, Reason::PasswordExpired, "the user's password has expired; the user must set a new one"),
    (&[50_126, 50_056, 50_064], Class::Denied, Reason::PasswordRefused, "the user name or password is wrong; correct it before the next attempt, because failed attempts lock the user out"),
    (&[50_053], Class::Denied, Reason::AccountLocked, "the account is locked, or sign-in from this IP address is blocked as malicious; an administrator must unlock it"),
    (&[50_034, 500_341, 51_004, 50_014, 50_020, 90_072, 16_003, 500_208, 50_197, 90_125, 90_126], Class::Denied, Reason::UserUnknown, "the user does not exist in this tenant; check the user name and the tenant, or invite the user as a guest"),
    (&[50_057, 500_571], Class::Denied, Reason::UserDisabled, "the user is disabled; an administrator must enable the account"),
    (&[80_012], Class::Denied, Reason::BlockedByPolicy, "Active Directory does not allow this user to sign in at this time; its administrator must allow it"),
    // Assertions.
    (&[50_013, 500_133, 500_131, 240_002, 90_016], Class::Denied, Reason::AssertionRefused, "store a new access token of the user, issued for this client, in the Secret of the assertion"),
    (&[50_027], Class::Invalid, Reason::AssertionRefused, "the client assertion is malformed or has the wrong audience: check assertionAudience on the issuer"),
    (&[700_021], Class::Invalid, Reason::AssertionRefused, "issuer and subject of the client assertion are not client.id: check client.id"),
    (&[50_006, 900_384, 50_099, 50_120], Class::Denied, Reason::AssertionRefused, "the signature of an assertion is not valid: check the key that signs and what was registered for it"),
    (&[50_032], Class::Denied, Reason::AssertionRefused, "the RSA key is too weak; use one of 2048 bits or more"),
    (&[700_229, 67_003], Class::Invalid, Reason::AssertionRefused, "a federated assertion must be an application's own token from an issuer that Entra ID accepts for federation, not a user's token"),
    (&[700_222], Class::Denied, Reason::FederationMismatch, "the client assertion is a token that Entra ID issued to an application: only the token of a managed identity for api://AzureADTokenExchange can be one; use managedIdentity.asAssertion"),
    (&[700_236], Class::Denied, Reason::FederationMismatch, "the application and the managed identity are registered in different tenants: register a multitenant application in the tenant of the identity, and consent to it in the tenant of tenantId"),
    (&[70_021, 70_025, 700_211, 700_212, 700_213, 7_002_138], Class::Denied, Reason::FederationMismatch, "the application has no federated credential with this issuer, subject and audience, character by character (case-sensitive); a new one needs some minutes"),
    (&[90_061, 50_166, 501_661], Class::Transient, Reason::FederationUnreachable, "Entra ID cannot fetch the keys of the cluster's issuer; its discovery document and keys must be public"),
    (&[700_024], Class::Transient, Reason::AssertionTimeRefused, "the assertion was outside of its validity period; check the clocks (apicred makes a new one for each attempt)"),
    // Sign-in of a user, for the plugin.
    (&[50_011, 500_112, 500_113, 70_004, 900_971], Class::Invalid, Reason::RedirectUriMismatch, "register this redirect URI at the application (platform mobile and desktop applications)"),
    (&[9_002_325, 9_002_326, 9_002_327], Class::Invalid, Reason::RedirectUriMismatch, "the redirect URI is registered for a single-page application: register it under the platform mobile and desktop applications instead"),
    (&[50_147, 501_481, 501_491], Class::Invalid, Reason::InvalidRequest, "Entra ID did not accept the proof key of the sign-in; run the command again"),
    // Entra itself.
    (&[LOOP], Class::Throttled, Reason::LoopDetected, "Entra ID received too many identical requests"),
    (&[90_055], Class::Throttled, Reason::Throttled, "the tenant is throttled"),
    (&[90_033, 90_006, 90_012, 90_024, 90_090, 90_091, 50_033, 50_087, 50_088, 80_002, 40_010, 70_012], Class::Transient, Reason::IssuerUnavailable, "Entra ID cannot answer at the moment"),
    (&[80_001, 80_005, 80_007, 80_010, 80_014], Class::Transient, Reason::IssuerUnavailable, "the agents that check passwords in Active Directory for Entra ID failed"),
    (&[40_008, 40_015, 20_001, 20_012, 20_033, 50_008, 50_107, 90_123], Class::Denied, Reason::FederatedSignInFailed, "the identity provider to which Entra ID redirects this user's sign-in failed or refused it; its administrator must check it"),
    (&[80_013], Class::Denied, Reason::FederatedSignInFailed, "the clocks of Active Directory and of the server with Entra ID's authentication agent differ too much: their administrator must synchronize them"),
    (&[51_000], Class::Denied, Reason::AccessDenied, "a feature that this request needs is disabled in the tenant: an administrator must enable it"),
    (&[90_036, 90_092, 50_000], Class::Transient, Reason::IssuerFailed, "Entra ID failed; if it lasts, give the correlation id to Microsoft's support"),
];

/// What a number means where `error` decides between two meanings (Azure SDK, troubleshooting of client assertions).
#[rustfmt::skip]
const BY_ERROR: &[(u32, &str, Row)] = &[
    (700_023, "invalid_client", (&[700_023], Class::Invalid, Reason::AssertionRefused, "the audience of the client assertion is not this tenant's token endpoint: check tenantId, cloud and assertionAudience on the issuer")),
    (700_023, "", (&[700_023], Class::Invalid, Reason::InvalidScope, "request one API as \"<api>/.default\", or permissions that it has")),
];

/// The meaning of numbers about users for a grant without a user: no user can help.
#[rustfmt::skip]
const WITHOUT_USER: &[Row] = &[
    (&[50_105], Class::Denied, Reason::RoleNotAssigned, "the API or the application requires an assignment: assign one of the API's app roles to the application"),
    (&[50_034, 500_341, 51_004, 50_014, 50_020, 90_072, 16_003, 500_208, 50_197, 16_000], Class::Denied, Reason::TenantUnknown, "the identity does not belong to this tenant: check tenantId and client.id"),
    (&[65_004], Class::Denied, Reason::ConsentRequired, "an administrator of the tenant must consent to the application's permissions"),
    (&[7_000_012, 700_005], Class::Denied, Reason::TenantUnknown, "the sent credential belongs to another tenant: check tenantId"),
];

/// Numbers after which Entra ID requires a longer wait, in seconds. A loop is 15 equal requests in five minutes (facts, section 3.2).
const WAITS: &[(u32, u64)] = &[
    (LOOP, 300),
    (90_055, 60),
    (90_036, 60),
    (90_092, 60),
    (50_000, 60),
    (90_061, 60),
    (50_166, 60),
    (501_661, 60),
];

/// Finds the row of a number. `error` is that of the answer. `user`: whether the grant has a user.
pub(super) fn known(code: u32, error: Option<&str>, user: bool) -> Option<Known> {
    let find = |rows: &'static [Row]| rows.iter().find(|row| row.0.contains(&code));
    let about_client = find(CLIENT_CREDENTIALS);
    let by_error = || {
        let fits = |e: &str| e.is_empty() || error == Some(e);
        let found = BY_ERROR.iter().find(|(n, e, _)| *n == code && fits(e));
        found.map(|(_, _, row)| row)
    };
    let without_user = || find(WITHOUT_USER).filter(|_| !user);
    let (_, class, reason, next_step) = about_client
        .or_else(by_error)
        .or_else(without_user)
        .or_else(|| find(OTHERS))?;
    let wait = WAITS.iter().find(|(known, _)| *known == code);
    Some(Known {
        class: *class,
        reason: *reason,
        about_client: about_client.is_some(),
        next_step,
        wait: wait.map(|(_, seconds)| Duration::from_secs(*seconds)),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_number_is_listed_once_with_a_whole_sentence() {
        let mut seen = BTreeSet::new();
        for (codes, _, _, next_step) in CLIENT_CREDENTIALS.iter().chain(OTHERS) {
            assert!(!codes.is_empty());
            assert!(
                next_step.len() > 15 && !next_step.ends_with('.'),
                "{next_step}"
            );
            for code in *codes {
                assert!(seen.insert(*code), "{code} is listed twice");
            }
        }
        assert!(seen.len() > 200, "{}", seen.len());
        assert!(WAITS.iter().all(|(code, _)| seen.contains(code)));
        let special = BY_ERROR.iter().map(|(_, _, row)| row).chain(WITHOUT_USER);
        for (codes, class, _, next_step) in special {
            assert!(next_step.len() > 15, "{codes:?}");
            // A row for grants without a user never waits for one.
            let needs_user =
                WITHOUT_USER.iter().any(|r| r.0 == *codes) && *class == Class::NeedsUser;
            assert!(!needs_user, "{codes:?}");
        }
        for (code, error, _) in BY_ERROR {
            assert!(!seen.contains(code), "{code} is in two tables");
            let last = BY_ERROR.iter().rfind(|row| row.0 == *code);
            assert_eq!(last.map(|row| row.1), Some(""), "{code} {error}");
        }
    }
}
