mod concurrency;
mod limiter;
mod load;
