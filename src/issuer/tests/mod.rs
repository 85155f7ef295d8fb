//! How much may be asked of an issuer, where it may be, and what it says about itself.

mod guard_properties;
mod limits;
mod proxy;
mod shares;
