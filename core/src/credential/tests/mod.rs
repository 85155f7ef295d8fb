//! What a spec may contain, who may request what, and which Secret may be sent where.

mod account_tokens;
mod addresses;
mod binding;
mod client;
mod fit;
mod histories;
mod issuer;
mod limits;
mod parameters;
mod parse;
mod selectors;
mod static_key;
mod target_keys;
mod tenancy;
