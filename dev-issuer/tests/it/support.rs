//! What all tests need: an issuer, a client that trusts it, and requests in one line.

use dev_issuer::{Config, DevIssuer};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

pub(crate) const DEMO: &[(&str, &str)] = &[
    ("grant_type", "client_credentials"),
    ("client_id", "demo"),
    ("client_secret", "demo~secret.1"),
    ("scope", "api://demo/.default"),
];

pub(crate) struct Bench {
    pub(crate) issuer: DevIssuer,
    pub(crate) http: reqwest::Client,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.text().await.expect("the body arrives"),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("the body is JSON")
    }

    pub(crate) fn token(&self) -> String {
        let token = self.json()["access_token"].as_str().map(str::to_owned);
        token.unwrap_or_else(|| panic!("no token in {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

/// A client that trusts this CA and nothing else, and follows no redirects.
pub(crate) fn trusting(ca_pem: &str) -> reqwest::ClientBuilder {
    let ca = reqwest::Certificate::from_pem(ca_pem.as_bytes()).unwrap();
    reqwest::Client::builder()
        .tls_certs_only([ca])
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let issuer = DevIssuer::start(config).await.expect("the issuer starts");
        let http = trusting(issuer.ca_pem()).build().unwrap();
        Self { issuer, http }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        let path = path.replace("{tenant}", self.issuer.tenant());
        format!("{}{path}", self.issuer.origin())
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        Reply::of(self.http.get(self.url(path)).send().await.unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Reply {
        let request = self.http.post(self.url(path)).form(form);
        Reply::of(request.send().await.unwrap()).await
    }

    pub(crate) async fn v2(&self, form: &[(&str, &str)]) -> Reply {
        self.post("/{tenant}/oauth2/v2.0/token", form).await
    }

    pub(crate) async fn demo_token(&self) -> String {
        self.v2(DEMO).await.token()
    }

    pub(crate) async fn call(&self, path: &str, token: &str) -> Reply {
        let request = self.http.get(self.url(path)).bearer_auth(token);
        Reply::of(request.send().await.unwrap()).await
    }
}

/// The form with some parameters replaced, or taken out by an empty value.
pub(crate) fn form<'a>(
    base: &[(&'a str, &'a str)],
    changes: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let replaced = |name: &str| changes.iter().any(|(n, _)| *n == name);
    let kept = base.iter().filter(|(name, _)| !replaced(name));
    let new = changes.iter().filter(|(_, value)| !value.is_empty());
    kept.chain(new).copied().collect()
}

/// Entra refuses with this error and number, and status 400.
#[track_caller]
pub(crate) fn assert_aadsts(what: &str, reply: &Reply, error: &str, code: u32) {
    let body = reply.json();
    let seen = (reply.status, &body["error"], &body["error_codes"][0]);
    assert_eq!(seen, (400, &json!(error), &json!(code)), "{what}: {body}");
}

/// The generic issuer refuses with this error and status 400.
#[track_caller]
pub(crate) fn assert_error(what: &str, reply: &Reply, error: &str) {
    let seen = (reply.status, reply.json()["error"].clone());
    assert_eq!(seen, (400, error.into()), "{what}: {reply:?}");
}

pub(crate) fn refresh_token(reply: &Reply) -> String {
    let token = reply.json()["refresh_token"].as_str().map(str::to_owned);
    token.unwrap_or_else(|| panic!("no refresh token in {reply:?}"))
}
