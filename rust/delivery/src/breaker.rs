//! The breaker of a path: what to do when no host of it can be reached.
//!
//! **Model.** Each failure in a row keeps the path shut twice as long, from one second to one
//! minute; then one probe may go, and its success opens the path again.
//! **Law `open_lets_nothing_through`**, and the time shut never shrinks while failures go on.

use std::time::{Duration, Instant};

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// From so many failures on, some seven seconds of trouble, waiting deliveries are deferred too.
const LASTING: u32 = 4;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Breaker {
    failures: u32,
    shut_until: Option<Instant>,
}

impl Breaker {
    pub(crate) fn fail(&mut self, now: Instant) {
        let shut_for = SHORTEST
            .saturating_mul(1 << self.failures.min(6))
            .min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.shut_until = Some(now + shut_for);
    }

    pub(crate) fn succeed(&mut self) {
        *self = Self::default();
    }

    /// How long nothing may be tried; zero: a connection may be opened.
    pub(crate) fn shut_for(&self, now: Instant) -> Duration {
        self.shut_until
            .map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Whether only a single probe may go.
    pub(crate) fn is_probing(&self) -> bool {
        self.failures > 0
    }

    /// Whether the trouble goes on for long enough that waiting would only pile up more.
    pub(crate) fn is_lasting(&self) -> bool {
        self.failures >= LASTING
    }

    pub(crate) fn state(&self, now: Instant) -> &'static str {
        match (self.failures, self.shut_for(now).is_zero()) {
            (0, _) => "open",
            (_, true) => "probing",
            (_, false) => "shut",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Law `open_lets_nothing_through`.
        #[test]
        fn law_open_lets_nothing_through(failures in 1usize..40, later_ms in 0u64..70_000) {
            let now = Instant::now();
            let mut breaker = Breaker::default();
            let mut last = Duration::ZERO;
            for _ in 0..failures {
                breaker.fail(now);
                let shut_for = breaker.shut_for(now);
                prop_assert!(shut_for >= last && shut_for <= LONGEST);
                last = shut_for;
            }
            let later = now + Duration::from_millis(later_ms);
            prop_assert_eq!(breaker.shut_for(later), last.saturating_sub(later - now));
            prop_assert!(breaker.is_probing());
            breaker.succeed();
            prop_assert!(!breaker.is_probing() && breaker.shut_for(now).is_zero());
        }
    }
}
