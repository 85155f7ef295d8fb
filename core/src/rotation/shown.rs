//! What status shows of a value of the Secret.

use jiff::Timestamp;

use super::observed::Mark;

/// A value of the Secret, as status shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shown {
    /// Which one: `Current`, `Next` or `Previous`.
    pub slot: &'static str,
    /// The issuer's id of it.
    pub id: Option<String>,
    /// What identifies it at the issuer.
    pub mark: Mark,
    /// Valid until.
    pub until: Option<Timestamp>,
}
