//! The entries of the annotation `allowed-issuers`. A part of [`super::binding`].

use std::collections::BTreeMap;

use super::{Endpoint, Issuer};
use crate::{api::names, printable::bounded};

/// Maximum number of characters of an entry that are shown.
const SHOWN: usize = 120;

/// Whether an annotation lists this text exactly, except for case and a trailing slash.
pub(super) fn lists(
    annotations: Option<&BTreeMap<String, String>>,
    annotation: &str,
    text: &str,
) -> bool {
    annotations
        .and_then(|a| a.get(annotation))
        .is_some_and(|list| {
            list.split(',')
                .any(|o| o.trim().trim_end_matches('/').eq_ignore_ascii_case(text))
        })
}

/// An entry that means this origin but does not have its form: without the scheme, or with a path. No other entry is shown, because a user who
/// may name a Secret may not be allowed to read it; at Entra ID an entry may also mean a tenant.
pub(super) fn nearly(
    issuer: &Issuer,
    origin: &str,
    annotations: Option<&BTreeMap<String, String>>,
) -> String {
    if matches!(issuer.endpoint, Endpoint::Entra { .. }) {
        return String::new();
    }
    let list = annotations.and_then(|a| a.get(names::ALLOWED_ISSUERS));
    let host = |text: &str| {
        let text = text.trim();
        let text = text.split_once("://").map_or(text, |(_, rest)| rest);
        let host = text.split(['/', '?', '#']).next().unwrap_or_default();
        host.to_ascii_lowercase()
    };
    let entries = || list.into_iter().flat_map(|list| list.split(','));
    if let Some(entry) = entries().find(|entry| host(entry) == host(origin)) {
        return format!(
            " (it has {}; an entry is the scheme, the host and the port, without a path)",
            bounded(entry.trim(), SHOWN)
        );
    }
    let is_other = |c: char| c.is_whitespace() || ";'\"[]".contains(c);
    let mut parts = entries().flat_map(|entry| entry.split(is_other));
    if parts.any(|part| host(part) == host(origin)) {
        return " (it contains the origin, but not as an entry: entries are separated by commas, without quotes or brackets)".to_owned();
    }
    if entries().any(|entry| entry.contains('*')) {
        return " (an entry with * is not a pattern: list each origin)".to_owned();
    }
    String::new()
}
