//! Dropping what is old.
//!
//! **Model.** By age, everything before a time goes. By bytes and records, a time is looked for
//! that frees enough: the span from the oldest record to now is cut by the share that is too much,
//! until the rest fits, so the oldest go first wherever they stand.
//! **Invariant.** A record that a kept group ([`Options::keep_for`](crate::Options)) has not
//! committed stays, whatever its age and however full the disk: full disks are refused at accept,
//! acknowledged mail is not thrown away. A kept group that nobody runs any more holds its topics
//! for ever; take it out of the options.
//! **Law `never_uncommitted`.** Stated above; **law `slice_moves`**: a cutoff lies after the oldest
//! record and not after now, so every round drops something and none drops the newest.
//! **Freeing.** Records go at once (and leave memory); files, at most hourly unless bytes press,
//! since each round of it begins a new file.

use crate::error::Error;
use crate::options::Retention;
use crate::queue::Queue;
use crate::shared::{Request, Shared};

const PURGE_EVERY_US: u64 = 3_600_000_000;
/// Enough to reach any point of the span by halves; what is left is the next call's.
const ROUNDS: usize = 40;

/// What one call dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Records.
    pub records: u64,
    /// Bytes of disk given back.
    pub bytes: u64,
}

impl Queue {
    /// Drops what the options allow at a time (microseconds since the Unix epoch). Call it every
    /// minute or so.
    ///
    /// # Errors
    /// When the queue is closed or the disk does not answer.
    pub fn apply_retention(&self, now_us: u64) -> Result<Dropped, Error> {
        let shared = &*self.shared;
        let mut purged_at_us = shared.purged_at_us.lock();
        let used = shared.logs.used_bytes();
        let mut records = shared.drop_before(None, now_us)?;
        let is_due = |at: u64| now_us.saturating_sub(at) >= PURGE_EVERY_US;
        let mut purge = purged_at_us.is_none_or(is_due);
        if purge {
            *purged_at_us = Some(now_us);
        }
        for _ in 0..ROUNDS {
            let (bytes_over, records_over) = shared.excess();
            purge |= bytes_over > 0.0;
            if std::mem::take(&mut purge) {
                shared.submit(
                    Request::Cut {
                        starts: Vec::new(),
                        purge: true,
                    },
                    0,
                )?;
                *purged_at_us = Some(now_us);
            }
            let (bytes_over, _) = shared.excess();
            let share = bytes_over.max(records_over);
            let oldest_us = if share > 0.0 {
                shared.oldest_droppable_us()?
            } else {
                None
            };
            let Some(oldest_us) = oldest_us else { break };
            let cutoff_us = slice(oldest_us, now_us, share);
            records += shared.drop_before(Some(cutoff_us), now_us)?;
        }
        Ok(Dropped {
            records,
            bytes: used.saturating_sub(shared.logs.used_bytes()),
        })
    }
}

impl Shared {
    /// Shares of bytes and records that are too much.
    fn excess(&self) -> (f64, f64) {
        let Retention {
            max_bytes,
            max_records,
            ..
        } = self.options.retention;
        (
            share(self.logs.used_bytes(), max_bytes),
            share(self.logs.records(), max_records),
        )
    }

    /// Drops what is older than a cutoff (`None`: than each topic's age) and not kept.
    fn drop_before(&self, cutoff_us: Option<u64>, now_us: u64) -> Result<u64, Error> {
        let mut starts = Vec::new();
        let mut records = 0;
        for (number, log) in self.logs.iter() {
            let (start, floor) = (log.start(), log.floor(&self.options.keep_for));
            let topic = self.spec(self.position(number).0);
            let max_age = topic.max_age.unwrap_or(self.options.retention.max_age);
            let by_age = (!max_age.is_zero()).then(|| {
                now_us.saturating_sub(u64::try_from(max_age.as_micros()).unwrap_or(u64::MAX))
            });
            let Some(cutoff_us) = cutoff_us.or(by_age).filter(|_| start < floor) else {
                continue;
            };
            let oldest = self.logs.first_from(number, start)?;
            if oldest.is_some_and(|(_, at_us)| at_us >= cutoff_us) {
                continue;
            }
            let new_start = self.logs.seek(number, cutoff_us)?.min(floor);
            if new_start > start {
                records += new_start - start;
                starts.push((number, new_start));
            }
        }
        if !starts.is_empty() {
            self.submit(
                Request::Cut {
                    starts,
                    purge: false,
                },
                0,
            )?;
        }
        Ok(records)
    }

    /// Time of the oldest record that may go.
    fn oldest_droppable_us(&self) -> Result<Option<u64>, Error> {
        let mut oldest_us = None;
        for (number, log) in self.logs.iter() {
            if log.start() < log.floor(&self.options.keep_for) {
                let at_us = self
                    .logs
                    .first_from(number, log.start())?
                    .map(|(_, at_us)| at_us);
                oldest_us = [oldest_us, at_us].into_iter().flatten().min();
            }
        }
        Ok(oldest_us)
    }
}

/// The share to be dropped so that nine tenths of the bound are used; 0 within the bound.
fn share(used: u64, bound: u64) -> f64 {
    if bound == 0 || used <= bound {
        return 0.0;
    }
    1.0 - 0.9 * bound as f64 / used as f64
}

/// The time before which this share of the span from `oldest_us` to `now_us` lies.
fn slice(oldest_us: u64, now_us: u64, share: f64) -> u64 {
    let span = now_us.saturating_sub(oldest_us);
    let slice = ((span as f64 * share) as u64).min(span);
    oldest_us.saturating_add(slice.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn law_slice_moves(oldest in 0u64..1 << 52, span in 1u64..1 << 52, used in 1u64..1 << 50, bound in 1u64..1 << 50) {
            let share = share(used, bound);
            prop_assert!((0.0..1.0).contains(&share));
            prop_assert_eq!(share > 0.0, used > bound);
            let cutoff = slice(oldest, oldest + span, share);
            prop_assert!(oldest < cutoff && cutoff <= oldest + span);
        }
    }

    #[test]
    fn without_a_bound_nothing_is_too_much() {
        assert_eq!(share(u64::MAX, 0), 0.0);
    }
}
