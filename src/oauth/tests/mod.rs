//! The bytes out and the bytes in.

mod answer;
mod hostile;
mod refusal;
mod request;
