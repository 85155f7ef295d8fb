//! Sign-in by a user: authorization code (RFC 6749 section 4.1) with PKCE (RFC 7636).
//!
//! ```text
//!  authorize  the content of a request, and whether it is valid
//!  endpoint   shows the page, receives the decision, redirects the browser
//!  page       the page: user, password, Allow, Deny
//!  redirect   the addresses to which a client may redirect
//!  codes      the active codes
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

/// The issuer, as the user sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Realm {
    /// A tenant, by its id.
    Entra(String),
    Generic,
}
