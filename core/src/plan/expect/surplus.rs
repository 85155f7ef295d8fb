//! `expect.exact`: what a token has beyond the expected permissions.

use super::{Kind, lacking, lacking_scopes, listed, of_installation, portal_name};
use crate::{
    credential::{AuthenticationMethod, Credential, Endpoint, is_of_sign_in, scopes},
    publish::{Record, rejection::has_no_data},
};

/// Whether permissions beyond those of the spec are reported.
pub(super) fn is_exact(credential: &Credential) -> bool {
    let expected = credential.expect.as_ref();
    expected.is_some_and(|e| e.exact == Some(true))
}

/// Permissions of one kind beyond the expected ones.
#[derive(Default)]
struct Surplus {
    names: Vec<String>,
    /// Number of additional permissions whose names are not stored.
    hidden: usize,
}

impl Surplus {
    /// `more` others are not stored. An expected permission that is not among the stored ones may be one of them. A list that is not set is not
    /// compared.
    fn of(
        credential: &Credential,
        (expected, held, more): (&[String], &[String], usize),
        lacking: fn(&Credential, &[String], &[String]) -> Vec<String>,
    ) -> Self {
        if expected.is_empty() {
            return Self::default();
        }
        let mut names = lacking(credential, held, expected);
        // Scopes of a sign-in (`openid` and others) grant no access to an API.
        names.retain(|n| !is_of_sign_in(n) && !scopes::is_implied(&credential.issuer, n));
        let absent = lacking(credential, expected, held).len();
        Self {
            names,
            hidden: more.saturating_sub(absent),
        }
    }

    const fn is_empty(&self) -> bool {
        self.names.is_empty() && self.hidden == 0
    }

    /// Text for a sentence. Names that look like data are not shown, because an issuer could put a secret there that it received.
    fn shown(&self) -> String {
        let mut known = self.names.clone();
        known.retain(|name| has_no_data(name));
        let hidden = self.names.len() - known.len() + self.hidden;
        match (known.is_empty(), hidden) {
            (false, 0) => listed(&known),
            (false, more) => format!("{} and {more} whose names are not shown", listed(&known)),
            (true, more) => format!("({more} whose names are not shown)"),
        }
    }
}

/// What the token has beyond the permissions that the spec expects, in a sentence.
pub(in crate::plan) fn surplus(credential: &Credential, record: &Record) -> Option<String> {
    let expected = credential.expect.as_ref()?;
    let claims = record.claims.as_ref().filter(|_| is_exact(credential))?;
    let roles = (&*expected.roles, &*claims.roles, claims.more_roles);
    let roles = Surplus::of(credential, roles, lacking);
    let scopes = (&*expected.scopes, &*claims.scopes, claims.more_scopes);
    let scopes = Surplus::of(credential, scopes, lacking_scopes);
    let (kinds, fields) = match (roles.is_empty(), scopes.is_empty()) {
        (true, true) => return None,
        (false, true) => (vec![(Kind::Role, &roles)], "expect.roles"),
        (true, false) => (vec![(Kind::Scope, &scopes)], "expect.scopes"),
        (false, false) => (
            vec![(Kind::Role, &roles), (Kind::Scope, &scopes)],
            "expect.roles and expect.scopes",
        ),
    };
    let what: Vec<String> = kinds
        .into_iter()
        .map(|(kind, surplus)| kind.named(credential, &surplus.shown()))
        .collect();
    let place = match &credential.issuer.endpoint {
        Endpoint::Entra { .. }
            if matches!(
                credential.authentication,
                AuthenticationMethod::ManagedIdentity(_)
            ) =>
        {
            "remove them from the identity".to_owned()
        }
        Endpoint::Entra { .. } => format!(
            "remove them from the application's API permissions{}",
            portal_name(credential)
        ),
        _ if of_installation(credential) => "name only what is needed in spec.scopes".to_owned(),
        _ => "remove them from the client at the issuer".to_owned(),
    };
    Some(format!(
        "the token has {} beyond spec.expect; {place}, or add them to {fields}; then run: kubectl apicred renew {} --namespace {}",
        what.join(" and "),
        credential.name,
        credential.namespace
    ))
}
