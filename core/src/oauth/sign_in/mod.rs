//! The messages of a user's sign-in: the authorization code flow with PKCE (RFC 6749 section 4.1, RFC 7636, RFC 8252) and the device code
//! flow (RFC 8628). `kubectl apicred login` sends them. The operator never does.
//!
//! ```text
//!  wish       the requested scopes: those of the credential, and the one for a refresh token
//!  consent    the origins that get data, and whether the user allowed them
//!  authorize  the authorization URL and the PKCE verifier
//!  callback   the redirect back
//!  device     the device code and the polling interval
//!  redeem     exchanges a code for tokens
//!  user       the user whose tokens they are
//! ```

mod authorize;
mod callback;
mod consent;
mod device;
mod redeem;
mod requested_scopes;
#[cfg(test)]
mod tests;
mod user;

pub use authorize::{Pkce, authorize_url, random_text};
pub use callback::{Callback, Sender, callback};
pub use consent::{
    Consent, Destination, Flow, Part, destinations, discovery, named_origin, origins,
};
pub use device::{Device, Pace, Poll, device_answer, device_request};
pub use redeem::{RedeemableCode, no_refresh_token, redeemed, redemption};
pub use requested_scopes::{
    SCOPES, added, for_refresh, for_sign_in, of_api, with_fewer_scopes, with_requested_scopes,
};
pub use user::user_name;
