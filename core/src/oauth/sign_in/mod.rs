//! How a person signs in, as bytes: the authorization code with PKCE (RFC 6749 section 4.1, RFC 7636, RFC 8252) and
//! the device code (RFC 8628). `kubectl apicred login` sends them; the operator never does.
//!
//! ```text
//!  wish       what is asked for: the credential's own, and what brings a refresh token
//!  consent    where it all goes, and whether the user allowed it
//!  authorize  the address that the browser opens, and the proof key
//!  callback   what the browser brings back
//!  device     the code that a person types elsewhere, and the pace of asking
//!  redeem     a code into tokens
//!  person     whose they are
//! ```

mod authorize;
mod callback;
mod consent;
mod device;
mod person;
mod redeem;
#[cfg(test)]
mod tests;
mod wish;

pub use authorize::{Pkce, authorize_url, random_text};
pub use callback::{Callback, Sender, callback};
pub use consent::{
    Consent, Destination, Flow, Part, destinations, discovery, named_origin, origins,
};
pub use device::{Device, Pace, Poll, device_answer, device_request};
pub use person::person;
pub use redeem::{Ticket, no_refresh_token, redeemed, redemption};
pub use wish::{SCOPES, added, for_refresh, for_sign_in, of_api, with_fewer_scopes, with_wish};
