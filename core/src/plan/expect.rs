//! What the published token says of itself against what the spec expects. Read, never trusted: a token that cannot
//! be read is neither good nor bad, since only the API itself can judge it. A token that does not speak of roles is no
//! proof that they are missing.

use crate::{
    api::ApiPreset,
    credential::{Credential, Endpoint, Proof, preset},
    oauth::{Claims, Token, consent},
    publish::Record,
};

/// Most words of one claim that are noted.
const MAX_SCOPES: usize = 64;

/// What a token lacks.
#[derive(Debug, PartialEq)]
pub(super) enum Lack {
    /// This is missing: a stable reason, and a sentence with who must grant it.
    Missing(&'static str, String),
    /// Whether something is missing cannot be read in the token.
    Unknown(String),
}

/// What the token lacks of what the spec expects.
pub(super) fn missing(credential: &Credential, record: &Record) -> Option<Lack> {
    let found = unexpected(credential, record).or_else(|| narrowed(record));
    found
        .map(|(reason, text)| Lack::Missing(reason, text))
        .or_else(|| unread(credential, record).map(Lack::Unknown))
}

/// What is noted of a new token: its own claims, and if these have no scopes to read, those expected scopes that the answer
/// names. The words of the answer themselves are not noted: an issuer may put a secret that it was sent there.
pub(super) fn claims(credential: &Credential, token: &Token) -> Option<Box<Claims>> {
    let expected = credential.expect.as_ref().map(|e| e.scopes.as_slice());
    let silent = token
        .claims
        .as_ref()
        .is_none_or(|c| !c.all_scopes && c.scopes.is_empty());
    let (Some(expected), Some(granted)) = (
        expected.filter(|e| silent && !e.is_empty()),
        token.scope.as_deref().filter(|s| !s.trim().is_empty()),
    ) else {
        return token.claims.clone();
    };
    let granted: Vec<String> = granted.split_whitespace().map(str::to_owned).collect();
    let absent = lacking(credential, expected, &granted);
    let mut held = expected.to_vec();
    held.retain(|scope| !absent.contains(scope));
    let mut claims = token.claims.clone().unwrap_or_default();
    (claims.scopes, claims.all_scopes) = (held, true);
    Some(claims)
}

/// Permissions that are expected, and of which the token does not speak in a way that is known here.
fn unread(credential: &Credential, record: &Record) -> Option<String> {
    let expected = credential.expect.as_ref()?;
    let Some(claims) = record.claims.as_ref() else {
        let any = !expected.roles.is_empty() || !expected.scopes.is_empty();
        return any.then(|| {
            "the token cannot be read (it is opaque or encrypted), so whether it has the permissions of spec.expect cannot be checked; ask the API, or remove expect.roles and expect.scopes".to_owned()
        });
    };
    let whole = Whole::of(credential, claims);
    let roles = lacking(credential, &expected.roles, &claims.roles);
    let scopes = lacking(credential, &expected.scopes, &claims.scopes);
    let (what, where_, field) = if !roles.is_empty() && !whole.roles {
        (
            "roles",
            "roles, permissions, realm_access.roles or resource_access",
            "expect.roles",
        )
    } else if !scopes.is_empty() && !whole.scopes {
        ("scopes", "scp or scope", "expect.scopes")
    } else {
        return None;
    };
    Some(format!(
        "the token has no complete claim about {what} ({where_}), so whether it has those of spec.{field} cannot be checked; have the issuer add the claim, or remove {field}"
    ))
}

/// Of which claims is it known that they are whole, so that what is not there is missing? Entra ID leaves out a claim that
/// would be empty; others leave out what was not configured.
struct Whole {
    roles: bool,
    scopes: bool,
}

impl Whole {
    fn of(credential: &Credential, claims: &Claims) -> Self {
        let entra = matches!(credential.issuer.endpoint, Endpoint::Entra { .. });
        Self {
            roles: claims.all_roles || entra && claims.roles.len() < MAX_SCOPES,
            scopes: claims.all_scopes || entra && claims.scopes.len() < MAX_SCOPES,
        }
    }
}

/// Which of the expected words are not held. Microsoft's documentation spells some permissions in two ways
/// (Investigation.Read, Investigation.read); elsewhere case counts.
fn lacking(credential: &Credential, wanted: &[String], held: &[String]) -> Vec<String> {
    let entra = matches!(credential.issuer.endpoint, Endpoint::Entra { .. });
    let same = |w: &str, h: &str| {
        if entra {
            w.eq_ignore_ascii_case(h)
        } else {
            w == h
        }
    };
    let has = |w: &&String| held.iter().any(|h| same(w, h));
    wanted.iter().filter(|w| !has(w)).cloned().collect()
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
    let whole = Whole::of(credential, claims);
    let absent = |wanted: &[String], held: &[String], whole: bool| {
        let absent = lacking(credential, wanted, held);
        if whole { absent } else { Vec::new() }
    };
    let roles = absent(&expected.roles, &claims.roles, whole.roles);
    let scopes = absent(&expected.scopes, &claims.scopes, whole.scopes);
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
