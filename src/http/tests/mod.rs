//! Tests of the client that sends requests to issuers, against servers on this machine.

mod proxied;
mod proxy_answers;
mod tls;
