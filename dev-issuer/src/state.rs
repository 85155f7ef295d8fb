//! The shared state of all requests.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::assertion::Replays;
use crate::claims::{Claims, Expected, InvalidToken, validate};
use crate::config::Config;
use crate::device::Devices;
use crate::faults::Faults;
use crate::generic::Registrations;
use crate::graph::{self, Replicas};
use crate::hold::Holds;
use crate::identity;
use crate::keys::KeyRing;
use crate::log::Log;
use crate::refresh::RefreshTokens;
use crate::signin::Codes;

/// One issuer's state. It exists longer than its listener: stopping and starting again keeps keys, clients and log.
pub(crate) struct Shared {
    /// `https://host:port`, without a slash at the end.
    pub(crate) origin: String,
    /// The same for the listener that requests client certificates.
    pub(crate) mtls_origin: Option<String>,
    pub(crate) log: Log,
    pub(crate) faults: Faults,
    pub(crate) holds: Holds,
    pub(crate) identity_cache: identity::Cache,
    pub(crate) codes: Codes,
    pub(crate) devices: Devices,
    pub(crate) refresh_tokens: RefreshTokens,
    pub(crate) replays: Replays,
    pub(crate) replicas: Replicas,
    pub(crate) registrations: Registrations,
    graph: Mutex<graph::Settings>,
    revoked: Mutex<HashSet<String>>,
    config: RwLock<Config>,
    keys: RwLock<KeyRing>,
}

impl Shared {
    pub(crate) fn new(
        origin: String,
        mtls_origin: Option<String>,
        config: Config,
        keys: KeyRing,
    ) -> Self {
        Self {
            origin,
            mtls_origin,
            log: Log::default(),
            faults: Faults::default(),
            holds: Holds::default(),
            identity_cache: identity::Cache::default(),
            codes: Codes::default(),
            devices: Devices::default(),
            refresh_tokens: RefreshTokens::default(),
            replays: Replays::default(),
            replicas: Replicas::default(),
            registrations: Registrations::default(),
            graph: Mutex::default(),
            revoked: Mutex::default(),
            config: RwLock::new(config),
            keys: RwLock::new(keys),
        }
    }

    pub(crate) fn config(&self) -> RwLockReadGuard<'_, Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn config_mut(&self) -> RwLockWriteGuard<'_, Config> {
        self.config.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn graph_settings(&self) -> graph::Settings {
        let settings = self.graph.lock().unwrap_or_else(PoisonError::into_inner);
        settings.clone()
    }

    pub(crate) fn change_graph(&self, change: impl FnOnce(&mut graph::Settings)) {
        change(&mut self.graph.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn keys(&self) -> RwLockReadGuard<'_, KeyRing> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keys_mut(&self) -> RwLockWriteGuard<'_, KeyRing> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Issuer of v1 tokens. The real one is `https://sts.windows.net/{tenant}/`, which cannot be checked here.
    pub(crate) fn issuer_v1(&self, tenant: &str) -> String {
        format!("{}/{tenant}/", self.origin)
    }

    /// Issuer of v2 tokens.
    pub(crate) fn issuer_v2(&self, tenant: &str) -> String {
        format!("{}/{tenant}/v2.0", self.origin)
    }

    /// The issuer that is not Entra.
    pub(crate) fn generic_issuer(&self) -> String {
        format!("{}/generic", self.origin)
    }

    /// Checks a token as the protected API does. Without audiences, any audience passes.
    pub(crate) fn validate(
        &self,
        token: &str,
        audiences: Option<&[String]>,
    ) -> Result<Claims, InvalidToken> {
        self.validate_with(&self.config(), token, audiences)
    }

    /// Revokes an access token.
    pub(crate) fn revoke_token(&self, id: &str) {
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        revoked.insert(id.to_owned());
    }

    pub(crate) fn is_revoked(&self, id: &str) -> bool {
        let revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        revoked.contains(id)
    }

    /// The same for a caller that already has the config.
    pub(crate) fn validate_with(
        &self,
        config: &Config,
        token: &str,
        audiences: Option<&[String]>,
    ) -> Result<Claims, InvalidToken> {
        let leeway_seconds = config.leeway_seconds;
        let ids = config.tenants.iter().map(|tenant| tenant.id.as_str());
        let mut issuers: Vec<_> = ids
            .flat_map(|id| [self.issuer_v1(id), self.issuer_v2(id)])
            .collect();
        issuers.push(self.generic_issuer());
        let expected = Expected {
            issuers: &issuers,
            audiences,
            leeway_seconds,
        };
        let claims = validate(&self.keys(), token, &expected)?;
        if claims.token_id().is_some_and(|id| self.is_revoked(id)) {
            return Err(InvalidToken::Revoked);
        }
        Ok(claims)
    }
}
