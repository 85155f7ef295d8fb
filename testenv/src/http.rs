//! Plain HTTPS requests to servers with a known CA.

use std::time::{Duration, Instant};

use reqwest::{Certificate, Client, RequestBuilder};

use crate::{Error, process::Watched};

/// A client that trusts only this CA. No proxy: all servers here are on loopback.
pub(crate) fn client(ca_pem: &str) -> Result<Client, Error> {
    let failed = |source| Error::Http {
        what: "making an HTTPS client".to_owned(),
        source,
    };
    let ca = Certificate::from_pem(ca_pem.as_bytes()).map_err(failed)?;
    Client::builder()
        .tls_certs_only([ca])
        .no_proxy()
        .timeout(Duration::from_secs(15))
        .build()
        .map_err(failed)
}

/// Sends a request and returns the body as JSON; any status but a 2xx is an error that quotes the body.
pub(crate) async fn json(what: &str, request: RequestBuilder) -> Result<serde_json::Value, Error> {
    let failed = |source| Error::Http {
        what: what.to_owned(),
        source,
    };
    let response = request.send().await.map_err(failed)?;
    let status = response.status();
    let body = response.text().await.map_err(failed)?;
    let parsed = serde_json::from_str(&body)
        .ok()
        .filter(|_| status.is_success());
    parsed.ok_or_else(|| Error::Answer {
        what: what.to_owned(),
        answer: format!("{status} {}", body.chars().take(600).collect::<String>()),
    })
}

/// Waits until an issuer serves its discovery document.
pub(crate) async fn discovered(
    client: &Client,
    issuer_url: &str,
    server: &mut Watched,
    within: Duration,
) -> Result<(), Error> {
    let began = Instant::now();
    let url = format!("{issuer_url}/.well-known/openid-configuration");
    loop {
        let Err(error) = json("discovery", client.get(&url)).await else {
            return Ok(());
        };
        server.still_runs()?;
        if began.elapsed() > within {
            return Err(Error::NotInTime {
                what: format!("the discovery document of {issuer_url}"),
                waited: began.elapsed(),
                state: format!("{error}. Last lines:\n{}", server.log_tail()),
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
