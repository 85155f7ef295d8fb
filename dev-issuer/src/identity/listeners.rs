//! The endpoints of the config, each on its own port.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;

use super::arc::Agent;
use super::{APP_SERVICE_PATH, METADATA_PATH, app_service::Service, imds::Imds, router};
use crate::config::IdentityEndpoints;
use crate::connection::Transport;
use crate::error::Error;
use crate::listener::{Bound, Listener};
use crate::state::Shared;

/// The listeners. They continue while the token service itself is stopped, as in reality.
#[derive(Default)]
pub(crate) struct Listeners {
    imds: Option<Listener>,
    app_service: Option<Listener>,
    arc: Option<Listener>,
}

impl Listeners {
    pub(crate) fn start(config: &IdentityEndpoints, shared: &Arc<Shared>) -> Result<Self, Error> {
        let shared = || Arc::clone(shared);
        let mut started = Self::default();
        if let Some(address) = config.imds {
            started.imds = Some(listen(address, router(shared(), Imds))?);
        }
        if let Some(settings) = &config.app_service {
            let service = Service {
                header: settings.header.clone(),
            };
            started.app_service = Some(listen(settings.listen, router(shared(), service))?);
        }
        if let Some(settings) = &config.arc {
            let agent = Agent::new(&settings.key_folder, settings.ignores_choice)
                .map_err(|source| Error::config("identity.arc.keyFolder", source.to_string()))?;
            started.arc = Some(listen(settings.listen, router(shared(), agent))?);
        }
        Ok(started)
    }

    pub(crate) fn imds_url(&self) -> Option<String> {
        url(self.imds.as_ref(), METADATA_PATH)
    }

    pub(crate) fn app_service_url(&self) -> Option<String> {
        url(self.app_service.as_ref(), APP_SERVICE_PATH)
    }

    pub(crate) fn arc_url(&self) -> Option<String> {
        url(self.arc.as_ref(), METADATA_PATH)
    }
}

fn listen(address: SocketAddr, router: Router) -> Result<Listener, Error> {
    Ok(Bound::to(address)?.serve(Transport::Plain, router))
}

fn url(listener: Option<&Listener>, path: &str) -> Option<String> {
    Some(format!("http://{}{path}", listener?.address()))
}
