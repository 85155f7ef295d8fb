//! The name of the signed-in user, to show it to that user.

use crate::{
    input::text_of,
    oauth::{RawAnswer, jwt::claims, response::fields},
};

/// Longest name that is shown.
const LONGEST: usize = 128;

/// The name in the ID token of an answer, else in its access token. No decision depends on it, and it came directly from the
/// token endpoint over TLS, so its signature is not checked (OpenID Connect Core section 3.1.3.7).
pub fn user_name(raw: &RawAnswer) -> Option<String> {
    let fields = fields(raw)?;
    ["id_token", "access_token"]
        .iter()
        .find_map(|token| name(&text_of(&fields, token)?))
}

fn name(token: &str) -> Option<String> {
    let claims = claims(token)?;
    let name = [
        "preferred_username",
        "upn",
        "unique_name",
        "email",
        "name",
        "sub",
    ]
    .iter()
    .find_map(|claim| text_of(&claims, claim))?;
    // It is printed to a terminal, so control characters and those that change the reading direction are removed.
    let shown = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    Some(name.chars().filter(shown).take(LONGEST).collect())
}
