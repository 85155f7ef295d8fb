//! Tokens of managed identities, cached as the real endpoints do.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::request::Problem;
use crate::answer::Issued;
use crate::config::{Config, ManagedIdentity};
use crate::entra::{Application, app_claims};
use crate::state::Shared;

/// A token, and the values for its answers.
#[derive(Clone)]
pub(super) struct Minted {
    pub(super) token: String,
    pub(super) not_before: i64,
    pub(super) expires: Timestamp,
    id: String,
}

/// The tokens that are returned until they are about to expire. Microsoft's FAQ on managed identities: one for each resource,
/// and no way to force a new one.
#[derive(Default)]
pub(crate) struct Cache(Mutex<BTreeMap<(String, String), Minted>>);

/// A token is replaced when this much of its lifetime is left, or a fifth of it if that is less.
const NEAR: u64 = 5 * 60;

impl Minted {
    /// Seconds of its lifetime that are left.
    pub(super) fn expires_in(&self) -> i64 {
        (self.expires.as_second() - Timestamp::now().as_second()).max(0)
    }

    pub(super) fn issued(&self) -> Issued {
        Issued {
            id: self.id.clone(),
            expires: self.expires,
        }
    }
}

/// The token of an identity for the API with this name.
pub(super) fn token(
    shared: &Shared,
    config: &Config,
    identity: &ManagedIdentity,
    name: &str,
) -> Result<Minted, Problem> {
    let resource = config
        .resource_called(name)
        .ok_or_else(|| Problem::UnknownResource(name.to_owned()))?;
    let tenant = identity.tenant(config).ok_or(Problem::UnknownIdentity)?;
    let near = NEAR.min(identity.lifetime_seconds / 5);
    let near = SignedDuration::from_secs(near.try_into().unwrap_or_default());
    let now = Timestamp::now();
    let key = (identity.client_id.clone(), name.to_owned());
    let mut cache = shared.identity_cache.lock();
    if let Some(old) = cache.get(&key)
        && now.duration_until(old.expires) > near
    {
        return Ok(old.clone());
    }
    let roles = identity.roles.get(&resource.name);
    let application = Application {
        client_id: &identity.client_id,
        object_id: identity.object_id(),
        // Underneath, a managed identity authenticates with a certificate.
        acr: "2",
        roles: roles.cloned().unwrap_or_default(),
    };
    let lifetime = identity.lifetime_seconds;
    let mut claims = app_claims(
        shared,
        tenant,
        application,
        (resource, name),
        (now, lifetime),
    );
    claims.xms_mirid = Some(identity.resource_id.clone());
    let fresh = Minted {
        token: shared.keys().sign("JWT", &claims),
        not_before: claims.nbf,
        expires: Timestamp::from_second(claims.exp).unwrap_or(Timestamp::MAX),
        id: claims.uti.unwrap_or_default(),
    };
    cache.insert(key, fresh.clone());
    Ok(fresh)
}

impl Cache {
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), Minted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
