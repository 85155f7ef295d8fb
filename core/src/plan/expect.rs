//! Compares the published token with `spec.expect`.
//!
//! The claims are read, never trusted. A token that cannot be read is not evaluated, because only the API can decide. If a token has no claim
//! about roles, this does not prove that roles are missing.

mod surplus;

use surplus::is_exact;
pub(super) use surplus::surplus;

use crate::{
    Reason,
    api::ApiPreset,
    credential::{AuthenticationMethod, Credential, Endpoint, Protocol, preset, scopes},
    oauth::{Claims, Token, consent, is_guid},
    printable::bounded,
    publish::{Record, rejection::has_no_data},
};

/// Maximum number of scopes of the answer that are stored.
const MAX_SCOPES: usize = 64;
/// Longest name that is shown, in characters, and longest list of names, in bytes: all findings must fit into one message.
const LONGEST_NAME: usize = 48;
const LONGEST_LIST: usize = 90;

/// What a token lacks.
#[derive(Debug, PartialEq)]
pub(super) enum Lack {
    /// A permission or another property is missing: a stable reason, and a sentence about who must grant it.
    Missing(Reason, String),
    /// The token does not show whether something is missing.
    Unknown(String),
}

/// One difference between the token and the spec.
struct Finding {
    /// Stable reason.
    reason: Reason,
    /// What was observed, and what to do.
    text: String,
}

/// The differences between the token and what the spec expects. All are reported at once, so that users can correct them together. The reason
/// is that of the first one.
pub(super) fn missing(credential: &Credential, record: &Record) -> Option<Lack> {
    let unread = unread(credential, record);
    let mut findings: Vec<Finding> = [
        other_audience(credential, record),
        other_tenant(credential, record),
        permissions(credential, record),
        narrowed(record),
    ]
    .into_iter()
    .flatten()
    .collect();
    let Some(first) = findings.first() else {
        return unread.map(Lack::Unknown);
    };
    let reason = first.reason;
    let several = findings.len() > 1 || unread.is_some();
    // The longest is last: if the message is cut, no finding is lost.
    findings.sort_by_key(|f| f.text.len());
    let mut parts: Vec<String> = findings
        .into_iter()
        .map(|f| {
            if several {
                format!("{}: {}", f.reason, f.text)
            } else {
                f.text
            }
        })
        .collect();
    parts.extend(unread.map(|text| format!("{}: {text}", Reason::NotVerifiable)));
    Some(Lack::Missing(reason, parts.join(". ")))
}

/// The claims that are stored for a new token: its own claims and, if these have no readable scopes, the expected scopes that the answer lists.
/// The text of the answer is not stored: an issuer may put a secret there that it received.
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
    let absent = lacking_scopes(credential, expected, &granted);
    let mut hidden = 0;
    let mut held = expected.to_vec();
    held.retain(|scope| !absent.contains(scope));
    if is_exact(credential) {
        let mut more = lacking_scopes(credential, &granted, expected);
        let all = more.len();
        more.retain(|scope| has_no_data(scope));
        // The record has at most this number in all.
        more.truncate(MAX_SCOPES.saturating_sub(held.len()));
        hidden = all - more.len();
        held.extend(more);
    }
    let mut claims = token.claims.clone().unwrap_or_default();
    (claims.scopes, claims.all_scopes, claims.more_scopes) = (held, true, hidden);
    Some(claims)
}

/// Expected permissions for which the token has no claim that apicred knows.
fn unread(credential: &Credential, record: &Record) -> Option<String> {
    let expected = credential.expect.as_ref()?;
    let Some(claims) = record.claims.as_ref() else {
        let any = !expected.roles.is_empty() || !expected.scopes.is_empty();
        return any.then(|| {
            "the token cannot be read (it is opaque or encrypted), so whether it has the permissions of spec.expect cannot be checked; ask the API, or remove expect.roles and expect.scopes".to_owned()
        });
    };
    let whole = Whole::of(credential, claims);
    let roles = !whole.roles && !lacking(credential, &expected.roles, &claims.roles).is_empty();
    let scopes =
        !whole.scopes && !lacking_scopes(credential, &expected.scopes, &claims.scopes).is_empty();
    let in_roles = "roles, permissions, realm_access.roles or resource_access";
    let (what, place, fields) = match (roles, scopes) {
        (false, false) => return None,
        (true, false) => ("roles", in_roles.to_owned(), "expect.roles"),
        (false, true) => ("scopes", "scp or scope".to_owned(), "expect.scopes"),
        (true, true) => (
            "roles and scopes",
            format!("{in_roles}; scp or scope"),
            "expect.roles and expect.scopes",
        ),
    };
    Some(format!(
        "the token has no complete claim about {what} ({place}), so whether it has those of spec.expect cannot be checked; ask the owner of the issuer to add the claim, or remove {fields}"
    ))
}

/// Which claims are known to be complete, so that a missing entry is not granted. Entra ID omits a claim that would be empty; others omit what
/// was not configured.
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

/// The expected permissions that are not held. Microsoft's documentation spells some permissions in two ways (Investigation.Read,
/// Investigation.read); for other issuers they are case-sensitive.
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

/// The same for scopes, as the issuer compares them.
fn lacking_scopes(credential: &Credential, wanted: &[String], held: &[String]) -> Vec<String> {
    let by_letter = lacking(credential, wanted, held);
    scopes::lacking(&credential.issuer, &by_letter, held)
}

/// Issuers drop scopes that they do not know or do not grant, and nevertheless issue a token (RFC 6749 section 3.3).
fn narrowed(record: &Record) -> Option<Finding> {
    (!record.not_granted.is_empty()).then(|| Finding {
        reason: Reason::ScopesNotGranted,
        text: format!(
            "the issuer issued a token without {}; grant it to the client at the issuer, or remove it from spec.scopes",
            listed(&record.not_granted)
        ),
    })
}

fn other_audience(credential: &Credential, record: &Record) -> Option<Finding> {
    let (expected, claims) = (credential.expect.as_ref()?, record.claims.as_ref()?);
    let audience = expected.audience.as_ref()?;
    if claims.audience.is_empty() || claims.audience.contains(audience) {
        return None;
    }
    // These are texts of the token: an issuer could put a secret there that it received.
    let shown: Vec<String> = claims
        .audience
        .iter()
        .filter(|a| is_guid(a) || has_no_data(a))
        .cloned()
        .collect();
    let seen = match (shown.len(), claims.audience.len()) {
        (0, _) => {
            "for an audience that is not shown, because it does not look like a name".to_owned()
        }
        (shown_ones, all) if shown_ones < all => {
            format!("for {} and others", listed(&shown))
        }
        _ => format!("for {}", listed(&shown)),
    };
    Some(Finding {
        reason: Reason::AudienceMismatch,
        text: format!(
            "the token is {seen}, not for {}; correct api, scopes, resources or audience in the spec, or expect.audience",
            listed(std::slice::from_ref(audience))
        ),
    })
}

fn other_tenant(credential: &Credential, record: &Record) -> Option<Finding> {
    let (expected, claims) = (credential.expect.as_ref()?, record.claims.as_ref()?);
    let (wanted, tenant) = (expected.tenant.as_ref()?, claims.tenant.as_ref()?);
    if wanted.eq_ignore_ascii_case(tenant) {
        return None;
    }
    let seen = if is_guid(tenant) {
        format!("of tenant {tenant}")
    } else {
        "of another tenant".to_owned()
    };
    Some(Finding {
        reason: Reason::TenantMismatch,
        text: format!(
            "the token is {seen}, not of {wanted}; correct the tenant of the issuer, or expect.tenant"
        ),
    })
}

fn permissions(credential: &Credential, record: &Record) -> Option<Finding> {
    let (expected, claims) = (credential.expect.as_ref()?, record.claims.as_ref()?);
    let whole = Whole::of(credential, claims);
    let known = |absent: Vec<String>, whole: bool| if whole { absent } else { Vec::new() };
    let roles = lacking(credential, &expected.roles, &claims.roles);
    let scopes = lacking_scopes(credential, &expected.scopes, &claims.scopes);
    let (roles, scopes) = (known(roles, whole.roles), known(scopes, whole.scopes));
    let reason = match (roles.is_empty(), scopes.is_empty()) {
        (true, true) => return None,
        (false, true) => Reason::RolesMissing,
        (true, false) => Reason::ScopesMissing,
        (false, false) => Reason::PermissionsMissing,
    };
    let kinds = [(Kind::Role, &roles), (Kind::Scope, &scopes)];
    let what: Vec<String> = kinds
        .into_iter()
        .filter(|(_, absent)| !absent.is_empty())
        .map(|(kind, absent)| kind.named(credential, &listed(absent)))
        .collect();
    let mut text = format!("the token lacks {}", what.join(" and "));
    match &credential.issuer.endpoint {
        Endpoint::Entra { .. } if matches!(credential.authentication, AuthenticationMethod::ManagedIdentity(_)) => {
            text.push_str(&consent::how(credential));
        }
        Endpoint::Entra { .. } => text.push_str(&format!(
            "; add them to the application's API permissions{} and ask an administrator to consent{}",
            portal_name(credential),
            consent::how(credential)
        )),
        _ if of_installation(credential) => text.push_str(
            "; add them to spec.scopes if it is set, and have an owner of the account grant them to the installation",
        ),
        _ => text.push_str("; grant them to the client at the issuer"),
    }
    text.push_str(&format!(
        "; then run: kubectl apicred renew {} --namespace {}",
        credential.name, credential.namespace
    ));
    Some(Finding { reason, text })
}

/// Whether the token belongs to an installation of a GitHub App, whose permissions no user delegates.
fn of_installation(credential: &Credential) -> bool {
    credential.issuer.protocol == Protocol::GitHubApp
}

/// Kinds of permissions.
#[derive(Clone, Copy)]
enum Kind {
    Role,
    Scope,
}

impl Kind {
    /// Permissions of this kind, in the terms of the issuer.
    fn named(self, credential: &Credential, names: &str) -> String {
        match self {
            Self::Role => format!("the application permissions {names}"),
            Self::Scope if of_installation(credential) => {
                format!("the permissions {names} of the installation")
            }
            Self::Scope => format!("the delegated permissions {names}"),
        }
    }
}

/// Names for a sentence: as many as fit, and the number of the others.
fn listed(names: &[String]) -> String {
    let mut text = String::new();
    for (at, name) in names.iter().enumerate() {
        let shown = bounded(name, LONGEST_NAME);
        if at > 0 && text.len() + shown.len() > LONGEST_LIST {
            return format!("{text} and {} more", names.len() - at);
        }
        let comma = if at > 0 { ", " } else { "" };
        text.push_str(&format!("{comma}{shown}"));
    }
    text
}

/// Where the portal shows the permissions, for the APIs that apicred knows.
fn portal_name(credential: &Credential) -> String {
    let is_requested = |audience: &str| {
        let wanted = credential
            .request
            .scopes
            .iter()
            .chain(&credential.request.resources);
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
    .find(|p| is_requested(p.audience))
    .map_or_else(String::new, |p| format!(" ({})", p.portal_name))
}
