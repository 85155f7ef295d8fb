mod concurrency;
mod limiter;
