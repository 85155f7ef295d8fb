//! Recognizes client secrets that were probably stored in a wrong form.
//!
//! Such a value may still be correct, so it is reported only after the issuer has refused it. Only its form is reported, never a part of it.

use serde_json::Value;

use super::secret_encoding::{blank, encoded, escaped, hexadecimal, invisible, typographic};

type Rule = fn(&str) -> Option<String>;

/// The odd form of a client secret: the rest of a sentence that begins with "what is stored".
pub(super) fn of_secret(text: &str, client_id: &str) -> Option<String> {
    if !client_id.is_empty() && text.trim().eq_ignore_ascii_case(client_id) {
        return Some("is the id of the client (client.id) and no secret; store the secret that the issuer showed with it".to_owned());
    }
    if pem_text(text).is_some() {
        return Some("is PEM (a certificate or a key) and no client secret; use client.certificates or client.mtls for it".to_owned());
    }
    // The surrounding text is reported first, then the value inside it.
    let rules: [Rule; 12] = [
        json,
        reference,
        placeholder,
        assignment,
        header,
        quoted,
        invisible,
        blank,
        id,
        encoded,
        hexadecimal,
        typographic,
    ];
    first(&rules, text)
}

/// The same for a refresh token. Those of some issuers are GUIDs, base64 or hexadecimal digits.
pub(super) fn of_refresh_token(text: &str) -> Option<String> {
    first(&AROUND, text).or_else(|| escaped(text))
}

/// The same for a token with which another one is requested.
pub(super) fn of_token(text: &str) -> Option<String> {
    of_refresh_token(text).or_else(|| encoded(text))
}

/// Text around a JWT, or a value that is not a token. This is known before any issuer has checked it.
pub(super) fn around_jwt(text: &str) -> Option<String> {
    first(&[json, header, quoted], text)
}

/// The same for a password, which may contain blanks and any characters.
pub(super) fn of_password(text: &str) -> Option<String> {
    let rules: [Rule; 7] = [
        pem_text,
        json,
        reference,
        placeholder,
        quoted,
        invisible,
        encoded,
    ];
    let ends = || (text.trim() != text).then(|| blank(text)).flatten();
    first(&rules, text).or_else(ends)
}

/// The odd form of a value that is put into a header unchanged and that no issuer checks: it is certainly not the value itself,
/// or no header can contain it.
pub(crate) fn form_in_header(text: &str) -> Option<String> {
    let other = || {
        let odd = text.chars().find(|c| !c.is_ascii_graphic())?;
        Some(format!(
            "has a character that an HTTP header cannot contain (U+{:04X}); store the key as it was copied from its issuer",
            u32::from(odd)
        ))
    };
    first(&AROUND, text).or_else(other)
}

/// Text around a value, or stored instead of it.
const AROUND: [Rule; 10] = [
    pem_text,
    json,
    reference,
    placeholder,
    assignment,
    header,
    quoted,
    invisible,
    blank,
    typographic,
];

fn first(rules: &[Rule], text: &str) -> Option<String> {
    rules.iter().find_map(|rule| rule(text))
}

fn pem_text(text: &str) -> Option<String> {
    if text.contains("-----BEGIN ") {
        return Some("is PEM (a certificate or a key); store the value itself".to_owned());
    }
    None
}

fn reference(text: &str) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase();
    let vault = [
        "@microsoft.keyvault(",
        "vault:",
        "ref+",
        "op://",
        "arn:aws:secretsmanager",
        "arn:aws:ssm",
    ];
    if vault.iter().any(|v| lower.starts_with(v)) || lower.contains(".vault.azure.net/") {
        return Some(
            "is a reference to a secret store that was not resolved; store the value itself"
                .to_owned(),
        );
    }
    if lower.starts_with("https://") || lower.starts_with("http://") {
        return Some("is a URL; store the value itself".to_owned());
    }
    None
}

fn placeholder(text: &str) -> Option<String> {
    const WORDS: [&str; 24] = [
        "changeme",
        "changeit",
        "changethis",
        "replaceme",
        "replacethis",
        "placeholder",
        "todo",
        "tbd",
        "fixme",
        "xxx",
        "xxxx",
        "secret",
        "mysecret",
        "clientsecret",
        "myclientsecret",
        "yoursecret",
        "yourclientsecret",
        "clientsecretvalue",
        "password",
        "redacted",
        "dummy",
        "null",
        "none",
        "undefined",
    ];
    let text = text.trim();
    let bare: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    let word = WORDS.contains(&bare.to_ascii_lowercase().as_str());
    let between = |open: &str, close: &str| {
        text.len() > open.len() + close.len() && text.starts_with(open) && text.ends_with(close)
    };
    let template = between("<", ">")
        || between("${", "}")
        || between("{{", "}}")
        || between("$(", ")")
        || between("%", "%")
        || between("[", "]");
    let hidden = text.len() > 2
        && text
            .chars()
            .all(|c| matches!(c, '*' | '\u{2022}' | '.' | 'x' | 'X'));
    if word || template || hidden {
        return Some(
            "looks like a placeholder that was not filled in; store the value itself".to_owned(),
        );
    }
    // A shell variable that was not expanded.
    let variable = text.strip_prefix('$').is_some_and(|name| {
        name.len() > 2
            && name
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    });
    if variable {
        return Some(
            "looks like a variable that was not expanded; store the value itself".to_owned(),
        );
    }
    None
}

/// `NAME=value` from an env file, `name: value` from YAML.
fn assignment(text: &str) -> Option<String> {
    let text = text.trim();
    let text = text.strip_prefix("export ").unwrap_or(text);
    let (name, value) = text.split_once(['=', ':'])?;
    let name = name.trim().trim_matches(['"', '\'']);
    let fits = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let lower = name.to_ascii_lowercase();
    let known = [
        "secret", "password", "passwd", "token", "api_key", "apikey", "api-key",
    ];
    let screams = name.contains('_')
        && name
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let named = screams || known.iter().any(|k| lower.contains(k));
    // Padding of base64 is not a value.
    if fits && named && !value.trim_matches(['=', ' ']).is_empty() {
        return Some(
            "is a whole line with a name in front of the value; store only the value".to_owned(),
        );
    }
    None
}

fn header(text: &str) -> Option<String> {
    let lower = text.trim_start().to_ascii_lowercase();
    if lower.starts_with("bearer ")
        || lower.starts_with("basic ")
        || lower.starts_with("authorization:")
    {
        return Some(
            "is the value of an Authorization header; store it without the word in front"
                .to_owned(),
        );
    }
    None
}

fn quoted(text: &str) -> Option<String> {
    const PAIRS: [(char, char); 8] = [
        ('"', '"'),
        ('\'', '\''),
        ('`', '`'),
        ('\u{201c}', '\u{201d}'),
        ('\u{2018}', '\u{2019}'),
        ('\u{201e}', '\u{201c}'),
        ('\u{ab}', '\u{bb}'),
        ('\u{201d}', '\u{201d}'),
    ];
    let text = text.trim();
    let inside = |(open, close): &(char, char)| {
        text.strip_prefix(*open)
            .is_some_and(|rest| rest.ends_with(*close))
    };
    if PAIRS.iter().any(inside) {
        return Some("is in quotation marks; store the value without them".to_owned());
    }
    None
}

/// The names of secrets in the JSON that portals, command lines and other tools write.
const NAMES: [&str; 13] = [
    "refresh_token",
    "refreshToken",
    "access_token",
    "client_secret",
    "clientSecret",
    "secretText",
    "secret",
    "password",
    "appPassword",
    "value",
    "key",
    "clientsecret",
    "token",
];

fn json(text: &str) -> Option<String> {
    let value: Value = serde_json::from_str(text.trim()).ok()?;
    match value {
        Value::Object(object) => Some(
            match NAMES
                .iter()
                .find(|n| object.get(**n).is_some_and(Value::is_string))
            {
                Some(name) => {
                    format!("is a JSON object; store only the value of its field {name}")
                }
                None => "is a JSON object; store only the value".to_owned(),
            },
        ),
        Value::Array(_) => Some("is a JSON array; store only the value".to_owned()),
        _ => None,
    }
}

/// A GUID, in braces or not.
fn id(text: &str) -> Option<String> {
    let text = text.trim().trim_matches(['{', '}']);
    let groups: Vec<&str> = text.split('-').collect();
    let lengths = groups.iter().map(|g| g.len()).eq([8, 4, 4, 4, 12]);
    if lengths
        && groups
            .iter()
            .all(|g| g.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        return Some("looks like an id (a GUID): Entra ID shows the secret's id beside its value; store the value".to_owned());
    }
    None
}
