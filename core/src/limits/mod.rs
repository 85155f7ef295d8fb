//! How many requests are sent to issuers, and who is next. Pure: takes a monotonic time and says who is called.
//!
//! [`limiter`] has all issuers: it gives a permit, or says who waits. [`issuer`] is the rate limiter of one issuer,
//! [`queue`] says who is next there, and [`concurrency`] how many of all requests under way a namespace or an issuer may hold.

pub mod concurrency;
pub mod issuer;
pub mod limiter;
pub mod queue;
#[cfg(test)]
mod tests;
