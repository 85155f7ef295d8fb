//! An OAuth issuer that this project did not write: Ory Hydra, built from a pinned Go module.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, Url};
use serde_json::{Value, json};

use crate::cache::{Step, run_step};
use crate::go_build::HYDRA;
use crate::process::{Launch, Watched};
use crate::progress::Progress;
use crate::scratch::Scratch;
use crate::tls::{Authority, ServerCertificate};
use crate::{Error, http, ports};

/// It creates its database at each start.
const READY_WITHIN: Duration = Duration::from_mins(2);
/// Where Hydra sends browsers for the decisions that [`Hydra::decide`] takes. Nothing listens there.
const LOGIN: &str = "http://127.0.0.1:1/login";
const CONSENT: &str = "http://127.0.0.1:1/consent";

/// Where it stores its data: in a file, whose writers wait for each other. Its in-memory database rejects concurrent
/// statements, and then Hydra reports that a valid token is not active.
fn database(scratch: &Scratch) -> String {
    let file = scratch.path().join("db.sqlite");
    let options = "_fk=true&_busy_timeout=30000&_journal_mode=WAL&_txlock=immediate";
    format!("sqlite://{}?{options}", file.display())
}

/// Writes the configuration, and returns the path of the file.
fn write_config(
    scratch: &Scratch,
    certificate: &ServerCertificate,
    issuer_url: &str,
    (public, admin): (u16, u16),
) -> Result<String, Error> {
    let path = |name, content: &str| scratch.write(name, content);
    let config = json!({
        "dsn": database(scratch),
        "log": { "level": "warn" },
        "serve": {
            "public": {
                "host": "127.0.0.1", "port": public,
                "tls": {
                    "enabled": true,
                    "cert": { "path": path("server.crt", &certificate.certificate_pem)? },
                    "key": { "path": path("server.key", &certificate.key_pem)? },
                },
            },
            "admin": { "host": "127.0.0.1", "port": admin, "tls": { "enabled": false } },
        },
        "urls": { "self": { "issuer": issuer_url }, "login": LOGIN, "consent": CONSENT },
        // Encrypts what it stores.
        "secrets": { "system": ["no-secret-of-anybody-at-all"] },
        "strategies": { "access_token": "jwt", "jwt": { "scope_claim": "both" } },
        "ttl": { "access_token": "10m" },
    });
    let config = scratch.write("hydra.json", &config.to_string())?;
    Ok(config.display().to_string())
}

/// Creates the tables of the database.
async fn create_database(program: &Path, config: &str, folder: &Path) -> Result<(), Error> {
    let migrate = [
        "migrate",
        "sql",
        "up",
        "--read-from-env",
        "--yes",
        "--config",
        config,
    ];
    let launch = Launch {
        name: "migrate",
        program,
        args: migrate.map(str::to_owned).into(),
        folder,
        env: Vec::new(),
    };
    let what = "the database of Ory Hydra".to_owned();
    let mut progress = Progress::quiet(what.clone());
    match run_step(launch, &mut progress).await? {
        Step::Failed { log, tail } => Err(Error::Build { what, log, tail }),
        Step::Done => Ok(()),
    }
}

/// A running issuer. On drop, it is stopped and its data is deleted.
pub struct Hydra {
    server: Watched,
    client: Client,
    ca_pem: String,
    issuer_url: String,
    admin_url: String,
    _scratch: Scratch,
}

impl Hydra {
    /// Starts an issuer on free ports, with a separate CA. The program is built into the user's cache folder
    /// first if it is not there.
    pub async fn start() -> Result<Self, Error> {
        Self::build().await?;
        ports::started(Self::start_once).await
    }

    /// Finds the program in the user's cache folder, or builds it there.
    pub async fn build() -> Result<PathBuf, Error> {
        HYDRA.build(&["hydra"]).await?;
        HYDRA.path("hydra")
    }

    async fn start_once() -> Result<Self, Error> {
        let scratch = Scratch::new("apicred-hydra-")?;
        let authority = Authority::new("testenv hydra")?;
        let certificate = authority.loopback_certificate()?;
        let (public, admin) = (ports::free()?, ports::free()?);
        let issuer_url = format!("https://127.0.0.1:{public}");
        let config = write_config(&scratch, &certificate, &issuer_url, (public, admin))?;
        let program = HYDRA.path("hydra")?;
        create_database(&program, &config, scratch.path()).await?;
        let server = Watched::spawn(Launch {
            name: "hydra",
            program: &program,
            args: vec![
                "serve".to_owned(),
                "all".to_owned(),
                "--config".to_owned(),
                config,
                // Otherwise it would report its use over the network.
                "--sqa-opt-out".to_owned(),
            ],
            folder: scratch.path(),
            env: Vec::new(),
        })?;
        let mut hydra = Self {
            server,
            client: http::client(authority.ca_pem())?,
            ca_pem: authority.ca_pem().to_owned(),
            issuer_url,
            admin_url: format!("http://127.0.0.1:{admin}/admin"),
            _scratch: scratch,
        };
        hydra.ready().await?;
        Ok(hydra)
    }

    /// The issuer's identifier, which is the base of the discovery document's URL.
    pub fn issuer_url(&self) -> &str {
        &self.issuer_url
    }

    /// The token endpoint.
    pub fn token_url(&self) -> String {
        format!("{}/oauth2/token", self.issuer_url)
    }

    /// The authorization endpoint.
    pub fn authorization_url(&self) -> String {
        format!("{}/oauth2/auth", self.issuer_url)
    }

    /// The revocation endpoint.
    pub fn revocation_url(&self) -> String {
        format!("{}/oauth2/revoke", self.issuer_url)
    }

    /// The CA of its TLS certificate.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Registers a client with the metadata of RFC 7591.
    pub async fn add_client(&self, metadata: &Value) -> Result<(), Error> {
        let request = self.client.post(format!("{}/clients", self.admin_url));
        http::json("registering a client", request.json(metadata)).await?;
        Ok(())
    }

    /// Trusts the assertions (RFC 7523) that this key signs for a subject.
    pub async fn trust(&self, issuer: &str, subject: &str, jwk: &Value) -> Result<(), Error> {
        let url = format!("{}/trust/grants/jwt-bearer/issuers", self.admin_url);
        let request = self.client.post(url).json(&json!({
            "issuer": issuer, "subject": subject, "jwk": jwk, "scope": ["read"],
            "expires_at": "2099-01-01T00:00:00Z",
        }));
        http::json("trusting an issuer", request).await?;
        Ok(())
    }

    /// The introspection of an access or refresh token: `active` and, if it is true, the data of the token (RFC 7662).
    pub async fn introspect(&self, token: &str) -> Result<Value, Error> {
        let url = format!("{}/oauth2/introspect", self.admin_url);
        let request = self.client.post(url).form(&[("token", token)]);
        http::json("introspecting a token", request).await
    }

    /// If Hydra redirected a browser to this address for a sign-in or consent of its user, accepts as `user`, and returns the address to
    /// which the browser goes next. `None` for every other address.
    pub async fn decide(&self, address: &str, user: &str) -> Result<Option<String>, Error> {
        let kind = match address {
            at if at.starts_with(LOGIN) => "login",
            at if at.starts_with(CONSENT) => "consent",
            _ => return Ok(None),
        };
        let parameter = format!("{kind}_challenge");
        let challenge = Url::parse(address).ok().and_then(|url| {
            let mut pairs = url.query_pairs();
            pairs
                .find(|(name, _)| *name == parameter)
                .map(|(_, value)| value.into_owned())
        });
        // Base64 for URLs: no character needs an encoding.
        let challenge = format!("?{parameter}={}", challenge.unwrap_or_default());
        let base = format!("{}/oauth2/auth/requests/{kind}", self.admin_url);
        let request = self.client.get(format!("{base}{challenge}"));
        let consent_request = http::json("a request of a sign-in", request).await?;
        let decision = if kind == "login" {
            json!({ "subject": user })
        } else {
            json!({
                "grant_scope": consent_request["requested_scope"],
                "grant_access_token_audience": consent_request["requested_access_token_audience"],
                "session": { "id_token": { "preferred_username": user } },
            })
        };
        let accept = self.client.put(format!("{base}/accept{challenge}"));
        let next = http::json("a decision of a sign-in", accept.json(&decision)).await?;
        Ok(next["redirect_to"].as_str().map(str::to_owned))
    }

    async fn ready(&mut self) -> Result<(), Error> {
        let (client, issuer) = (&self.client, &self.issuer_url);
        http::discovered(client, issuer, &mut self.server, READY_WITHIN).await
    }
}
