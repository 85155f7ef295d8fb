//! What apicred knows and keeps about issuers: where they may be reached ([`guard`]) and by what way
//! ([`proxy`]), what they say about themselves ([`lookup`]), how much may be asked of
//! them ([`limits`]), who is next ([`line`](mod@line)), how much of the operator they may hold ([`shares`]), and who may ask
//! ([`limiter`]).

pub mod guard;
pub mod limiter;
pub mod limits;
pub mod line;
pub mod lookup;
pub mod proxy;
pub mod shares;
#[cfg(test)]
mod tests;
