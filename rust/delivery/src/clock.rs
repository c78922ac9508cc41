//! The one place where the engine reads a clock; everything below takes `now`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since the Unix epoch.
pub(crate) fn wall_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock before 1970 is broken; zero makes everything due at once and nothing expired.
    since.map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    })
}

/// The time certificates are held against.
pub(crate) fn certificate_time() -> rustls_pki_types::UnixTime {
    rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_micros(wall_us()))
}

/// The monotonic clock.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Whole microseconds of a duration, as an event stores them.
pub(crate) fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
