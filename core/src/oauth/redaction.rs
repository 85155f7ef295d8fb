//! Quotes the text of an issuer in a message, without any part of the secrets in the request, in any encoding.
//!
//! Without this, a user who may create credentials but not read Secrets could make an issuer repeat a secret in its error.

use std::collections::HashSet;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use super::{
    TokenRequest,
    classes::without_examples,
    discovery::{Redirect, redirected},
    jwt,
    token_like::without_tokens,
};
use crate::{api::parameter::NO_SECRETS, printable::printable};

/// Most characters of the issuer's text that are shown.
const MOST: usize = 200;
/// This number of consecutive characters of a secret is removed, at any position in it.
const WINDOW: usize = 6;
/// Replaces the removed characters.
pub const CUT: &str = "[…]";
/// Longest issuer, subject or audience of an assertion that is shown.
const MOST_CLAIM: usize = 256;

/// The authentication method of a client secret that signs (OpenID Connect Core section 9).
pub(super) const CLIENT_SECRET_JWT: &str = "client_secret_jwt";

/// True if a parameter of this name is shown when an issuer repeats it.
pub fn is_public(name: &str) -> bool {
    NO_SECRETS.contains(&name)
}

/// The secrets of a request, which must not be shown, and how it authenticated the client. Has no `Debug`.
pub struct SentSecrets {
    secrets: Vec<SecretString>,
    /// Values that the user chose and knows. They are never removed, even if a secret contains them. An issuer repeats a
    /// scope that it does not know, and removing it would confirm a correct guess of the secret.
    chosen: Vec<String>,
    /// The assertion of the client, and the token that is exchanged.
    assertions: Vec<SecretString>,
    method: Option<&'static str>,
    /// The URL of the request.
    url: Url,
}

impl SentSecrets {
    /// Reads a request that is about to be sent.
    #[must_use]
    pub fn of(request: &TokenRequest) -> Self {
        let mut echo = Self {
            secrets: Vec::new(),
            chosen: Vec::new(),
            assertions: Vec::new(),
            method: request.tls.is_some().then_some("tls_client_auth"),
            url: request.url.clone(),
        };
        for (name, value) in form_urlencoded::parse(request.body.expose_secret().as_bytes()) {
            match &*name {
                "client_secret" => echo.method = Some("client_secret_post"),
                "client_assertion" => echo.method = Some(signed_by(&value)),
                _ => {}
            }
            if ["client_assertion", "subject_token"].contains(&&*name) {
                echo.assertions.push(SecretString::from(&*value));
            }
            if NO_SECRETS.contains(&&*name) {
                echo.chosen.push(value.into_owned());
            } else {
                echo.secrets.push(SecretString::from(&*value));
            }
        }
        for (name, value) in &request.headers {
            let value = value.expose_secret();
            match *name {
                "authorization" => {
                    if let Some(encoded) = value.strip_prefix("Basic ") {
                        echo.method = Some("client_secret_basic");
                        echo.basic(encoded);
                    }
                    // The scheme is not a secret, and issuers use the word.
                    let secret = value.split_once(' ').map_or(value, |(_, secret)| secret);
                    echo.secrets.push(SecretString::from(secret));
                }
                "x-identity-header" => echo.secrets.push(SecretString::from(value)),
                _ => {}
            }
        }
        echo
    }

    /// Both forms of the secret in a Basic header: encoded and decoded.
    fn basic(&mut self, encoded: &str) {
        let decoded = STANDARD.decode(encoded).unwrap_or_default();
        let decoded = String::from_utf8_lossy(&decoded);
        let Some((id, secret)) = decoded.split_once(':') else {
            return;
        };
        self.chosen.push(id.to_owned());
        self.secrets.push(SecretString::from(secret));
        for (plain, _) in form_urlencoded::parse(secret.as_bytes()).take(1) {
            self.secrets.push(SecretString::from(&*plain));
        }
    }

    /// The client authentication method, with its name in the registry of RFC 8414.
    pub(super) const fn method(&self) -> Option<&'static str> {
        self.method
    }

    /// Issuer, subject and audience of the assertion that was sent: the values that a federated credential is compared with.
    /// The caller must use it only for ServiceAccount tokens.
    pub(super) fn identity(&self) -> Option<String> {
        let token = self.assertions.first()?.expose_secret();
        let claims = jwt::claims(token)?;
        Some(format!(
            "issuer {}, subject {}, audience {}",
            claim(&claims, "iss"),
            claim(&claims, "sub"),
            claim(&claims, "aud")
        ))
    }

    /// The target of a redirect of the request: an origin, without secrets. The path is not shown, since a server may put
    /// sent values into it. `vouched`: whether the origin of another server may be shown.
    pub(super) fn redirect(&self, location: &str, vouched: bool) -> Option<String> {
        match redirected(&self.url, Some(location)) {
            // Only this much of the new path is shown, because it contains nothing from the server.
            Redirect::Here(to) if to.path() == format!("{}/", self.url.path()) => {
                Some("it leads to the same URL with a slash at its end".to_owned())
            }
            Redirect::Here(to) if format!("{}/", to.path()) == self.url.path() => {
                Some("it leads to the same URL without the slash at its end".to_owned())
            }
            Redirect::Here(_) => Some("it leads to another path of the same server".to_owned()),
            Redirect::Away(to) => {
                let host = self.url.host_str().unwrap_or_default();
                let to = to.filter(|_| vouched)?;
                Some(format!("it leads to {}", self.net(host).cut(&to)))
            }
        }
    }

    /// Removes the secrets from names that a server shows, such as those of its certificate. Its host is not a secret.
    #[must_use]
    pub fn net(&self, host: &str) -> Net {
        let chosen: Vec<String> = self
            .chosen
            .iter()
            .cloned()
            .chain([host.to_owned()])
            .collect();
        Net::of(&self.secrets, &chosen)
    }

    /// The text without secrets, in one line of bounded length. `None` if nothing is left. `answered`: the secrets in the answer itself.
    pub(super) fn quote(&self, words: &str, answered: &[SecretString]) -> Option<String> {
        let net = Net::of(self.secrets.iter().chain(answered), &self.chosen);
        // The ids after this are shown separately, and differ at each attempt.
        let own = words.split("Trace ID:").next().unwrap_or_default();
        let own = own.split("Correlation ID:").next().unwrap_or_default();
        let line: Vec<&str> = own
            .split(|c: char| c.is_whitespace() || c.is_control())
            .collect();
        let line = line.into_iter().filter(|w| !w.is_empty());
        let line = line.collect::<Vec<_>>().join(" ").replace('"', "'");
        // The constant part of a server's text would displace the specific part.
        let line = without_examples(&line).replace("  ", " ");
        let text = without_tokens(&net.cut(&line), &self.chosen);
        let text = printable(&text).into_owned();
        let shown: String = text.chars().take(MOST).collect();
        let more = if shown.len() < text.len() { "…" } else { "" };
        let reported = shown.replace(CUT, "").chars().any(char::is_alphanumeric);
        // The joined rest may look like a secret again.
        (reported && !net.catches(&shown)).then(|| format!("{}{more}", shown.trim()))
    }
}

/// The authentication method of a client assertion, by the algorithm in its header.
fn signed_by(assertion: &str) -> &'static str {
    let header = assertion.split('.').next().unwrap_or_default();
    let header = jwt::part(header).unwrap_or_default();
    let algorithm = header.get("alg").and_then(Value::as_str);
    if algorithm.is_some_and(|name| name.starts_with("HS")) {
        CLIENT_SECRET_JWT
    } else {
        "private_key_jwt"
    }
}

/// A claim of a token, in a form that may be shown.
fn claim(claims: &Map<String, Value>, name: &str) -> String {
    let text = match claims.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            texts.join(" ")
        }
        _ => return "(none)".to_owned(),
    };
    let text: String = text.chars().take(MOST_CLAIM).collect();
    format!("\"{}\"", printable(&text))
}

/// Parts of secrets, in lower case.
pub struct Net {
    windows: HashSet<[char; WINDOW]>,
    /// Secrets that are shorter than a window.
    short: Vec<Vec<char>>,
}

impl Net {
    /// The parts of these secrets, without those in `chosen`.
    pub fn of<'a>(secrets: impl IntoIterator<Item = &'a SecretString>, chosen: &[String]) -> Self {
        let mut net = Self {
            windows: HashSet::new(),
            short: Vec::new(),
        };
        for secret in secrets {
            for (form, encoded) in forms(secret.expose_secret()) {
                let chars = lower(&form);
                if chars.len() >= WINDOW {
                    net.windows.extend(windows(&chars));
                } else if !chars.is_empty() && (!encoded || chars.len() > 3) {
                    net.short.push(chars);
                }
            }
        }
        for text in chosen {
            for (form, _) in forms(text) {
                let chars = lower(&form);
                for window in windows(&chars) {
                    net.windows.remove(&window);
                }
                net.short
                    .retain(|short| !chars.windows(short.len()).any(|w| w == short.as_slice()));
            }
        }
        net
    }

    /// Which characters belong to a part of a secret.
    fn hits(&self, text: &str) -> Vec<bool> {
        let chars = lower(text);
        let mut hit = vec![false; chars.len()];
        for (at, window) in chars.windows(WINDOW).enumerate() {
            if <[char; WINDOW]>::try_from(window).is_ok_and(|w| self.windows.contains(&w)) {
                hit[at..at + WINDOW].fill(true);
            }
        }
        for short in &self.short {
            for (at, window) in chars.windows(short.len()).enumerate() {
                if window == short.as_slice() {
                    hit[at..at + short.len()].fill(true);
                }
            }
        }
        hit
    }

    fn catches(&self, text: &str) -> bool {
        self.hits(text).contains(&true)
    }

    /// The text without parts of secrets.
    #[must_use]
    pub fn cut(&self, text: &str) -> String {
        let mut out = String::new();
        let mut inside = false;
        for (c, hit) in text.chars().zip(self.hits(text)) {
            match (hit, inside) {
                (true, false) => out.push_str(CUT),
                (true, true) => {}
                (false, _) => out.push(c),
            }
            inside = hit;
        }
        out
    }
}

fn lower(text: &str) -> Vec<char> {
    text.chars().map(|c| c.to_ascii_lowercase()).collect()
}

fn windows(chars: &[char]) -> impl Iterator<Item = [char; WINDOW]> {
    let all = chars.windows(WINDOW);
    all.filter_map(|w| <[char; WINDOW]>::try_from(w).ok())
}

/// A secret as it is, percent-encoded in two ways, as JSON, in hexadecimal, and in both alphabets of base64 at every
/// alignment. The flag is true for a form other than the secret's own.
fn forms(secret: &str) -> Vec<(String, bool)> {
    use std::fmt::Write;
    // The search is done in joined lines.
    let line: Vec<&str> = secret.split_whitespace().collect();
    let percent: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let quoted = serde_json::to_string(secret).unwrap_or_default();
    let mut hex = String::with_capacity(secret.len() * 2);
    for byte in secret.bytes() {
        let _ = write!(hex, "{byte:02x}");
    }
    let mut forms = vec![
        (secret.to_owned(), false),
        (line.join(" ").replace('"', "'"), false),
        (printable(secret).into_owned(), false),
        (percent.replace('+', "%20"), true),
        (percent, true),
        (quoted.trim_matches('"').to_owned(), true),
        (hex, true),
    ];
    for skip in 0..3 {
        // The last digits depend on the following bytes.
        let bytes = secret.as_bytes().get(skip..).unwrap_or_default();
        let whole = &bytes[..bytes.len() / 3 * 3];
        forms.push((STANDARD_NO_PAD.encode(whole), true));
        forms.push((URL_SAFE_NO_PAD.encode(whole), true));
    }
    forms
}

#[cfg(test)]
mod tests;
