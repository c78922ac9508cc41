//! How fast a path really is, and how long what waits on it will wait.
//!
//! **Model.** Only a second in which there was always a backlog tells what a path can do; a quiet
//! one tells what was asked of it. A smoothed rate of such seconds is the measure, and it is
//! believed for a minute. Replies of a slow receiver come in bursts, all connections waiting at a
//! time: busy seconds in which nothing ended count to the next one in which something did. On their
//! own they tell nothing before there are [`SILENCE`] of them.
//! **Parking.** What cannot start soon is given a place in a virtual queue behind the real one: due
//! times one behind the other at the path's rate, so they come back as fast as they can go.

use std::time::{Duration, Instant};

/// An old measure is worse than none: the trouble may be over.
const BELIEVED: Duration = Duration::from_secs(60);
/// Parking for less would only churn the deferral store.
const SHORTEST_PARK: Duration = Duration::from_secs(5);
/// Nobody knows the rate of a path in an hour.
const LONGEST_PARK: Duration = Duration::from_secs(3_600);
/// Measured 0 means "slower than that", not "never".
const SLOWEST: f64 = 0.05;
/// Busy seconds without an end after which a path is taken to stand still. A receiver that takes
/// seconds for a reply is common; a whole backlog parked because of one is not worth it, and what
/// waits too long is parked in any case.
const SILENCE: u32 = 10;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    completed: u32,
    was_busy: bool,
    /// Busy seconds since something ended, this one included.
    busy_s: u32,
    measured: Option<(f64, Instant)>,
    parked_until_us: u64,
    /// Smoothed seconds from MAIL to the final reply.
    service_s: f64,
}

impl Pace {
    /// A transaction with so many recipients was answered.
    pub(crate) fn complete(&mut self, recipients: usize, took: Duration) {
        self.completed += u32::try_from(recipients).unwrap_or(u32::MAX);
        let took = took.as_secs_f64();
        self.service_s = if self.service_s == 0.0 {
            took
        } else {
            self.service_s * 0.9 + took * 0.1
        };
    }

    /// Called once a second.
    pub(crate) fn tick(&mut self, now: Instant, has_backlog: bool) {
        let is_busy = self.was_busy && has_backlog;
        self.busy_s = if is_busy {
            self.busy_s.saturating_add(1)
        } else {
            0
        };
        if is_busy && (self.completed > 0 || self.busy_s >= SILENCE) {
            let rate = f64::from(self.completed) / f64::from(self.busy_s);
            let smoothed = self
                .measured
                .map_or(rate, |(before, _)| before * 0.7 + rate * 0.3);
            self.measured = Some((smoothed, now));
        }
        if self.completed > 0 {
            self.busy_s = 0;
        }
        self.was_busy = has_backlog;
        self.completed = 0;
    }

    /// Messages a second, as far as the limit and the measure tell; infinite when neither does.
    pub(crate) fn rate(&self, limit: f64, now: Instant) -> f64 {
        let measured = self
            .measured
            .filter(|(_, at)| now.saturating_duration_since(*at) < BELIEVED);
        measured.map_or(limit, |(rate, _)| limit.min(rate.max(SLOWEST)))
    }

    /// Messages a second of the last busy seconds; 0: not known, or too long ago.
    pub(crate) fn measured(&self, now: Instant) -> f64 {
        let fresh = self
            .measured
            .filter(|(_, at)| now.saturating_duration_since(*at) < BELIEVED);
        fresh.map_or(0.0, |(rate, _)| rate)
    }

    /// Connections that the rate limit can keep busy.
    pub(crate) fn useful_connections(&self, limit: f64) -> usize {
        if !limit.is_finite() {
            return usize::MAX;
        }
        // Unknown yet: half a second is a slow receiver.
        let service_s = if self.service_s == 0.0 {
            0.5
        } else {
            self.service_s
        };
        (limit * service_s).ceil() as usize + 1
    }

    /// When a parked delivery is due; each call takes the next place.
    pub(crate) fn park(&mut self, now_us: u64, wait: Duration, rate: f64) -> u64 {
        let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        let earliest = now_us + micros(wait.max(SHORTEST_PARK).min(LONGEST_PARK));
        let latest = now_us + micros(LONGEST_PARK);
        let due_at_us = self.parked_until_us.max(earliest).min(latest);
        self.parked_until_us = due_at_us + (1e6 / rate.max(SLOWEST)) as u64;
        due_at_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_busy_seconds_are_measured() {
        let mut pace = Pace::default();
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        pace.complete(1, Duration::from_millis(10));
        pace.tick(at(1), false);
        assert!(pace.rate(f64::INFINITY, at(1)).is_infinite());
        pace.tick(at(2), true);
        (0..7).for_each(|_| pace.complete(1, Duration::from_millis(10)));
        pace.tick(at(3), true);
        assert_eq!(pace.rate(f64::INFINITY, at(3)), 7.0);
        assert_eq!(pace.rate(2.0, at(3)), 2.0);
        assert!(pace.rate(f64::INFINITY, at(64)).is_infinite());
    }

    #[test]
    fn slow_replies_are_measured_over_all_they_took() {
        let mut pace = Pace::default();
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        pace.tick(at(0), true);
        (1..4).for_each(|s| pace.tick(at(s), true));
        assert!(
            pace.rate(f64::INFINITY, at(3)).is_infinite(),
            "three seconds without an end say nothing yet"
        );
        (0..80).for_each(|_| pace.complete(1, Duration::from_secs(4)));
        pace.tick(at(4), true);
        assert_eq!(pace.rate(f64::INFINITY, at(4)), 20.0);
    }

    #[test]
    fn a_path_that_stands_still_is_told_in_the_end() {
        let mut pace = Pace::default();
        let start = Instant::now();
        let at = |s: u32| start + Duration::from_secs(u64::from(s));
        (0..SILENCE).for_each(|s| pace.tick(at(s), true));
        assert!(pace.rate(f64::INFINITY, at(SILENCE)).is_infinite());
        pace.tick(at(SILENCE), true);
        assert_eq!(pace.rate(f64::INFINITY, at(SILENCE)), SLOWEST);
    }

    proptest! {
        /// Law `parked_in_order`: due times never fall, and no sooner than the wait says.
        #[test]
        fn law_parked_in_order(waits in prop::collection::vec(0u64..9_000, 1..50), rate in 0.0f64..500.0) {
            let mut pace = Pace::default();
            let mut last = 0;
            for wait in waits {
                let wait = Duration::from_secs(wait);
                let due = pace.park(1_000_000, wait, rate);
                let bounded = wait.clamp(SHORTEST_PARK, LONGEST_PARK).as_micros() as u64;
                prop_assert!(due >= last && due >= 1_000_000 + bounded.min(3_600_000_000));
                prop_assert!(due <= 1_000_000 + 3_600_000_000);
                last = due;
            }
        }
    }
}
