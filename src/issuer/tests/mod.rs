//! How much may be asked of an issuer, where it may be, and what it says about itself.

mod addresses;
mod discovery;
mod guard_properties;
mod limits;
mod proxy;
mod shares;
