//! Which API the token is for: `scope` at v2, `resource` at v1.

use super::Version;
use super::errors::{self, ErrorAnswer};
use crate::form::Form;

/// The name of the API as the client wrote it. Only the form is checked; whether it exists is checked later, when
/// the client has authenticated.
pub(super) fn read(form: &Form, version: Version) -> Result<&str, ErrorAnswer> {
    match version {
        // Users who mix up the two versions send a `scope` without `resource`.
        Version::V1 => form
            .get("resource")
            .ok_or_else(|| errors::missing("resource")),
        Version::V2 if form.get("resource").is_some() => Err(errors::resource_on_v2()),
        Version::V2 => from_scope(form.get("scope").ok_or_else(|| errors::missing("scope"))?),
    }
}

/// `<resource>/.default`, once. Values are not trimmed, so an extra blank creates an empty scope, which has no
/// `/.default`. A doubled slash is right for an App ID URI that ends with one.
fn from_scope(scope: &str) -> Result<&str, ErrorAnswer> {
    let mut resources = scope.split(' ').map(|part| {
        part.strip_suffix("/.default")
            .filter(|resource| !resource.is_empty())
            .ok_or_else(|| errors::scope_without_default(scope))
    });
    let first = resources
        .next()
        .unwrap_or_else(|| Err(errors::scope_without_default(scope)))?;
    let mut several = false;
    for other in resources {
        several |= other? != first;
    }
    if several {
        Err(errors::several_resources(scope))
    } else {
        Ok(first)
    }
}
