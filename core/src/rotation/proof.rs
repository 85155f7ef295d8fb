//! Why there is no certificate that can prove the one in the Secret, or will be none for the next one.

/// Why there is no certificate that can prove the one in the Secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NoProof {
    /// No certificate of this Secret has got a token.
    NeverUsed,
    /// An earlier version of the Secret got a token, and there is no copy of it. Contains the reason, if it is known.
    NotKept(Option<String>),
}

impl NoProof {
    /// What was observed, and one next step.
    pub(super) fn message(&self) -> String {
        let why = match self {
            Self::NeverUsed => {
                "no certificate of this Secret has got a token before that could prove that it belongs to the client"
            }
            Self::NotKept(None) => {
                "there is no copy of the certificate that got a token before, which could prove that it belongs to the client"
            }
            Self::NotKept(Some(why)) => {
                return refused(&format!(
                    "the certificate that got a token before, which could prove that it belongs to the client, could not be copied: {why}"
                ));
            }
        };
        refused(why)
    }
}

fn refused(why: &str) -> String {
    format!("the issuer refuses the certificate in the Secret, and {why}; upload it manually")
}

/// The message about a certificate that got a token and could not be copied, so that it cannot prove the next one.
pub(super) fn not_kept(why: &str) -> String {
    format!(
        "the certificate that got a token could not be copied, so apicred cannot upload the next one: {why}; make that write possible"
    )
}
