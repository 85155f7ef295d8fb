//! Sign-in by a user: authorization code (RFC 6749 section 4.1) with PKCE (RFC 7636).
//!
//! ```text
//!  authorize  what a request says, and whether it may go on
//!  endpoint   shows the page, takes the decision, sends the browser back
//!  page       the page: user, password, Allow, Deny
//!  redirect   which addresses a client may be sent to
//!  codes      the codes that are out
//! ```

mod authorize;
mod codes;
mod endpoint;
mod handle;
mod page;
mod pkce;
mod redirect;

pub(crate) use codes::{BadCode, Codes, Consent};
pub(crate) use endpoint::authorize;
pub(crate) use page::{Field, Page, notice};
pub(crate) use pkce::verifies;
pub(crate) use redirect::may_be_registered;

/// Who issues, as the user sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Realm {
    /// A tenant, by its id.
    Entra(String),
    Generic,
}
