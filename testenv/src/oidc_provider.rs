//! An `OpenID` Connect issuer that this project did not write: the npm package `oidc-provider`.

use std::time::Duration;

use reqwest::Client;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::process::{Launch, Watched};
use crate::scratch::Scratch;
use crate::tls::Authority;
use crate::{Error, http, npm, ports};

const READY_WITHIN: Duration = Duration::from_mins(1);

static ISSUER: npm::Package = npm::Package {
    name: "oidc-provider",
    what: "the npm package oidc-provider",
    files: &[
        (
            "package.json",
            include_str!("../oidc-provider/package.json"),
        ),
        (
            "package-lock.json",
            include_str!("../oidc-provider/package-lock.json"),
        ),
        ("server.mjs", include_str!("../oidc-provider/server.mjs")),
    ],
};

/// A client of the issuer. [`OidcClient::new`] and the methods after it set what it may do.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OidcClient {
    /// `client_id`.
    pub id: String,
    /// `client_secret`; empty if it has none.
    pub secret: String,
    /// The registered method. The package accepts a secret by either method; the method of a request is in
    /// [`SeenRequest::auth_method`].
    pub auth_method: OidcClientAuth,
    /// The scopes that it may request.
    pub scopes: Vec<String>,
    /// Its grant types.
    pub grants: Vec<String>,
    /// Redirect URIs of sign-ins; for a loopback address, the port does not matter.
    pub redirect_uris: Vec<String>,
    /// Its public keys, a JWK set.
    pub jwks: Option<Value>,
    /// `token_endpoint_auth_signing_alg`.
    pub signing_alg: Option<String>,
    /// Subject of its certificate, in the format of RFC 4514.
    pub tls_subject: Option<String>,
}

impl OidcClient {
    /// A client with the scopes `read` and `write` that may request tokens for itself.
    pub fn new(id: impl Into<String>, auth_method: OidcClientAuth) -> Self {
        Self {
            id: id.into(),
            secret: String::new(),
            auth_method,
            scopes: vec!["read".to_owned(), "write".to_owned()],
            grants: vec!["client_credentials".to_owned()],
            redirect_uris: Vec::new(),
            jwks: None,
            signing_alg: None,
            tls_subject: None,
        }
    }

    /// Sets its secret.
    #[must_use]
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.secret = secret.into();
        self
    }

    /// Registers its public keys, and the only algorithm with which it signs.
    #[must_use]
    pub fn jwks(mut self, jwks: Value, algorithm: &str) -> Self {
        self.jwks = Some(jwks);
        self.signing_alg = Some(algorithm.to_owned());
        self
    }

    /// Registers the subject of its certificate.
    #[must_use]
    pub fn tls_subject(mut self, subject: impl Into<String>) -> Self {
        self.tls_subject = Some(subject.into());
        self
    }

    /// Allows a user to sign in with it: authorization code to this address, device code, and refresh tokens.
    #[must_use]
    pub fn sign_in(mut self, redirect_uri: impl Into<String>) -> Self {
        self.grants = [
            "authorization_code",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:device_code",
        ]
        .map(str::to_owned)
        .to_vec();
        self.scopes
            .extend(["openid".to_owned(), "offline_access".to_owned()]);
        self.redirect_uris.push(redirect_uri.into());
        self
    }
}

/// How a client authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum OidcClientAuth {
    /// The secret in the `Authorization` header.
    #[serde(rename = "client_secret_basic")]
    Basic,
    /// The secret in the form.
    #[serde(rename = "client_secret_post")]
    Post,
    /// An assertion that the secret signs (RFC 7523).
    #[serde(rename = "client_secret_jwt")]
    SecretJwt,
    /// A signed assertion (RFC 7523).
    #[serde(rename = "private_key_jwt")]
    PrivateKeyJwt,
    /// A certificate of an authority in [`OidcOptions::client_ca`] (RFC 8705 section 2.1).
    #[serde(rename = "tls_client_auth")]
    Tls,
    /// A certificate in its key set (RFC 8705 section 2.2).
    #[serde(rename = "self_signed_tls_client_auth")]
    SelfSignedTls,
    /// No client authentication.
    #[serde(rename = "none")]
    Public,
}

/// An API for which tokens are issued, selected by the request parameter `resource`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OidcResource {
    /// The value of `resource`: an absolute URI.
    pub indicator: String,
    /// The tokens' `aud`; the indicator itself if not set.
    pub audience: Option<String>,
    /// The scopes of this API.
    pub scopes: Vec<String>,
    /// Lifetime of its tokens; [`OidcOptions::token_ttl_seconds`] if not set.
    pub token_ttl_seconds: Option<u32>,
    /// JWT tokens (RS256), or opaque ones.
    pub jwt: bool,
}

/// The settings of the issuer.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OidcOptions {
    /// The clients.
    pub clients: Vec<OidcClient>,
    /// The APIs. A request without a resource gets an opaque token.
    pub resources: Vec<OidcResource>,
    /// Lifetime of tokens.
    pub token_ttl_seconds: u32,
    /// Authorities of client certificates, PEM; empty if there are none.
    pub client_ca: String,
    /// The only user, who signs in and consents at every request.
    pub account: String,
}

impl Default for OidcOptions {
    /// Clients `basic` and `post` with the secrets `basic-secret` and `post-secret`, the scopes
    /// `read` and `write`, the resource `https://api.example` with JWT tokens, ten minutes.
    fn default() -> Self {
        let scopes = vec!["read".to_owned(), "write".to_owned()];
        let client = |name: &str, auth_method| {
            OidcClient::new(name, auth_method).secret(format!("{name}-secret"))
        };
        Self {
            clients: vec![
                client("basic", OidcClientAuth::Basic),
                client("post", OidcClientAuth::Post),
            ],
            resources: vec![OidcResource {
                indicator: "https://api.example".to_owned(),
                audience: None,
                scopes: scopes.clone(),
                token_ttl_seconds: None,
                jwt: true,
            }],
            token_ttl_seconds: 600,
            client_ca: String::new(),
            account: "somebody".to_owned(),
        }
    }
}

/// How often a client got such an answer from the token endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeenRequest {
    /// The client; empty if the request does not name it.
    pub client_id: String,
    /// The client authentication method, by its name in the protocol (`client_secret_basic`, `private_key_jwt`, …).
    pub auth_method: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The OAuth error code; empty for a token.
    pub error: String,
    /// Number of such answers since the last start of the issuer.
    pub count: u32,
}

/// A running issuer. It is stopped on drop.
pub struct OidcProvider {
    server: Watched,
    installed: npm::Installed,
    client: Client,
    ca_pem: String,
    issuer_url: String,
    options: OidcOptions,
    scratch: Scratch,
}

impl OidcProvider {
    /// Starts an issuer on a free port, with a separate CA. Its packages are installed
    /// into the user's cache folder first if they are not there.
    pub async fn start(options: OidcOptions) -> Result<Self, Error> {
        ports::started(async || Self::start_once(options.clone()).await).await
    }

    async fn start_once(options: OidcOptions) -> Result<Self, Error> {
        let installed = ISSUER.install().await?;
        let scratch = Scratch::new("apicred-issuer-")?;
        let authority = Authority::new("testenv issuer")?;
        let certificate = authority.loopback_certificate()?;
        let port = ports::free()?;
        let mut config = serde_json::to_value(&options).unwrap_or_default();
        config["port"] = json!(port);
        config["keyFile"] = json!(scratch.path().join("signing-key.json"));
        config["certificateFile"] =
            json!(scratch.write("server.crt", &certificate.certificate_pem)?);
        config["privateKeyFile"] = json!(scratch.write("server.key", &certificate.key_pem)?);
        scratch.write("config.json", &config.to_string())?;

        let mut issuer = Self {
            server: launch(&installed, &scratch)?,
            installed,
            client: http::client(authority.ca_pem())?,
            ca_pem: authority.ca_pem().to_owned(),
            issuer_url: format!("https://127.0.0.1:{port}"),
            options,
            scratch,
        };
        issuer.ready().await?;
        Ok(issuer)
    }

    /// The issuer's identifier, which is the base of the discovery document's URL.
    pub fn issuer_url(&self) -> &str {
        &self.issuer_url
    }

    /// The token endpoint.
    pub fn token_url(&self) -> String {
        format!("{}/token", self.issuer_url)
    }

    /// The CA of its TLS certificate.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The process ID of the issuer.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Returns whether a token is active: `active` and, if it is true, its claims. Opaque tokens are checked at
    /// the introspection endpoint (RFC 7662), as the first client; JWTs are checked by signature,
    /// issuer and times.
    pub async fn introspect(&self, token: &str) -> Result<Value, Error> {
        let what = "introspecting a token";
        if token.split('.').count() == 3 {
            let url = format!("{}/__verify", self.issuer_url);
            return http::json(what, self.client.post(url).body(token.to_owned())).await;
        }
        let Some(client) = self.options.clients.first() else {
            return Err(Error::Answer {
                what: what.to_owned(),
                answer: "the issuer has no client that could send a request".to_owned(),
            });
        };
        let request = self
            .client
            .post(format!("{}/token/introspection", self.issuer_url));
        let request = if client.auth_method == OidcClientAuth::Post {
            request.form(&[
                ("token", token),
                ("client_id", &client.id),
                ("client_secret", &client.secret),
            ])
        } else {
            request
                .basic_auth(&client.id, Some(&client.secret))
                .form(&[("token", token)])
        };
        http::json(what, request).await
    }

    /// The answers of the token endpoint since the last start, counted by client, status and error.
    pub async fn requests(&self) -> Result<Vec<SeenRequest>, Error> {
        let what = "reading the requests that the issuer recorded";
        let url = format!("{}/__requests", self.issuer_url);
        let answer = http::json(what, self.client.get(url)).await?;
        serde_json::from_value(answer).map_err(|error| Error::Answer {
            what: what.to_owned(),
            answer: error.to_string(),
        })
    }

    /// Registers a client (RFC 7591) with this metadata. Returns the registration, with its address and its registration access token.
    pub async fn register(&self, metadata: &Value) -> Result<Value, Error> {
        let request = self.client.post(format!("{}/reg", self.issuer_url));
        http::json("registering a client", request.json(metadata)).await
    }

    /// Reads the registration of a client (RFC 7592).
    pub async fn registration(&self, url: &str, token: &str) -> Result<Value, Error> {
        let request = self.client.get(url).bearer_auth(token);
        http::json("reading a registration", request).await
    }

    /// A refresh token, as after a sign-in of the user.
    pub async fn refresh_token(&self, client_id: &str, scope: &str) -> Result<String, Error> {
        let body = json!({ "clientId": client_id, "scope": scope });
        let answer = self.control("/__sign_in", &body).await?;
        Ok(answer["refreshToken"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    }

    /// Returns whether this refresh token can still be used. A second use of a rotated one ends the grant, and all tokens
    /// of that grant.
    pub async fn is_alive(&self, refresh_token: &str) -> Result<bool, Error> {
        let body = json!({ "refreshToken": refresh_token });
        let answer = self.control("/__alive", &body).await?;
        Ok(answer["alive"] == true)
    }

    /// The user enters this code of the device flow, and allows or denies it. Returns whether the code
    /// exists.
    pub async fn answer_device(&self, user_code: &str, allow: bool) -> Result<bool, Error> {
        let body = json!({ "userCode": user_code, "deny": !allow });
        let answer = self.control("/__device", &body).await?;
        Ok(answer["found"] == true)
    }

    async fn control(&self, path: &str, body: &Value) -> Result<Value, Error> {
        let url = format!("{}{path}", self.issuer_url);
        http::json("a control of the issuer", self.client.post(url).json(body)).await
    }

    /// Kills the issuer and returns when it has ended. Opaque tokens become invalid with it; JWTs stay valid.
    pub fn stop(&mut self) {
        self.server.kill();
    }

    /// Starts it again on the same port, with the same certificate and keys. Does nothing while it
    /// runs.
    pub async fn start_again(&mut self) -> Result<(), Error> {
        if self.server.ended().is_none() {
            return Ok(());
        }
        self.server = launch(&self.installed, &self.scratch)?;
        self.ready().await
    }

    async fn ready(&mut self) -> Result<(), Error> {
        let (client, issuer) = (&self.client, &self.issuer_url);
        http::discovered(client, issuer, &mut self.server, READY_WITHIN).await
    }
}

fn launch(installed: &npm::Installed, scratch: &Scratch) -> Result<Watched, Error> {
    Watched::spawn(Launch {
        name: "oidc-provider",
        program: &installed.node,
        args: vec![
            installed.folder.join("server.mjs").display().to_string(),
            scratch.path().join("config.json").display().to_string(),
        ],
        folder: scratch.path(),
        env: Vec::new(),
    })
}
