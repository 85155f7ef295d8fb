//! OAuth 2.0 on the wire. [`request`] makes the bytes and [`answer`] reads them, both pure; [`http`] is the one
//! file that sends.

mod aadsts;
mod encode;
pub mod http;
mod lifetime;
mod refusal;
mod request;
mod response;
#[cfg(test)]
mod tests;
mod token;

pub use refusal::{Class, Refusal, error_code};
pub use request::{Material, TokenEndpoint, TokenRequest, known_endpoint, request};
pub use response::{AnswerContext, RawAnswer, answer, retry_after};
pub use token::{LifetimeSource, Token};
