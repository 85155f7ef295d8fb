//! The bytes of requests and answers.

mod answer;
mod certificate_chain;
mod claims_request;
mod client_key;
mod corpus;
mod dates;
mod discovery;
mod driven;
mod ec_jwk;
mod ends;
mod forms;
mod golden;
mod granted;
mod hostile;
mod impersonation;
mod kinds;
mod lifetime;
mod ready_jwt;
mod renewal;
mod request;
mod revocation;
mod servers;
mod statements;
mod token_error;
mod types;
