//! The formats of a token in the target Secret: for programs, curl, git, docker and client plugins.
//!
//! A token that a format cannot contain is an error. A broken file is never written.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::ByteString;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{record::seconds, template::noted_field};
use crate::{
    api::{TargetFormat, TargetKey},
    oauth::{Answer, LifetimeSource, Omitted, Token},
};

/// User name for a token in formats that need one; GitLab and others accept it for any OAuth token.
const USERNAME: &str = "oauth2";
/// Name of the variable in a dotenv file.
const VARIABLE: &str = "ACCESS_TOKEN";
/// The prefix of the value in a header line.
const HEADER: &str = "Authorization: ";
/// The longest line of a netrc file that curl reads. It ignores longer lines without an error.
const NETRC_LINE: usize = 4095;
/// Maximum total size of the values of a Secret in Kubernetes, in bytes.
const SECRET_SIZE: usize = 1024 * 1024;

/// The data of a Secret. `token` has no line end, because a trailing one breaks headers. `token.json` has all values in one file, because two
/// files may come from different updates of a mounted volume.
///
/// # Errors
/// A sentence for the user if a format cannot contain this token.
pub fn data(token: &Token, keys: &[TargetKey]) -> Result<BTreeMap<String, ByteString>, String> {
    let mut data = BTreeMap::new();
    for key in keys {
        let name = key
            .key
            .clone()
            .unwrap_or_else(|| key.format.usual_key().to_owned());
        if let Some(text) = render(token, key)? {
            data.insert(name, ByteString(text.into_bytes()));
        }
    }
    if data.values().map(|v| v.0.len()).sum::<usize>() > SECRET_SIZE {
        return Err(
            "the keys together are larger than a Secret may be (1 MiB); select fewer in spec.target.keys"
                .to_owned(),
        );
    }
    Ok(data)
}

fn render(token: &Token, key: &TargetKey) -> Result<Option<String>, String> {
    let secret = token.secret.expose_secret();
    let endless = token.lifetime_source == LifetimeSource::Static;
    let authorization = || {
        // HTTP removes blanks at both ends of a header value.
        if secret.trim() == secret {
            Ok(format!("{} {secret}", token.token_type))
        } else {
            Err(unfit(key.format, "a blank at an end"))
        }
    };
    let username = key.username.as_deref().unwrap_or(USERNAME);
    let host = key.host.as_deref().unwrap_or_default();
    Ok(Some(match key.format {
        TargetFormat::Token => secret.to_owned(),
        TargetFormat::TokenType => token.token_type.clone(),
        // A static key expires only when a user revokes it.
        TargetFormat::ExpiresAt if endless => return Ok(None),
        TargetFormat::ExpiresAt => seconds(token.expires_at),
        TargetFormat::AnswerField => answer_field(token, key)?,
        TargetFormat::Json => whole(token, endless).to_string(),
        TargetFormat::Authorization => authorization()?,
        TargetFormat::Header => format!("{HEADER}{}\n", authorization()?),
        TargetFormat::DotEnv => {
            let variable = key.variable.as_deref().unwrap_or(VARIABLE);
            format!("{variable}={}\n", dotenv(secret)?)
        }
        TargetFormat::Netrc => netrc(host, username, secret)?,
        TargetFormat::DockerConfig => json!({
            "auths": { host: {
                "username": username,
                "password": secret,
                "auth": STANDARD.encode(format!("{username}:{secret}")),
            } }
        })
        .to_string(),
        TargetFormat::CurlConfig => {
            let quoted = authorization()?.replace('\\', "\\\\").replace('"', "\\\"");
            format!("header = \"{HEADER}{quoted}\"\n")
        }
        TargetFormat::ExecCredential => {
            authorization()?;
            let mut status = json!({ "token": secret });
            if !endless {
                status["expirationTimestamp"] = json!(seconds(token.expires_at));
            }
            json!({
                "apiVersion": "client.authentication.k8s.io/v1",
                "kind": "ExecCredential",
                "status": status,
            })
            .to_string()
        }
    }))
}

/// One field of the answer, unchanged.
fn answer_field(token: &Token, key: &TargetKey) -> Result<String, String> {
    let field = key.field.as_deref().unwrap_or_default();
    if token
        .ends
        .get(field)
        .is_some_and(|end| *end <= token.issued_at)
    {
        return Err(format!(
            "the field {field} of the issuer's answer, which spec.target.keys selects, is a JWT that has expired (its claim exp): configure the issuer to issue a new one with each answer, or remove the key"
        ));
    }
    let value = token.answer.get(field);
    let value = value.map(|value| value.expose_secret().to_owned());
    value.ok_or_else(|| unpublished(field, token.omitted.get(field)))
}

/// Why a field that a key selects is not published, and what to do.
fn unpublished(field: &str, why: Option<&Omitted>) -> String {
    const OTHER: &str = "select another field in spec.target.keys, or remove the key";
    const FILL: &str = "configure the issuer to give it a value, or remove the key";
    let (what, step) = match why {
        None => {
            return format!(
                "the issuer's answer has no field {field}, which spec.target.keys selects: request it (an id_token often needs the scope openid; some issuers return it only with a sign-in, and never with a refresh), or remove the key"
            );
        }
        Some(Omitted::RefreshToken) => {
            ("is the refresh token, which apicred never publishes", OTHER)
        }
        Some(Omitted::Boolean) => (
            "is true or false, and only a text or a number can be published",
            OTHER,
        ),
        Some(Omitted::Object) => (
            "is an object, and only a text or a number can be published",
            OTHER,
        ),
        Some(Omitted::List) => (
            "is a list, and only a text or a number can be published",
            OTHER,
        ),
        Some(Omitted::Null) => ("is null", FILL),
        Some(Omitted::Empty) => ("is an empty text", FILL),
        Some(Omitted::Long) => (
            "is longer than 32 KiB",
            "request less (fewer scopes or claims), or remove the key",
        ),
        Some(Omitted::Many) => (
            "is not among the first 64 texts and numbers of the answer, in the order of their names",
            OTHER,
        ),
    };
    format!(
        "the field {field} of the issuer's answer, which spec.target.keys selects, {what}: {step}"
    )
}

fn whole(token: &Token, endless: bool) -> Value {
    let mut whole = json!({
        "access_token": token.secret.expose_secret(),
        "token_type": token.token_type,
        "issued_at": seconds(token.issued_at),
    });
    if !endless {
        whole["expires_at"] = json!(seconds(token.expires_at));
    }
    if let Some(scope) = &token.scope {
        whole["scope"] = json!(scope);
    }
    if let Some(url) = &token.instance_url {
        whole["instance_url"] = json!(url);
    }
    whole
}

/// A value that docker's `--env-file`, python-dotenv and a shell read in the same way. Docker does not know quotes, so they are set only if the
/// others need them. A value that they would read in different ways is refused.
fn dotenv(secret: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=:@%,".contains(&b);
    // A shell replaces such a tilde with a home folder.
    let home = secret.starts_with('~') || secret.contains(":~") || secret.contains("=~");
    if secret.bytes().all(plain) && !home {
        return Ok(secret.to_owned());
    }
    if secret.contains(['\'', '\\']) || secret.contains("${") {
        return Err(unfit(
            TargetFormat::DotEnv,
            "a quote, a backslash or \"${\"",
        ));
    }
    Ok(format!("'{secret}'"))
}

/// Programs that read netrc files split at blanks, and each treats quotes differently.
fn netrc(host: &str, username: &str, secret: &str) -> Result<String, String> {
    if secret.contains([' ', '"', '\\']) || secret.starts_with('#') {
        return Err(unfit(
            TargetFormat::Netrc,
            "a blank, a quote or a backslash, or begins with #",
        ));
    }
    let line = format!("machine {host} login {username} password {secret}\n");
    if line.len() > NETRC_LINE {
        return Err(unfit(
            TargetFormat::Netrc,
            "more than about 4000 characters",
        ));
    }
    Ok(line)
}

fn unfit(format: TargetFormat, what: &str) -> String {
    let format = format.as_str();
    format!(
        "the token has {what}, which the format {format} cannot contain for all programs that read it; select another format in spec.target.keys"
    )
}

/// What can be read about a published token from its Secret.
pub struct Recovered {
    /// The token.
    pub secret: SecretString,
    /// Scopes granted, if they were stored.
    pub scope: Option<String>,
    /// The URL of the API, if it was stored.
    pub instance_url: Option<String>,
    /// Fields of the answer that have their own files.
    pub answer: Answer,
}

/// Reads a token from the data of its Secret, whose keys had these formats (`key=Format`). A change of the wanted formats must not cause a
/// token request. `None`: none of the keys contains the token.
pub fn recover(data: &BTreeMap<String, ByteString>, written: &[String]) -> Option<Recovered> {
    let bare = |secret: &str| Recovered {
        secret: SecretString::from(secret),
        scope: None,
        instance_url: None,
        answer: answer(data, written),
    };
    let read = |format: TargetFormat| {
        let noted = written.iter().filter_map(|k| k.rsplit_once('='));
        let (key, _) = noted
            .into_iter()
            .find(|(_, noted)| *noted == format.as_str())?;
        std::str::from_utf8(&data.get(key)?.0).ok()
    };
    let parsed = |format| serde_json::from_str::<Value>(read(format)?).ok();
    if let Some(whole) = parsed(TargetFormat::Json) {
        let text = |name: &str| whole.get(name).and_then(Value::as_str).map(str::to_owned);
        return Some(Recovered {
            secret: SecretString::from(text("access_token")?),
            scope: text("scope"),
            instance_url: text("instance_url"),
            answer: answer(data, written),
        });
    }
    let after_scheme = |value: &str| value.split_once(' ').map(|(_, secret)| bare(secret));
    let header = || {
        read(TargetFormat::Header)?
            .strip_suffix('\n')?
            .strip_prefix(HEADER)
    };
    let netrc = || {
        read(TargetFormat::Netrc)?
            .strip_suffix('\n')?
            .rsplit_once(' ')
    };
    let docker = || {
        let config = parsed(TargetFormat::DockerConfig)?;
        let login = config.get("auths")?.as_object()?.values().next()?;
        login.get("password")?.as_str().map(bare)
    };
    let plugin = || {
        let credential = parsed(TargetFormat::ExecCredential)?;
        credential["status"]["token"].as_str().map(bare)
    };
    read(TargetFormat::Token)
        .map(bare)
        .or_else(|| after_scheme(read(TargetFormat::Authorization)?))
        .or_else(|| after_scheme(header()?))
        .or_else(plugin)
        .or_else(docker)
        .or_else(|| netrc().map(|(_, secret)| bare(secret)))
        .or_else(|| after_scheme(&of_curl(read(TargetFormat::CurlConfig)?)?))
        .or_else(|| of_dotenv(read(TargetFormat::DotEnv)?).map(bare))
}

/// The value in a dotenv file that [`dotenv`] wrote.
fn of_dotenv(file: &str) -> Option<&str> {
    let (_, value) = file.strip_suffix('\n')?.split_once('=')?;
    let quoted = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\''));
    Some(quoted.unwrap_or(value))
}

/// The value of the header in a curl configuration, without quotes and backslashes.
fn of_curl(file: &str) -> Option<String> {
    let line = file.strip_suffix("\"\n")?;
    let quoted = line.strip_prefix("header = \"")?.strip_prefix(HEADER)?;
    let mut text = String::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    while let Some(c) = rest.next() {
        text.push(if c == '\\' { rest.next()? } else { c });
    }
    Some(text)
}

/// The fields of the answer that were written.
fn answer(data: &BTreeMap<String, ByteString>, written: &[String]) -> Answer {
    let fields = written.iter().filter_map(|noted| {
        let (key, noted) = noted.rsplit_once('=')?;
        let field = noted_field(noted)?;
        let text = std::str::from_utf8(&data.get(key)?.0).ok()?;
        Some((field.to_owned(), SecretString::from(text)))
    });
    fields.collect()
}

/// Whether the answer contains all fields that these keys select.
pub fn has_fields(answer: &Answer, keys: &[TargetKey]) -> bool {
    let mut selected = keys.iter().filter_map(|key| key.field.as_ref());
    selected.all(|field| answer.contains_key(field))
}
