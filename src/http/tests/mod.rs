//! The client that sends, against servers on this machine.

mod proxied;
mod proxy_answers;
mod tls;
