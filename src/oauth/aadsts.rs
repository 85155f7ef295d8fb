//! What Entra's `AADSTS` numbers add to the OAuth error: a better sentence, and a class where `error` misleads.
//!
//! Microsoft asks clients to react to `error` and to treat the numbers as diagnostics that may change
//! (learn.microsoft.com/entra/identity-platform/reference-error-codes), so an unknown number changes nothing.

use super::Class;

/// What is known about a number.
pub(super) struct Known {
    /// Overrides the class that `error` gives.
    pub(super) class: Option<Class>,
    /// Stable reason.
    pub(super) reason: &'static str,
    /// What to do.
    pub(super) next_step: &'static str,
    /// Is it the client's proof that was refused, so that another secret may do better?
    pub(super) about_client: bool,
}

const fn permanent(reason: &'static str, next_step: &'static str) -> Known {
    Known {
        class: Some(Class::Invalid),
        reason,
        next_step,
        about_client: false,
    }
}

const fn denied(reason: &'static str, next_step: &'static str, about_client: bool) -> Known {
    Known {
        class: Some(Class::Denied),
        reason,
        next_step,
        about_client,
    }
}

const fn transient(reason: &'static str) -> Known {
    Known {
        class: Some(Class::Transient),
        reason,
        next_step: "Entra ID is briefly unable to answer; apicred tries again",
        about_client: false,
    }
}

/// Looks a number up.
pub(super) fn known(code: u32) -> Option<Known> {
    Some(match code {
        7_000_215 => denied(
            "ClientSecretRefused",
            "the client secret is wrong; store the secret's value (not its id) in the Secret; one just made needs up to some minutes to be known",
            true,
        ),
        7_000_222 => denied(
            "ClientSecretExpired",
            "the client secret has expired; make a new one in Entra ID and store it in the Secret",
            true,
        ),
        70_002 => denied(
            "ClientSecretRefused",
            "the client secret is wrong; check its value in the Secret",
            true,
        ),
        7_000_218 => permanent(
            "ClientSecretMissing",
            "Entra ID saw no client secret; check the Secret's key",
        ),
        700_016 => denied(
            "ClientUnknown",
            "check client.id and the tenant, or consent to the application in this tenant",
            false,
        ),
        70_001 | 700_011 | 7_000_112 => denied(
            "ClientDisabled",
            "enable the application in this tenant or install it again",
            false,
        ),
        90_002 => permanent(
            "TenantUnknown",
            "check tenantId and the cloud; this tenant does not exist there",
        ),
        900_023 => permanent(
            "TenantUnknown",
            "tenantId must be the tenant's GUID or a verified domain",
        ),
        90_038 | 900_382 | 900_432 | 900_439 => permanent(
            "WrongCloud",
            "set cloud to the national cloud of this tenant and register the application there",
        ),
        500_011 | 50_001 => permanent(
            "ResourceUnknown",
            "check the API in scopes or resource; its service principal must exist in this tenant",
        ),
        1_002_012 => permanent("InvalidScope", "ask for \"<api>/.default\""),
        70_011 | 28_002 | 700_022 | 700_023 => {
            permanent("InvalidScope", "ask for one API as \"<api>/.default\"")
        }
        901_002 => permanent(
            "InvalidRequest",
            "the v2 endpoint takes scopes in place of resource",
        ),
        65_001 => denied(
            "ConsentRequired",
            "an administrator of the tenant consents to the application's permissions",
            false,
        ),
        53_003 => denied(
            "BlockedByPolicy",
            "a Conditional Access policy blocks this application; its owner decides",
            false,
        ),
        50_196 => Known {
            class: Some(Class::Throttled),
            reason: "LoopDetected",
            next_step: "Entra ID saw too many equal requests; apicred pauses",
            about_client: false,
        },
        90_055 => Known {
            class: Some(Class::Throttled),
            reason: "Throttled",
            next_step: "the tenant is throttled; apicred pauses",
            about_client: false,
        },
        90_033 | 90_006 | 90_012 | 90_024 | 90_090 | 90_091 | 50_033 | 50_087 | 80_002 => {
            transient("IssuerUnavailable")
        }
        _ => return None,
    })
}
