//! Token bucket: the one limiter behind every rate in the engine.
//!
//! **Idea.** The bucket is one instant: when it would be full again if nothing were taken. Nothing
//! ticks: each call compares that instant with `now`, so an idle path costs nothing and a test moves
//! time by hand.
//! **Invariants.** What is in the bucket lies between 0 and `max_burst`. A `now` in the past mints no
//! tokens. The interval between two tokens is rounded up, so rounding never exceeds the rate.
//! **Law `window_bound`.** A window of length `w` grants at most `max_burst + rate * w` tokens.
//! **Law `back_steps_mint_nothing`.** A clock that jumps back and forth grants no more than one that
//! only moved to its furthest instant.
//! **Law `no_starvation`.** Whoever comes back at the instant a refusal named is served, also with a
//! wish above `max_burst` (which then takes a full bucket and leaves a debt).
//! **Not here.** Waiting; sharing a limit.
//! **Source.** The virtual-scheduling form of the GCRA, ITU-T I.371.

use std::time::{Duration, Instant};

use crate::Rate;

/// A rate with its state.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate: Rate,
    /// Time between two tokens; zero when unlimited.
    interval: Duration,
    max_burst: u64,
    /// When the bucket is full again; `None`: it was never touched, so it is full.
    full_at: Option<Instant>,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let (interval, max_burst) = match rate {
            Rate::Unlimited => (Duration::ZERO, u64::MAX),
            Rate::Limited {
                count,
                period,
                max_burst,
            } => {
                let nanos = period.as_nanos().div_ceil(u128::from(count));
                let nanos = u64::try_from(nanos).expect("a day has fewer nanoseconds than u64");
                (Duration::from_nanos(nanos), max_burst)
            }
        };
        Self {
            rate,
            interval,
            max_burst,
            full_at: None,
        }
    }

    /// A bucket of another rate from which as much was taken as from this one, as far as it holds
    /// so much: a change of rate grants nothing.
    #[must_use]
    pub fn with_rate(&self, rate: Rate, now: Instant) -> Self {
        let mut changed = Self::new(rate);
        let missing = self
            .full_at
            .map(|full_at| full_at.saturating_duration_since(now));
        let Some(missing) = missing.filter(|_| !self.interval.is_zero()) else {
            return changed;
        };
        let taken = missing.as_nanos().div_ceil(self.interval.as_nanos());
        let taken = u64::try_from(taken)
            .unwrap_or(u64::MAX)
            .min(changed.max_burst);
        if !changed.interval.is_zero() {
            changed.full_at = Some(now + times(changed.interval, taken));
        }
        changed
    }

    /// The rate it keeps.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Take `n` tokens.
    ///
    /// # Errors
    /// The instant at which the same wish will be granted if nobody else takes any; nothing was
    /// taken.
    pub fn take(&mut self, now: Instant, n: u64) -> Result<(), Instant> {
        if self.interval.is_zero() {
            return Ok(());
        }
        let ready_at = self.ready_at(now, n);
        if ready_at > now {
            return Err(ready_at);
        }
        let base = self.full_at.map_or(now, |full_at| full_at.max(now));
        self.full_at = Some(base + times(self.interval, n));
        Ok(())
    }

    /// When `n` tokens can be taken; `now` when at once.
    #[must_use]
    pub fn ready_at(&self, now: Instant, n: u64) -> Instant {
        let Some(full_at) = self.full_at else {
            return now;
        };
        // Missing tokens may add up to what the bucket holds beyond the wish.
        let spare = times(self.interval, self.max_burst - n.min(self.max_burst));
        full_at
            .checked_sub(spare)
            .map_or(now, |ready_at| ready_at.max(now))
    }

    /// Give `n` tokens back that were taken for something that did not happen.
    pub fn give_back(&mut self, n: u64) {
        if let Some(full_at) = self.full_at {
            self.full_at = full_at.checked_sub(times(self.interval, n));
        }
    }
}

fn times(interval: Duration, n: u64) -> Duration {
    // Saturates at 584 years, beyond any horizon of ours.
    let nanos = interval.as_nanos().saturating_mul(u128::from(n));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX / 4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[allow(
        clippy::disallowed_methods,
        reason = "there is no other way to make an Instant"
    )]
    fn epoch() -> Instant {
        Instant::now()
    }

    /// The naive model: a level that is refilled step by step, in token-nanoseconds (exact).
    struct Model {
        interval: u128,
        burst: u128,
        level: u128,
        at: u128,
    }

    impl Model {
        fn take(&mut self, now: u128, n: u128) -> bool {
            if now > self.at {
                self.level = (self.level + (now - self.at)).min(self.burst * self.interval);
                self.at = now;
            }
            let lag = self.at.saturating_sub(now);
            // A clock that stepped back sees what was there then: less by the time it lost.
            let seen = self.level.saturating_sub(lag);
            let granted = seen >= n * self.interval;
            if granted {
                self.level -= n * self.interval;
            }
            granted
        }
    }

    fn rates() -> impl Strategy<Value = (u64, u64)> {
        (1u64..2_000, 1u64..50)
    }

    fn bucket(count: u64, max_burst: u64) -> Bucket {
        Bucket::new(Rate::Limited {
            count,
            period: Duration::from_secs(1),
            max_burst,
        })
    }

    proptest! {
        /// Law `change_grants_nothing`: after a change of rate no more can be taken at once than the
        /// new bucket holds less what the old one lacked.
        #[test]
        fn law_change_grants_nothing(
            before in (1u64..100, 1u64..50), after in (1u64..100, 1u64..50), taken in 0u64..50,
        ) {
            let rate = |(count, max_burst)| Rate::Limited {
                count, period: Duration::from_secs(1), max_burst,
            };
            let now = epoch();
            let mut bucket = Bucket::new(rate(before));
            let taken = taken.min(before.1);
            prop_assert!(bucket.take(now, taken).is_ok());
            let changed = bucket.with_rate(rate(after), now);
            let left = after.1.saturating_sub(taken);
            prop_assert!(left == 0 || changed.ready_at(now, left) == now);
            prop_assert!(taken == 0 || changed.ready_at(now, left + 1) > now);
        }

        /// Law `window_bound`.
        #[test]
        fn law_window_bound(
            (count, burst) in rates(),
            steps in prop::collection::vec((0u64..50_000_000, 1u64..8), 1..80),
        ) {
            let mut bucket = bucket(count, burst);
            let start = epoch();
            let mut now = start;
            let mut grants: Vec<(Duration, u64)> = Vec::new();
            for (nanos, n) in steps {
                now += Duration::from_nanos(nanos);
                if n <= burst && bucket.take(now, n).is_ok() {
                    grants.push((now - start, n));
                }
            }
            for (i, (from, _)) in grants.iter().enumerate() {
                let mut sum = 0;
                for (at, n) in &grants[i..] {
                    sum += n;
                    let bound = burst as f64 + count as f64 * (*at - *from).as_secs_f64();
                    prop_assert!(sum as f64 <= bound + 1e-6, "{sum} in {:?}", *at - *from);
                }
            }
        }

        /// Law `same_as_model`, with a clock that also steps back.
        #[test]
        fn law_same_as_model(
            (count, burst) in rates(),
            steps in prop::collection::vec((-20_000_000i64..50_000_000, 1u64..8), 1..80),
        ) {
            let mut bucket = bucket(count, burst);
            let interval = bucket.interval.as_nanos();
            let burst_u = u128::from(burst);
            let start = epoch() + Duration::from_secs(10);
            let mut model =
                Model { interval, burst: burst_u, level: burst_u * interval, at: 0 };
            let mut at = 0i64;
            for (step, n) in steps {
                at = (at + step).max(0);
                let n = n.min(burst);
                let granted = bucket.take(start + Duration::from_nanos(at as u64), n).is_ok();
                // The model may not know more than the bucket after a step back, only as much.
                prop_assert_eq!(granted, model.take(at as u128, u128::from(n)));
            }
        }

        /// Law `no_starvation`.
        #[test]
        fn law_no_starvation((count, burst) in rates(), wishes in prop::collection::vec(1u64..100, 1..40)) {
            let mut bucket = bucket(count, burst);
            let mut now = epoch();
            for n in wishes {
                if let Err(ready_at) = bucket.take(now, n) {
                    prop_assert!(ready_at > now);
                    now = ready_at;
                    prop_assert!(bucket.take(now, n).is_ok());
                }
            }
        }

        /// Law `back_steps_mint_nothing`.
        #[test]
        fn law_back_steps_mint_nothing(
            (count, burst) in rates(),
            offsets in prop::collection::vec(0u64..1_000_000_000, 1..80),
        ) {
            let mut bucket = bucket(count, burst);
            let start = epoch();
            let furthest = *offsets.iter().max().expect("at least one");
            let granted = offsets
                .iter()
                .filter(|at| bucket.take(start + Duration::from_nanos(**at), 1).is_ok())
                .count() as f64;
            prop_assert!(granted <= burst as f64 + count as f64 * furthest as f64 / 1e9 + 1e-6);
        }
    }

    #[test]
    fn unlimited_never_waits() {
        let mut bucket = Bucket::new(Rate::Unlimited);
        let now = epoch();
        assert_eq!(bucket.take(now, u64::MAX), Ok(()));
        assert_eq!(bucket.take(now, 1), Ok(()));
    }

    #[test]
    fn given_back_tokens_can_be_taken_again() {
        let mut bucket = bucket(1, 1);
        let now = epoch();
        assert_eq!(bucket.take(now, 1), Ok(()));
        assert_eq!(bucket.take(now, 1), Err(now + Duration::from_secs(1)));
        bucket.give_back(1);
        assert_eq!(bucket.take(now, 1), Ok(()));
    }
}
