//! The bytes out and the bytes in.

mod answer;
mod corpus;
mod forms;
mod golden;
mod granted;
mod hostile;
mod kinds;
mod lifetime;
mod proxied;
mod refusal;
mod renewal;
mod request;
mod servers;
mod tls;
mod types;
