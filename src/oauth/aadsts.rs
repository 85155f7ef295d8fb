//! What Entra's `AADSTS` numbers add to the OAuth error: a better sentence, and a class where `error` misleads.
//!
//! Microsoft asks clients to react to `error` and to treat the numbers as diagnostics that may change
//! (learn.microsoft.com/entra/identity-platform/reference-error-codes), so an unknown number changes nothing.

use std::time::Duration;

use super::Class;

/// Entra ID saw one client ask for the same again and again. That says nothing about the other clients of the tenant: if
/// they waited for it, whoever makes a client loop would hold up a whole company.
pub const LOOP: u32 = 50_196;

/// What is known about a number.
#[derive(Clone, Copy)]
pub(super) struct Known {
    /// How to wait.
    pub(super) class: Class,
    /// Stable reason.
    pub(super) reason: &'static str,
    /// Is it the client's proof that was refused, so that another one may do better?
    pub(super) about_client: bool,
    /// What to do.
    pub(super) next_step: &'static str,
    /// The least wait before the next request, where the class's own is too short.
    pub(super) wait: Option<Duration>,
}

type Row = (&'static [u32], Class, &'static str, &'static str);

/// Numbers about the proof of the client: another secret or certificate may do better.
#[rustfmt::skip]
const PROOFS: &[Row] = &[
    (&[7_000_215, 70_002], Class::Denied, "ClientSecretRefused", "the client secret is wrong; store the secret's value (not its id) in the Secret; one just made needs up to some minutes to be known"),
    (&[7_000_222], Class::Denied, "ClientSecretExpired", "the client secret has expired; make a new one in Entra ID and store it in the Secret"),
    (&[700_027], Class::Denied, "CertificateUnknown", "the application does not know this certificate (or its key did not sign): upload the certificate to the application; one just uploaded needs some minutes"),
    (&[50_012, 700_030, 50_048], Class::Denied, "CertificateRefused", "the application does not accept this certificate; check its subject, issuer and the tenant's policy for certificates"),
];

/// All others.
#[rustfmt::skip]
const OTHERS: &[Row] = &[
    // The client and its tenant.
    (&[7_000_218], Class::Invalid, "ClientSecretMissing", "Entra ID saw no proof of the client; check the Secret's key, or allow public client flows in the application"),
    (&[700_025], Class::Invalid, "PublicClient", "the application is a public client and must not prove itself; set client.public, or remove the public platform from the application"),
    (&[700_016], Class::Denied, "ClientUnknown", "check client.id and the tenant, or consent to the application in this tenant"),
    (&[70_001, 700_011, 7_000_112, 1_000_031], Class::Denied, "ClientDisabled", "enable the application in this tenant or install it again"),
    (&[90_002], Class::Invalid, "TenantUnknown", "check tenantId and the cloud; this tenant does not exist there"),
    (&[900_023], Class::Invalid, "TenantUnknown", "tenantId must be the tenant's GUID or a verified domain"),
    (&[9_001_023, 50_194, 50_059, 90_019], Class::Invalid, "TenantUnknown", "give the concrete tenant in tenantId; this application or grant does not work for any tenant"),
    (&[90_038, 900_382, 900_432, 900_439], Class::Invalid, "WrongCloud", "set cloud to the national cloud of this tenant and register the application there"),
    // What is asked for.
    (&[500_011, 50_001], Class::Invalid, "ResourceUnknown", "check the API in scopes or resource; its service principal must exist in this tenant"),
    (&[1_002_012], Class::Invalid, "InvalidScope", "ask for \"<api>/.default\""),
    (&[70_011, 28_002, 700_022, 700_023, 650_053], Class::Invalid, "InvalidScope", "ask for one API as \"<api>/.default\", or for permissions that it has"),
    (&[901_002], Class::Invalid, "InvalidRequest", "the v2 endpoint takes scopes in place of resource"),
    (&[900_144, 90_014, 90_023, 90_100, 9_002_313, 90_004], Class::Invalid, "InvalidRequest", "Entra ID misses or refuses a parameter; check scopes, resource and parameters"),
    (&[70_003], Class::Invalid, "GrantNotSupported", "Entra ID does not know this grant here; choose another, or the other endpointVersion"),
    (&[7_000_114], Class::Invalid, "GrantNotSupported", "this application may not act on behalf of users; choose another grant"),
    // What an administrator has to do.
    (&[65_001, 65_004, 90_094, 90_095, 90_099], Class::NeedsUser, "ConsentRequired", "an administrator of the tenant consents to the application's permissions"),
    (&[650_057, 650_052, 650_054, 650_056, 65_005], Class::NeedsUser, "ConsentRequired", "add the API to the application's permissions (or subscribe the tenant to it), and let an administrator of the tenant consent"),
    (&[53_000, 53_001, 53_002, 53_003, 53_004, 53_011, 50_131, 530_032, 530_035], Class::NeedsUser, "BlockedByPolicy", "a Conditional Access policy blocks this; its owner decides (for an application it looks at the location and the risk of its service principal)"),
    (&[50_105], Class::NeedsUser, "UserNotAssigned", "an administrator assigns the user to the application"),
    // What the person has to do.
    (&[50_072, 50_074, 50_076, 50_078, 50_079], Class::NeedsUser, "MfaRequired", "the person signs in again with a second factor"),
    (&[50_158, 50_161], Class::NeedsUser, "InteractionRequired", "the person signs in again and answers what another service asks"),
    (&[50_173, 50_089, 50_132, 50_133], Class::NeedsUser, "SignInRequired", "the sign-in was revoked"),
    (&[70_008, 700_082], Class::NeedsUser, "SignInRequired", "the refresh token was not used for too long"),
    (&[700_084], Class::NeedsUser, "SignInRequired", "the refresh token is of a single-page application and lives a day; register the redirect address as mobile and desktop or web"),
    (&[70_043], Class::NeedsUser, "SignInRequired", "a policy limits how long a sign-in lasts; use application context, or change the policy"),
    (&[70_000, 54_005], Class::NeedsUser, "SignInRequired", "the refresh token or code is not valid any more"),
    (&[50_055, 50_144], Class::NeedsUser, "PasswordExpired", "the user's password has expired; the user sets a new one"),
    (&[50_126, 50_056, 50_064], Class::Denied, "PasswordRefused", "the user name or password is wrong; correct it before the next try, since tries lock the user out"),
    (&[50_053], Class::Denied, "AccountLocked", "the account is locked, or the request comes from an address with a bad name; an administrator unlocks it"),
    (&[50_034], Class::Denied, "UserUnknown", "the user does not exist in this tenant; check the user name and the tenant"),
    (&[50_057], Class::Denied, "UserDisabled", "the user is disabled; an administrator enables the account"),
    // Assertions.
    (&[50_013, 500_133, 500_131], Class::Denied, "AssertionRefused", "put a fresh access token of the user, made for this client, into the Secret of the assertion"),
    (&[50_027], Class::Invalid, "AssertionRefused", "Entra ID does not accept the form of the assertion; check assertionAudience on the issuer"),
    (&[700_229], Class::Invalid, "AssertionRefused", "a federated assertion must be of an application or workload, not of a user"),
    (&[70_021, 700_211, 700_212, 700_213, 7_002_138], Class::Denied, "FederationMismatch", "the application has no federated credential with this issuer, subject and audience, letter by letter (upper and lower case count); one just made needs some minutes"),
    (&[90_061], Class::Transient, "FederationUnreachable", "Entra ID cannot fetch the keys of the cluster's issuer; its discovery document and keys must be public"),
    (&[700_024], Class::Transient, "AssertionTimeRefused", "the assertion was not within its time; check the clocks (apicred makes a new one for each try)"),
    // Sign-in of a person, for the plugin.
    (&[50_011, 500_112], Class::Invalid, "RedirectUriMismatch", "register this redirect address with the application (platform mobile and desktop applications)"),
    (&[50_147, 501_481, 501_491], Class::Invalid, "InvalidRequest", "Entra ID did not accept the proof key of the sign-in; run the command again"),
    // Entra itself.
    (&[LOOP], Class::Throttled, "LoopDetected", "Entra ID saw too many equal requests; apicred pauses"),
    (&[90_055], Class::Throttled, "Throttled", "the tenant is throttled; apicred pauses"),
    (&[90_033, 90_006, 90_012, 90_024, 90_090, 90_091, 50_033, 50_087, 80_002], Class::Transient, "IssuerUnavailable", "Entra ID is briefly unable to answer; apicred tries again"),
    (&[90_036, 90_092, 50_000], Class::Transient, "IssuerFailed", "Entra ID failed; apicred tries again; if it lasts, Microsoft's support asks for the correlation id"),
];

/// Numbers after which Entra wants to be left alone for longer, in seconds. A loop counts 15 equal requests in five
/// minutes (facts, section 3.2).
const WAITS: &[(u32, u64)] = &[
    (LOOP, 300),
    (90_055, 60),
    (90_036, 60),
    (90_092, 60),
    (50_000, 60),
    (90_061, 60),
];

/// Looks a number up.
pub(super) fn known(code: u32) -> Option<Known> {
    let find = |rows: &'static [Row]| rows.iter().find(|row| row.0.contains(&code));
    let proof = find(PROOFS);
    let (_, class, reason, next_step) = proof.or_else(|| find(OTHERS))?;
    let wait = WAITS.iter().find(|(known, _)| *known == code);
    Some(Known {
        class: *class,
        reason,
        about_client: proof.is_some(),
        next_step,
        wait: wait.map(|(_, seconds)| Duration::from_secs(*seconds)),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_number_stands_there_once_with_a_whole_sentence() {
        let mut seen = BTreeSet::new();
        for (codes, _, reason, next_step) in PROOFS.iter().chain(OTHERS) {
            assert!(!codes.is_empty() && !reason.is_empty());
            assert!(
                next_step.len() > 15 && !next_step.ends_with('.'),
                "{next_step}"
            );
            for code in *codes {
                assert!(seen.insert(*code), "{code} stands there twice");
            }
        }
        assert!(seen.len() > 100, "{}", seen.len());
        assert!(WAITS.iter().all(|(code, _)| seen.contains(code)));
    }
}
