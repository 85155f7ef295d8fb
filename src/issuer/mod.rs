//! Issuers, as the operator reaches them: which addresses are allowed ([`guard`]), and their discovery documents ([`lookup`]).
//! [`limits`](crate::limits) decides how much may be sent to them, and [`proxy`](mod@crate::proxy) whether a proxy is used.

pub mod guard;
pub mod lookup;
#[cfg(test)]
mod tests;
