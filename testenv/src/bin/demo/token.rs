//! A token as a pod would read it from the mounted Secret. It can be sent and decoded, but never printed: there is
//! no `Debug`, no `Display`, no `Serialize`.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::{Outcome, cluster::Cluster, story::NAMESPACE};

/// The content of the file `token`.
pub(crate) struct Token(String);

impl Token {
    /// Reads key `token` of a Secret, which a mounted volume contains as the file of that name.
    pub(crate) async fn read(cluster: &Cluster, secret: &str) -> Outcome<Self> {
        let object = cluster
            .json(&["-n", NAMESPACE, "get", "secret", secret])
            .await?;
        let data = object["data"]["token"]
            .as_str()
            .ok_or_else(|| format!("Secret {secret} has no key `token`"))?;
        let bytes = STANDARD
            .decode(data)
            .map_err(|_| format!("Secret {secret} holds no base64"))?;
        String::from_utf8(bytes)
            .map(Self)
            .map_err(|_| format!("the token in Secret {secret} is no text"))
    }

    /// For the Authorization header only.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// The claims, unverified, for display. The API verifies them.
    pub(crate) fn claims(&self) -> Outcome<Value> {
        let unreadable = || "the token is no readable JWT".to_owned();
        let payload = self.0.split('.').nth(1).ok_or_else(unreadable)?;
        let bytes = URL_SAFE_NO_PAD.decode(payload).map_err(|_| unreadable())?;
        serde_json::from_slice(&bytes).map_err(|_| unreadable())
    }

    /// The claims with the client, its permissions and the expiry.
    pub(crate) fn summary(&self) -> Outcome<String> {
        let claims = self.claims()?;
        let shown = [
            "aud",
            "iss",
            "appid",
            "azp",
            "client_id",
            "roles",
            "scp",
            "iat",
            "exp",
        ];
        let parts: Vec<String> = shown
            .iter()
            .filter_map(|name| {
                claims
                    .get(*name)
                    .map(|value| format!("{name}={}", plain(value)))
            })
            .collect();
        Ok(parts.join("  "))
    }

    /// Distinguishes two tokens.
    pub(crate) fn id(&self) -> Outcome<String> {
        let claims = self.claims()?;
        let id = claims
            .get("uti")
            .or_else(|| claims.get("jti"))
            .and_then(Value::as_str);
        id.map(ToOwned::to_owned)
            .ok_or_else(|| "the token has no id".to_owned())
    }

    /// Remaining lifetime in seconds at a Unix time.
    pub(crate) fn seconds_left(&self, now: i64) -> Outcome<i64> {
        self.claims()?["exp"]
            .as_i64()
            .map(|end| end - now)
            .ok_or_else(|| "the token has no end".to_owned())
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
