//! The target of a token: `scope`, and the API that `audience` or `resource` names.

use super::errors::{ErrorAnswer, refuse};
use crate::config::{Client, Config};
use crate::form::Form;
use crate::state::Shared;

pub(super) fn read_scope(config: &Config, form: &Form) -> Result<Option<String>, ErrorAnswer> {
    let Some(scope) = form.get("scope") else {
        return Ok(None);
    };
    known_scope(config, scope)?;
    Ok(Some(scope.to_owned()))
}

pub(super) fn known_scope(config: &Config, scope: &str) -> Result<(), ErrorAnswer> {
    if scope.split(' ').all(|part| is_known(config, part)) {
        Ok(())
    } else {
        Err(refuse("invalid_scope", UNKNOWN_SCOPE))
    }
}

const UNKNOWN_SCOPE: &str = "the scope is malformed or unknown";

fn is_known(config: &Config, part: &str) -> bool {
    // RFC 6749 section 3.3: printable ASCII except `"` and `\`, separated by single blanks.
    let good = |b: u8| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let known = config.generic_scopes.is_empty() || config.generic_scopes.iter().any(|s| s == part);
    !part.is_empty() && part.bytes().all(good) && known
}

/// The error that prevents a sign-in. Scopes of the sign-in itself are accepted, unless the client may not request them.
pub(crate) fn check_scope(
    config: &Config,
    client: &Client,
    scope: Option<&str>,
) -> Result<(), String> {
    let openid = |part: &str| matches!(part, "openid" | "profile" | "email" | "offline_access");
    let refused = |part: &str| client.refused_scopes.iter().any(|s| s == part);
    let mut parts = scope.into_iter().flat_map(|scope| scope.split(' '));
    if parts.all(|part| !refused(part) && (openid(part) || is_known(config, part))) {
        Ok(())
    } else {
        Err(UNKNOWN_SCOPE.to_owned())
    }
}

/// `audience` as many issuers use it, `resource` as in RFC 8707; without either, the token is only for
/// the issuer itself.
pub(super) fn audience(
    shared: &Shared,
    config: &Config,
    client: &Client,
    form: &Form,
) -> Result<(String, Vec<String>), ErrorAnswer> {
    let wanted: Vec<&str> = form.all("audience").chain(form.all("resource")).collect();
    let first = wanted.first().copied();
    if wanted.iter().any(|other| Some(*other) != first) {
        return Err(refuse("invalid_target", "one audience a token"));
    }
    audience_or_default(shared, config, client, first)
}

/// The named API, else the client's usual one, else only the issuer itself. If a client must name one and does not, it is
/// refused as at Auth0.
pub(super) fn audience_or_default(
    shared: &Shared,
    config: &Config,
    client: &Client,
    name: Option<&str>,
) -> Result<(String, Vec<String>), ErrorAnswer> {
    let denied = |text: &str| Err(refuse("access_denied", text).forbidden());
    let Some(name) = name.or(client.default_audience.as_deref()) else {
        return if client.wants_audience {
            denied("no audience was named, and none is set for the client")
        } else {
            Ok((shared.generic_issuer(), Vec::new()))
        };
    };
    match resource_named(config, client, name) {
        Err(_) if client.wants_audience => denied("there is no such API"),
        Ok((_, roles)) if client.wants_audience && roles.is_empty() => {
            denied("the client was given nothing in this API")
        }
        other => other,
    }
}

/// `aud` and the client's roles there.
fn resource_named(
    config: &Config,
    client: &Client,
    name: &str,
) -> Result<(String, Vec<String>), ErrorAnswer> {
    let resource = config
        .resource_called(name)
        .ok_or_else(|| refuse("invalid_target", "the audience is unknown"))?;
    let roles = client.roles.get(&resource.name);
    Ok((name.to_owned(), roles.cloned().unwrap_or_default()))
}
