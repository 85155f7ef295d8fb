//! Where an issuer may be.

mod guard_properties;
