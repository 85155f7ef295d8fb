//! The handle for tests and the program.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::claims::{Claims, InvalidToken};
use crate::config::{Client, Config, Secret};
use crate::connection::Transport;
use crate::error::Error;
use crate::faults::Fault;
use crate::hold::{Hold, Point};
use crate::keys::KeyRing;
use crate::listener::{Bound, Listener};
use crate::log::{ApiCallRecord, Stats, TokenRequestRecord};
use crate::state::Shared;
use crate::tls::Tls;
use crate::{identity, server};

/// A running issuer. It stops when this is dropped.
pub struct DevIssuer {
    pub(crate) shared: Arc<Shared>,
    tls: Tls,
    tenant: String,
    main: Listener,
    mtls: Option<Listener>,
    pub(crate) identity: identity::Listeners,
}

impl DevIssuer {
    /// Creates keys and certificates, binds and serves. Needs a tokio runtime.
    pub async fn start(config: Config) -> Result<Self, Error> {
        config.check()?;
        let main = Bound::to(config.listen)?;
        let mtls = config.mtls.as_ref();
        let mtls = mtls.map(|mtls| Bound::to(mtls.listen)).transpose()?;
        let address = main.address();
        let host = match &config.host {
            Some(host) => host.clone(),
            None if address.is_ipv6() => format!("[{}]", address.ip()),
            None => address.ip().to_string(),
        };
        let mut names = vec![
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            "::1".to_owned(),
        ];
        names.push(address.ip().to_string());
        names.extend(mtls.as_ref().map(|mtls| mtls.address().ip().to_string()));
        names.extend(config.host.clone());
        names.sort();
        names.dedup();
        let (keys, tls) =
            blocking(move || Ok((KeyRing::generate()?, Tls::generate(names)?))).await?;

        let tenant = config
            .tenants
            .first()
            .map(|t| t.id.clone())
            .unwrap_or_default();
        let origin = |bound: &Bound| format!("https://{host}:{}", bound.address().port());
        let mtls_origin = mtls.as_ref().map(origin);
        let shared = Arc::new(Shared::new(origin(&main), mtls_origin, config, keys));
        let router = server::router(Arc::clone(&shared));
        let main = main.serve(Transport::Tls(Arc::clone(&tls.server)), router.clone());
        let requests_certificate = Transport::Tls(Arc::clone(&tls.requests_certificate));
        let mtls = mtls.map(|mtls| mtls.serve(requests_certificate, router));
        let endpoints = shared.config().identity.clone();
        let identity = identity::Listeners::start(&endpoints, &shared)?;
        Ok(Self {
            shared,
            tls,
            tenant,
            main,
            mtls,
            identity,
        })
    }

    /// `https://host:port`, without a slash at the end.
    pub fn origin(&self) -> &str {
        &self.shared.origin
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.main.address()
    }

    /// The certificate to trust, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.tls.ca_pem
    }

    /// Id of the default tenant.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// v2 token endpoint of the default tenant.
    pub fn token_url_v2(&self) -> String {
        format!("{}/{}/oauth2/v2.0/token", self.origin(), self.tenant)
    }

    /// v1 token endpoint of the default tenant.
    pub fn token_url_v1(&self) -> String {
        format!("{}/{}/oauth2/token", self.origin(), self.tenant)
    }

    /// Issuer URL of the generic issuer, for discovery.
    pub fn generic_issuer(&self) -> String {
        self.shared.generic_issuer()
    }

    /// Token endpoint of the generic issuer.
    pub fn generic_token_url(&self) -> String {
        format!("{}/token", self.generic_issuer())
    }

    /// URL of a part of the protected API, such as `("demo", "whoami")`.
    pub fn api_url(&self, resource: &str, path: &str) -> String {
        let path = path.trim_start_matches('/');
        format!("{}/api/{resource}/{path}", self.origin())
    }

    /// All token requests, oldest first, including those in flight.
    pub fn requests(&self) -> Vec<TokenRequestRecord> {
        self.shared.log.tokens()
    }

    /// The token requests of one client.
    pub fn token_requests_of(&self, client: &str) -> Vec<TokenRequestRecord> {
        let mut requests = self.requests();
        requests.retain(|request| request.client_id.as_deref() == Some(client));
        requests
    }

    /// All calls of the protected API, oldest first.
    pub fn api_calls(&self) -> Vec<ApiCallRecord> {
        self.shared.log.calls()
    }

    /// Counters since the start.
    pub fn stats(&self) -> Stats {
        self.shared.log.stats()
    }

    /// Replaces the secrets of a client.
    pub fn set_secrets(&self, client: &str, secrets: Vec<Secret>) -> Result<(), Error> {
        self.change(client, |client| client.secrets = secrets)
    }

    /// Replaces the certificates (PEM) by which a client signs assertions for Entra.
    pub fn set_certificates(&self, client: &str, certificates: Vec<String>) -> Result<(), Error> {
        self.change(client, |client| {
            client.certificates = certificates;
        })
    }

    /// Replaces the lifetime of a client's tokens, in whole seconds. Issued tokens keep theirs.
    pub fn set_lifetime(&self, client: &str, lifetime: Duration) -> Result<(), Error> {
        self.change(client, |client| {
            client.lifetime_seconds = Some(lifetime.as_secs());
        })
    }

    /// Adds a client, and replaces one with the same ID.
    pub fn add_client(&self, client: Client) -> Result<(), Error> {
        let mut config = self.shared.config_mut();
        config.check_client("client", &client)?;
        config.clients.retain(|known| known.id != client.id);
        config.clients.push(client);
        Ok(())
    }

    /// Removes a client.
    pub fn remove_client(&self, client: &str) {
        self.shared
            .config_mut()
            .clients
            .retain(|known| known.id != client);
    }

    /// Queues a fault.
    pub fn fault(&self, fault: Fault) {
        self.shared.faults.add(fault);
    }

    /// The number of requests that the waiting faults still affect, without faults that affect all until they are cleared.
    pub fn pending_faults(&self) -> u32 {
        self.shared.faults.pending()
    }

    /// Removes all faults, and continues the requests that hang.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Stops token requests of a client (`*`: of any) at a point until the hold is released or dropped.
    pub fn hold(&self, client: &str, point: Point) -> Hold {
        self.shared.holds.shut(client, point)
    }

    /// Stops one request to the issuer: the one after this many others that match `is`, such as `POST /generic/token`. Calls of
    /// the protected API are not among them.
    pub fn hold_one(
        &self,
        is: impl Fn(&str) -> bool + Send + Sync + 'static,
        before: usize,
        point: Point,
    ) -> Hold {
        self.shared.holds.shut_for_one(Box::new(is), before, point)
    }

    /// Records the requests to the issuer from now on: `POST /generic/token`. Calls of the protected API are not among them.
    pub fn record_requests(&self) {
        self.shared.holds.begin_record();
    }

    /// The requests since [`DevIssuer::record_requests`], oldest first.
    pub fn recorded_requests(&self) -> Vec<String> {
        self.shared.holds.recorded()
    }

    /// Stops serving: connections break, new ones are refused, and no other program can take the port.
    pub async fn stop(&self) {
        self.main.stop().await;
        if let Some(mtls) = &self.mtls {
            mtls.stop().await;
        }
    }

    /// Starts again on the same port, with the same keys, clients and log.
    pub async fn start_again(&self) -> Result<(), Error> {
        self.main.start_again().await?;
        match &self.mtls {
            Some(mtls) => mtls.start_again().await,
            None => Ok(()),
        }
    }

    /// Signs with a new key from now on. The previous key stays published, older ones do not: after one call
    /// old tokens are still valid, after two they are not.
    pub async fn rotate_keys(&self) -> Result<(), Error> {
        let fresh = blocking(KeyRing::generate).await?;
        self.shared.keys_mut().rotate(fresh);
        Ok(())
    }

    /// Checks a token of this issuer as the protected API does, for any audience.
    pub fn validate(&self, token: &str) -> Result<Claims, InvalidToken> {
        self.shared.validate(token, None)
    }

    fn change(&self, client: &str, change: impl FnOnce(&mut Client)) -> Result<(), Error> {
        let mut config = self.shared.config_mut();
        let known = config.client(client).cloned();
        let mut changed = known.ok_or_else(|| Error::UnknownClient(client.to_owned()))?;
        change(&mut changed);
        config.check_client("client", &changed)?;
        for known in config.clients.iter_mut().filter(|known| known.id == client) {
            known.clone_from(&changed);
        }
        Ok(())
    }
}

impl fmt::Debug for DevIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevIssuer")
            .field("origin", &self.origin())
            .finish_non_exhaustive()
    }
}

/// RSA keys take a while; the runtime must not wait for them.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::crypto("keys", &error))?
}
