//! The bytes out and the bytes in.

mod answer;
mod claims_request;
mod client_key;
mod corpus;
mod discovery;
mod driven;
mod forms;
mod golden;
mod granted;
mod hostile;
mod kinds;
mod lifetime;
mod renewal;
mod request;
mod servers;
mod token_error;
mod types;
