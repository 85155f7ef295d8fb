//! The data that the next step of a rotation depends on, to detect changes.

use super::driver::{Caller, Driver};
use crate::{
    api::ApiClientSpec,
    controller::{cache::cached_client::CachedClient, locks::lock, requeue::reference},
    credential::{IssuerLookup, Key},
};

/// The data that a sleep depends on: if it is equal, there is no relevant change.
#[derive(PartialEq)]
pub(super) struct Stamp {
    client: Option<(ApiClientSpec, Option<String>, bool)>,
    secret: Option<String>,
    /// Version of the last good certificate.
    copy: Option<String>,
    /// Why there is none.
    not_copied: Option<String>,
    issuer: Option<String>,
    /// Whether the Secrets of all namespaces are listed.
    listed: bool,
    caller: Caller,
}

impl Driver {
    pub(super) fn stamp(&self) -> Stamp {
        let client = self.client();
        let spec = client.as_ref().and_then(|c| c.spec.as_ref().ok());
        let reference = spec.and_then(|s| s.issuer_ref.as_ref());
        let issuer = reference.map(|r| match self.context.issuer(&self.key.namespace, r) {
            IssuerLookup::Found(issuer) => issuer.version,
            _ => String::new(),
        });
        let name = client.as_ref().and_then(|c| c.source().map(str::to_owned));
        let source = name.clone().map(|name| (self.key.namespace.clone(), name));
        let not_copied = source.and_then(|source| self.context.not_copied(&source));
        let secrets = lock(&self.context.secrets);
        let version = |name: String| {
            let name = (self.key.namespace.clone(), name);
            secrets.get(&name).map(|seen| seen.facts.version.clone())
        };
        let secret = name.and_then(version);
        let copy = client.as_ref().and_then(|c| c.copy().map(str::to_owned));
        let copy = copy.and_then(version);
        Stamp {
            client: spec.zip(client.as_ref()).map(|(spec, client)| {
                (
                    spec.clone(),
                    client.rotate_requested.clone(),
                    client.deleting,
                )
            }),
            secret,
            copy,
            not_copied,
            issuer,
            listed: self.context.unsynced.has_all_secrets(),
            caller: self.caller_now(),
        }
    }

    /// Ends the pauses of calls that failed for a reason that may be corrected by now.
    pub(super) fn follows(&mut self, client: &CachedClient) {
        let last_request = (
            client.rotate_requested.clone(),
            client.manager().map(str::to_owned),
        );
        if last_request != self.last_request {
            self.memory.requested_again();
            self.last_request = last_request;
        }
        let caller = self.caller_now();
        if caller != self.caller {
            self.memory.caller_changed();
            self.caller = caller;
        }
    }

    pub(super) fn caller_now(&self) -> Caller {
        let client = self.client()?;
        let name = client.manager()?;
        let key = Key::new(self.key.namespace.as_str(), name);
        let object = self.context.credentials.get(&reference(&key))?;
        Some((object.uid.clone(), object.version.clone()))
    }
}
