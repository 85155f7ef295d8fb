//! The next step, and what is reported.

use jiff::Timestamp;

use super::{
    elsewhere::{Changed, stays_there},
    failure::Failure,
    left::{self, Left},
    outcome::Fault,
    proof::{NoProof, not_kept},
    shared::{Also, UNLISTED, also_stored},
    shown::Shown,
    state::{ClientAt, Record},
};

/// One step. The shell executes it and passes the result to [`super::Memory::after`].
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Write the source Secret.
    Write {
        /// Only at this resourceVersion.
        version: String,
        /// The change.
        change: Box<Change>,
    },
    /// Read the application with its credentials.
    ReadApplication,
    /// Create a key pair and a self-signed certificate, and hold both.
    MakeKeyPair {
        /// Its number.
        n: u32,
        /// The common name of its subject.
        name: String,
        /// `notAfter`.
        until: Timestamp,
    },
    /// Announce the certificate in `next`. The proof is signed with the current one. The issuer shows the subject of the
    /// certificate as its name.
    AddKey {
        /// Its number.
        n: u32,
        /// The digest of the value in `next`, as it was observed.
        digest: String,
    },
    /// Request a new secret, and hold it.
    AddPassword {
        /// Its number.
        n: u32,
        /// The display name.
        name: String,
        /// `endDateTime`.
        until: Timestamp,
    },
    /// Remove a certificate. The proof is signed with the current one.
    RemoveKey {
        /// The issuer's id of it.
        id: String,
    },
    /// Remove a secret.
    RemovePassword {
        /// The issuer's id of it.
        id: String,
    },
    /// Request a token with only this value. A rejection by the issuer is recorded only in [`super::Memory`].
    Trial {
        /// Which value.
        of: Tried,
        /// Its digest, as it was observed.
        digest: String,
        /// For the next value: when the state was written for which trials count.
        since: Option<Timestamp>,
    },
    /// Nothing to do before this time, unless something changes.
    Wait {
        /// The time.
        until: Timestamp,
    },
}

impl Step {
    /// Whether it changes anything at the issuer. Before such a step the shell reads the Secret from the API server and not from its cache, and
    /// decides again.
    pub const fn changes_issuer(&self) -> bool {
        matches!(
            self,
            Self::AddKey { .. }
                | Self::AddPassword { .. }
                | Self::RemoveKey { .. }
                | Self::RemovePassword { .. }
        )
    }
}

impl Step {
    pub(super) const fn wait_until(until: Timestamp) -> Self {
        Self::Wait { until }
    }

    /// Whether it removes a credential at the issuer.
    pub(super) const fn removes(&self) -> bool {
        matches!(self, Self::RemoveKey { .. } | Self::RemovePassword { .. })
    }
}

/// Which value is tried.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Tried {
    /// The one that credentials use.
    Current,
    /// The one that will replace it.
    Next,
}

/// One write of the Secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The annotation after the write.
    pub record: Record,
    /// What happens to the values.
    pub values: Values,
    /// After this write, the call that adds this number may be sent once, and only by this process.
    pub announces: Option<u32>,
    /// What nothing removes after this write.
    pub leaves: Vec<Left>,
}

impl Change {
    pub(super) const fn stores(&self) -> bool {
        matches!(self.values, Values::StoreNext)
    }
}

/// What happens to the values of the Secret.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Values {
    /// They do not change.
    Keep,
    /// The value that this process holds becomes `next`.
    StoreNext,
    /// `current` becomes `previous`, and `next` becomes `current`.
    Promote,
    /// `next` is removed.
    DropNext,
    /// `previous` is removed.
    DropPrevious,
}

/// What status and events report. It is computed again at each step.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// The annotation cannot be read.
    StateUnreadable,
    /// The Secret has no current value.
    NoCurrent,
    /// A rotation is due and waits.
    Due,
    /// A rotation was requested during the overlap of the previous one, and begins after it.
    Requested {
        /// The end of the overlap.
        at: Timestamp,
    },
    /// The last rotation failed.
    Failed(Failure),
    /// A call of the management API fails.
    Blocked(Fault),
    /// The current certificate has expired, so it cannot prove possession any more.
    CurrentEnded,
    /// A value got no token, and the issuer did not refuse the value itself.
    NoToken {
        /// Which value.
        of: Tried,
        /// Why.
        fault: Fault,
        /// Number of trials without a token in a row.
        times: u32,
    },
    /// The issuer refuses the current value, so nothing is removed.
    CurrentRefused,
    /// The issuer does not list the current value, so nothing is removed.
    CurrentNotListed,
    /// The previous credential was not created by apicred and stays valid at the issuer. The rotation does not wait for its removal.
    Foreign {
        /// Its key ID, if it is known.
        id: Option<String>,
        /// SHA-1 thumbprint of a certificate.
        thumbprint: Option<String>,
        /// When it expires, if that is known.
        until: Option<Timestamp>,
    },
    /// The same, but another client resource created it.
    OfAnother {
        /// Its key ID.
        id: String,
    },
    /// The same, but an earlier client resource that rotated this Secret created it.
    OfEarlier {
        /// Its key ID.
        id: String,
    },
    /// A credential that apicred created is not removed, because it is also stored in another place.
    AlsoStored {
        /// Its key ID, if it is known.
        id: Option<String>,
        /// Where.
        place: Also,
    },
    /// A credential is not removed yet: not all Secrets that may use it are known.
    OthersUnlisted,
    /// The annotation describes another client than the one that the client resource names now, or another kind of credential.
    Elsewhere {
        /// The client that it describes.
        client: ClientAt,
        /// What apicred created for it: IDs, or names.
        left: Vec<String>,
        /// What is different now.
        changed: Changed,
    },
    /// Keys of the Secret that rotations use contain a value that does not belong to a rotation.
    Unknown {
        /// Their ending.
        ending: &'static str,
        /// Those of them that contain something.
        keys: Vec<String>,
    },
    /// The issuer has a credential of apicred that is in no Secret, so the rotation that is due waits for its removal.
    Crowded {
        /// Its key ID.
        id: String,
        /// When it is old enough to be removed.
        until: Timestamp,
    },
    /// Credentials do not use the current value yet.
    UsersLag {
        /// One of them.
        name: String,
    },
    /// The issuer has several credentials of apicred that may be the value in the Secret.
    Ambiguous,
    /// Another tool created the certificate in the Secret, the issuer refuses it, and there is no earlier certificate to prove it.
    NoLastGood(NoProof),
    /// The certificate that got a token could not be copied, so apicred cannot upload the next one. Contains the reason.
    NotKept(String),
    /// Another tool created the certificate in the Secret, and the earlier one has expired.
    LastGoodEnded,
    /// The certificate in the Secret has expired, and another tool must create the next one.
    NotRenewed,
    /// A rotation was requested, but another tool creates the certificates.
    MadeElsewhere,
}

impl Notice {
    /// Whether a user must act before the rotation can continue.
    pub const fn needs_user(&self) -> bool {
        if let Self::NoToken { fault, times, .. } = self {
            return !fault.class.passes() || *times >= super::trials::LASTS;
        }
        matches!(
            self,
            Self::StateUnreadable
                | Self::NoCurrent
                | Self::CurrentEnded
                | Self::CurrentRefused
                | Self::OthersUnlisted
                | Self::Elsewhere {
                    changed: Changed::Client | Changed::Kind { .. },
                    ..
                }
                | Self::Unknown { .. }
                | Self::Ambiguous
                | Self::NoLastGood(_)
                | Self::NotKept(_)
                | Self::LastGoodEnded
                | Self::NotRenewed
                | Self::MadeElsewhere
        )
    }

    /// What was observed, and one next step.
    pub fn message(&self) -> String {
        let text = match self {
            Self::StateUnreadable => {
                "the annotation apicred.dev/rotation of the Secret cannot be read; remove it, and apicred creates it again from what the issuer lists"
            }
            Self::NoCurrent => {
                "the Secret has no value to rotate; store a valid client secret or certificate in it"
            }
            Self::Due => "a rotation is due",
            Self::Requested { at } => {
                let at = at.strftime("%Y-%m-%dT%H:%M:%SZ");
                return format!(
                    "a rotation was requested; it begins when the overlap of the one before it ends, at {at}; to have it begin earlier, lower rotation.overlap"
                );
            }
            Self::Failed(failure) => return failure.message(),
            Self::Blocked(fault) => return fault.message.clone(),
            Self::NoToken { of, fault, .. } => return without_token(*of, fault),
            Self::CurrentEnded => {
                "the certificate in the Secret has expired, and only a valid one can prove that another belongs to the client; upload a new one manually"
            }
            Self::CurrentRefused => {
                "the issuer refuses the credential in the Secret, so nothing is removed; store a valid one"
            }
            Self::CurrentNotListed => {
                "the issuer does not list the credential in the Secret, so nothing is removed; if it was removed there, request a rotation or store a valid one, else check that the client ID is the one of this Secret"
            }
            Self::Foreign {
                id,
                thumbprint,
                until,
            } => return left::foreign(id.as_deref(), thumbprint.as_deref(), *until),
            Self::OfAnother { id } => return left::of_another(id),
            Self::OfEarlier { id } => return left::of_earlier(id),
            Self::AlsoStored { id, place } => return also_stored(id.as_deref(), place),
            Self::OthersUnlisted => UNLISTED,
            Self::Elsewhere {
                client,
                left,
                changed,
            } => return stays_there(client, left, *changed),
            Self::Unknown { ending, keys } => return unknown(ending, keys),
            Self::Crowded { id, until } => return crowded(id, *until),
            Self::UsersLag { name } => {
                return format!(
                    "not every credential has a token that was obtained with the new client credential, so that the previous one stays: ApiCredential {name} has none; see what it reports, or renew it"
                );
            }
            Self::Ambiguous => {
                "the issuer lists several credentials of apicred that may be the one in the Secret, so none of them is removed; remove those that are not in use"
            }
            Self::NoLastGood(proof) => return proof.message(),
            Self::NotKept(why) => return not_kept(why),
            Self::LastGoodEnded => {
                "the last good certificate of the Secret has expired, and only a valid one can prove that the new one belongs to the client; upload the new one manually"
            }
            Self::NotRenewed => {
                "the certificate in the Secret has expired; have cert-manager renew it"
            }
            Self::MadeElsewhere => {
                "a rotation was requested, and cert-manager makes the certificates of this Secret; have it renew this one (cmctl renew), and apicred uploads it"
            }
        };
        text.to_owned()
    }
}

/// The message of [`Notice::NoToken`].
fn without_token(of: Tried, fault: &Fault) -> String {
    let (value, so) = match of {
        Tried::Current => (
            "client credential in the Secret",
            ", so nothing is added or removed",
        ),
        Tried::Next => ("new client credential", ", so it does not take over"),
    };
    format!(
        "no token was obtained with the {value}{so}: {}",
        fault.message
    )
}

/// The message of [`Notice::Unknown`].
fn unknown(ending: &str, keys: &[String]) -> String {
    let (which, them) = match keys {
        [] => (
            format!("a key of the Secret that ends with {ending} has"),
            "it",
        ),
        [key] => (format!("key {key} of the Secret has"), "it"),
        keys => (
            format!("keys {} of the Secret have", keys.join(" and ")),
            "them",
        ),
    };
    format!(
        "{which} a value that apicred did not store, and a rotation would replace it; rename or remove {them}"
    )
}

/// The message of [`Notice::Crowded`].
fn crowded(id: &str, until: Timestamp) -> String {
    let until = until.strftime("%Y-%m-%dT%H:%M:%SZ");
    format!(
        "a rotation is due; it waits for the removal of credential {id}, which apicred made and which is in no Secret any more: apicred removes it after {until}; to have the rotation begin earlier, remove it at the issuer"
    )
}

/// A step, and what to report.
#[derive(Clone, Debug, PartialEq)]
pub struct Next {
    /// What to do.
    pub step: Step,
    /// What to report.
    pub notices: Vec<Notice>,
    /// When the next rotation begins, if none is in progress: set from the overlap on.
    pub rotates_at: Option<Timestamp>,
    /// The values of the Secret, as status shows them.
    pub keys: Vec<Shown>,
    /// The state of the rotation.
    pub record: Record,
}
