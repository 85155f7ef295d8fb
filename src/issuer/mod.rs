//! What apicred knows and keeps about issuers: where they may be reached ([`guard`]), what they say about
//! themselves ([`discovery`], fetched by [`lookup`]) and how much may be asked of them ([`limits`]).

pub mod discovery;
pub mod guard;
pub mod limits;
pub mod lookup;
#[cfg(test)]
mod tests;
