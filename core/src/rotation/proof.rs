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
                    "the certificate that got a token before, which could prove that it belongs to the client, was not kept: {why}"
                ));
            }
        };
        refused(why)
    }
}

fn refused(why: &str) -> String {
    format!("the issuer refuses the certificate in the Secret, and {why}; upload it by hand")
}

/// The message about a certificate that got a token and is not kept, so that it will not prove the next one.
pub(super) fn not_kept(why: &str) -> String {
    format!(
        "the certificate that got a token is not kept, so that it cannot prove the next one: {why}; make that write possible"
    )
}
