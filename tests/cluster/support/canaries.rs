//! The search for secrets in places where none is allowed (O10).

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};

/// A leak of this many bytes is found, wherever in the secret it starts.
const WINDOW: usize = 10;

/// The start of PEM.
const BEGIN: &str = "-----BEGIN ";
/// Digits of base64 at the beginning of a key that identify its algorithm (RFC 5958 section 2): 48 for P-256, fewer for
/// Ed25519. In an RSA key its modulus follows, which is public.
const ALGORITHM: usize = 48;

/// Whether a block of PEM, from its label on, contains a private key.
fn is_key(block: &str) -> bool {
    block
        .lines()
        .next()
        .is_some_and(|label| label.contains("PRIVATE KEY"))
}

/// Whether this could be a part of a name or of a message.
fn is_words(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|b| b.is_ascii_lowercase() || b"-_. ".contains(b))
}

/// Values that must not be readable outside of a Secret.
#[derive(Default)]
pub(crate) struct Canaries(Mutex<BTreeSet<String>>);

impl Canaries {
    /// Searches for this value from now on. Of PEM, only the secret part: messages show its first and last lines, and
    /// certificates contain the algorithm of their key in the same bytes as the key does.
    pub(crate) fn add(&self, value: &str) {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !value.contains(BEGIN) {
            values.insert(value.to_owned());
            return;
        }
        for block in value.split(BEGIN).filter(|block| is_key(block)) {
            let lines = block.lines().skip(1).take_while(|l| !l.starts_with('-'));
            for (at, line) in lines.enumerate() {
                let from = if at == 0 { ALGORITHM } else { 0 };
                values.extend(line.get(from..).map(str::to_owned));
            }
        }
    }

    /// The number of values in the search.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Adds every token that is published in this cluster.
    pub(super) fn follow(self: &Arc<Self>, client: Client) {
        let canaries = Arc::clone(self);
        let config = watcher::Config::default().labels("app.kubernetes.io/managed-by=apicred");
        tokio::spawn(async move {
            let stream = watcher(Api::<Secret>::all(client), config).default_backoff();
            let mut stream = std::pin::pin!(stream.applied_objects());
            while let Some(secret) = stream.next().await {
                let data = secret.ok().and_then(|s| s.data).unwrap_or_default();
                if let Some(token) = data.get("token") {
                    canaries.add(&String::from_utf8_lossy(&token.0));
                }
            }
        });
    }

    /// All parts of all values, in every encoding that a program could have used.
    pub(crate) fn net(&self) -> Net {
        let values = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut windows = HashSet::new();
        for value in &values {
            // The first two parts of a JWT are not secret without the third, and headers are alike.
            let secret = match value.rsplit_once('.') {
                Some((_, signature)) if value.starts_with("eyJ") => signature,
                _ => value.as_str(),
            };
            // A part that could be a word of a message identifies nothing, unless the whole value is words.
            let only_words = secret.as_bytes().windows(WINDOW).all(is_words);
            for form in forms(secret) {
                windows.extend(
                    form.windows(WINDOW)
                        .filter(|w| only_words || !is_words(w))
                        .filter_map(|w| <[u8; WINDOW]>::try_from(w).ok()),
                );
            }
        }
        Net(windows)
    }
}

/// The result of [`Canaries::net`].
pub(crate) struct Net(HashSet<[u8; WINDOW]>);

impl Net {
    /// The surroundings of the first leak in a text, without the leak itself.
    pub(crate) fn first_leak(&self, text: &str) -> Option<String> {
        let at = text
            .as_bytes()
            .windows(WINDOW)
            .position(|w| <[u8; WINDOW]>::try_from(w).is_ok_and(|w| self.0.contains(&w)))?;
        let before =
            String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(200)..at]).into_owned();
        Some(format!("after {before:?}"))
    }
}

/// Unchanged, percent-encoded in two ways, as JSON, and in both alphabets of base64 at every alignment.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let encoded = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>();
    let quoted = serde_json::to_string(secret).unwrap_or_default();
    let mut forms = vec![
        secret.as_bytes().to_vec(),
        encoded.replace('+', "%20").into_bytes(),
        encoded.into_bytes(),
        quoted.trim_matches('"').as_bytes().to_vec(),
    ];
    for skip in 0..3 {
        let bytes = secret.as_bytes().get(skip..).unwrap_or_default();
        // The last digits depend on what follows.
        let whole = &bytes[..bytes.len() / 3 * 3];
        forms.push(STANDARD_NO_PAD.encode(whole).into_bytes());
        forms.push(URL_SAFE_NO_PAD.encode(whole).into_bytes());
    }
    forms
}

#[test]
fn the_net_catches_parts_in_every_encoding() {
    let canaries = Canaries::default();
    canaries.add("0123456789abcdef~+/%&= ghijklmnopqrstuv");
    canaries.add("eyJhbGciOiJSUzI1NiJ9.eyJhIjoiYiJ9.c2lnbmF0dXJlLW9mLWEtdG9rZW4");
    canaries.add("Hq7.an-access-token-of-a-day");
    canaries.add("only-words-of-a-password");
    let algorithm = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg";
    let certificate =
        "-----BEGIN CERTIFICATE-----\nNOTHING+OF+THIS+IS+SECRET\n-----END CERTIFICATE-----\n";
    canaries.add(&format!("{certificate}-----BEGIN PRIVATE KEY-----\n{algorithm}FIRST+LINE+OF+IT\nTHE/LAST/LINE\n-----END PRIVATE KEY-----\n"));
    let net = canaries.net();
    for leak in [
        "AwEHBG0wawIBAQQgFIRST+LINE",
        "…THE/LAST/LINE…",
        "secret=456789abcdef~",
        "f~%2B%2F%25%26%3D%20gh",
        "f~%2B%2F%25%26%3D+ghij",
        &STANDARD_NO_PAD.encode("client:0123456789abcdef~+/%&= ghijklmnopqrstuv"),
        &URL_SAFE_NO_PAD.encode("x0123456789abcdef~+/%&= ghijklmnopqrstuv"),
        "…dXJlLW9mLWEtdG9r",
        "Hq7.an-access-token-of-a-day",
        "of-a-password",
    ] {
        assert!(net.first_leak(leak).is_some(), "{leak}");
    }
    for fine in [
        "eyJhbGciOiJSUzI1NiJ9.eyJhIjoiYiJ9",
        "0123456",
        "x-access-token",
        "nothing to see here, move along",
        "no -----BEGIN PRIVATE KEY----- there",
        algorithm,
        certificate,
    ] {
        assert_eq!(net.first_leak(fine), None);
    }
}
