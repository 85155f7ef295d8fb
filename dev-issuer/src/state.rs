//! What all requests share.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::claims::{Claims, Expected, InvalidToken, validate};
use crate::config::Config;
use crate::device::Devices;
use crate::faults::Faults;
use crate::hold::Holds;
use crate::identity;
use crate::keys::KeyRing;
use crate::log::Log;
use crate::refresh::RefreshTokens;
use crate::signin::Codes;

/// One issuer's state. It outlives its listener: stopping and starting again keeps keys, clients and log.
pub(crate) struct Shared {
    /// `https://host:port`, without a slash at the end.
    pub(crate) origin: String,
    /// The same for the listener that asks for client certificates.
    pub(crate) mtls_origin: Option<String>,
    pub(crate) log: Log,
    pub(crate) faults: Faults,
    pub(crate) holds: Holds,
    pub(crate) identity_cache: identity::Cache,
    pub(crate) codes: Codes,
    pub(crate) devices: Devices,
    pub(crate) refresh_tokens: RefreshTokens,
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

    pub(crate) fn keys(&self) -> RwLockReadGuard<'_, KeyRing> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keys_mut(&self) -> RwLockWriteGuard<'_, KeyRing> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Issuer of v1 tokens. The real one is `https://sts.windows.net/{tenant}/`, which nobody could check here.
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
        let (mut issuers, leeway_seconds) = {
            let config = self.config();
            let ids = config.tenants.iter().map(|tenant| tenant.id.as_str());
            let issuers: Vec<_> = ids
                .flat_map(|id| [self.issuer_v1(id), self.issuer_v2(id)])
                .collect();
            (issuers, config.leeway_seconds)
        };
        issuers.push(self.generic_issuer());
        let expected = Expected {
            issuers: &issuers,
            audiences,
            leeway_seconds,
        };
        validate(&self.keys(), token, &expected)
    }
}
