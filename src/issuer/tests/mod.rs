//! Which addresses an issuer may have.

mod guard_properties;
