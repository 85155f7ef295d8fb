//! Finds annotations below `apicred.dev` that have no effect: misspelt names, and names on the wrong object.
//!
//! Never reads the value of an annotation.

use std::fmt::Write;

use crate::{api::names, printable};

/// Annotations that a user may set on an `ApiCredential`.
const ON_CREDENTIAL: [&str; 1] = [names::RENEW_REQUESTED_AT];
/// Annotations that a user may set on an `ApiClient`.
const ON_CLIENT: [&str; 1] = [names::ROTATE_REQUESTED_AT];
/// Annotations that a user may set on a Secret.
const ON_SECRET: [&str; 8] = [
    names::SECRET_EXPIRES_AT,
    names::ALLOWED_ISSUERS,
    names::PUBLISH_BY,
    names::STATE_OF,
    names::ISSUED_BY,
    names::ADOPT_BY,
    names::ROTATE_BY,
    names::KEEP_LAST_GOOD,
];
/// Annotations that a user may set on a ServiceAccount.
const ON_ACCOUNT: [&str; 2] = [names::ALLOWED_AUDIENCES, names::ALLOWED_ISSUERS];
/// An issuer has no annotations: its spec contains everything.
const ON_ISSUER: [&str; 0] = [];
/// What apicred itself writes on Secrets, in addition to [`names::RECORD`].
const WRITTEN: [&str; 13] = [
    names::IN_FLIGHT_SINCE,
    names::TOKEN_EXPIRES_AT,
    names::ROTATES,
    names::ROTATION,
    names::SIGN_IN_REQUIRED,
    names::SIGN_IN_SCOPES,
    names::STORED_REFRESH_TOKEN,
    names::SPENT_REFRESH_TOKENS,
    names::CREDENTIAL,
    names::CREDENTIAL_UID,
    names::TEMPLATE_DIGEST,
    names::MANAGED_KEYS,
    names::LAST_GOOD_OF,
];

const ON_SECRETS: &str = "is written by apicred on Secrets; remove it";

/// What apicred itself writes on pods.
const ON_POD: [&str; 1] = [names::TOKEN_UPDATED_AT];

/// Maximum number of names that are reported.
const MOST_REPORTED: usize = 3;
/// Maximum number of characters of a name that are shown.
const SHOWN: usize = 80;

/// The object that has an annotation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AnnotatedKind {
    /// An `ApiCredential`.
    Credential,
    /// An `ApiClient`.
    Client,
    /// A Secret.
    Secret,
    /// A ServiceAccount.
    Account,
    /// A `TokenIssuer` or `ClusterTokenIssuer`.
    Issuer,
}

/// Whether the prefix of a key is `apicred`, `apicred.TLD`, or contains `api` and differs from `apicred.dev` by at most two letters.
pub fn looks_ours(key: &str) -> bool {
    let Some((prefix, _)) = key.split_once('/') else {
        return false;
    };
    // The edit distance is computed only for prefixes that contain `api`, because this is called for every annotation of every Secret. A misspelling without `api` is not found.
    let other_domain = prefix
        .strip_prefix("apicred.")
        .is_some_and(|domain| !domain.contains('.'));
    prefix.contains("api")
        && (prefix == "apicred" || other_domain || strsim::osa_distance(prefix, names::GROUP) <= 2)
}

/// The sentence about annotations that have no effect on this object. Values are neither read nor shown.
pub fn unread<'a>(keys: impl Iterator<Item = &'a String>, place: AnnotatedKind) -> Option<String> {
    let mut reported = String::new();
    let mut count = 0;
    for (key, why) in keys.filter_map(|key| Some((key, fault(key, place)?))) {
        count += 1;
        if count <= MOST_REPORTED {
            let shown: String = printable(key).chars().take(SHOWN).collect();
            let _ = write!(
                reported,
                "{}{shown} {why}",
                if count > 1 { "; " } else { "" }
            );
        }
    }
    match count {
        0 => None,
        _ if count > MOST_REPORTED => {
            Some(format!("{reported}; and {} more", count - MOST_REPORTED))
        }
        _ => Some(reported),
    }
}

fn fault(key: &str, place: AnnotatedKind) -> Option<String> {
    if !looks_ours(key) {
        return None;
    }
    let known = match place {
        AnnotatedKind::Credential => ON_CREDENTIAL.as_slice(),
        AnnotatedKind::Client => ON_CLIENT.as_slice(),
        AnnotatedKind::Secret => ON_SECRET.as_slice(),
        AnnotatedKind::Account => ON_ACCOUNT.as_slice(),
        AnnotatedKind::Issuer => ON_ISSUER.as_slice(),
    };
    let written = WRITTEN.contains(&key) || names::RECORD.contains(&key);
    if known.contains(&key) || place == AnnotatedKind::Secret && written {
        return None;
    }
    let elsewhere = [
        (ON_CREDENTIAL.as_slice(), "belongs on the ApiCredential"),
        (ON_CLIENT.as_slice(), "belongs on the ApiClient"),
        (
            ON_SECRET.as_slice(),
            "belongs on the Secret that it is about",
        ),
        (ON_ACCOUNT.as_slice(), "belongs on a ServiceAccount"),
        (WRITTEN.as_slice(), ON_SECRETS),
        (names::RECORD.as_slice(), ON_SECRETS),
        (
            ON_POD.as_slice(),
            "is written by apicred on pods; remove it",
        ),
    ];
    if let Some((_, what)) = elsewhere.iter().find(|(names, _)| names.contains(&key)) {
        return Some((*what).to_owned());
    }
    let all = known
        .iter()
        .chain(&ON_CREDENTIAL)
        .chain(&ON_CLIENT)
        .chain(&ON_SECRET)
        .chain(&ON_ACCOUNT);
    let near = all
        .map(|name| (strsim::osa_distance(&plain(key), &plain(name)), *name))
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 6))
        // `min_by_key` returns the first of equal distances, so a name that is valid on this object is preferred.
        .min_by_key(|(distance, _)| *distance);
    Some(match near {
        Some((_, name)) => format!("is not known; did you mean {name}?"),
        None => "is not known; remove it".to_owned(),
    })
}

/// The name after the prefix, in the spelling of Kubernetes: `secretExpiresAt` becomes `secret-expires-at`.
fn plain(key: &str) -> String {
    let name = key.split_once('/').map_or(key, |(_, name)| name);
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars().take(SHOWN) {
        if c.is_ascii_uppercase() && !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
        out.push(match c {
            '_' | '.' => '-',
            c => c.to_ascii_lowercase(),
        });
    }
    out
}

#[cfg(test)]
mod tests;
