//! The in-memory state of one process for one rotation, and the inputs of one step.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use secrecy::SecretString;

use url::Url;

use super::{
    issuer::{ClientPlace, GraphToken, OwnToken},
    patience::Patience,
    seen::ClientValue,
    trial_request::FailedRequests,
    view::Shared,
};
use crate::controller::{context::Context, token::refreshes::InFlight};
use crate::{
    credential::{Endpoint, Key},
    plan::fingerprint::DigestKey,
    rotation::{
        Fault, Kind, Memory, Names, Record, Registry, Rotating, Slots, Uploading, values::NEXT,
    },
};

/// The interval at which a rotation that cannot start is checked again. It is also checked at each observed change.
pub(super) const RECHECK: Duration = Duration::from_mins(10);

/// UID and resourceVersion of the object in `managementRef`, as observed. The status of this object changes whenever it gets a token.
pub(super) type Caller = Option<(Box<str>, Box<str>)>;

/// The application whose credential is rotated.
#[derive(PartialEq)]
pub(super) struct Application {
    pub(super) client_id: String,
    /// What is rotated.
    pub(super) kind: Kind,
    /// The Secret and its keys.
    pub(super) secret: (String, Vec<String>),
    /// As set in the spec.
    pub(super) object_id: Option<String>,
    pub(super) endpoint: Endpoint,
    pub(super) graph: Option<Url>,
    /// Whether another tool creates its certificate.
    pub(super) uploads: bool,
}

/// A registration access token that is not stored in a Secret yet. No `Debug`.
pub(super) struct Unstored {
    /// The Secret: name, UID, key.
    pub(super) secret: (String, Option<String>, String),
    /// The registration: the key of its address, and the address.
    pub(super) registration: (String, Url),
    /// Another address, to be stored with the token.
    pub(super) address: Option<Url>,
    pub(super) token: SecretString,
    /// The token with which the request was sent.
    pub(super) before: SecretString,
    pub(super) patience: Patience,
    /// Makes a shutdown wait for it.
    pub(super) _in_flight: InFlight,
}

/// The state of one process for one client.
pub(super) struct Driver {
    pub(super) context: Arc<Context>,
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) shared: Arc<Shared>,
    pub(super) memory: Memory,
    /// The value that is at the issuer or soon will be, and that is not stored in a Secret.
    pub(super) held: BTreeMap<String, ByteString>,
    /// The token with which this value was requested from Microsoft Graph.
    pub(super) held_by: Option<GraphToken>,
    /// The client's own token for Microsoft Graph.
    pub(super) own: Option<OwnToken>,
    /// Object ID of the application, as read.
    pub(super) object_id: Option<String>,
    /// The application that the fields above belong to.
    pub(super) application: Option<Application>,
    /// The last request of a rotation, and the name in `managementRef`: a change shows that a user may have corrected something.
    pub(super) last_request: (Option<String>, Option<String>),
    /// The object in `managementRef`, as last observed.
    pub(super) caller: Caller,
    /// A registration access token that is not stored in a Secret yet.
    pub(super) unstored: Option<Unstored>,
    /// The message about a lost registration access token.
    pub(super) lost: Option<String>,
    /// An address of the registration that is not used, and the reason.
    pub(super) refused_address: Option<(Url, String)>,
    /// The message about the response of the API server to a failed write of the Secret.
    pub(super) unwritten: Option<String>,
    /// The message about a step that repeatedly has no effect.
    pub(super) stuck: Option<String>,
    /// The problem of the object in `managementRef`, even if the object is not needed now.
    pub(super) unmanaged: Option<String>,
    /// Makes a shutdown wait for the response with a client secret, until the client secret is stored.
    pub(super) in_flight: Option<InFlight>,
    /// What was rotated at the last reconcile: responses that arrive are stored for it.
    pub(super) of: Option<(Rotating, ClientPlace)>,
    /// For a client secret that is not stored in a Secret yet.
    pub(super) patience: Patience,
    /// The record that this process read or wrote last: the Secret may be deleted with it.
    pub(super) last_record: Option<Box<Record>>,
    /// Digest of the registration access token in the Secret.
    pub(super) token: Option<String>,
    pub(super) uploads: Uploads,
    pub(super) failed_requests: FailedRequests,
    /// Whether this process has observed everything, so that it may change the status.
    pub(super) observed_all: bool,
    pub(super) failures: u32,
}

impl Driver {
    /// For a process that has done nothing for this client.
    pub(super) fn new(context: &Arc<Context>, key: &Key, uid: &str, shared: Arc<Shared>) -> Self {
        let (now, pace) = (context.clock.now(), &context.settings.rotation.pace);
        Self {
            memory: Memory::new(now, pace),
            context: Arc::clone(context),
            key: key.clone(),
            uid: uid.to_owned(),
            shared,
            held: BTreeMap::new(),
            held_by: None,
            own: None,
            object_id: None,
            application: None,
            last_request: (None, None),
            caller: None,
            unstored: None,
            lost: None,
            refused_address: None,
            unwritten: None,
            stuck: None,
            unmanaged: None,
            in_flight: None,
            of: None,
            patience: Patience::default(),
            last_record: None,
            token: None,
            uploads: Uploads::default(),
            failed_requests: FailedRequests::default(),
            observed_all: false,
            failures: 0,
        }
    }
}

/// All inputs of one step.
pub(super) struct StepInputs {
    pub(super) rotating: Rotating,
    pub(super) place: ClientPlace,
    pub(super) secret: Secret,
    pub(super) slots: Slots,
    pub(super) digests: DigestKey,
    /// Set if another tool creates the certificate. Then the Secret is not written. If the certificate in the Secret differs
    /// from the certificate in its copy, the copy is the current value and the Secret is the next value.
    pub(super) upload: Option<Uploading>,
    /// Why no key can be generated that replaces the current one.
    pub(super) unmakeable: Option<Fault>,
}

impl StepInputs {
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

    /// How the client resource with this UID names credentials.
    pub(super) fn names(&self, uid: &str) -> Names {
        Names::new(&format!("{:08x}", self.digests.phase()), uid)
    }

    /// Why the object in `managementRef` cannot manage the client, according to its spec.
    pub(super) fn unmanaged(&self) -> Option<String> {
        let manager = self.rotating.manager.as_ref()?;
        let fault = self.place.manager(manager).err()?;
        Some(fault.message)
    }

    /// The value that replaces it.
    pub(super) fn next(&self) -> Option<ClientValue> {
        self.value(NEXT)
    }

    fn value(&self, ending: &str) -> Option<ClientValue> {
        ClientValue::read(&self.rotating, self.secret.data.as_ref()?, ending)
    }
}

/// What one process has reported about uploads.
#[derive(Default)]
pub(super) struct Uploads {
    /// Digest of the last uploaded certificate.
    pub(super) done: Option<String>,
    /// SHA-1 thumbprint, from the status, of the certificate that the previous process was about to upload.
    pub(super) begun: Option<String>,
    /// The rotation request that the upload has answered.
    pub(super) handled: Option<String>,
    /// The request of a rotation that is open, and the digest of the certificate that was in use when this process first saw the request.
    pub(super) open: Option<(String, Option<String>)>,
    /// The last reported failure.
    pub(super) failed: Option<String>,
}

impl Uploads {
    /// Whether another certificate than at the time of the open request works: the request is answered, whoever uploaded the certificate.
    pub(super) fn renewed(&mut self, seen: &Uploading, works: bool) -> bool {
        let open = seen.requested.as_ref();
        let Some(request) = open.filter(|_| seen.handled != seen.requested) else {
            self.open = None;
            return false;
        };
        let secret = seen.secret.as_ref().map(|slot| &slot.digest);
        if let Some((of, before)) = &self.open
            && of == request
        {
            return works && secret.is_some() && secret != before.as_ref();
        }
        let copy = seen.copy.as_ref().map(|slot| &slot.digest);
        let in_use = secret.filter(|_| works).or(copy).or(secret);
        self.open = Some((request.clone(), in_use.cloned()));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation::{Mark, Slot};

    fn slot(digest: &str) -> Slot {
        Slot {
            digest: digest.to_owned(),
            mark: Mark::Hint(digest.to_owned()),
            name: None,
            validity: None,
        }
    }

    #[test]
    fn a_request_is_answered_by_another_certificate_that_works_whoever_uploaded_it() {
        let mut uploads = Uploads::default();
        let mut seen = Uploading {
            secret: Some(slot("a")),
            copy: Some(slot("a")),
            ..Uploading::default()
        };
        assert!(!uploads.renewed(&seen, true), "there is no request");
        seen.requested = Some("now".to_owned());
        assert!(!uploads.renewed(&seen, true));
        assert!(!uploads.renewed(&seen, true), "the same certificate");
        seen.secret = Some(slot("b"));
        assert!(!uploads.renewed(&seen, false), "it does not work yet");
        assert!(uploads.renewed(&seen, true));
        seen.handled.clone_from(&seen.requested);
        assert!(!uploads.renewed(&seen, true), "it is answered");

        // Another process: the new certificate is in the Secret, and does not work yet.
        let mut uploads = Uploads::default();
        seen.handled = None;
        assert!(!uploads.renewed(&seen, false));
        assert!(uploads.renewed(&seen, true));
        // The new one works already: it is not known that it is new.
        let mut uploads = Uploads::default();
        assert!(!uploads.renewed(&seen, true));
        assert!(!uploads.renewed(&seen, true));
    }
}
