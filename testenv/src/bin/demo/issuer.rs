//! The dev-issuer: its process, its admin API and the API that it protects.

use std::net::Ipv4Addr;
use std::time::Duration;

use reqwest::{Certificate, Client, StatusCode};
use serde_json::{Value, json};
use testenv::wait_until;

use crate::children::{Folder, Running};
use crate::{Outcome, program, token::Token};

/// A running dev-issuer.
pub(crate) struct Issuer {
    process: Running,
    /// `https://host:port`.
    pub(crate) origin: String,
    /// The certificate to trust.
    pub(crate) ca_pem: String,
    /// `http://host:port` of the admin API.
    pub(crate) admin: String,
    client: Client,
}

impl Issuer {
    /// Starts one on free ports.
    pub(crate) async fn start(folder: &Folder) -> Outcome<Self> {
        let (ca, state) = (
            folder.path().join("issuer-ca.pem"),
            folder.path().join("issuer.json"),
        );
        let any_port = || format!("{}:0", Ipv4Addr::LOCALHOST);
        let args = [
            "--listen".to_owned(),
            any_port(),
            "--admin".to_owned(),
            any_port(),
            "--ca-out".to_owned(),
            ca.display().to_string(),
            "--state-out".to_owned(),
            state.display().to_string(),
        ];
        let mut process = Running::start(
            "dev-issuer",
            &program("dev-issuer")?,
            &args,
            &[],
            folder.path(),
        )?;
        // The file is written last, and appears as a whole.
        let state = wait_until(Duration::from_secs(30), "the dev-issuer", async || {
            process.check().map_or_else(
                |why| Some(Err(why)),
                |()| std::fs::read_to_string(&state).ok().map(Ok),
            )
        });
        let state: Value = serde_json::from_str(&state.await.map_err(|e| e.to_string())??)
            .map_err(|error| format!("the dev-issuer's state is no JSON: {error}"))?;
        let ca_pem = std::fs::read_to_string(&ca)
            .map_err(|error| format!("the dev-issuer's CA: {error}"))?;
        let client = Certificate::from_pem(ca_pem.as_bytes())
            .and_then(|ca| {
                Client::builder()
                    .tls_certs_only([ca])
                    .no_proxy()
                    .timeout(Duration::from_secs(10))
                    .build()
            })
            .map_err(|error| format!("no HTTPS client can be made: {error}"))?;
        let text = |key: &str| state[key].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            process,
            origin: text("origin"),
            ca_pem,
            admin: text("admin"),
            client,
        })
    }

    /// The process, to check and to stop it.
    pub(crate) fn process(&mut self) -> &mut Running {
        &mut self.process
    }

    /// Returns the process, to stop it.
    pub(crate) fn into_process(self) -> Running {
        self.process
    }

    /// The log file.
    pub(crate) fn log(&self) -> &std::path::Path {
        self.process.log()
    }

    /// Sets the lifetime of a client's tokens.
    pub(crate) async fn set_lifetime(&self, client: &str, seconds: u64) -> Outcome<()> {
        let url = format!("{}/clients/{client}/lifetime", self.admin);
        self.client
            .put(url)
            .json(&json!({ "seconds": seconds }))
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map(drop)
            .map_err(|error| format!("the dev-issuer's admin API did not take a lifetime: {error}"))
    }

    /// Registers the certificate (PEM) of a client, and replaces its other ones.
    pub(crate) async fn set_certificate(&self, client: &str, certificate: &str) -> Outcome<()> {
        let url = format!("{}/clients/{client}/certificates", self.admin);
        let request = self.client.put(url).json(&json!([certificate]));
        let answer = request.send().await;
        answer
            .and_then(reqwest::Response::error_for_status)
            .map(drop)
            .map_err(|error| {
                format!("the dev-issuer's admin API did not take a certificate: {error}")
            })
    }

    /// How many certificates and client secrets a client has.
    pub(crate) async fn credentials(&self, client: &str) -> Outcome<usize> {
        let failed =
            |error: reqwest::Error| format!("the dev-issuer's credentials cannot be read: {error}");
        let url = format!("{}/clients/{client}/credentials", self.admin);
        let answer = self.client.get(url).send().await.map_err(failed)?;
        let all: Vec<Value> = answer.json().await.map_err(failed)?;
        Ok(all.len())
    }

    /// The issuer's own counters.
    pub(crate) async fn stats(&self) -> Outcome<Value> {
        let failed =
            |error: reqwest::Error| format!("the dev-issuer's counters cannot be read: {error}");
        self.client
            .get(format!("{}/stats", self.admin))
            .send()
            .await
            .map_err(failed)?
            .json()
            .await
            .map_err(failed)
    }

    /// Calls the protected API with a token and returns the status and what the API read from the token.
    pub(crate) async fn call_api(&self, path: &str, token: &Token) -> Outcome<(StatusCode, Value)> {
        let failed = |error: reqwest::Error| format!("the protected API did not answer: {error}");
        let request = self
            .client
            .get(format!("{}/api/{path}", self.origin))
            .bearer_auth(token.expose());
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        Ok((status, answer.json().await.map_err(failed)?))
    }
}
