//! What one process has of one rotation, and what one step needs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use secrecy::SecretString;

use url::Url;

use super::{
    issuer::{ClientPlace, GraphToken, OwnToken},
    patience::Patience,
    seen::ClientValue,
    view::Shared,
};
use crate::controller::{context::Context, token::refreshes::InFlight};
use crate::{
    credential::{Endpoint, Key},
    plan::fingerprint::DigestKey,
    rotation::{Memory, Registry, Rotating, Slots, Uploading, values::NEXT},
};

/// A rotation that cannot begin is checked again after this time, and at each change that is seen.
pub(super) const RECHECK: Duration = Duration::from_mins(10);

/// What `managementRef` names, as it was seen: UID and resourceVersion. Its status changes whenever it gets a token.
pub(super) type Caller = Option<(Box<str>, Box<str>)>;

/// The application whose credential is rotated.
#[derive(PartialEq)]
pub(super) struct Application {
    pub(super) client_id: String,
    /// The Secret, and its keys.
    pub(super) secret: (String, Vec<String>),
    /// As the spec has it.
    pub(super) object_id: Option<String>,
    pub(super) endpoint: Endpoint,
    pub(super) graph: Option<Url>,
    /// Is its certificate made by another tool?
    pub(super) uploads: bool,
}

/// A registration access token that is in no Secret yet. No `Debug`.
pub(super) struct Unstored {
    /// The Secret: name, UID, key.
    pub(super) secret: (String, Option<String>, String),
    /// The registration: the key of its address, and the address.
    pub(super) registration: (String, Url),
    /// Another address, which is stored with the token.
    pub(super) address: Option<Url>,
    pub(super) token: SecretString,
    /// The one with which the request was sent.
    pub(super) before: SecretString,
    pub(super) patience: Patience,
    /// A shutdown waits for it.
    pub(super) _in_flight: InFlight,
}

/// What one process does for one client.
pub(super) struct Driver {
    pub(super) context: Arc<Context>,
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) shared: Arc<Shared>,
    pub(super) memory: Memory,
    /// The value that is at the issuer or about to be, and in no Secret.
    pub(super) held: BTreeMap<String, ByteString>,
    /// The token with which that was requested of Microsoft Graph.
    pub(super) held_by: Option<GraphToken>,
    /// The client's own token for Microsoft Graph.
    pub(super) own: Option<OwnToken>,
    /// Object ID of the application, as it was read.
    pub(super) object_id: Option<String>,
    /// What all of the above is about.
    pub(super) application: Option<Application>,
    /// What `managementRef` names, as it was seen last.
    pub(super) caller: Caller,
    /// A registration access token that is in no Secret yet.
    pub(super) unstored: Option<Unstored>,
    /// What is reported of a registration access token that is lost.
    pub(super) lost: Option<String>,
    /// An address of the registration that is not used, and why.
    pub(super) refused_address: Option<(Url, String)>,
    /// What the API server answered when the Secret was to be written.
    pub(super) unwritten: Option<String>,
    /// What is reported of a step that comes to nothing again and again.
    pub(super) stuck: Option<String>,
    /// What is wrong with what `managementRef` names, whether it is needed now or not.
    pub(super) unmanaged: Option<String>,
    /// A shutdown waits for the answer that brings a client secret, and until that is stored.
    pub(super) in_flight: Option<InFlight>,
    /// What was rotated at the last reconciliation: the answers that come are stored for it.
    pub(super) of: Option<(Rotating, ClientPlace)>,
    /// With a client secret that is in no Secret yet.
    pub(super) patience: Patience,
    /// Digest of the registration access token in the Secret.
    pub(super) token: Option<String>,
    pub(super) uploads: Uploads,
    /// Did this process see all that it can, so that status may be about it?
    pub(super) looked: bool,
    pub(super) failures: u32,
}

/// All that one step needs.
pub(super) struct Sight {
    pub(super) rotating: Rotating,
    pub(super) place: ClientPlace,
    pub(super) secret: Secret,
    pub(super) slots: Slots,
    pub(super) digests: DigestKey,
    /// The certificate is made by another tool: the Secret is not written, and has the pair of its copy as the current value, if the pair
    /// of the Secret is another one, which is the next value then.
    pub(super) upload: Option<Uploading>,
}

impl Sight {
    /// The value that credentials use.
    pub(super) fn current(&self) -> Option<ClientValue> {
        self.value("")
    }

    /// Digest of the registration access token, if there is one.
    pub(super) fn registration_token(&self) -> Option<String> {
        let Registry::Registration { token, .. } = &self.rotating.registry else {
            return None;
        };
        let bytes = &self.secret.data.as_ref()?.get(token)?.0;
        let text = String::from_utf8_lossy(bytes);
        Some(self.digests.fingerprint("registration", &[&text]))
    }

    /// Why what `managementRef` names cannot manage the client, as far as its spec says.
    pub(super) fn unmanaged(&self) -> Option<String> {
        let manager = self.rotating.manager.as_ref()?;
        let fault = self.place.manager(manager).err()?;
        Some(fault.message)
    }

    /// The value that shall replace it.
    pub(super) fn next(&self) -> Option<ClientValue> {
        self.value(NEXT)
    }

    fn value(&self, ending: &str) -> Option<ClientValue> {
        ClientValue::read(&self.rotating, self.secret.data.as_ref()?, ending)
    }
}

/// What one process has reported of uploads.
#[derive(Default)]
pub(super) struct Uploads {
    /// Digest of the certificate that was uploaded last.
    pub(super) done: Option<String>,
    /// SHA-1 thumbprint of the certificate that the process before this one was about to upload, as status shows it.
    pub(super) begun: Option<String>,
    /// The request that this has answered.
    pub(super) handled: Option<String>,
    /// The failure that was reported last.
    pub(super) failed: Option<String>,
}
