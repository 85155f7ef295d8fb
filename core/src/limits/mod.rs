//! Limits the number of requests to issuers, and decides their order. Pure: takes a monotonic time and returns the dequeued credentials.
//!
//! [`limiter`] covers all issuers: it gives a permit or queues the request. [`issuer`] is the rate limiter of one issuer,
//! [`queue`] its queue, and [`concurrency`] limits how many permits a namespace or an issuer may have.

pub mod concurrency;
pub mod issuer;
pub mod limiter;
pub mod queue;
#[cfg(test)]
mod tests;
