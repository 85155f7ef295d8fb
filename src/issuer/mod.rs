//! Issuers, as the operator reaches them: where they may be ([`guard`]), and what they say about themselves ([`lookup`]).
//! How much may be sent to them is decided in [`limits`](crate::limits), by what way in [`proxy`](mod@crate::proxy).

pub mod guard;
pub mod lookup;
#[cfg(test)]
mod tests;
