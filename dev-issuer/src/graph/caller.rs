//! The caller, and its rights.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::Action;
use super::errors::ErrorAnswer;
use crate::config::Config;
use crate::state::Shared;

/// Name of Graph among the resources.
const GRAPH: &str = "graph";
const OWNED: &str = "Application.ReadWrite.OwnedBy";
const ALL: &str = "Application.ReadWrite.All";
const READ: &str = "Application.Read.All";

/// An application with a token for Graph.
pub(super) struct Caller {
    pub(super) client: String,
    pub(super) token_id: Option<String>,
    roles: Vec<String>,
}

impl Caller {
    pub(super) fn of(shared: &Shared, headers: &HeaderMap) -> Result<Self, ErrorAnswer> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (first, more) = (values.next(), values.next());
        let token = first
            .filter(|_| more.is_none())
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .ok_or_else(|| ErrorAnswer::token("Access token is empty."))?;
        let audiences = {
            let config = shared.config();
            let graph = config.resources.iter().find(|r| r.name == GRAPH);
            graph
                .map(crate::config::Resource::audiences)
                .unwrap_or_default()
        };
        let claims = shared.validate(token, Some(&audiences)).map_err(|_| {
            ErrorAnswer::token("Access token validation failure. Invalid audience.")
        })?;
        // A token for a user needs delegated permissions, which do not exist here.
        if claims.idtyp.as_deref() != Some("app") {
            return Err(ErrorAnswer::denied());
        }
        Ok(Self {
            client: claims.client().unwrap_or_default().to_owned(),
            token_id: claims.token_id().map(str::to_owned),
            roles: claims.roles,
        })
    }

    /// An application rolls its own certificates without any permission; without a permission it reads nothing.
    pub(super) fn check(
        &self,
        config: &Config,
        client: &str,
        action: Action,
    ) -> Result<(), ErrorAnswer> {
        let has = |role: &str| self.roles.iter().any(|r| r == role);
        let owns = |id: &str| {
            let own = config.client(id);
            own.is_some_and(|own| own.owns.iter().any(|owned| owned == client))
        };
        let writes = has(ALL) || (has(OWNED) && owns(&self.client));
        let allowed = match action {
            Action::Read => writes || has(READ),
            Action::AddKey | Action::RemoveKey => writes || self.client == client,
            Action::AddPassword | Action::RemovePassword => writes,
        };
        if allowed {
            Ok(())
        } else {
            Err(ErrorAnswer::denied())
        }
    }
}
