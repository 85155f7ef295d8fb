//! Any text as `Retry-After`: seconds or a date, at most one hour.
#![no_main]

use std::time::Duration;

use apicred::oauth::retry_after;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (i64, &str)| {
    let (second, text) = data;
    let Ok(now) = Timestamp::from_second(second) else {
        return;
    };
    if let Some(wait) = retry_after(text, now) {
        assert!(wait <= Duration::from_hours(1), "{wait:?}");
    }
});
