//! Quotes the text of an issuer in a message, without every part of the secrets in the request, in any encoding.
//!
//! Without this, a user who may create credentials and may not read Secrets could make an issuer repeat a secret in its error.

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
    lifetime::is_guid,
    refusal::MOST_DIGITS,
};
use crate::{api::parameter::NO_SECRETS, input::object, printable::printable};

/// Most characters of the issuer's words that are shown.
const MOST: usize = 200;
/// So many characters of a secret in a row are cut out, wherever in it they begin.
const WINDOW: usize = 6;
/// A word of this length with more digits than an error code has looks like a token or key, and is cut out although it
/// was not sent.
const TOKEN_LIKE: usize = 16;
/// In the place of what is cut out.
pub const CUT: &str = "[…]";
/// Longest issuer, subject or audience that is shown of an assertion.
const MOST_CLAIM: usize = 256;

/// The authentication method of a client secret that signs (OpenID Connect Core section 9).
pub(super) const CLIENT_SECRET_JWT: &str = "client_secret_jwt";

/// Is a parameter of this name shown where an issuer repeats it?
pub fn is_public(name: &str) -> bool {
    NO_SECRETS.contains(&name)
}

/// What a request held that must not come back, and how it authenticated the client. Has no `Debug`.
pub struct SentSecrets {
    secrets: Vec<SecretString>,
    /// What the user chose and knows. It is never cut out, whatever the secrets are: an issuer repeats a scope that it
    /// does not know, and a guess that is cut out would be a guess that is right.
    chosen: Vec<String>,
    /// Assertion of the client, and the token that is exchanged.
    assertions: Vec<SecretString>,
    method: Option<&'static str>,
    /// Where it goes.
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
                    echo.secrets.push(SecretString::from(value));
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

    /// How the client was authenticated, by the names of the registry of RFC 8414.
    pub(super) const fn method(&self) -> Option<&'static str> {
        self.method
    }

    /// Issuer, subject and audience of the assertion that was sent: what a federated credential is compared with. Of
    /// ServiceAccount tokens only, which is for the caller to know.
    pub(super) fn identity(&self) -> Option<String> {
        let token = self.assertions.first()?.expose_secret();
        let payload = token.split('.').nth(1)?;
        let claims = object(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        Some(format!(
            "issuer {}, subject {}, audience {}",
            claim(&claims, "iss"),
            claim(&claims, "sub"),
            claim(&claims, "aud")
        ))
    }

    /// Where a redirect of the request leads: an origin, without what was secret. The path is not shown, since a server may
    /// put into it what it was sent. `vouched`: may the origin of another server be shown?
    pub(super) fn redirect(&self, location: &str, vouched: bool) -> Option<String> {
        match redirected(&self.url, Some(location)) {
            // What a server makes of the request is not shown; this much is known without it.
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

    /// What cuts the secrets out of names that a server shows, such as those of its certificate. Its host is no secret.
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

    /// The words without secrets, in one line of bounded length. `None`: nothing is left to be said.
    pub(super) fn quote(&self, words: &str) -> Option<String> {
        let net = Net::of(&self.secrets, &self.chosen);
        // The ids behind it are shown apart from it, and are others at each try.
        let own = words.split("Trace ID:").next().unwrap_or_default();
        let own = own.split("Correlation ID:").next().unwrap_or_default();
        let line: Vec<&str> = own
            .split(|c: char| c.is_whitespace() || c.is_control())
            .collect();
        let line = line.into_iter().filter(|w| !w.is_empty());
        let line = line.collect::<Vec<_>>().join(" ").replace('"', "'");
        // What a server says each time takes the room of what it says this time.
        let line = without_examples(&line).replace("  ", " ");
        let text = without_tokens(&net.cut(&line));
        let text = printable(&text).into_owned();
        let shown: String = text.chars().take(MOST).collect();
        let more = if shown.len() < text.len() { "…" } else { "" };
        let told = shown.replace(CUT, "").chars().any(char::is_alphanumeric);
        // What was put together from the rest may look like a secret again.
        (told && !net.catches(&shown)).then(|| format!("{}{more}", shown.trim()))
    }
}

/// The authentication method of a client assertion, by the algorithm in its header.
fn signed_by(assertion: &str) -> &'static str {
    let header = assertion.split('.').next().unwrap_or_default();
    let header = URL_SAFE_NO_PAD.decode(header).unwrap_or_default();
    let header = object(&header).unwrap_or_default();
    let algorithm = header.get("alg").and_then(Value::as_str);
    if algorithm.is_some_and(|name| name.starts_with("HS")) {
        CLIENT_SECRET_JWT
    } else {
        "private_key_jwt"
    }
}

/// A claim of a token, as it may be shown.
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

/// Removes words that look like tokens or keys.
fn without_tokens(text: &str) -> String {
    let part = |c: char| c.is_ascii_alphanumeric() || "+=_-~%".contains(c);
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !part(c)).unwrap_or(rest.len());
        let (word, next) = rest.split_at(end);
        let digits = word.bytes().filter(u8::is_ascii_digit).count();
        let looks = word.len() >= TOKEN_LIKE && (digits > MOST_DIGITS || word.starts_with("eyJ"));
        out.push_str(if looks && !is_guid(word) { CUT } else { word });
        let between = next.find(part).unwrap_or(next.len());
        out.push_str(&next[..between]);
        rest = &next[between..];
    }
    out
}

/// Parts of secrets, in lower case.
pub struct Net {
    windows: HashSet<[char; WINDOW]>,
    /// Secrets that are shorter than a window.
    short: Vec<Vec<char>>,
}

impl Net {
    /// Of these secrets, without what is in `chosen`.
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

    /// Which characters belong to a part of a secret?
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

    /// The text without what belongs to a secret.
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
/// alignment; the flag: is it another form than the secret's own?
fn forms(secret: &str) -> Vec<(String, bool)> {
    use std::fmt::Write;
    // Lines are put together before the search.
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
        // The last digits depend on what follows.
        let bytes = secret.as_bytes().get(skip..).unwrap_or_default();
        let whole = &bytes[..bytes.len() / 3 * 3];
        forms.push((STANDARD_NO_PAD.encode(whole), true));
        forms.push((URL_SAFE_NO_PAD.encode(whole), true));
    }
    forms
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::oauth::{Method, encode};

    fn request(
        fields: &[(&str, &str)],
        headers: Vec<(&'static str, SecretString)>,
    ) -> TokenRequest {
        TokenRequest {
            method: Method::Post,
            url: "https://as.example.com/token".parse().unwrap(),
            headers,
            body: SecretString::from(encode::form(fields.iter().copied())),
            tls: None,
            local: false,
        }
    }

    fn echo(fields: &[(&str, &str)]) -> SentSecrets {
        SentSecrets::of(&request(fields, Vec::new()))
    }

    #[test]
    fn the_issuers_words_are_shown_in_one_line_of_bounded_length() {
        let echo = echo(&[
            ("client_id", "payroll-client"),
            ("client_secret", "hT9~xkCd-42-QqZzWw77"),
            ("scope", "read"),
        ]);
        let long = "word ".repeat(100);
        let cut = format!("{}…", &long[..MOST].trim());
        for (words, shown) in [
            (
                "Invalid client or Invalid client credentials",
                Some("Invalid client or Invalid client credentials"),
            ),
            (
                "AADSTS700016: Application with identifier '1c1b9c5e-4d3f-4b8e-9f60-0d8ed4d3a111' was not found.\r\nTrace ID: 255d1aef-8c98-452f-ac51-23d051240864\r\nTimestamp: 2026-01-09 02:02:12Z",
                Some(
                    "AADSTS700016: Application with identifier '1c1b9c5e-4d3f-4b8e-9f60-0d8ed4d3a111' was not found.",
                ),
            ),
            (
                "the client payroll-client may not read",
                Some("the client payroll-client may not read"),
            ),
            ("it was hT9~xkCd-42-QqZzWw77!", Some("it was […]!")),
            ("it began with hT9~xkC", Some("it began with […]")),
            (
                "a \"quoted\" word\u{1b}[2J and \u{202e}more",
                Some("a 'quoted' word [2J and \\u{202e}more"),
            ),
            (
                "Token eyJhbGciOiJSUzI1NiJ9x.abc is bad",
                Some("Token […].abc is bad"),
            ),
            (
                "key 4f1dd2a09be34c714f1dd2a09be34c71 is unknown",
                Some("key […] is unknown"),
            ),
            (&long, Some(cut.as_str())),
            ("hT9~xkCd-42-QqZzWw77", None),
            (" \r\n ", None),
        ] {
            assert_eq!(echo.quote(words).as_deref(), shown, "{words}");
        }
    }

    #[test]
    fn a_short_password_is_cut_out_as_a_whole() {
        let echo = echo(&[("username", "ada"), ("password", "Ab1!")]);
        assert_eq!(
            echo.quote("password ab1! of ada is wrong").as_deref(),
            Some("password […] of ada is wrong")
        );
    }

    #[test]
    fn a_basic_header_is_cut_out_encoded_and_decoded() {
        let header = encode::basic("client-1", &encode::component("a+b/secret value"));
        let sent = vec![("authorization", SecretString::from(header.clone()))];
        let echo = SentSecrets::of(&request(&[], sent));
        assert_eq!(echo.method(), Some("client_secret_basic"));
        for leak in [
            header.as_str(),
            "a+b/secret value",
            "a%2Bb%2Fsecret%20value",
        ] {
            let words = format!("refused: {leak}");
            assert_eq!(
                echo.quote(&words).as_deref(),
                Some("refused: […]"),
                "{leak}"
            );
        }
    }

    #[test]
    fn the_identity_of_an_assertion_is_named() {
        let payload = json!({ "iss": "https://oidc.example.com/", "sub": "system:serviceaccount:a:b", "aud": ["api://AzureADTokenExchange"] });
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload.to_string()));
        let echo = echo(&[("client_assertion", &token)]);
        assert_eq!(
            echo.identity().as_deref(),
            Some(
                r#"issuer "https://oidc.example.com/", subject "system:serviceaccount:a:b", audience "api://AzureADTokenExchange""#
            )
        );
        assert_eq!(echo.method(), Some("private_key_jwt"));
        assert!(
            self::echo(&[("client_assertion", "opaque")])
                .identity()
                .is_none()
        );
    }

    fn dressed(secret: &str, how: usize, from: usize) -> String {
        let part: String = secret.chars().skip(from).collect();
        let percent: String = form_urlencoded::byte_serialize(part.as_bytes()).collect();
        match how {
            0 => part,
            1 => percent,
            2 => STANDARD.encode(format!("client:{secret}")),
            3 => URL_SAFE_NO_PAD.encode(part),
            4 => part.to_uppercase(),
            5 => serde_json::to_string(&part).unwrap_or_default(),
            _ => percent.replace('+', "%20"),
        }
    }

    #[test]
    fn a_scope_that_the_issuer_repeats_says_nothing_about_a_secret() {
        let words = "The scope api://abc8q~Xk2 is not known";
        let said = |secret: &str| {
            let scope = ("scope", "api://abc8q~Xk2");
            echo(&[("client_id", "c"), ("client_secret", secret), scope]).quote(words)
        };
        // A guess that is right, and one that is not.
        assert_eq!(said("abc8Q~xk2Zzqqqqqqqq"), said("qrs8Q~0000000000000"));
        assert_eq!(said("8q~xk"), Some(words.to_owned()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(800))]

        #[test]
        fn nothing_that_was_sent_comes_back(
            secret in "[ -~]{6,60}|[\\PC]{6,30}|[A-Za-z0-9_~.-]{20,300}",
            field in prop::sample::select(vec!["client_secret", "refresh_token", "assertion", "subject_token", "password", "code", "client_assertion", "api_key"]),
            before in "[a-z ]{0,20}", after in "[a-z ]{0,20}", how in 0..7_usize, from in 0..4_usize,
        ) {
            let echo = echo(&[("client_id", "c"), (field, &secret)]);
            let words = format!("{before}{}{after}", dressed(&secret, how, from));
            if let Some(shown) = echo.quote(&words) {
                let net = Net::of(&[SecretString::from(secret.as_str())], &[]);
                prop_assert!(!net.catches(&shown), "{shown}");
                let lower = shown.to_ascii_lowercase();
                let plain = secret.to_ascii_lowercase();
                let plain: Vec<char> = plain.chars().collect();
                for part in plain.windows(WINDOW) {
                    let part: String = part.iter().collect();
                    prop_assert!(!lower.contains(&part), "{shown} has {part}");
                }
                prop_assert!(shown.chars().count() <= MOST + 1);
                prop_assert!(!shown.chars().any(char::is_control));
            }
        }
    }
}
