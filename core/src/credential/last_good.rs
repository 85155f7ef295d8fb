//! Which certificates of a client apicred may copy, and where the copies are. PURE.
//!
//! See [`crate::publish::last_good`].

use super::{AuthenticationMethod, Certificate};
use crate::api::SecretKeyRef;

/// Keys of a Secret of type `kubernetes.io/tls`. Only pairs under them are copied.
pub const TLS: (&str, &str) = ("tls.crt", "tls.key");
/// Suffix of the name of a copy.
pub(super) const SUFFIX: &str = "-last-good";
/// Longest name of a Secret.
const LONGEST: usize = 253;

/// Name of the copy of a Secret. None if it would be too long.
fn name_of(secret: &str) -> Option<String> {
    Some(format!("{secret}{SUFFIX}")).filter(|name| name.len() <= LONGEST)
}

/// Name of the Secret of which this is the copy.
pub fn source_of(copy: &str) -> Option<&str> {
    copy.strip_suffix(SUFFIX)
}

/// A certificate of a client's list, and its copy.
#[derive(Clone, Debug, PartialEq)]
pub struct Copied<'a> {
    /// Its index in the list.
    pub place: usize,
    /// The certificate.
    pub certificate: &'a Certificate,
    /// Where its copy is.
    pub copy: SecretKeyRef,
}

impl AuthenticationMethod {
    /// The certificates that may have a copy, each with the place of its copy.
    pub fn copies(&self) -> Vec<Copied<'_>> {
        let Self::Certificates(all) = self else {
            return Vec::new();
        };
        let mut copies = Vec::new();
        for (place, certificate) in all.iter().enumerate() {
            let pair = &certificate.pair;
            let plain = (pair.certificate.as_str(), pair.private_key.as_str()) == TLS;
            let Some(name) = name_of(&pair.secret).filter(|_| plain) else {
                continue;
            };
            // If the user lists it, it is not a copy.
            if all.iter().all(|c| c.pair.secret != name) {
                let key = TLS.1.to_owned();
                copies.push(Copied {
                    place,
                    certificate,
                    copy: SecretKeyRef { name, key },
                });
            }
        }
        copies
    }

    /// The certificate of which this is the copy.
    pub fn original(&self, copy: &SecretKeyRef) -> Option<Copied<'_>> {
        self.copies().into_iter().find(|c| c.copy == *copy)
    }
}
