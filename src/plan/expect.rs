//! What the published token says of itself against what the spec expects. Read, never trusted: a token that cannot
//! be read is neither good nor bad, since only the API itself can judge it.

use crate::{
    api::ApiPreset,
    credential::{Credential, Endpoint, Proof, preset},
    oauth::consent,
    publish::Record,
};

/// What is missing, as a stable reason and a sentence with who must grant it.
pub(super) fn missing(credential: &Credential, record: &Record) -> Option<(&'static str, String)> {
    unexpected(credential, record).or_else(|| narrowed(record))
}

/// Issuers drop scopes that they do not know or do not grant, and give a token all the same (RFC 6749 section 3.3).
fn narrowed(record: &Record) -> Option<(&'static str, String)> {
    let lacking = record.not_granted.join(", ");
    let text = || {
        format!(
            "the issuer gave a token without {lacking}; grant that to the client at the issuer, or take it out of spec.scopes"
        )
    };
    (!lacking.is_empty()).then(|| ("ScopesNotGranted", text()))
}

fn unexpected(credential: &Credential, record: &Record) -> Option<(&'static str, String)> {
    let (expected, claims) = (credential.expect.as_ref()?, record.claims.as_ref()?);
    if let Some(audience) = &expected.audience
        && !claims.audience.is_empty()
        && !claims.audience.contains(audience)
    {
        return Some((
            "AudienceMismatch",
            format!(
                "the token is for {}, not for {audience}; correct what is asked for, or spec.expect",
                claims.audience.join(", ")
            ),
        ));
    }
    if let (Some(wanted), Some(tenant)) = (&expected.tenant, &claims.tenant)
        && !wanted.eq_ignore_ascii_case(tenant)
    {
        return Some((
            "TenantMismatch",
            format!(
                "the token is of tenant {tenant}, not of {wanted}; correct the issuer's tenant, or spec.expect"
            ),
        ));
    }
    let absent = |wanted: &[String], held: &[String]| -> Vec<String> {
        // Documentation spells some permissions in two ways (Investigation.Read, Investigation.read).
        let has = |w: &String| held.iter().any(|h| h.eq_ignore_ascii_case(w));
        wanted.iter().filter(|w| !has(w)).cloned().collect()
    };
    let roles = absent(&expected.roles, &claims.roles);
    let scopes = absent(&expected.scopes, &claims.scopes);
    let (reason, what, lacking) = match (roles.is_empty(), scopes.is_empty()) {
        (true, true) => return None,
        (false, true) => ("RolesMissing", "application permissions", roles),
        (true, false) => ("ScopesMissing", "delegated permissions", scopes),
        (false, false) => (
            "PermissionsMissing",
            "permissions",
            [roles, scopes].concat(),
        ),
    };
    let mut text = format!("the token lacks the {what} {}", lacking.join(", "));
    match &credential.issuer.endpoint {
        Endpoint::Entra { .. } if matches!(credential.proof, Proof::ManagedIdentity(_)) => {
            text.push_str(&consent::how(credential));
        }
        Endpoint::Entra { .. } => text.push_str(&format!(
            "; add them to the application's API permissions{} and let an administrator consent{}",
            portal_name(credential),
            consent::how(credential)
        )),
        _ => text.push_str("; grant them to the client at the issuer"),
    }
    text.push_str(&format!(
        "; then run: kubectl apicred renew {} --namespace {}",
        credential.name, credential.namespace
    ));
    Some((reason, text))
}

/// Where the permissions are found in the portal, for the APIs that are known.
fn portal_name(credential: &Credential) -> String {
    let asked = |audience: &str| {
        let wanted = credential.ask.scopes.iter().chain(&credential.ask.resource);
        wanted.into_iter().any(|w| w.starts_with(audience))
    };
    [
        ApiPreset::DefenderForCloudApps,
        ApiPreset::DefenderForEndpoint,
        ApiPreset::DefenderXdr,
        ApiPreset::ManagedDesktop,
        ApiPreset::MicrosoftGraph,
        ApiPreset::AzureResourceManager,
    ]
    .into_iter()
    .filter_map(|api| preset(api, credential.issuer.cloud))
    .find(|p| asked(p.audience))
    .map_or_else(String::new, |p| format!(" ({})", p.portal_name))
}
